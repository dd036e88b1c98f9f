//! Overlays, and the folders behind them.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    },
    path::Path,
};

use rustix::{
    fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, open},
    mount::{MountFlags, mount},
};

use crate::changes::beneath::is_absent;

/// Makes the upper and work folder of a layer over the host's `lower`; the upper
/// folder shows as the root of the merged view, so it takes over what `lower` looks like. A layer over what is
/// gone by now stays empty.
pub(crate) fn prepare(folder: &Path, lower: &Path, privileged: bool) -> io::Result<()> {
    let upper = folder.join("upper");
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(folder.join("work"))?;
    let data = match fs::metadata(lower) {
        Err(error) if is_absent(&error) => return Ok(()),
        other => other?,
    };
    if privileged {
        chown(&upper, Some(data.uid()), Some(data.gid()))?;
        return fs::set_permissions(&upper, fs::Permissions::from_mode(data.mode() & 0o7777));
    }
    // A user cannot give the folder away, so its bits say what the user may do with the original.
    let may = |access, bits| if accessat(CWD, lower, access, AtFlags::empty()).is_ok() { bits } else { 0 };
    let owned = data.uid() == rustix::process::geteuid().as_raw();
    let mode = if owned {
        data.mode() & 0o7777
    } else {
        // The owner's own reading is never taken away: a diff has to look into the folder later.
        0o500 | may(Access::READ_OK, 0o444) | may(Access::WRITE_OK, 0o222) | may(Access::EXEC_OK, 0o111)
    };
    fs::set_permissions(&upper, fs::Permissions::from_mode(mode))
}

/// Mounts the layer in `folder` over the host's `lower` at `target`.
pub(crate) fn mount_overlay(
    folder: &Path,
    lower: &Path,
    target: &Path,
    privileged: bool,
) -> rustix::io::Result<()> {
    // Descriptors instead of paths: nothing in a name can be taken for an option.
    let [lower, upper, work] =
        [lower.to_owned(), folder.join("upper"), folder.join("work")].map(|path| open_directory(&path));
    let (lower, upper, work) = (lower?, upper?, work?);
    let [lower_fd, upper_fd, work_fd] = [&lower, &upper, &work].map(|fd: &OwnedFd| fd.as_raw_fd());
    let form = if privileged { "redirect_dir=on,index=off,metacopy=off" } else { "userxattr" };
    let options = format!(
        "lowerdir=/proc/self/fd/{lower_fd},upperdir=/proc/self/fd/{upper_fd},workdir=/proc/self/fd/{work_fd},{form}\0"
    );
    let options =
        std::ffi::CStr::from_bytes_with_nul(options.as_bytes()).map_err(|_| rustix::io::Errno::INVAL)?;
    mount("vantio", target, "overlay", MountFlags::NOSUID | MountFlags::NODEV, options)
}

pub(crate) fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}
