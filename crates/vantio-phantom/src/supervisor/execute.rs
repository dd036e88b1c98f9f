//! Starting programs.

use std::{fs::File, io::Read as _, os::fd::AsFd as _};

use rustix::{
    fs::{FileType, OFlags, ResolveFlags},
    io::{self, Errno},
    process::geteuid,
};
use vantio_core::{Access, Effect};

use super::{
    Plane,
    request::{Reply, Request},
    resolve::{Located, OUTSIDE, Object, Place},
};

impl Plane {
    /// The kernel executes by itself, within what Landlock permits; what is judged here is the program,
    /// every interpreter that a script names, and what a dynamic loader is told to load.
    pub(super) fn execute(&self, request: &Request) -> io::Result<Reply> {
        let (object, arguments) = self.program(request)?;
        self.judge_program(request, &object, 0)?;
        if self.tracks_flows() && self.interpreter(request, &object)?.is_some() {
            self.tell_way(request)?;
        }
        if is_loader(&object.path)
            && let Some(loaded) = self.loaded_program(request, &object, arguments)?
        {
            self.judge_program(request, &loaded, 1)?;
        }
        self.checkpoint_before(request)?;
        Ok(Reply::Continue)
    }

    /// The file to execute, and where the arguments are.
    fn program(&self, request: &Request) -> io::Result<(Object, u64)> {
        let none = ResolveFlags::empty();
        if request.number() == libc::SYS_execve {
            let path = request.read_path(request.argument(0))?;
            let located = self.locate(request, libc::AT_FDCWD, &path, true, none)?;
            return found(located).map(|object| (object, request.argument(1)));
        }
        let (path, flags) = (request.read_path(request.argument(1))?, request.int(4));
        let object = if path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
            self.view.locate_descriptor(request, request.int(0))?
        } else {
            let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
            found(self.locate(request, request.int(0), &path, follow, none)?)?
        };
        Ok((object, request.argument(2)))
    }

    fn judge_program(&self, request: &Request, program: &Object, depth: usize) -> io::Result<()> {
        if program.kind() != FileType::RegularFile {
            return Err(Errno::ACCESS);
        }
        if program.place != Place::Run || program.data.stx_nlink == 0 {
            // A memory file, one without a name, or one that came from outside.
            return self.refuse_program(request, OUTSIDE, &program.path);
        }
        self.permit_path(request, Effect::ProcExec, &program.path, Access::Read, false)?;
        if depth > 0 && is_loader(&program.path) {
            // What it loads then is what a line of a script says, or an argument further on.
            return self.refuse_program(request, "a loader behind another file", &program.path);
        }
        match self.interpreter(request, program)? {
            Some(_) if depth >= INTERPRETERS_MAX => Err(Errno::LOOP),
            Some(interpreter) => self.judge_program(request, &interpreter, depth + 1),
            None => Ok(()),
        }
    }

    /// Refuses, on record, a program that no rule can name.
    fn refuse_program<T>(&self, request: &Request, why: &str, program: &[u8]) -> io::Result<T> {
        self.refuse_path(request, Effect::ProcExec, why, program, Access::Read)
    }

    /// What the first line of a script names.
    fn interpreter(&self, request: &Request, program: &Object) -> io::Result<Option<Object>> {
        let mut head = [0; 256];
        let file = match self.view.reopen(program.fd.as_fd(), OFlags::RDONLY | OFlags::NONBLOCK) {
            // The kernel reads the first line of what we cannot. Nobody in the run has made a program of somebody else's.
            Err(Errno::ACCESS | Errno::PERM) if program.data.stx_uid != geteuid().as_raw() => {
                return Ok(None);
            }
            Err(Errno::ACCESS | Errno::PERM) => {
                return self.refuse_program(request, "a program that cannot be read", &program.path);
            }
            other => other?,
        };
        let count = rustix::io::read(&file, &mut head)?;
        let Some(line) = head[..count].strip_prefix(b"#!") else { return Ok(None) };
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let words = line.split(|byte| matches!(byte, b'\n' | b'\0')).next().unwrap_or_default();
        let Some(name) = words.split(is_blank).find(|word| !word.is_empty()) else { return Ok(None) };
        let located = self.locate(request, libc::AT_FDCWD, name, true, ResolveFlags::empty())?;
        found(located).map(Some)
    }

    /// The program that a dynamic loader was told to load; `None` where it only tells of itself.
    fn loaded_program(
        &self,
        request: &Request,
        loader: &Object,
        arguments: u64,
    ) -> io::Result<Option<Object>> {
        let mut parser = LoaderArguments::default();
        for index in 1..LOADER_ARGUMENTS_MAX {
            let mut pointer = [0; 8];
            request.read(arguments.checked_add(8 * index).ok_or(Errno::FAULT)?, &mut pointer)?;
            let pointer = u64::from_ne_bytes(pointer);
            if pointer == 0 {
                return self.refuse_program(request, "a loader without a program", b"");
            }
            let word = request.read_path(pointer)?;
            match parser.next(&word) {
                Word::Option => {}
                Word::About if index == 1 && self.has_text(loader, &word)? => return Ok(None),
                Word::About => return self.refuse_program(request, UNKNOWN, &word),
                Word::Program => {
                    let none = ResolveFlags::empty();
                    let located = self.locate(request, libc::AT_FDCWD, &word, true, none)?;
                    return found(located).map(Some);
                }
                Word::Unknown(why) => return self.refuse_program(request, why, &word),
            }
        }
        self.refuse_program(request, "a loader with too many arguments", b"")
    }

    /// Whether an option stands in a loader's own file: one that does not know it takes it for a program.
    fn has_text(&self, loader: &Object, option: &[u8]) -> io::Result<bool> {
        let file = self.view.reopen(loader.fd.as_fd(), OFlags::RDONLY | OFlags::NONBLOCK)?;
        let mut bytes = Vec::new();
        let read = File::from(file).take(LOADER_MAX).read_to_end(&mut bytes);
        read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(bytes.windows(option.len()).any(|part| part == option))
    }
}

fn found(located: Located) -> io::Result<Object> {
    match located {
        Located::Found(object) if object.kind() == FileType::Symlink => Err(Errno::LOOP),
        Located::Found(object) => Ok(object),
        Located::Missing(_) => Err(Errno::NOENT),
    }
}

fn is_loader(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.starts_with(b"ld-linux") || name.starts_with(b"ld-musl") || name.starts_with(b"ld.so") || {
        name.starts_with(b"ld-2.") && name.ends_with(b".so")
    }
}

/// What a dynamic loader takes an argument for.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// An option, or the value of one.
    Option,
    /// An option with which newer loaders print something and end.
    About,
    /// The program.
    Program,
    /// Nothing that is known, with what it may be.
    Unknown(&'static str),
}

/// Reads a loader's arguments as those of glibc and musl do: options begin with two dashes.
#[derive(Default)]
struct LoaderArguments {
    is_value: bool,
}

impl LoaderArguments {
    fn next(&mut self, word: &[u8]) -> Word {
        if std::mem::take(&mut self.is_value) {
            return Word::Option;
        }
        if let Some(option) = word.strip_prefix(b"--") {
            self.is_value = LOADER_OPTIONS_WITH_VALUE.contains(&option);
            let is_known = self.is_value || LOADER_OPTIONS.contains(&option);
            return match option {
                _ if is_known => Word::Option,
                b"help" | b"version" => Word::About,
                _ => Word::Unknown(UNKNOWN),
            };
        }
        // A name alone is looked for where libraries are.
        if word.contains(&b'/') {
            Word::Program
        } else {
            Word::Unknown("a loader's program without its folder")
        }
    }
}

/// As the kernel's own limit.
const INTERPRETERS_MAX: usize = 5;
const LOADER_ARGUMENTS_MAX: u64 = 64;
/// Longer than any loader.
const LOADER_MAX: u64 = 4 << 20;
const UNKNOWN: &str = "an unknown option of a loader";

/// `ld.so(8)`: options that take the next word. Only those that every loader since glibc 2.17 has: a loader takes an option
/// that it does not know for a program.
const LOADER_OPTIONS_WITH_VALUE: &[&[u8]] = &[b"audit", b"inhibit-rpath", b"library-path"];

/// The other ones of a loader that goes on to a program.
const LOADER_OPTIONS: &[&[u8]] = &[b"inhibit-cache", b"list", b"verify"];

#[cfg(test)]
mod tests {
    use super::*;

    /// The word that is taken for the program, or why none is.
    fn program(line: &str) -> Result<&str, Word> {
        let mut parser = LoaderArguments::default();
        for word in line.split(' ') {
            match parser.next(word.as_bytes()) {
                Word::Option => {}
                Word::Program => return Ok(word),
                unknown => return Err(unknown),
            }
        }
        Err(Word::Option)
    }

    #[test]
    fn a_loaders_program_is_the_first_word_that_is_no_option() {
        let cases = [
            ("/bin/true", "/bin/true"),
            ("-d/own /bin/true", "-d/own"),
            ("--library-path /lib ./own", "./own"),
            ("--library-path --list/x ./own", "./own"),
            ("--inhibit-rpath -- --list ./own", "./own"),
        ];
        for (line, expected) in cases {
            assert_eq!(program(line), Ok(expected), "{line}");
        }
        for line in [
            "own",
            "--new ./own",
            "--argv0 x ./own",
            "--library-path=/lib ./own",
            "-- ./own",
            "--audit ./own",
            "",
        ] {
            assert!(program(line).is_err(), "{line}");
        }
    }
}
