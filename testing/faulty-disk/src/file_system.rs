//! The answers to the kernel: all is passed on to the backing folder, but for what is to fail.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File, Metadata, Permissions},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{AtFlags, Mode, OFlags, linkat, mkdirat, openat, renameat_with, unlinkat};

use crate::{
    Options,
    fault::{Fault, Faults, Operation},
    nodes::Nodes,
    record::{Change, Kept, Recorder},
};

/// Nobody changes the backing folder but this, so the kernel may remember.
const TTL: Duration = Duration::from_hours(1);

/// A folder, shown at another place.
pub(crate) struct Passthrough {
    nodes: Nodes,
    files: Arc<Mutex<HashMap<u64, Arc<Open>>>>,
    next: AtomicU64,
    options: Options,
    faults: Arc<Faults>,
    recorder: Arc<Recorder>,
}

struct Open {
    file: File,
    node: u64,
    is_spared: bool,
    /// A sync of the file failed through another, and whoever has this one was not told yet.
    is_to_learn: AtomicBool,
}

impl Open {
    fn fails_once(&self) {
        self.is_to_learn.store(true, Ordering::Release);
    }

    /// Whether there was a failure that is told now.
    fn has_failed(&self) -> bool {
        self.is_to_learn.swap(false, Ordering::AcqRel)
    }
}

impl Passthrough {
    pub fn new(
        backing: &Path,
        options: Options,
        faults: Arc<Faults>,
        recorder: Arc<Recorder>,
    ) -> io::Result<Self> {
        let (nodes, next) = (Nodes::new(backing)?, AtomicU64::new(1));
        let shown = Self { nodes, files: Arc::default(), next, options, faults, recorder };
        if shown.options.is_recorded {
            shown.record_folder(1)?;
        }
        Ok(shown)
    }

    /// Records what is in a folder from the beginning, as if it had been made and synced.
    fn record_folder(&self, parent: u64) -> io::Result<()> {
        for entry in fs::read_dir(self.nodes.get(parent)?.path())? {
            let name = entry?.file_name();
            let (node, metadata) = self.nodes.look_up(parent, &name, self.is_spared(&name))?;
            let (is_folder, mode) = (metadata.is_dir(), metadata.mode());
            self.recorder.add(Change::Make { parent, name, node, is_folder, mode });
            if is_folder {
                self.record_folder(node)?;
            } else {
                let data = fs::read(self.nodes.get(node)?.path())?;
                self.recorder.add(Change::Write { node, offset: 0, data });
                self.recorder.add(Change::Sync { node, kept: Kept::All });
            }
        }
        self.recorder.add(Change::Sync { node: parent, kept: Kept::All });
        Ok(())
    }

    /// Refuses what is to fail; a sync that lies is not refused.
    fn meet(&self, operation: Operation, is_spared: bool) -> io::Result<Option<Fault>> {
        match if is_spared { None } else { self.faults.meet(operation) } {
            Some(Fault::Full) => Err(rustix::io::Errno::NOSPC.into()),
            Some(Fault::Write) => Err(rustix::io::Errno::IO.into()),
            other => Ok(other),
        }
    }

    fn is_spared(&self, name: &OsStr) -> bool {
        self.options.spared.as_deref().is_some_and(|spared| name == spared)
    }

    fn entry(&self, parent: u64, name: &OsStr) -> io::Result<(u64, FileAttr)> {
        let (number, metadata) = self.nodes.look_up(parent, name, self.is_spared(name))?;
        Ok((number, attributes(number, &metadata)))
    }

    fn make(
        &self,
        parent: u64,
        name: &OsStr,
        mode: u32,
        is_folder: bool,
        flags: i32,
    ) -> io::Result<(FileAttr, Option<File>)> {
        self.meet(Operation::Make, self.is_spared(name))?;
        let folder = self.nodes.get(parent)?;
        let work = || {
            let permissions = Mode::from_raw_mode(mode & 0o7777);
            let file = if is_folder {
                mkdirat(&*folder.handle, name, permissions)?;
                None
            } else {
                let access = OFlags::from_bits_retain(flags.cast_unsigned()) & OFlags::RWMODE;
                let flags = access | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                Some(File::from(openat(&*folder.handle, name, flags, permissions)?))
            };
            let (number, attributes) = self.entry(parent, name)?;
            Ok((number, attributes, file))
        };
        let name = name.to_owned();
        let change =
            |(node, ..): &(u64, FileAttr, _)| Change::Make { parent, name, node: *node, is_folder, mode };
        let (_, attributes, file) = self.recorder.note(work, change)?;
        Ok((attributes, file))
    }

    fn keep_open(&self, file: File, node: u64, is_spared: bool) -> FileHandle {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let open = Open { file, node, is_spared, is_to_learn: AtomicBool::new(false) };
        self.files().insert(number, Arc::new(open));
        FileHandle(number)
    }

    fn opened(&self, handle: FileHandle) -> io::Result<Arc<Open>> {
        self.files().get(&handle.0).cloned().ok_or_else(|| rustix::io::Errno::BADF.into())
    }

    fn files(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Open>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, node: u64, handle: FileHandle, offset: u64, data: &[u8]) -> io::Result<u32> {
        let open = self.opened(handle)?;
        self.meet(Operation::Write, open.is_spared)?;
        let change = |(): &()| Change::Write { node, offset, data: data.to_vec() };
        self.recorder.note(|| open.file.write_all_at(data, offset), change)?;
        Ok(u32::try_from(data.len()).unwrap_or(u32::MAX))
    }

    fn change_attributes(&self, node: u64, mode: Option<u32>, size: Option<u64>) -> io::Result<FileAttr> {
        let found = self.nodes.get(node)?;
        if let Some(mode) = mode {
            fs::set_permissions(found.path(), Permissions::from_mode(mode))?;
        }
        if let Some(size) = size {
            let file = found.open(OFlags::WRONLY.bits().cast_signed())?;
            self.recorder.note(|| file.set_len(size), |()| Change::Resize { node, size })?;
        }
        Ok(attributes(node, &found.handle.metadata()?))
    }

    /// Syncs, on a thread of its own where that takes longer; `through` an open file, or a folder.
    fn sync(
        &self,
        node: u64,
        through: Option<Arc<Open>>,
        work: impl FnOnce() -> io::Result<()> + Send + 'static,
        reply: ReplyEmpty,
    ) {
        let fault = self.faults.meet(Operation::Sync);
        let (recorder, delay) = (Arc::clone(&self.recorder), self.options.sync_delay);
        let files = Arc::clone(&self.files);
        let sync = move || {
            thread::sleep(delay);
            let kept = match fault {
                Some(Fault::Sync) => Kept::Some,
                Some(Fault::Lie) => Kept::Nothing,
                _ => Kept::All,
            };
            if kept == Kept::Some {
                let files = files.lock().unwrap_or_else(PoisonError::into_inner);
                files.values().filter(|open| open.node == node).for_each(|open| open.fails_once());
            }
            let synced = recorder.note(work, |()| Change::Sync { node, kept });
            let has_failed = through.is_some_and(|open| open.has_failed()) || kept == Kept::Some;
            let failure = || Err(rustix::io::Errno::IO.into());
            answer(synced.and_then(|()| if has_failed { failure() } else { Ok(()) }), reply);
        };
        if delay.is_zero() { sync() } else { drop(thread::spawn(sync)) }
    }
}

impl Filesystem for Passthrough {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer_entry(self.entry(parent.0, name).map(|(_, attributes)| attributes), reply);
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let metadata = self.nodes.get(node.0).and_then(|found| found.handle.metadata());
        answer_attributes(metadata.map(|metadata| attributes(node.0, &metadata)), reply);
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        answer_attributes(self.change_attributes(node.0, mode, size), reply);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let folder = self.make(parent.0, name, mode, true, 0);
        answer_entry(folder.map(|(attributes, _)| attributes), reply);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        match self.make(parent.0, name, mode, false, flags) {
            Ok((attributes, Some(file))) => {
                let handle = self.keep_open(file, attributes.ino.0, self.is_spared(name));
                reply.created(&TTL, &attributes, Generation(0), handle, FopenFlags::FOPEN_KEEP_CACHE);
            }
            Ok(_) => reply.error(Errno::EIO),
            Err(error) => reply.error(number(&error)),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(self.remove(parent.0, name, AtFlags::empty()), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(self.remove(parent.0, name, AtFlags::REMOVEDIR), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (is_exchange, how) = match flags {
            RenameFlags::RENAME_EXCHANGE => (true, rustix::fs::RenameFlags::EXCHANGE),
            RenameFlags::RENAME_NOREPLACE => (false, rustix::fs::RenameFlags::NOREPLACE),
            _ if flags.is_empty() => (false, rustix::fs::RenameFlags::empty()),
            _ => return reply.error(Errno::EINVAL),
        };
        let renamed = self.nodes.get(parent.0).and_then(|from| Ok((from, self.nodes.get(new_parent.0)?)));
        let renamed = renamed.and_then(|(from, to)| {
            let work = || Ok(renameat_with(&*from.handle, name, &*to.handle, new_name, how)?);
            let (name, new_name) = (name.to_owned(), new_name.to_owned());
            let (parent, new_parent) = (parent.0, new_parent.0);
            self.recorder.note(work, |()| Change::Rename { parent, name, new_parent, new_name, is_exchange })
        });
        answer(renamed, reply);
    }

    fn link(&self, _: &Request, node: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.nodes.get(node.0).and_then(|found| Ok((found, self.nodes.get(parent.0)?)));
        let linked = linked.and_then(|(found, folder)| {
            let (path, flags) = (found.path(), AtFlags::SYMLINK_FOLLOW);
            let work = || {
                linkat(rustix::fs::CWD, &path, &*folder.handle, name, flags)?;
                self.entry(parent.0, name)
            };
            let (parent, node, name) = (parent.0, node.0, name.to_owned());
            self.recorder.note(work, |_| Change::Link { parent, name, node })
        });
        answer_entry(linked.map(|(_, attributes)| attributes), reply);
    }

    fn open(&self, _: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let found = self.nodes.get(node.0);
        match found.and_then(|found| Ok(self.keep_open(found.open(flags.0)?, node.0, found.is_spared))) {
            Ok(handle) => reply.opened(handle, FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(number(&error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.opened(handle).and_then(|open| read_at(&open.file, offset, size as usize)) {
            Ok(data) => reply.data(&data),
            Err(error) => reply.error(number(&error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.write_all(node.0, handle, offset, data) {
            Ok(written) => reply.written(written),
            Err(error) => reply.error(number(&error)),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.files().remove(&handle.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, node: INodeNo, handle: FileHandle, is_data: bool, reply: ReplyEmpty) {
        match self.opened(handle) {
            Ok(open) => {
                let through = Some(Arc::clone(&open));
                let work = move || if is_data { open.file.sync_data() } else { open.file.sync_all() };
                self.sync(node.0, through, work, reply);
            }
            Err(error) => reply.error(number(&error)),
        }
    }

    fn fsyncdir(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.nodes.get(node.0).and_then(|found| found.open(0)) {
            Ok(folder) => self.sync(node.0, None, move || folder.sync_all(), reply),
            Err(error) => reply.error(number(&error)),
        }
    }

    fn readdir(&self, _: &Request, node: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.nodes.get(node.0).and_then(|found| fs::read_dir(found.path())?.collect());
        let entries: Vec<fs::DirEntry> = match listed {
            Ok(entries) => entries,
            Err(error) => return reply.error(number(&error)),
        };
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        for (place, entry) in entries.iter().enumerate().skip(skipped) {
            let kind = entry.file_type().ok().and_then(FileType::from_std).unwrap_or(FileType::RegularFile);
            let node = entry.metadata().map_or(u64::MAX, |metadata| metadata.ino());
            if reply.add(INodeNo(node), place as u64 + 1, kind, entry.file_name()) {
                break;
            }
        }
        reply.ok();
    }
}

impl Passthrough {
    fn remove(&self, parent: u64, name: &OsStr, flags: AtFlags) -> io::Result<()> {
        let folder = self.nodes.get(parent)?;
        let work = || Ok(unlinkat(&*folder.handle, name, flags)?);
        self.recorder.note(work, |()| Change::Unlink { parent, name: name.to_owned() })
    }
}

fn read_at(file: &File, mut offset: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut data = vec![0; size];
    let mut length = 0;
    while length < size {
        match file.read_at(&mut data[length..], offset)? {
            0 => break,
            read => (length, offset) = (length + read, offset + read as u64),
        }
    }
    data.truncate(length);
    Ok(data)
}

fn attributes(node: u64, metadata: &Metadata) -> FileAttr {
    let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    FileAttr {
        ino: INodeNo(node),
        size: metadata.len(),
        blocks: metadata.blocks(),
        atime: changed,
        mtime: changed,
        ctime: changed,
        crtime: changed,
        kind: FileType::from_std(metadata.file_type()).unwrap_or(FileType::RegularFile),
        perm: (metadata.mode() & 0o7777) as u16,
        nlink: u32::try_from(metadata.nlink()).unwrap_or(u32::MAX),
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn number(error: &io::Error) -> Errno {
    Errno::from_i32(error.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error()))
}

fn answer(result: io::Result<()>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(number(&error)),
    }
}

fn answer_entry(result: io::Result<FileAttr>, reply: ReplyEntry) {
    match result {
        Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
        Err(error) => reply.error(number(&error)),
    }
}

fn answer_attributes(result: io::Result<FileAttr>, reply: ReplyAttr) {
    match result {
        Ok(attributes) => reply.attr(&TTL, &attributes),
        Err(error) => reply.error(number(&error)),
    }
}
