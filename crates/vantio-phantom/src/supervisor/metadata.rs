//! Modes, owners, times, sizes and attributes, changed on the agent's behalf.

use std::os::fd::AsFd as _;

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat,
        chownat, removexattr, setxattr, utimensat,
    },
    io::{self, Errno},
};
use vantio_core::{Access, Effect};

use super::{
    Plane,
    request::Request,
    resolve::{Located, Object, Place},
};
use crate::checkpoint::Change;

/// What a metadata call acts on.
enum Subject {
    /// The path at an argument, relative to a descriptor; `follow` the last link.
    Path { directory: i32, path: usize, follow: bool },
    /// As `Path`, by the `AT_*` flags given.
    At { directory: i32, path: usize, flags: i32 },
    /// The descriptor in the first argument.
    Descriptor,
}

impl Plane {
    pub(super) fn change_metadata(&self, request: &Request) -> io::Result<()> {
        let number = request.number();
        let object = self.subject(request, &subject(request).ok_or(Errno::NOSYS)?)?;
        if object.place != Place::Run {
            self.put_aside(request)?;
            return self.outside(request, &object);
        }
        self.permit_path(request, effect(number), &object.path, Access::Write, false)?;
        self.copies(request, object.data.stx_size)?;
        self.note_base(&object.path)?;
        let change = if number == libc::SYS_truncate { Change::Content } else { Change::Metadata };
        let _passage = self.changing(&object, change)?;
        let _identity = self.assume(request)?;
        match number {
            libc::SYS_truncate => self.truncate(request, &object),
            libc::SYS_chmod | libc::SYS_fchmod => self.chmod(&object, request.argument(1)),
            libc::SYS_fchmodat | SYS_FCHMODAT2 => self.chmod(&object, request.argument(2)),
            libc::SYS_chown | libc::SYS_lchown | libc::SYS_fchown => chown(request, &object, 1),
            libc::SYS_fchownat => chown(request, &object, 2),
            libc::SYS_utime | libc::SYS_utimes | libc::SYS_futimesat | libc::SYS_utimensat => {
                self.set_times(request, &object)
            }
            _ => self.xattr(request, &object),
        }
    }

    fn subject(&self, request: &Request, subject: &Subject) -> io::Result<Object> {
        let (directory, path, follow, may_be_empty) = match *subject {
            Subject::Descriptor => return self.view.locate_descriptor(request, request.int(0)),
            Subject::Path { directory, path, follow } => (directory, path, follow, false),
            Subject::At { directory, path, flags } => {
                if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
                    return Err(Errno::INVAL);
                }
                (directory, path, flags & libc::AT_SYMLINK_NOFOLLOW == 0, flags & libc::AT_EMPTY_PATH != 0)
            }
        };
        let path = request.read_path(request.argument(path))?;
        if path.is_empty() && may_be_empty {
            return self.view.locate_descriptor(request, directory);
        }
        match self.locate(request, directory, &path, follow, ResolveFlags::empty())? {
            Located::Found(object) => Ok(object),
            Located::Missing(entry) => Err(self.absence(request, &entry)),
        }
    }

    /// Metadata of what no mount of the run holds: pipes and sockets are the agent's own and have none that
    /// matters; anything else came from outside.
    fn outside(&self, request: &Request, object: &Object) -> io::Result<()> {
        if matches!(object.kind(), FileType::Fifo | FileType::Socket) || !object.path.starts_with(b"/") {
            return Ok(());
        }
        let path = [b"outside the run: ".as_slice(), &object.path].concat();
        self.permit_path(request, effect(request.number()), &path, Access::Write, false)?;
        Err(Errno::PERM)
    }

    fn truncate(&self, request: &Request, object: &Object) -> io::Result<()> {
        match object.kind() {
            FileType::Directory => Err(Errno::ISDIR),
            FileType::RegularFile => {
                let length = i64::from_ne_bytes(request.argument(1).to_ne_bytes());
                let length = u64::try_from(length).map_err(|_| Errno::INVAL)?;
                rustix::fs::ftruncate(self.view.reopen(object.fd.as_fd(), OFlags::WRONLY)?, length)
            }
            _ => Err(Errno::INVAL),
        }
    }

    fn chmod(&self, object: &Object, mode: u64) -> io::Result<()> {
        if object.kind() == FileType::Symlink {
            return Err(Errno::OPNOTSUPP);
        }
        let (own, number) = self.view.handle(object.fd.as_fd());
        chmodat(own, number, Mode::from_raw_mode(mode as u32 & 0o7777), AtFlags::empty())
    }

    fn set_times(&self, request: &Request, object: &Object) -> io::Result<()> {
        let times = read_times(request)?;
        if object.kind() == FileType::Symlink {
            return utimensat(&object.fd, "", &times, AtFlags::EMPTY_PATH);
        }
        let (own, number) = self.view.handle(object.fd.as_fd());
        utimensat(own, number, &times, AtFlags::empty())
    }

    /// Only the attributes that an agent may own: what decides about privileges, and what the overlay
    /// keeps for itself, is refused.
    fn xattr(&self, request: &Request, object: &Object) -> io::Result<()> {
        let name = request.read_path(request.argument(1))?;
        let is_own = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
        if !is_own && !name.starts_with(b"system.posix_acl_") {
            return Err(if name.starts_with(b"security.") { Errno::PERM } else { Errno::OPNOTSUPP });
        }
        let path = self.view.path_by_handle(object.fd.as_fd())?;
        if matches!(request.number(), libc::SYS_removexattr | libc::SYS_lremovexattr | libc::SYS_fremovexattr)
        {
            return removexattr(&*path, &*name);
        }
        let size = request.argument(3) as usize;
        if size > XATTR_SIZE_MAX {
            return Err(Errno::TOOBIG);
        }
        let mut value = vec![0; size];
        request.read(request.argument(2), &mut value)?;
        setxattr(&*path, &*name, &value, XattrFlags::from_bits_retain(request.argument(4) as u32))
    }
}

fn chown(request: &Request, object: &Object, first: usize) -> io::Result<()> {
    let (user, group) = (request.argument(first) as u32, request.argument(first + 1) as u32);
    let user = (user != u32::MAX).then(|| Uid::from_raw(user));
    let group = (group != u32::MAX).then(|| Gid::from_raw(group));
    chownat(&object.fd, "", user, group, AtFlags::EMPTY_PATH)
}

fn subject(request: &Request) -> Option<Subject> {
    let path = |follow| Subject::Path { directory: libc::AT_FDCWD, path: 0, follow };
    let at = |path: usize, flags| Subject::At { directory: request.int(0), path, flags };
    Some(match request.number() {
        // A null path means the descriptor itself.
        libc::SYS_futimesat | libc::SYS_utimensat if request.argument(1) == 0 => Subject::Descriptor,
        libc::SYS_truncate
        | libc::SYS_chmod
        | libc::SYS_chown
        | libc::SYS_setxattr
        | libc::SYS_removexattr
        | libc::SYS_utime
        | libc::SYS_utimes => path(true),
        libc::SYS_lchown | libc::SYS_lsetxattr | libc::SYS_lremovexattr => path(false),
        libc::SYS_fchmod | libc::SYS_fchown | libc::SYS_fsetxattr | libc::SYS_fremovexattr => {
            Subject::Descriptor
        }
        libc::SYS_fchmodat | libc::SYS_futimesat => at(1, 0),
        SYS_FCHMODAT2 | libc::SYS_utimensat => at(1, request.int(3)),
        libc::SYS_fchownat => at(1, request.int(4)),
        _ => return None,
    })
}

fn effect(number: i64) -> Effect {
    match number {
        libc::SYS_truncate => Effect::FsTruncate,
        libc::SYS_chmod | libc::SYS_fchmod | libc::SYS_fchmodat | SYS_FCHMODAT2 => Effect::FsChmod,
        libc::SYS_chown | libc::SYS_lchown | libc::SYS_fchown | libc::SYS_fchownat => Effect::FsChown,
        libc::SYS_utime | libc::SYS_utimes | libc::SYS_futimesat | libc::SYS_utimensat => Effect::FsUtime,
        _ => Effect::FsXattr,
    }
}

/// The two times of any of the four calls; a null pointer means now.
fn read_times(request: &Request) -> io::Result<Timestamps> {
    let (pointer, words, unit) = match request.number() {
        libc::SYS_utime => (request.argument(1), 2, 0),
        libc::SYS_utimes => (request.argument(1), 4, 1_000),
        libc::SYS_futimesat => (request.argument(2), 4, 1_000),
        _ => (request.argument(2), 4, 1),
    };
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    if pointer == 0 {
        return Ok(Timestamps { last_access: now, last_modification: now });
    }
    let mut bytes = [0; 32];
    request.read(pointer, &mut bytes[..8 * words])?;
    let word = |index: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[8 * index..8 * index + 8]);
        i64::from_ne_bytes(word)
    };
    if unit == 1_000 && !(0..1_000_000).contains(&word(1)) | !(0..1_000_000).contains(&word(3)) {
        return Err(Errno::INVAL);
    }
    let time = |seconds, fraction: i64| Timespec { tv_sec: seconds, tv_nsec: fraction * unit };
    Ok(if unit == 0 {
        Timestamps { last_access: time(word(0), 0), last_modification: time(word(1), 0) }
    } else {
        Timestamps { last_access: time(word(0), word(1)), last_modification: time(word(2), word(3)) }
    })
}

const SYS_FCHMODAT2: i64 = 452;
/// As the kernel's own limit.
const XATTR_SIZE_MAX: usize = 65_536;
