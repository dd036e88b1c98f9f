//! Modes, owners, times, sizes and attributes, changed on the agent's behalf.

use std::os::fd::AsFd as _;

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid,
        XattrFlags, chmodat, chownat, removexattr, setxattr, utimensat,
    },
    io::{self, Errno},
};
use vantio_core::{Access, Becomes, Effect, Time};

use super::{
    Plane,
    request::Request,
    resolve::{Located, OUTSIDE, Object, Place},
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

/// What a metadata call makes of it.
enum Metadata {
    Length(u64),
    Mode(Mode),
    Owner { user: Option<u32>, group: Option<u32> },
    Times(Timestamps),
    Attribute { name: Vec<u8>, value: Option<Vec<u8>>, flags: XattrFlags },
}

impl Plane {
    pub(super) fn change_metadata(&self, request: &Request) -> io::Result<()> {
        let subject = subject(request).ok_or(Errno::NOSYS)?;
        let metadata = Metadata::read(request)?;
        let object = self.subject(request, &subject)?;
        if object.place != Place::Run {
            self.put_aside(request)?;
            return self.outside(request, &object);
        }
        self.permit_becoming(request, effect(request.number()), &object.path, metadata.becomes())?;
        self.copies(request, object.data.stx_size)?;
        self.note_base(&object.path)?;
        let change = if matches!(metadata, Metadata::Length(_)) { Change::Content } else { Change::Metadata };
        let _passage = self.changing(&object, change)?;
        let _identity = self.assume(request)?;
        let changed = match metadata {
            Metadata::Length(length) => self.truncate(&object, length),
            Metadata::Mode(mode) => self.chmod(&object, mode),
            Metadata::Owner { user, group } => {
                let (user, group) = (user.map(Uid::from_raw), group.map(Gid::from_raw));
                chownat(&object.fd, "", user, group, AtFlags::EMPTY_PATH)
            }
            Metadata::Times(times) => self.set_times(&object, &times),
            Metadata::Attribute { name, value, flags } => self.xattr(&object, &name, value.as_deref(), flags),
        };
        self.as_in_run(request, changed)
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
            Located::Missing(entry) => {
                Err(self.absence(request, &entry, effect(request.number()), Access::Write))
            }
        }
    }

    /// Metadata of what no mount of the run holds: pipes and sockets are the agent's own and have none that
    /// matters; anything else came from outside.
    fn outside(&self, request: &Request, object: &Object) -> io::Result<()> {
        if matches!(object.kind(), FileType::Fifo | FileType::Socket) || !object.path.starts_with(b"/") {
            return Ok(());
        }
        let refused =
            self.refuse_path(request, effect(request.number()), OUTSIDE, &object.path, Access::Write);
        refused.or(Err(Errno::PERM))
    }

    fn truncate(&self, object: &Object, length: u64) -> io::Result<()> {
        match object.kind() {
            FileType::Directory => Err(Errno::ISDIR),
            FileType::RegularFile => {
                rustix::fs::ftruncate(self.view.reopen(object.fd.as_fd(), OFlags::WRONLY)?, length)
            }
            _ => Err(Errno::INVAL),
        }
    }

    fn chmod(&self, object: &Object, mode: Mode) -> io::Result<()> {
        if object.kind() == FileType::Symlink {
            return Err(Errno::OPNOTSUPP);
        }
        let (own, number) = self.view.handle(object.fd.as_fd());
        chmodat(own, number, mode, AtFlags::empty())
    }

    fn set_times(&self, object: &Object, times: &Timestamps) -> io::Result<()> {
        if object.kind() == FileType::Symlink {
            return utimensat(&object.fd, "", times, AtFlags::EMPTY_PATH);
        }
        let (own, number) = self.view.handle(object.fd.as_fd());
        utimensat(own, number, times, AtFlags::empty())
    }

    /// Only the attributes that an agent may own: what decides about privileges, and what the overlay
    /// keeps for itself, is refused.
    fn xattr(&self, object: &Object, name: &[u8], value: Option<&[u8]>, flags: XattrFlags) -> io::Result<()> {
        let is_own = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
        if !is_own && !name.starts_with(b"system.posix_acl_") {
            return Err(if name.starts_with(b"security.") { Errno::PERM } else { Errno::OPNOTSUPP });
        }
        let path = self.view.path_by_handle(object.fd.as_fd())?;
        match value {
            Some(value) => setxattr(&*path, name, value, flags),
            None => removexattr(&*path, name),
        }
    }
}

impl Metadata {
    /// Copied before anything is looked up, as the kernel does.
    fn read(request: &Request) -> io::Result<Self> {
        let mode = |argument: u64| Self::Mode(Mode::from_raw_mode(argument as u32 & 0o7777));
        let owner = |index| {
            let id = |argument: u64| (argument as u32 != u32::MAX).then_some(argument as u32);
            Self::Owner { user: id(request.argument(index)), group: id(request.argument(index + 1)) }
        };
        Ok(match request.number() {
            libc::SYS_truncate => {
                let length = i64::from_ne_bytes(request.argument(1).to_ne_bytes());
                Self::Length(u64::try_from(length).map_err(|_| Errno::INVAL)?)
            }
            libc::SYS_chmod | libc::SYS_fchmod => mode(request.argument(1)),
            libc::SYS_fchmodat | SYS_FCHMODAT2 => mode(request.argument(2)),
            libc::SYS_chown | libc::SYS_lchown | libc::SYS_fchown => owner(1),
            libc::SYS_fchownat => owner(2),
            libc::SYS_utime | libc::SYS_utimes | libc::SYS_futimesat | libc::SYS_utimensat => {
                Self::Times(read_times(request)?)
            }
            _ => Self::read_attribute(request)?,
        })
    }

    fn read_attribute(request: &Request) -> io::Result<Self> {
        let name = request.read_path(request.argument(1))?;
        if matches!(request.number(), libc::SYS_removexattr | libc::SYS_lremovexattr | libc::SYS_fremovexattr)
        {
            return Ok(Self::Attribute { name, value: None, flags: XattrFlags::empty() });
        }
        let size = request.argument(3) as usize;
        if size > XATTR_SIZE_MAX {
            return Err(Errno::TOOBIG);
        }
        let mut value = vec![0; size];
        request.read(request.argument(2), &mut value)?;
        let flags = XattrFlags::from_bits_retain(request.argument(4) as u32);
        Ok(Self::Attribute { name, value: Some(value), flags })
    }

    fn becomes(&self) -> Becomes<'_> {
        match self {
            Self::Length(length) => Becomes::Length(*length),
            Self::Mode(mode) => Becomes::Mode(mode.bits()),
            Self::Owner { user, group } => Becomes::Owner { user: *user, group: *group },
            Self::Times(times) => Becomes::Times {
                accessed: time(&times.last_access),
                modified: time(&times.last_modification),
            },
            Self::Attribute { name, value, .. } => Becomes::Attribute { name, value: value.as_deref() },
        }
    }
}

const fn time(time: &Timespec) -> Time {
    match time.tv_nsec {
        UTIME_NOW => Time::Now,
        UTIME_OMIT => Time::Kept,
        nanoseconds => Time::At { seconds: time.tv_sec, nanoseconds },
    }
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
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
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
