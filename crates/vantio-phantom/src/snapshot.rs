//! A copy of the workspace as it was when a run started, for the run to see in its place.
//!
//! The lower layer of an overlay is the host's own directory, and shows what the host changes: a view that stands still
//! needs a copy. Where the state folder's file system shares extents with the workspace's (btrfs, xfs) it is made of
//! references and takes no room; elsewhere content is copied, up to a bound. It lies in the run's folder, is only read,
//! and is removed when the run ends: what the run changed is in its upper layer whole.
//!
//! The copy is not made in one moment. What changes while it is copied is copied again; what changes all the time may be
//! of no single moment.

use std::{
    collections::{HashMap, HashSet},
    fs::{DirBuilder, File},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::{
    fd::{AsFd as _, BorrowedFd},
    fs::{
        AtFlags, CWD, Gid, Mode, OFlags, chownat, fstatvfs, ftruncate, ioctl_ficlone, linkat, mkdirat,
        mknodat, openat, readlinkat, symlinkat,
    },
    io::Errno,
    process::{getegid, geteuid},
    time::{ClockId, clock_gettime},
};

use crate::{
    changes::{
        Escaped, FileType, Node, Stamp,
        beneath::{Pinned, is_within, join, magic, split, stat_fd},
        copy_content, names_in,
        node::xattrs_of,
    },
    commit::{discard::remove_tree, meta::Meta},
};

/// How much was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes that take room of their own.
    pub bytes: u64,
    /// Files that changed whenever they were copied.
    pub moving: u64,
}

/// How much may be taken.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes that take room of their own.
    pub bytes: u64,
}

impl Bounds {
    /// A million entries and four gibibytes.
    pub const USUAL: Self = Self { entries: 1_000_000, bytes: 4 << 30 };
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is too much.
    #[error("a snapshot of `{}` takes more than {limit} {what}", Escaped(.workspace.as_os_str().as_bytes()))]
    TooLarge {
        /// The workspace.
        workspace: PathBuf,
        /// How much may be.
        limit: u64,
        /// Of what.
        what: &'static str,
    },
    /// Something else is mounted there.
    #[error("`{}` is another mount, and no snapshot has one", Escaped(.path.as_os_str().as_bytes()))]
    Mount {
        /// Where.
        path: PathBuf,
    },
    /// The system refused.
    #[error("`{}` cannot be copied: {source}", Escaped(.path.as_os_str().as_bytes()))]
    Failed {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl SnapshotError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "E_SNAPSHOT_SIZE",
            Self::Mount { .. } => "E_SNAPSHOT_MOUNT",
            Self::Failed { .. } => "E_SNAPSHOT",
        }
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => {
                "start the run in a smaller folder, keep the state folder (VANTIO_STATE) on the same btrfs or xfs, where a copy \
                 takes no room, or say `view: live` below `phantom`"
            }
            Self::Mount { .. } => {
                "unmount it, start the run in another folder, or say `view: live` below `phantom`"
            }
            Self::Failed { .. } => {
                "a snapshot needs to read all of the workspace, and room in the state folder; or say `view: live` below `phantom`"
            }
        }
    }
}

/// Copies `workspace`, for the run whose folder is `run` and that began at `started_ns`. Of what is `left_out` only the name is
/// there: the run does not see more of it. `progress` is told now and then.
pub fn take(
    run: &Path,
    workspace: &Path,
    left_out: &[PathBuf],
    (started_ns, bounds): (i64, Bounds),
    progress: &mut dyn FnMut(Taken),
) -> Result<(), SnapshotError> {
    let failed = |path: &Path, source: io::Error| SnapshotError::Failed { path: path.to_owned(), source };
    await_tick(Stamp::from_ns(started_ns));
    let place = copy_of(run);
    DirBuilder::new().mode(0o700).create(&place).map_err(|error| failed(&place, error))?;
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(CWD, path, flags, Mode::empty()).map_err(io::Error::from);
        opened.and_then(Pinned::adopt).map_err(|error| failed(path, error))
    };
    let left_out = left_out.iter().filter_map(|path| path.strip_prefix(workspace).ok());
    Copying {
        from: open(workspace)?,
        to: open(&place)?,
        left_out: left_out.map(|path| path.as_os_str().as_bytes().to_vec()).collect(),
        links: HashMap::new(),
        bounds,
        taken: Taken::default(),
        progress,
        dress,
        lost: None,
    }
    .all()
    .map_err(|(path, stop)| {
        let path = workspace.join(Path::new(std::ffi::OsStr::from_bytes(&path)));
        match stop {
            Stop::Entries => SnapshotError::TooLarge {
                workspace: workspace.to_owned(),
                limit: bounds.entries,
                what: "entries",
            },
            Stop::Bytes => SnapshotError::TooLarge {
                workspace: workspace.to_owned(),
                limit: bounds.bytes,
                what: "bytes",
            },
            Stop::Failed(error) if Errno::from_io_error(&error) == Some(Errno::XDEV) => {
                SnapshotError::Mount { path }
            }
            Stop::Failed(error) => failed(&path, error),
        }
    })
}

/// Copies what is in the directory `from` to `to`, which is empty, exactly but for sockets and devices; fails where owner or
/// attributes cannot be given.
pub(crate) fn copy_tree(from: Pinned, to: Pinned) -> io::Result<()> {
    copy(from, to, None).map(|_| ())
}

/// The same of all that can be copied so. What cannot is returned, and nothing of it is in `to`; of a directory of which only
/// some of the entries cannot, those.
pub(crate) fn copy_what_can_be(from: Pinned, to: Pinned) -> io::Result<Vec<Vec<u8>>> {
    copy(from, to, Some(Vec::new()))
}

fn copy(from: Pinned, to: Pinned, lost: Option<Vec<Vec<u8>>>) -> io::Result<Vec<Vec<u8>>> {
    let mut copying = Copying {
        from,
        to,
        left_out: HashSet::new(),
        links: HashMap::new(),
        bounds: Bounds { entries: u64::MAX, bytes: u64::MAX },
        taken: Taken::default(),
        progress: &mut |_| {},
        dress: |copy, original| Meta::of(original).set(copy),
        lost,
    };
    copying.all().map_err(|(_, stop)| match stop {
        Stop::Failed(error) => error,
        Stop::Entries | Stop::Bytes => io::ErrorKind::FileTooLarge.into(),
    })?;
    Ok(copying.lost.unwrap_or_default())
}

/// Removes the copy of a run that is over, if it had one.
pub fn remove(run: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(CWD, run, flags, Mode::empty()) {
        Ok(folder) => remove_tree(folder.as_fd(), FOLDER.as_bytes()),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Where the copy of a run is.
pub(crate) fn copy_of(run: &Path) -> PathBuf {
    run.join(FOLDER)
}

/// Waits until whatever changes has a later change time than `started`: file systems take it from a clock that lags behind.
fn await_tick(started: Stamp) {
    for _ in 0..100 {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        if (Stamp { sec: now.tv_sec, nsec: now.tv_nsec as u32 }) > started {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

struct Copying<'a> {
    from: Pinned,
    to: Pinned,
    left_out: HashSet<Vec<u8>>,
    /// The copies of files with several names.
    links: HashMap<(u64, u64), Vec<u8>>,
    bounds: Bounds,
    taken: Taken,
    progress: &'a mut dyn FnMut(Taken),
    /// Gives a copy what the original has besides content.
    dress: fn(BorrowedFd<'_>, &Node) -> io::Result<()>,
    /// What could not be copied, where the rest is wanted all the same.
    lost: Option<Vec<Vec<u8>>>,
}

/// Why copying stopped.
enum Stop {
    Entries,
    Bytes,
    Failed(io::Error),
}

impl<E: Into<io::Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Copying<'_> {
    /// Copies everything, or says what could not be.
    fn all(&mut self) -> Result<(), (Vec<u8>, Stop)> {
        let mut waiting = vec![Vec::new()];
        let mut done = Vec::new();
        while let Some(path) = waiting.pop() {
            let (node, names) = match self.directory(&path) {
                Ok(found) => found,
                Err(error) => {
                    self.lose(path, error.into())?;
                    continue;
                }
            };
            for name in names {
                let path = join(&path, &name);
                match self.entry(&path) {
                    Ok(true) => waiting.push(path),
                    Ok(false) => {}
                    Err(stop) => self.lose(path, stop)?,
                }
            }
            done.push((path, node));
        }
        // Afterwards: writing in a directory moves its times, and some may not be written in.
        for (path, node) in done.into_iter().rev() {
            let directory = self.to.dir(&path);
            if let Err(error) = directory.and_then(|directory| (self.dress)(directory.as_fd(), &node)) {
                self.lose(path, error.into())?;
            }
        }
        Ok(())
    }

    /// Leaves out what could not be copied, with what there is of it already; or gives up.
    fn lose(&mut self, path: Vec<u8>, stop: Stop) -> Result<(), (Vec<u8>, Stop)> {
        let Some(lost) = self.lost.as_mut().filter(|_| !path.is_empty()) else { return Err((path, stop)) };
        let removed = self.to.parent(&path).and_then(|(parent, name)| remove_tree(parent.as_fd(), name));
        removed.map_err(|error| (path.clone(), error.into()))?;
        lost.retain(|other| !is_within(other, &path));
        lost.push(path);
        Ok(())
    }

    /// What a directory is, and the names in it.
    fn directory(&self, path: &[u8]) -> io::Result<(Node, Vec<Vec<u8>>)> {
        let opened = self.from.at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok((node_of(opened.as_fd())?, names_in(&opened)?))
    }

    /// Copies one entry; true for a directory, which is made empty.
    fn entry(&mut self, path: &[u8]) -> Result<bool, Stop> {
        let found = match self.from.at(path, OFlags::PATH | OFlags::NOFOLLOW) {
            // It is gone meanwhile.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => return Ok(false),
            other => other?,
        };
        let node = node_of(found.as_fd())?;
        self.count()?;
        let (parent, name) = split(path);
        let parent = self.to.dir(parent)?;
        if node.is_dir() {
            mkdirat(&parent, name, Mode::RWXU)?;
            let is_left_out = self.left_out.contains(path);
            if is_left_out {
                (self.dress)(self.to.dir(path)?.as_fd(), &node)?;
            }
            return Ok(!is_left_out);
        }
        match node.file_type {
            FileType::File => self.file(path, &node, parent.as_fd(), name)?,
            FileType::Symlink => {
                symlinkat(readlinkat(&found, "", Vec::new())?, &parent, name)?;
                (self.dress)(self.to.at(path, OFlags::PATH | OFlags::NOFOLLOW)?.as_fd(), &node)?;
            }
            FileType::Fifo => {
                mknodat(&parent, name, rustix::fs::FileType::Fifo, Mode::RWXU, 0)?;
                (self.dress)(self.to.at(path, OFlags::PATH | OFlags::NOFOLLOW)?.as_fd(), &node)?;
            }
            // Nobody listens at a copy of a socket, and a device is the host's.
            _ if self.lost.is_some() => return Err(io::ErrorKind::Unsupported.into()),
            _ => {}
        }
        Ok(false)
    }

    /// Copies a file, or names the copy that it has.
    fn file(&mut self, path: &[u8], node: &Node, parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Stop> {
        if let Some(known) = self.links.get(&node.id) {
            let known = self.to.at(known, OFlags::PATH | OFlags::NOFOLLOW)?;
            return Ok(linkat(CWD, magic(known.as_fd()), parent, name, AtFlags::SYMLINK_FOLLOW)?);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = File::from(openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?);
        if self.left_out.contains(path) {
            return Ok((self.dress)(to.as_fd(), node)?);
        }
        let node = self.content(path, &to)?;
        (self.dress)(to.as_fd(), &node)?;
        if node.links > 1 {
            self.links.insert(node.id, path.to_vec());
        }
        Ok(())
    }

    /// Copies content, and says what the file was when it was copied.
    fn content(&mut self, path: &[u8], to: &File) -> Result<Node, Stop> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let from = match self.from.at(path, flags | OFlags::NOATIME) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => self.from.at(path, flags)?,
            other => other?,
        };
        let from = File::from(from);
        let mut room = 0;
        for _ in 0..TRIES {
            let before = node_of(from.as_fd())?;
            if ioctl_ficlone(to, &from).is_err() {
                self.taken.bytes += before.allocated.saturating_sub(room);
                room = room.max(before.allocated);
                if self.taken.bytes > self.bounds.bytes {
                    return Err(Stop::Bytes);
                }
                ftruncate(to, 0)?;
                copy_content(&from, to)?;
                self.leave_room(to)?;
            }
            if node_of(from.as_fd())?.is_untouched_since(&before) {
                return Ok(before);
            }
        }
        self.taken.moving += 1;
        Ok(node_of(from.as_fd())?)
    }

    /// Where not all has to be copied, what copies take leaves some room for the records that are written afterwards.
    fn leave_room(&self, to: &File) -> io::Result<()> {
        if self.lost.is_none() || to.metadata()?.blocks() == 0 {
            return Ok(());
        }
        let free = fstatvfs(to)?;
        // A file system in memory may not say how large it is.
        let is_full = free.f_blocks > 0 && free.f_bavail.saturating_mul(free.f_frsize) < ROOM_LEFT;
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn count(&mut self) -> Result<(), Stop> {
        self.taken.entries += 1;
        if self.taken.entries > self.bounds.entries {
            return Err(Stop::Entries);
        }
        if self.taken.entries.is_multiple_of(PROGRESS_EVERY) {
            (self.progress)(self.taken);
        }
        Ok(())
    }
}

fn node_of(fd: BorrowedFd<'_>) -> io::Result<Node> {
    let mut node = Node::of_stat(&stat_fd(fd)?);
    if node.file_type != FileType::Symlink {
        node.xattrs = xattrs_of(fd)?;
    }
    Ok(node)
}

/// Gives a copy what the original has besides content: of owner and attributes what this user may give.
fn dress(copy: BorrowedFd<'_>, original: &Node) -> io::Result<()> {
    if geteuid().is_root() {
        return Meta::of(original).set(copy);
    }
    let mut node = Node { uid: geteuid().as_raw(), gid: getegid().as_raw(), ..original.clone() };
    if original.gid != node.gid
        && chownat(CWD, magic(copy), None, Some(Gid::from_raw(original.gid)), AtFlags::empty()).is_ok()
    {
        node.gid = original.gid;
    }
    node.xattrs.retain(|name, _| name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_"));
    Meta::of(&node).set(copy)
}

/// In the run's folder.
const FOLDER: &str = "snapshot";
/// How often a file is copied that changes meanwhile.
const TRIES: usize = 3;
const PROGRESS_EVERY: u64 = 64;
/// Bytes, of the file system that copies are on.
const ROOM_LEFT: u64 = 1 << 18;
