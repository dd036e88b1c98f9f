//! The run's own `/dev`, `/proc` and `/sys`.

use std::{fs, os::unix::fs::symlink, path::Path};

use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change, mount_remount,
};

use super::root::bind_read_only;

/// Mounts what a program expects below `root`.
pub(crate) fn mount_all(root: &Path) -> std::io::Result<()> {
    dev(&root.join("dev"))?;
    proc(&root.join("proc"))?;
    sys(&root.join("sys"))
}

fn dev(dev: &Path) -> std::io::Result<()> {
    mount("tmpfs", dev, "tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, c"mode=755,size=64k")?;
    for name in DEVICES {
        let (host, own) = (Path::new("/dev").join(name), dev.join(name));
        fs::write(&own, "")?;
        // The nodes are the host's: whoever owns them may write to them, and change nothing about them.
        bind_read_only(&host, &own)?;
    }
    fs::create_dir(dev.join("pts"))?;
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    mount("devpts", dev.join("pts"), "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, options)?;
    fs::create_dir(dev.join("shm"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", dev.join("shm"), "tmpfs", flags, c"mode=1777")?;
    for (name, target) in LINKS {
        symlink(target, dev.join(name))?;
    }
    // The directory itself: the mounts below it stay as they are.
    mount_remount(dev, MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOEXEC, "")?;
    Ok(())
}

fn proc(proc: &Path) -> std::io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", proc, "proc", flags, None)?;
    for name in PROC_READ_ONLY {
        let path = proc.join(name);
        if path.exists() {
            bind_read_only(&path, &path)?;
        }
    }
    for name in PROC_HIDDEN {
        let path = proc.join(name);
        if path.exists() {
            bind_read_only(Path::new("/dev/null"), &path)?;
        }
    }
    Ok(())
}

fn sys(sys: &Path) -> std::io::Result<()> {
    if !sys.is_dir() {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    if mount("sysfs", sys, "sysfs", flags, None).is_ok() {
        return Ok(());
    }
    mount_bind_recursive("/sys", sys)?;
    mount_change(sys, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    super::root::make_read_only_recursive(sys)?;
    Ok(())
}

const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

const LINKS: &[(&str, &str)] = &[
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Settings of the whole machine: root's number alone would be enough to write them.
const PROC_READ_ONLY: &[&str] = &[
    "sys",
    "sysrq-trigger",
    "irq",
    "bus",
    "fs",
    "acpi",
    "driver",
    "tty",
    "mtrr",
    "scsi",
    "asound",
    "dynamic_debug",
];

/// What the kernel tells about the whole machine.
const PROC_HIDDEN: &[&str] =
    &["kcore", "keys", "key-users", "kmsg", "timer_list", "sched_debug", "kpagecount", "kpageflags"];
