//! Where the state folder is, and whether it can be trusted.

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::{StoreError, error};

/// `$VANTIO_STATE`, else the usual place.
pub fn locate() -> Result<PathBuf, StoreError> {
    match variable("VANTIO_STATE") {
        Some(path) => std::path::absolute(&path).map_err(|cause| error::folder(&path, cause)),
        None => usual().ok_or(StoreError::NoPlace),
    }
}

/// `$XDG_STATE_HOME/vantio`, else `~/.local/state/vantio`.
pub fn usual() -> Option<PathBuf> {
    // XDG Base Directory Specification: a relative path is invalid and ignored.
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    let base = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    base.map(|base| base.join("vantio"))
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Creates `root` when it does not exist, and refuses one that another user owns or
/// may write in.
pub fn prepare(root: &Path) -> Result<PathBuf, StoreError> {
    if let Some(parent) = root.parent() {
        fs::create_dir_all(parent).map_err(|cause| error::folder(parent, cause))?;
    }
    create(root)?;
    let root = root.canonicalize().map_err(|cause| error::folder(root, cause))?;
    let metadata = fs::metadata(&root).map_err(|cause| error::folder(&root, cause))?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(StoreError::Owner { path: root, owner: metadata.uid() });
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(StoreError::Writable { path: root, mode: metadata.mode() & 0o7777 });
    }
    Ok(root)
}

/// Creates a folder that only its owner may enter, unless it exists.
pub fn create(path: &Path) -> Result<(), StoreError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => Err(error::folder(path, cause)),
        _ => Ok(()),
    }
}

/// Creates a file that only its owner may read, in the place of what a crash left there.
pub fn create_file(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).map_err(|cause| error::folder(path, cause))
}

/// Has the file system keep what is in each of its folders apart (`chattr +T`), where it knows how: ext4 makes no file
/// in the place of one that was removed within minutes, and looks at all of those first. A run would pay for
/// what others before it have discarded.
pub fn spread(path: &Path) {
    let Ok(folder) = File::open(path) else { return };
    if let Ok(flags) = ioctl_getflags(&folder)
        && !flags.contains(IFlags::TOPDIR)
    {
        // It is a hint, and nothing but speed depends on it.
        let _ = ioctl_setflags(&folder, flags | IFlags::TOPDIR);
    }
}

/// Makes the folder that the next run will have. The first in its part of the disk waits for what is written down there,
/// and with `spread` every run's folder is one.
pub fn lay_ahead(runs: &Path) {
    // The run makes it itself where it is not there.
    let _ = create(&ahead(runs));
}

/// Makes the folder of a run, of the one that was laid ahead if there is one.
pub fn create_run(path: &Path) -> Result<(), StoreError> {
    match path.parent().map(|runs| fs::rename(ahead(runs), path)) {
        Some(Ok(())) => Ok(()),
        // Another run took it, or there was none.
        _ => create(path),
    }
}

fn ahead(runs: &Path) -> PathBuf {
    runs.join(".next")
}
