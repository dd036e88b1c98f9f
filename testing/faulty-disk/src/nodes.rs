//! Files and folders of the backing folder, by number.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{File, Metadata, OpenOptions},
    io,
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::fs::{Mode, OFlags, openat};

/// All that were looked up, for good: a number never means another file later.
pub(crate) struct Nodes(Mutex<Table>);

struct Table {
    nodes: Vec<Node>,
    numbers: HashMap<(u64, u64), u64>,
}

/// A file or folder.
#[derive(Clone)]
pub(crate) struct Node {
    /// Opened without a right to read or write.
    pub handle: Arc<File>,
    /// Nothing fails for it.
    pub is_spared: bool,
}

impl Node {
    /// A path of it, as long as it is held.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.handle.as_raw_fd()))
    }

    /// Opens it with the access that `flags` ask for.
    pub fn open(&self, flags: i32) -> io::Result<File> {
        let access = OFlags::from_bits_retain(flags.cast_unsigned()) & OFlags::RWMODE;
        let (read, write) = (access != OFlags::WRONLY, access != OFlags::RDONLY);
        OpenOptions::new().read(read).write(write).open(self.path())
    }
}

impl Nodes {
    /// Begins with the folder itself, which is number 1.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH.bits().cast_signed();
        let handle = OpenOptions::new().read(true).custom_flags(flags).open(folder)?;
        let key = key(&handle.metadata()?);
        let node = Node { handle: Arc::new(handle), is_spared: false };
        Ok(Self(Mutex::new(Table { nodes: vec![node], numbers: HashMap::from([(key, 1)]) })))
    }

    pub fn get(&self, number: u64) -> io::Result<Node> {
        let index = usize::try_from(number).unwrap_or(usize::MAX).wrapping_sub(1);
        self.lock().nodes.get(index).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The number of what has a name now.
    pub fn look_up(&self, parent: u64, name: &OsStr, is_spared: bool) -> io::Result<(u64, Metadata)> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = File::from(openat(&*self.get(parent)?.handle, name, flags, Mode::empty())?);
        let metadata = handle.metadata()?;
        let mut table = self.lock();
        let next = table.nodes.len() as u64 + 1;
        let number = *table.numbers.entry(key(&metadata)).or_insert(next);
        if number == next {
            table.nodes.push(Node { handle: Arc::new(handle), is_spared });
        }
        Ok((number, metadata))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
