//! Starting programs.

use std::os::fd::AsFd as _;

use rustix::{
    fs::{FileType, OFlags, ResolveFlags},
    io::{self, Errno},
};
use vantio_core::{Access, Effect};

use super::{
    Plane,
    request::{Reply, Request},
    resolve::{Located, Object, Place},
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
        if is_loader(&object.path) {
            let loaded = self.loaded_program(request, arguments)?;
            self.judge_program(request, &loaded, 0)?;
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
        let outside;
        let path = if program.place == Place::Run && program.data.stx_nlink > 0 {
            &program.path
        } else {
            // A memory file, or one that came from outside: nothing that a rule can name.
            outside = [b"outside the run: ".as_slice(), &program.path].concat();
            &outside
        };
        self.permit_path(request, Effect::ProcExec, path, Access::Read, false)?;
        if program.place != Place::Run {
            return Err(Errno::ACCESS);
        }
        match self.interpreter(request, program)? {
            Some(_) if depth >= INTERPRETERS_MAX => Err(Errno::LOOP),
            Some(interpreter) => self.judge_program(request, &interpreter, depth + 1),
            None => Ok(()),
        }
    }

    /// What the first line of a script names.
    fn interpreter(&self, request: &Request, program: &Object) -> io::Result<Option<Object>> {
        let mut head = [0; 256];
        let file = match self.view.reopen(program.fd.as_fd(), OFlags::RDONLY | OFlags::NONBLOCK) {
            // A program that may be executed but not read has no first line for us; the kernel reads it.
            Err(Errno::ACCESS | Errno::PERM) => return Ok(None),
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

    /// The program that a dynamic loader was told to load: its first argument that is no option.
    fn loaded_program(&self, request: &Request, arguments: u64) -> io::Result<Object> {
        let mut is_value = false;
        for index in 1..LOADER_ARGUMENTS_MAX {
            let mut pointer = [0; 8];
            request.read(arguments.checked_add(8 * index).ok_or(Errno::FAULT)?, &mut pointer)?;
            let pointer = u64::from_ne_bytes(pointer);
            if pointer == 0 {
                break;
            }
            let word = request.read_path(pointer)?;
            if std::mem::take(&mut is_value) || word.is_empty() {
                continue;
            }
            if !word.starts_with(b"-") {
                return found(self.locate(request, libc::AT_FDCWD, &word, true, ResolveFlags::empty())?);
            }
            is_value = LOADER_OPTIONS_WITH_VALUE.contains(&word.as_slice());
        }
        Err(Errno::ACCESS)
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

/// As the kernel's own limit.
const INTERPRETERS_MAX: usize = 5;
const LOADER_ARGUMENTS_MAX: u64 = 64;

/// `ld.so(8)`: options that take the next word.
const LOADER_OPTIONS_WITH_VALUE: &[&[u8]] = &[
    b"--argv0",
    b"--audit",
    b"--glibc-hwcaps-mask",
    b"--glibc-hwcaps-prepend",
    b"--inhibit-rpath",
    b"--library-path",
    b"--preload",
];
