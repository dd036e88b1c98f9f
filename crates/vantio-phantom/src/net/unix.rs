//! Local sockets (`unix(7)`).
//!
//! The run reaches its own ones. One of the host is connected by the supervisor, in the
//! host's mount namespace, when a rule names its path.

use std::{
    collections::{HashMap, VecDeque},
    ffi::OsStr,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, net::UnixStream},
    },
    path::{Component, Path},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, statat},
    io::{self, Errno},
    process::{chdir, fchdir, geteuid, umask},
};
use vantio_core::{Access, Channel, Effect, Target};

use super::{
    BOTH_WAYS, Core,
    address::{Address, encode_path},
    inventory,
};
use crate::{
    census::named,
    nested,
    supervisor::request::{Reply, Request},
    sys::socket as raw,
};

/// Where a local path leads.
#[derive(Debug)]
pub(super) enum Peer {
    /// A socket that the run bound, and the path that it bound it to, as written.
    OfRun(OwnedFd, Vec<u8>),
    /// A permitted socket of the host, by its canonical path.
    OfHost(Vec<u8>),
}

/// Connects the local socket `file` to the bytes of an address.
pub(super) fn connect(
    core: &Arc<Core>,
    request: &Request,
    file: OwnedFd,
    bytes: Vec<u8>,
) -> io::Result<Reply> {
    let peer = match Address::parse(&bytes) {
        Address::Path(path) => Some(peer(core, request, &path)?),
        Address::Abstract(name) if name == nested::NAME => return nest(core, request),
        Address::Abstract(name) => {
            check_abstract(core, request, &name)?;
            let channel = named(&[b"\0", name.as_slice()].concat());
            core.judge.leads(file.as_fd(), channel.clone());
            core.judge.joins(request, channel, BOTH_WAYS)?;
            None
        }
        _ => None,
    };
    match &peer {
        Some(Peer::OfRun(_, name)) => {
            core.judge.leads(file.as_fd(), named(name));
            core.judge.joins(request, named(name), BOTH_WAYS)?;
        }
        Some(Peer::OfHost(path)) => core.judge.leads(file.as_fd(), Channel::HostSocket(path.clone())),
        None => {}
    }
    core.later(request, move |core, request| {
        let peer = peer.map(Peer::open).transpose()?;
        let bytes = match &peer {
            Some(socket) => name_of(socket.as_fd())?,
            None => bytes,
        };
        core.block(request, file.as_fd(), || raw::connect(file.as_fd(), &bytes).map(|()| 0))
    })
}

/// Gives the caller an end at which it can ask for a nested run, in the place of its socket.
fn nest(core: &Core, request: &Request) -> io::Result<Reply> {
    let ends = UnixStream::pair().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    request.replace(ends.0.as_fd(), request.int(0), true)?;
    if core.judge.oracle.nests(ends.1) { Ok(Reply::Value(0)) } else { Err(Errno::CONNREFUSED) }
}

/// Resolves `path` for the caller and asks whether it may reach what is there.
pub(super) fn peer(core: &Core, request: &Request, path: &[u8]) -> io::Result<Peer> {
    match core.paths.existing(request, path) {
        Ok(found) => {
            let stat = fstat(&found.file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
                return unless_hidden(core, request, Effect::FsOpen, &found.path, Errno::CONNREFUSED);
            }
            if let Some(name) = core.bound.name(&stat) {
                return Ok(Peer::OfRun(found.file, name));
            }
            of_host(core, request, found.path)
        }
        // A rule may name a socket in a folder that the run has replaced by its own, such as `/tmp`.
        Err(Errno::NOENT) if is_canonical(path) && core.would_permit(request, Target::Unix(path)) => {
            of_host(core, request, path.to_vec())
        }
        Err(Errno::NOENT) => match core.paths.missing(request, path) {
            Some(path) => unless_hidden(core, request, Effect::FsStat, &path, Errno::NOENT),
            None => Err(Errno::NOENT),
        },
        Err(error) if is_canonical(path) => unless_hidden(core, request, Effect::FsStat, path, error),
        Err(error) => Err(error),
    }
}

/// `error`, unless a deny hides what is at `path`: a mask shows something else there.
fn unless_hidden<T>(
    core: &Core,
    request: &Request,
    effect: Effect,
    path: &[u8],
    error: Errno,
) -> io::Result<T> {
    let target = Target::Path { path, access: Access::Read, subtree: false };
    core.ask(request, effect, target).and(Err(error))
}

impl Peer {
    /// Opens the socket's file with `O_PATH`. Called in the host's mount namespace.
    pub(super) fn open(self) -> io::Result<OwnedFd> {
        match self {
            Self::OfRun(file, _) => Ok(file),
            Self::OfHost(path) => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let file = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
                match FileType::from_raw_mode(fstat(&file)?.st_mode) {
                    FileType::Socket => Ok(file),
                    _ => Err(Errno::CONNREFUSED),
                }
            }
        }
    }
}

/// The bytes of an address that names exactly this file, wherever it is mounted.
pub(super) fn name_of(file: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    encode_path(format!("/proc/self/fd/{}", file.as_raw_fd()).as_bytes()).ok_or(Errno::NAMETOOLONG)
}

/// The run's network namespace hides the host's abstract names. To try one is an anomaly
/// all the same.
pub(super) fn check_abstract(core: &Core, request: &Request, name: &[u8]) -> io::Result<()> {
    if !inventory::run_has_abstract(core, name) && inventory::host_has_abstract(core, name) {
        core.ask(request, Effect::NetConnect, Target::Unix(&[b"@", name].concat()))?;
    }
    Ok(())
}

/// Binds the local socket `file` to a path, as the caller would: in its directory, with its
/// umask. The kernel remembers the path as the program wrote it.
pub(super) fn bind(
    core: &Core,
    request: &Request,
    file: BorrowedFd<'_>,
    bytes: &[u8],
    path: &[u8],
) -> io::Result<Reply> {
    let place = core.paths.place(request, path)?;
    let target = Target::Path { path: &place.path, access: Access::Write, subtree: false };
    core.ask(request, Effect::FsMknod, target)?;
    core.judge.joins(request, named(path), BOTH_WAYS)?;
    let visit = Visit::begin(request)?;
    let result = raw::bind(file, bytes);
    drop(visit);
    result?;
    // The path was resolved again. Where a symlink changed meanwhile, the new socket lies elsewhere in
    // the phantom and is not remembered, so nothing connects to it.
    let name = OsStr::from_bytes(&place.name);
    if let Ok(stat) = statat(&place.directory, name, AtFlags::SYMLINK_NOFOLLOW)
        && FileType::from_raw_mode(stat.st_mode) == FileType::Socket
    {
        core.bound.insert(&stat, path);
    }
    Ok(Reply::Value(0))
}

/// The local sockets that the run bound, by device and inode, with the names that the kernel lists. The oldest are
/// forgotten, and then refused.
#[derive(Default)]
pub(super) struct Bound(Mutex<Known>);

#[derive(Default)]
struct Known {
    names: HashMap<(u64, u64), Vec<u8>>,
    order: VecDeque<(u64, u64)>,
}

impl Bound {
    fn name(&self, stat: &Stat) -> Option<Vec<u8>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.names.get(&(stat.st_dev, stat.st_ino)).cloned()
    }

    fn insert(&self, stat: &Stat, name: &[u8]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.names.insert((stat.st_dev, stat.st_ino), name.to_vec()).is_none() {
            known.order.push_back((stat.st_dev, stat.st_ino));
        }
        if known.order.len() > BOUND_MAX
            && let Some(oldest) = known.order.pop_front()
        {
            known.names.remove(&oldest);
        }
    }
}

fn of_host(core: &Core, request: &Request, path: Vec<u8>) -> io::Result<Peer> {
    if core.hidden.iter().any(|hidden| Path::new(OsStr::from_bytes(&path)).starts_with(hidden)) {
        // Whoever answers there takes the supervisor for a person.
        return core.ask(request, Effect::ProcSyscall, Target::Syscall(HIDDEN)).and(Err(Errno::ACCESS));
    }
    core.judge.expects(request, Channel::HostSocket(path.clone()), BOTH_WAYS)?;
    core.ask(request, Effect::NetConnect, Target::Unix(&path))?;
    // The host's server would take the supervisor's user for the caller's.
    let users = request.status_field("Uid:").ok_or(Errno::SRCH)?;
    let caller = users.split_whitespace().nth(1).and_then(|user| user.parse::<u32>().ok());
    if caller == Some(geteuid().as_raw()) { Ok(Peer::OfHost(path)) } else { Err(Errno::ACCESS) }
}

/// Whether a path is absolute, without components that say nothing or lead back.
fn is_canonical(path: &[u8]) -> bool {
    let mut components = Path::new(OsStr::from_bytes(path)).components();
    let is_plain = components.next() == Some(Component::RootDir)
        && components.clone().all(|component| matches!(component, Component::Normal(_)));
    let rebuilt: Vec<u8> = components.flat_map(|part| [b"/", part.as_os_str().as_bytes()].concat()).collect();
    is_plain && rebuilt == path
}

/// The calling thread's stay in a caller's working directory, with its umask.
struct Visit {
    umask: Mode,
}

impl Visit {
    fn begin(request: &Request) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let link = format!("{}/cwd", request.tid().as_raw_pid());
        let directory = openat(request.proc(), link, flags, Mode::empty())?;
        let text = request.status_field("Umask:").ok_or(Errno::SRCH)?;
        let mask = u32::from_str_radix(&text, 8).map_err(|_| Errno::SRCH)?;
        if !request.is_waiting() {
            return Err(Errno::SRCH);
        }
        fchdir(directory)?;
        Ok(Self { umask: umask(Mode::from_raw_mode(mask)) })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        umask(self.umask);
        let _ = chdir("/");
    }
}

/// What is refused of a connection there.
const HIDDEN: &str = "connection to a socket in the state folder";
const BOUND_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_plain_absolute_paths_are_canonical() {
        for (path, expected) in [
            ("/run/a.sock", true),
            ("/", false),
            ("run/a.sock", false),
            ("/run/../a", false),
            ("/run/./a", false),
            ("/run//a", false),
            ("/run/a/", false),
        ] {
            assert_eq!(is_canonical(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn a_host_path_is_followed_through_no_symlink() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let _listener = UnixListener::bind(folder.join("socket")).unwrap();
        std::os::unix::fs::symlink("socket", folder.join("link")).unwrap();
        std::fs::write(folder.join("file"), "").unwrap();
        let open = |name| Peer::OfHost(folder.join(name).as_os_str().as_bytes().to_vec()).open();
        assert!(open("socket").is_ok());
        assert_eq!(open("link").err(), Some(Errno::LOOP));
        assert_eq!(open("file").err(), Some(Errno::CONNREFUSED));
        assert_eq!(open("missing").err(), Some(Errno::NOENT));
    }

    #[test]
    fn an_open_file_is_connected_to_by_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let file = Peer::OfHost(path.canonicalize().unwrap().as_os_str().as_bytes().to_vec()).open().unwrap();
        std::fs::rename(&path, folder.path().join("moved")).unwrap();
        let stream =
            rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None)
                .unwrap();
        raw::connect(stream.as_fd(), &name_of(file.as_fd()).unwrap()).unwrap();
        listener.accept().unwrap();
    }

    #[test]
    fn the_sockets_of_the_run_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let stat = rustix::fs::stat(folder.path()).unwrap();
        let bound = Bound::default();
        assert_eq!(bound.name(&stat), None);
        bound.insert(&stat, b"socket");
        assert_eq!(bound.name(&stat), Some(b"socket".to_vec()));
    }
}
