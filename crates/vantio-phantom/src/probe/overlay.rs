//! Overlay file systems, and folders that can hold their upper layers.

use std::{
    ffi::CString,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Dir, FileType, Mode, OFlags, XattrFlags, openat, setxattr},
    io::{self, Errno},
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
};

use super::{Finding, Subject, namespaces::enter_user_namespace};
use crate::sys::{
    process::unshare,
    trial::{Refusal, attempt},
};

/// An overlay over `/`, mounted by root.
pub(super) fn of_root() -> Finding {
    let result = attempt(|| {
        enter_mount_namespace()?;
        let scratch = mount_scratch()?;
        mount_overlay(Path::new("/"), &scratch, "")?;
        Ok(0)
    });
    match result {
        Ok(_) => ROOT.works("mounts over /, as root"),
        Err(refusal) => ROOT.refused(&refusal, "load it: `modprobe overlay`"),
    }
}

/// An overlay over `/usr`, mounted inside a user namespace.
pub(super) fn in_user_namespace(is_root: bool) -> Finding {
    let subject = if is_root { USER_AS_ROOT } else { USER };
    let result = attempt(|| {
        enter_user_namespace()?;
        enter_mount_namespace()?;
        let scratch = mount_scratch()?;
        mount_overlay(Path::new("/usr"), &scratch, "userxattr")?;
        Ok(0)
    });
    match result {
        Ok(_) => subject.works("mounts over /usr with `userxattr`"),
        Err(refusal) => subject.refused(&refusal, "it needs Linux 5.11 and the module `overlay`"),
    }
}

/// Whether `state` can hold upper layers: not on every file system it can.
pub(super) fn state_folder(state: &Path, is_root: bool) -> Finding {
    let folder = state.join(format!(".probe-{}", std::process::id()));
    if let Err(error) = fs::DirBuilder::new().mode(0o700).create(&folder) {
        return STATE.fails(format!("cannot write to {}: {error}", state.display()));
    }
    let result = attempt(|| {
        hold_layers(&folder, is_root)?;
        Ok(0)
    });
    // The kernel makes a folder of its own in there, without any permission; there is none where it failed.
    drop(fs::set_permissions(folder.join("work/work"), fs::Permissions::from_mode(0o700)));
    let left = fs::remove_dir_all(&folder);
    match (result, left) {
        (Ok(_), Ok(())) => STATE.works(format!("{} can hold upper layers", state.display())),
        (Err(refusal), _) => {
            STATE.refused(&refusal, "set VANTIO_STATE to a folder on ext4, xfs, btrfs or tmpfs")
        }
        (_, Err(error)) => STATE.fails(format!("cannot clean up {}: {error}", folder.display())),
    }
}

fn hold_layers(folder: &Path, is_root: bool) -> Result<(), Refusal> {
    let kind_is_known = directory_names_kinds(folder).map_err(Refusal::at("list the folder"))?;
    if !kind_is_known {
        return Err(Refusal::at("list file types with names (d_type)")(Errno::OPNOTSUPP));
    }
    let attribute = if is_root { "trusted.overlay.probe" } else { "user.overlay.probe" };
    setxattr(folder, attribute, b"y", XattrFlags::empty())
        .map_err(Refusal::at("set the extended attributes that overlays need"))?;
    let options = if is_root {
        ""
    } else {
        enter_user_namespace()?;
        "userxattr"
    };
    let lower = folder.join("lower");
    fs::create_dir_all(lower.join("directory")).map_err(refusal("create a directory"))?;
    enter_mount_namespace()?;
    mount_overlay(&lower, folder, options)?;
    // The first needs a whiteout in the upper layer, the second an extended attribute.
    let directory = folder.join("merged/directory");
    fs::remove_dir(&directory).map_err(refusal("remove something of the host from the run's view"))?;
    fs::create_dir(&directory).map_err(refusal("create a directory where the host has one"))
}

fn directory_names_kinds(folder: &Path) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, folder, flags, Mode::empty())?;
    // The folder's own entry, `.`, is always listed.
    for entry in Dir::read_from(&directory)? {
        if entry?.file_type() == FileType::Unknown {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Enters a mount namespace from which nothing travels back to the host.
fn enter_mount_namespace() -> Result<(), Refusal> {
    unshare(libc::CLONE_NEWNS).map_err(Refusal::at("create a mount namespace"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(Refusal::at("make the mounts private"))
}

/// A file system in memory, seen by nobody else.
fn mount_scratch() -> Result<PathBuf, Refusal> {
    mount("tmpfs", SCRATCH, "tmpfs", MountFlags::empty(), None).map_err(Refusal::at("mount a tmpfs"))?;
    Ok(SCRATCH.into())
}

/// Mounts an overlay of `lower` at `merged` beneath `folder`.
fn mount_overlay(lower: &Path, folder: &Path, options: &str) -> Result<(), Refusal> {
    let [upper, work, merged] = ["upper", "work", "merged"].map(|name| folder.join(name));
    for directory in [&upper, &work, &merged] {
        fs::create_dir(directory).map_err(refusal("create a directory"))?;
    }
    let mut data = Vec::new();
    for (key, directory) in [("lowerdir=", lower), (",upperdir=", &upper), (",workdir=", &work)] {
        data.extend_from_slice(key.as_bytes());
        for byte in directory.as_os_str().as_bytes() {
            if matches!(byte, b'\\' | b',' | b':') {
                data.push(b'\\');
            }
            data.push(*byte);
        }
    }
    if !options.is_empty() {
        data.push(b',');
        data.extend_from_slice(options.as_bytes());
    }
    let data = CString::new(data).map_err(|_| Refusal::at("name a layer")(Errno::INVAL))?;
    mount("overlay", &merged, "overlay", MountFlags::empty(), data.as_c_str())
        .map_err(Refusal::at("mount an overlay"))
}

fn refusal(step: &str) -> impl Fn(std::io::Error) -> Refusal {
    move |error| Refusal::at(step)(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

const ROOT: Subject = Subject::required("overlay file system, as root");
const USER: Subject = Subject::required("overlay file system, in a user namespace");
const USER_AS_ROOT: Subject = Subject::optional(
    "overlay file system, in a user namespace",
    "ordinary users of this host cannot run agents",
);
const STATE: Subject = Subject::required("state folder");

/// A directory that every host has; covered in the probe's own mount namespace only.
const SCRATCH: &str = "/tmp";
