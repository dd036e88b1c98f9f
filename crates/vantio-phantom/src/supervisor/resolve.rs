//! From the path an agent gave to the object it names, by descriptor.
//!
//! The kernel resolves, in the run's own mount namespace, in one step where it can. Only what leads
//! through `/proc` is walked here, because `/proc/self` there means the agent, not the supervisor.

use std::{
    collections::{HashSet, VecDeque},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    sync::{Arc, OnceLock, Weak},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat, openat2, readlinkat,
        statx,
    },
    io::{self, Errno},
};

use super::{Keeping, Plane, request::Request};
use crate::{
    census::DELETED, changes::beneath::is_within, net, speculation::Speculator, world::mounts::Mount,
};

/// The file system as the run sees it. Its methods are for threads in the run's mount namespace.
pub(crate) struct View {
    /// The supervisor's own descriptors, by number, in the host's `/proc`.
    own_descriptors: OwnedFd,
    /// The mounts of the run, once its world is built; until then nothing is in it.
    mounts: OnceLock<Mounts>,
    /// Who is told before a local socket gets a name.
    keeping: OnceLock<Arc<Keeping>>,
    /// Who knows of a fork and of what it sees instead.
    speculator: OnceLock<Arc<Speculator>>,
    /// Who judges what is found in other processes.
    plane: OnceLock<Weak<Plane>>,
}

/// Mounts by their numbers.
struct Mounts {
    all: HashSet<u64>,
    /// Those of them that are process files.
    of_proc: HashSet<u64>,
    /// Where each is, and whether it is an overlay.
    points: Vec<(Vec<u8>, bool)>,
}

/// An object, held by an `O_PATH` descriptor, so that it stays what it is.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) fd: OwnedFd,
    /// Where it is, as the run sees it.
    pub(crate) path: Vec<u8>,
    pub(crate) data: Statx,
    pub(crate) place: Place,
}

/// What kind of mount an object is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A mount of the run.
    Run,
    /// The run's `/proc`.
    Proc,
    /// No mount of the run: a pipe, a memory file, or a descriptor that came from outside.
    Elsewhere,
}

/// What a path names.
#[derive(Debug)]
pub(crate) enum Located {
    Found(Object),
    /// Nothing, in a directory that exists.
    Missing(Entry),
}

/// A name in a directory, whether or not anything is there.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) parent: Object,
    pub(crate) name: Vec<u8>,
}

impl Entry {
    /// The path of the entry, as the run sees it.
    pub(crate) fn path(&self) -> Vec<u8> {
        join(&self.parent.path, &self.name)
    }
}

impl Object {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.data.stx_mode.into())
    }
}

impl View {
    /// The view of a world that is not built yet. Called where the host's `/proc` is seen.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            own_descriptors: openat(CWD, "/proc/self/fd", flags, Mode::empty())?,
            mounts: OnceLock::new(),
            keeping: OnceLock::new(),
            speculator: OnceLock::new(),
            plane: OnceLock::new(),
        })
    }

    /// The world is built, of these mounts. Process files elsewhere than in `/proc` are the host's, in which `self` is the
    /// supervisor.
    pub(crate) fn see(&self, mounts: &[Mount]) {
        let is_of_proc = |mount: &&Mount| mount.kind == "proc";
        let own = mounts.iter().filter(|mount| !is_of_proc(mount) || mount.point.starts_with("/proc"));
        // Said once.
        let _ = self.mounts.set(Mounts {
            of_proc: own.clone().filter(is_of_proc).map(|mount| mount.id).collect(),
            all: own.map(|mount| mount.id).collect(),
            points: mounts
                .iter()
                .map(|mount| (mount.point.as_os_str().as_bytes().to_vec(), mount.kind == "overlay"))
                .collect(),
        });
    }

    /// Whether what is written at `path` waits in a layer.
    pub(super) fn is_layered(&self, path: &[u8]) -> bool {
        let Some(mounts) = self.mounts.get() else { return true };
        let above = mounts.points.iter().filter(|(point, _)| is_within(path, point));
        above.max_by_key(|(point, _)| point.len()).is_none_or(|(_, is_overlay)| *is_overlay)
    }

    /// Has `keeping` told before a local socket gets a name.
    pub(crate) fn announce(&self, keeping: Arc<Keeping>) {
        // Said once.
        let _ = self.keeping.set(keeping);
    }

    /// Has `speculator` asked about what a fork sees.
    pub(super) fn shadow(&self, speculator: Arc<Speculator>) {
        // Said once.
        let _ = self.speculator.set(speculator);
    }

    /// Has `plane` asked about what is found in other processes.
    pub(super) fn ask(&self, plane: &Arc<Plane>) {
        // Said once.
        let _ = self.plane.set(Arc::downgrade(plane));
    }

    /// Opens what an `O_PATH` descriptor refers to.
    pub(crate) fn reopen(&self, fd: BorrowedFd<'_>, flags: OFlags) -> io::Result<OwnedFd> {
        self.reopen_as(fd, flags, Mode::empty())
    }

    /// As [`View::reopen`], where the call makes a nameless file of this mode.
    pub(crate) fn reopen_as(&self, fd: BorrowedFd<'_>, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags & !OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        openat(&self.own_descriptors, itoa(fd.as_raw_fd()).text(), flags, mode)
    }

    /// The directory of our descriptors and the name of `fd` in it: a path to what `fd` refers to, for
    /// calls that take no descriptor.
    pub(crate) fn handle(&self, fd: BorrowedFd<'_>) -> (BorrowedFd<'_>, String) {
        (self.own_descriptors.as_fd(), fd.as_raw_fd().to_string())
    }

    /// A path to what `fd` refers to, for calls that take neither descriptor nor directory; valid until
    /// this thread's working directory changes.
    pub(crate) fn path_by_handle(&self, fd: BorrowedFd<'_>) -> io::Result<String> {
        rustix::process::fchdir(&self.own_descriptors)?;
        Ok(fd.as_raw_fd().to_string())
    }

    /// What `path`, relative to the caller's descriptor `directory`, names. `flags` are those of
    /// `openat2(2)`.
    pub(crate) fn locate(
        &self,
        request: &Request,
        directory: i32,
        path: &[u8],
        follow: bool,
        flags: ResolveFlags,
    ) -> io::Result<Located> {
        let start = Start::of(request, directory, path, flags)?;
        let nofollow = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        let how = OFlags::PATH | OFlags::CLOEXEC | nofollow;
        let found = openat2(&start, path, how, Mode::empty(), flags | ResolveFlags::NO_MAGICLINKS);
        match found {
            Ok(fd) => self.identify(fd).map(Located::Found),
            Err(error) if !flags.is_empty() && error != Errno::NOENT => Err(error),
            Err(Errno::NOENT) => self.absent(request, start, path, follow, flags),
            // A magic link, which the kernel must not follow as us.
            Err(Errno::LOOP) => Walk::new(self, request, start.open()?, path).finish(follow),
            Err(error) => Err(error),
        }
    }

    /// The directory and the last name of `path`.
    pub(crate) fn locate_entry(&self, request: &Request, directory: i32, path: &[u8]) -> io::Result<Entry> {
        let (parent, name) = split(path)?;
        let found = self.locate(request, directory, parent, true, ResolveFlags::empty())?;
        match found {
            Located::Found(parent) if parent.kind() == FileType::Directory => {
                Ok(Entry { parent, name: name.to_vec() })
            }
            Located::Found(_) => Err(Errno::NOTDIR),
            Located::Missing(_) => Err(Errno::NOENT),
        }
    }

    /// The object behind the caller's descriptor `fd`.
    pub(crate) fn locate_descriptor(&self, request: &Request, fd: i32) -> io::Result<Object> {
        let path = format!("{}/fd/{fd}", request.tid().as_raw_pid());
        match openat(request.proc(), path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => self.identify(fd),
            Err(Errno::NOENT) => Err(Errno::BADF),
            Err(error) => Err(error),
        }
    }

    /// After `ENOENT`: either nothing is there, or the way leads through a link that only a
    /// walk can follow.
    fn absent(
        &self,
        request: &Request,
        start: Start,
        path: &[u8],
        follow: bool,
        flags: ResolveFlags,
    ) -> io::Result<Located> {
        let (parent, name) = split(path)?;
        let how = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let plain = flags | ResolveFlags::NO_MAGICLINKS;
        match openat2(&start, parent, how, Mode::empty(), plain) {
            Ok(parent) if readlinkat(&parent, name, Vec::new()).is_err() => {
                let parent = self.identify(parent)?;
                // `self` in the run's /proc is a link that has no target for us, and reads as absent.
                if parent.place != Place::Proc {
                    return Ok(Located::Missing(Entry { parent, name: name.to_vec() }));
                }
            }
            // Without a link on the way up to where it ends, there is none that only a walk can follow.
            Err(Errno::NOENT)
                if openat2(&start, parent, how, Mode::empty(), plain | ResolveFlags::NO_SYMLINKS)
                    .is_err_and(|error| error == Errno::NOENT) =>
            {
                return Err(Errno::NOENT);
            }
            _ => {}
        }
        if flags.is_empty() {
            Walk::new(self, request, start.open()?, path).finish(follow)
        } else {
            Err(Errno::NOENT)
        }
    }

    /// Where the object behind `fd` is.
    pub(crate) fn identify(&self, fd: OwnedFd) -> io::Result<Object> {
        let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
        let data = statx(&fd, "", AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT, mask)?;
        let path = self.path_of(fd.as_fd())?;
        let place = self.place(data.stx_mnt_id, &path);
        let path = if path.ends_with(DELETED) { without_mark(path, &data) } else { path };
        Ok(Object { fd, path, data, place })
    }

    fn place(&self, mount: u64, path: &[u8]) -> Place {
        if let Some(speculator) = self.speculator.get()
            && speculator.is_active()
            && let Some(is_shadow) = speculator.is_shadow(path, mount)
        {
            return if is_shadow { Place::Run } else { Place::Elsewhere };
        }
        match self.mounts.get() {
            Some(mounts) if mounts.of_proc.contains(&mount) => Place::Proc,
            Some(mounts) if mounts.all.contains(&mount) => Place::Run,
            _ => Place::Elsewhere,
        }
    }

    /// The path of what `fd` refers to, as the kernel tells it.
    pub(crate) fn path_of(&self, fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
        let path = readlinkat(&self.own_descriptors, itoa(fd.as_raw_fd()).text(), Vec::with_capacity(256))?;
        Ok(path.into_bytes())
    }
}

impl net::Paths for View {
    fn existing(&self, request: &Request, path: &[u8]) -> io::Result<net::Found> {
        match self.locate(request, libc::AT_FDCWD, path, true, ResolveFlags::empty())? {
            Located::Found(object) if object.place == Place::Run => {
                Ok(net::Found { file: object.fd, path: object.path })
            }
            Located::Found(_) => Err(Errno::ACCESS),
            Located::Missing(_) => Err(Errno::NOENT),
        }
    }

    fn missing(&self, request: &Request, path: &[u8]) -> Option<Vec<u8>> {
        match self.locate(request, libc::AT_FDCWD, path, true, ResolveFlags::empty()) {
            Ok(Located::Missing(entry)) => Some(entry.path()),
            _ => None,
        }
    }

    fn place(&self, request: &Request, path: &[u8]) -> io::Result<net::Place> {
        let entry = self.locate_entry(request, libc::AT_FDCWD, path)?;
        if entry.parent.place != Place::Run {
            return Err(Errno::ACCESS);
        }
        if let Some(keeping) = self.keeping.get() {
            keeping.announce(entry.path())?;
        }
        Ok(net::Place { path: entry.path(), directory: entry.parent.fd, name: entry.name })
    }
}

/// Where a path begins.
enum Start {
    /// At the root, for which no descriptor is opened.
    Root,
    /// At the working directory or a descriptor of the caller.
    Directory(OwnedFd),
}

impl Start {
    fn of(request: &Request, directory: i32, path: &[u8], flags: ResolveFlags) -> io::Result<Self> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        if path.starts_with(b"/") && !flags.contains(ResolveFlags::IN_ROOT) {
            return Ok(Self::Root);
        }
        let tid = request.tid().as_raw_pid();
        let link =
            if directory == libc::AT_FDCWD { format!("{tid}/cwd") } else { format!("{tid}/fd/{directory}") };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(request.proc(), link, flags, Mode::empty()) {
            Err(Errno::NOENT) if directory != libc::AT_FDCWD => Err(Errno::BADF),
            other => other.map(Self::Directory),
        }
    }

    fn open(self) -> io::Result<OwnedFd> {
        match self {
            Self::Root => openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()),
            Self::Directory(directory) => Ok(directory),
        }
    }
}

impl AsFd for Start {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            // What a path that begins with a slash is relative to has no meaning.
            Self::Root => CWD,
            Self::Directory(directory) => directory.as_fd(),
        }
    }
}

/// Walks a path one component at a time.
struct Walk<'a> {
    view: &'a View,
    request: &'a Request,
    at: OwnedFd,
    rest: VecDeque<Vec<u8>>,
    links: u32,
}

impl<'a> Walk<'a> {
    fn new(view: &'a View, request: &'a Request, start: OwnedFd, path: &[u8]) -> Self {
        let mut walk = Self { view, request, at: start, rest: VecDeque::new(), links: 0 };
        walk.prepend(path);
        walk
    }

    fn prepend(&mut self, path: &[u8]) {
        let directory = path.ends_with(b"/").then(|| b".".to_vec());
        let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let names: Vec<_> = names.map(<[u8]>::to_vec).chain(directory).collect();
        for name in names.into_iter().rev() {
            self.rest.push_front(name);
        }
    }

    fn finish(mut self, follow: bool) -> io::Result<Located> {
        while let Some(name) = self.rest.pop_front() {
            let is_last = self.rest.is_empty();
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let next = match openat(&self.at, &*name, flags, Mode::empty()) {
                Err(Errno::NOENT) if is_last => return self.missing(name),
                other => other?,
            };
            let object = self.view.identify(next)?;
            if object.kind() == FileType::Symlink && (follow || !is_last) {
                self.follow(&name, &object)?;
            } else {
                self.at = object.fd;
            }
        }
        self.view.identify(self.at).map(Located::Found)
    }

    fn missing(self, name: Vec<u8>) -> io::Result<Located> {
        Ok(Located::Missing(Entry { parent: self.view.identify(self.at)?, name }))
    }

    fn follow(&mut self, name: &[u8], link: &Object) -> io::Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        if link.place == Place::Proc {
            return self.follow_in_proc(name, link);
        }
        let target = readlinkat(&link.fd, "", Vec::new())?.into_bytes();
        self.step_to(&target)
    }

    fn step_to(&mut self, target: &[u8]) -> io::Result<()> {
        if target.starts_with(b"/") {
            self.at = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        }
        self.prepend(target);
        Ok(())
    }

    /// In `/proc`, a link at the top is text that names a process; one below is an object itself.
    fn follow_in_proc(&mut self, name: &[u8], link: &Object) -> io::Result<()> {
        let parent = self.view.identify(self.at.try_clone().map_err(|_| Errno::MFILE)?)?;
        match name {
            b"self" if parent.path == b"/proc" => {
                let process = self.request.own_number("NStgid:")?;
                self.prepend(process.as_bytes());
                Ok(())
            }
            b"thread-self" if parent.path == b"/proc" => {
                let number = |key| self.request.own_number(key);
                let (process, thread) = (number("NStgid:")?, number("NSpid:")?);
                self.prepend(format!("{process}/task/{thread}").as_bytes());
                Ok(())
            }
            _ if parent.path == b"/proc" => {
                let target = readlinkat(&link.fd, "", Vec::new())?.into_bytes();
                self.step_to(&target)
            }
            _ => {
                let plane = self.view.plane.get().and_then(Weak::upgrade).ok_or(Errno::ACCESS)?;
                plane.permit_link(self.request, self.at.as_fd(), &parent.path, name)?;
                self.at = openat(&self.at, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
                Ok(())
            }
        }
    }
}

/// The directory part and the last name of `path`; trailing slashes belong to neither.
pub(crate) fn split(path: &[u8]) -> io::Result<(&[u8], &[u8])> {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let trimmed = &path[..end];
    match trimmed.iter().rposition(|byte| *byte == b'/') {
        _ if path.is_empty() => Err(Errno::NOENT),
        // Nothing but slashes: the root itself, in itself.
        None if trimmed.is_empty() => Ok((b"/", b".")),
        None => Ok((b".", trimmed)),
        Some(0) => Ok((b"/", &trimmed[1..])),
        Some(slash) => Ok((&trimmed[..slash], &trimmed[slash + 1..])),
    }
}

/// `name` below `directory`.
pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let separator: &[u8] = if directory.ends_with(b"/") { b"" } else { b"/" };
    [directory, separator, name].concat()
}

/// The kernel marks the path of what has no name any more; a name may also look so by itself.
fn without_mark(mut path: Vec<u8>, data: &Statx) -> Vec<u8> {
    let named = statx(CWD, &*path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO);
    let is_name = named.is_ok_and(|named| {
        (named.stx_ino, named.stx_dev_major, named.stx_dev_minor)
            == (data.stx_ino, data.stx_dev_major, data.stx_dev_minor)
    });
    if !is_name {
        path.truncate(path.len() - DELETED.len());
    }
    path
}

/// A descriptor's number as text, without an allocation.
struct Number {
    digits: [u8; 12],
    start: usize,
}

impl Number {
    fn text(&self) -> &str {
        // INVARIANT: only ASCII digits were written.
        str::from_utf8(&self.digits[self.start..]).unwrap_or("")
    }
}

fn itoa(number: i32) -> Number {
    let mut result = Number { digits: [0; 12], start: 12 };
    let mut rest = number.unsigned_abs();
    loop {
        result.start -= 1;
        result.digits[result.start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return result;
        }
    }
}

/// Why what lies in no mount of the run is refused.
pub(super) const OUTSIDE: &str = "outside the run";

/// As the kernel's own limit (`path_resolution(7)`).
const MAX_LINKS: u32 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split_as_the_kernel_takes_them() {
        let cases = [
            ("a", ".", "a"),
            ("a/", ".", "a"),
            ("/a", "/", "a"),
            ("/a//", "/", "a"),
            ("/a/b", "/a", "b"),
            ("a/../b", "a/..", "b"),
            ("/", "/", "."),
            ("///", "/", "."),
        ];
        for (path, directory, name) in cases {
            assert_eq!(split(path.as_bytes()), Ok((directory.as_bytes(), name.as_bytes())), "{path}");
        }
        assert_eq!(split(b""), Err(Errno::NOENT));
    }

    #[test]
    fn numbers_are_written_in_full() {
        assert_eq!(itoa(0).text(), "0");
        assert_eq!(itoa(1_048_576).text(), "1048576");
    }
}
