//! Builds the root of a run and moves into it.

use std::{
    fs,
    io::{self, ErrorKind},
    os::{
        fd::AsRawFd as _,
        unix::{
            ffi::OsStrExt as _,
            fs::{DirBuilderExt as _, PermissionsExt as _, symlink},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
    mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
        mount_change, mount_remount, unmount,
    },
    process::{chdir, pivot_root},
};

use super::{devices, layers, network, plan::Piece};
use crate::{
    LaunchError, Spec, changes::beneath::is_absent, checkpoint::CHECKPOINTS_FOLDER, error::Context as _,
    snapshot,
};

/// The folders of a run that its world is made from.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    /// The run's folder.
    pub(crate) run: PathBuf,
    /// The host directory of each layer, by number.
    pub(crate) layers: Vec<PathBuf>,
    /// The host directory of which the run has a copy.
    pub(crate) frozen: Option<PathBuf>,
    /// The pieces of the root, in order.
    pub(crate) pieces: Vec<Piece>,
    /// What a run is not without: the workspace, the home.
    pub(crate) needed: Vec<PathBuf>,
    /// Whether overlays are mounted with the host's privileges.
    pub(crate) privileged: bool,
}

impl Folders {
    /// The folder of layer `number`.
    pub(crate) fn layer(&self, number: usize) -> PathBuf {
        self.run.join("layers").join(number.to_string())
    }

    /// What the run sees of the host at `at`.
    fn lower(&self, at: &Path) -> PathBuf {
        if self.frozen.as_deref() == Some(at) { snapshot::copy_of(&self.run) } else { at.to_owned() }
    }

    /// Where what the run writes is kept, and what its checkpoints keep of that.
    pub(crate) fn written(&self) -> Vec<PathBuf> {
        ["layers", "fresh", CHECKPOINTS_FOLDER].iter().map(|name| self.run.join(name)).collect()
    }

    /// Where the root is put together.
    fn stage(&self) -> PathBuf {
        self.run.join("root")
    }

    /// Creates what the pieces need. Runs with the caller's privileges.
    pub(crate) fn create(&self) -> Result<(), LaunchError> {
        for (number, lower) in self.layers.iter().enumerate() {
            layers::prepare(&self.layer(number), &self.lower(lower), self.privileged).context(
                "E_STATE",
                || format!("could not make a layer over {}", lower.display()),
                STATE_HELP,
            )?;
        }
        let make = || -> io::Result<()> {
            fs::create_dir_all(self.stage())?;
            for piece in &self.pieces {
                if let Piece::Fresh(at) = piece {
                    fs::DirBuilder::new().recursive(true).create(self.fresh(at))?;
                    fs::set_permissions(self.fresh(at), fs::Permissions::from_mode(0o1777))?;
                }
            }
            fs::create_dir_all(self.run.join("etc"))?;
            fs::write(self.run.join("etc/blank"), "")?;
            fs::set_permissions(self.run.join("etc/blank"), fs::Permissions::from_mode(0o000))?;
            fs::write(self.run.join("etc/resolv.conf"), format!("nameserver {}\n", network::OWN_IPV4))?;
            fs::write(self.run.join("etc/hosts"), hosts())
        };
        make().context("E_STATE", || format!("could not prepare {}", self.run.display()), STATE_HELP)
    }

    fn fresh(&self, at: &Path) -> PathBuf {
        self.run.join("fresh").join(at.strip_prefix("/").unwrap_or(at))
    }

    /// Mounts every overlay of the whole root; the caller has the host's privileges and a mount
    /// namespace of its own.
    pub(crate) fn stage_overlays(&self) -> Result<(), LaunchError> {
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context(
            "E_NAMESPACE",
            || "could not detach the mount namespace".into(),
            KERNEL_HELP,
        )?;
        for piece in &self.pieces {
            let Piece::Overlay { at, layer } = piece else { continue };
            let is_island = self.is_island(at);
            let target = if is_island { self.island(*layer) } else { below(&self.stage(), at) };
            self.if_there(at, || {
                if !is_island && at != Path::new("/") {
                    return self.overlay_what_is_there(at, *layer, &target);
                }
                make_directory(&target).context(
                    "E_MOUNT",
                    || format!("could not stage {}", at.display()),
                    STATE_HELP,
                )?;
                self.overlay(at, *layer, &target)
            })?;
        }
        Ok(())
    }

    /// Mounts an overlay in another one. A place that is gone from there is not made: it would count as the run's change.
    fn overlay_what_is_there(&self, at: &Path, layer: usize, target: &Path) -> Result<(), LaunchError> {
        if target.is_dir() { self.overlay(at, layer, target) } else { Ok(()) }
    }

    /// Takes a step for what the host has at `at`, which may come to be gone at any moment: mounts and files come and
    /// go while a run begins. What is gone is left out.
    fn if_there(&self, at: &Path, step: impl FnOnce() -> Result<(), LaunchError>) -> Result<(), LaunchError> {
        let is_gone = || fs::symlink_metadata(self.lower(at)).is_err_and(|error| is_absent(&error));
        if is_gone() {
            return Ok(());
        }
        match step() {
            Err(_) if is_gone() => Ok(()),
            other => other,
        }
    }

    /// Whether an overlay stands in what is placed in the run's own root only: a folder of the skeleton, a fresh one,
    /// or a mount of the host's that is read-only.
    fn is_island(&self, at: &Path) -> bool {
        let is_it = |piece: &&Piece| !matches!(piece, Piece::Overlay { at: here, .. } if here == at);
        self.pieces.iter().take_while(is_it).any(|piece| match piece {
            Piece::Fresh(placed) | Piece::Bind(placed) | Piece::Directory(placed) => at.starts_with(placed),
            Piece::Overlay { .. } | Piece::Symlink(..) => false,
        })
    }

    /// Where an overlay waits, as root, until what it stands in is there.
    fn island(&self, layer: usize) -> PathBuf {
        self.run.join("islands").join(layer.to_string())
    }

    /// Where the kernel takes no overlay, as over two of them, and the run needs none, what the host has is read-only.
    fn overlay(&self, at: &Path, layer: usize, target: &Path) -> Result<(), LaunchError> {
        let mounted = layers::mount_overlay(&self.layer(layer), &self.lower(at), target, self.privileged);
        let mounted = match mounted {
            Err(Errno::INVAL) if !self.is_needed(at) => bind_read_only(at, target),
            other => other.map_err(io::Error::from),
        };
        mounted.context(
            "E_OVERLAY",
            || format!("could not mount an overlay over {}", at.display()),
            "the state folder must be on a file system that overlayfs accepts as upper layer (ext4, xfs, btrfs, tmpfs); \
             set VANTIO_STATE to a folder on one, and see `vantio doctor`",
        )
    }

    fn is_needed(&self, at: &Path) -> bool {
        at == Path::new("/") || self.needed.iter().any(|needed| needed.starts_with(at))
    }

    /// Builds the root in the calling process's mount namespace and enters it.
    pub(crate) fn enter(&self, spec: &Spec) -> Result<(), LaunchError> {
        let stage = self.stage();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context(
            "E_NAMESPACE",
            || "could not detach the mount namespace".into(),
            KERNEL_HELP,
        )?;
        self.skeleton(&stage).context(
            "E_MOUNT",
            || "could not build the root of the run".into(),
            KERNEL_HELP,
        )?;
        self.pieces(&stage)?;
        devices::mount_all(&stage).context(
            "E_MOUNT",
            || "could not mount /dev, /proc and /sys".into(),
            KERNEL_HELP,
        )?;
        self.own_files(&stage).context(
            "E_MOUNT",
            || "could not give the run its own resolver".into(),
            KERNEL_HELP,
        )?;
        bar_programs(&stage, spec)?;
        self.cover(&stage, spec)?;
        self.pivot(&stage).context("E_MOUNT", || "could not move into the root".into(), KERNEL_HELP)
    }

    /// As root the staged overlay is the root; a user gets an empty one to fill.
    fn skeleton(&self, stage: &Path) -> rustix::io::Result<()> {
        if self.privileged {
            // A copy that this namespace owns: what it inherited is locked in place.
            return mount_bind_recursive(stage, stage);
        }
        mount("tmpfs", stage, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755,size=16m")
    }

    fn pieces(&self, stage: &Path) -> Result<(), LaunchError> {
        for own in ["/dev", "/proc", "/sys", "/tmp"] {
            if !self.privileged && Path::new(own).is_dir() {
                make_directory(&below(stage, Path::new(own))).context(
                    "E_MOUNT",
                    || format!("could not make {own}"),
                    KERNEL_HELP,
                )?;
            }
        }
        for piece in &self.pieces {
            self.piece(stage, piece)?;
        }
        Ok(())
    }

    fn piece(&self, stage: &Path, piece: &Piece) -> Result<(), LaunchError> {
        let step = |at: &Path, result: io::Result<()>| {
            result.context("E_MOUNT", || format!("could not place {} in the run", at.display()), KERNEL_HELP)
        };
        match piece {
            Piece::Overlay { at, .. } if self.privileged && !self.is_island(at) => Ok(()),
            Piece::Overlay { at, layer } => self.if_there(at, || {
                let target = below(stage, at);
                step(at, make_directory(&target))?;
                if self.privileged {
                    return step(at, mount_bind(self.island(*layer), &target).map_err(io::Error::from));
                }
                self.overlay(at, *layer, &target)
            }),
            Piece::Directory(at) if self.privileged => self.if_there(at, || step(at, self.bare(stage, at))),
            Piece::Directory(at) => step(at, make_directory(&below(stage, at))),
            Piece::Symlink(at, target) => step(at, ok_if_there(symlink(target, below(stage, at)))),
            Piece::Bind(at) => self.if_there(at, || step(at, place(at, &below(stage, at)))),
            Piece::Fresh(at) => {
                let target = below(stage, at);
                let bind = || -> io::Result<()> {
                    make_directory(&target)?;
                    mount_bind(self.fresh(at), &target)?;
                    let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV;
                    Ok(mount_remount(&target, flags, "")?)
                };
                step(at, bind())
            }
        }
    }

    /// A directory with nothing in it but the places of the pieces below.
    fn bare(&self, stage: &Path, at: &Path) -> io::Result<()> {
        let target = below(stage, at);
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", &target, "tmpfs", flags, c"mode=755,size=1m")?;
        for place in self.pieces.iter().map(Piece::place).filter(|place| place.starts_with(at)) {
            make_place(place, &below(stage, place))?;
        }
        Ok(mount_remount(&target, flags | MountFlags::BIND | MountFlags::RDONLY, "")?)
    }

    /// The files that name the run's resolver and hosts, where the host has them.
    fn own_files(&self, stage: &Path) -> io::Result<()> {
        let root = layers::open_directory(stage)?;
        for name in ["resolv.conf", "hosts"] {
            let path = Path::new("etc").join(name);
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            if let Ok(target) = openat2(&root, &path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
                let target = fs::read_link(format!("/proc/self/fd/{}", target.as_raw_fd()))?;
                bind_read_only(&self.run.join(&path), &target)?;
            }
        }
        Ok(())
    }

    /// Covers what the policy denies by name, and the state folder.
    fn cover(&self, stage: &Path, spec: &Spec) -> Result<(), LaunchError> {
        for path in spec.hidden.iter().chain(&spec.masks) {
            let target = below(stage, path);
            let Ok(data) = fs::symlink_metadata(&target) else { continue };
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
            let covered = if data.is_dir() {
                mount("tmpfs", &target, "tmpfs", flags, c"mode=000,size=4k").map_err(io::Error::from)
            } else if data.is_symlink() {
                continue;
            } else {
                bind_read_only(&self.run.join("etc/blank"), &target)
            };
            covered.context("E_MOUNT", || format!("could not cover {}", path.display()), KERNEL_HELP)?;
        }
        Ok(())
    }

    fn pivot(&self, stage: &Path) -> rustix::io::Result<()> {
        chdir(stage)?;
        pivot_root(".", ".")?;
        // The old root lies on top of the new one now.
        unmount(".", UnmountFlags::DETACH)?;
        chdir("/")?;
        if !self.privileged {
            mount_remount(
                "/",
                MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV,
                "",
            )?;
        }
        Ok(())
    }
}

/// Binds `source` over `target` and makes the copy read-only.
pub(crate) fn bind_read_only(source: &Path, target: &Path) -> io::Result<()> {
    mount_bind_recursive(source, target)?;
    make_read_only_recursive(target)
}

/// Has the kernel itself start nothing of what the policy names and denies, however a call comes to it.
fn bar_programs(stage: &Path, spec: &Spec) -> Result<(), LaunchError> {
    for path in &spec.unexecutable {
        let target = below(stage, path);
        let bar = || -> io::Result<()> {
            mount_bind(&target, &target)?;
            Ok(crate::sys::mount::set_unexecutable(CWD, &target)?)
        };
        // Libraries are mapped as programs are: those in a folder that is denied may be.
        if fs::symlink_metadata(&target).is_ok_and(|data| data.is_file()) {
            bar().context("E_MOUNT", || format!("could not close {}", path.display()), KERNEL_HELP)?;
        }
    }
    Ok(())
}

/// Makes the mount at `target` and those below it read-only, without set-user-ID.
pub(crate) fn make_read_only_recursive(target: &Path) -> io::Result<()> {
    crate::sys::mount::set_read_only(CWD, target)?;
    Ok(())
}

/// The host's file or directory, read-only, where the run looks for it.
fn place(source: &Path, target: &Path) -> io::Result<()> {
    make_place(source, target)?;
    bind_read_only(source, target)
}

/// Something that `source` can be mounted on.
fn make_place(source: &Path, target: &Path) -> io::Result<()> {
    if source.is_dir() {
        return make_directory(target);
    }
    if target.exists() { Ok(()) } else { fs::write(target, "") }
}

fn make_directory(path: &Path) -> io::Result<()> {
    ok_if_there(fs::DirBuilder::new().mode(0o755).recursive(true).create(path))
}

fn ok_if_there(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn below(stage: &Path, path: &Path) -> PathBuf {
    stage.join(path.strip_prefix("/").unwrap_or(path))
}

fn hosts() -> Vec<u8> {
    let name = rustix::system::uname();
    let mut text = b"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 ".to_vec();
    text.extend(std::ffi::OsStr::from_bytes(name.nodename().to_bytes()).as_bytes());
    text.push(b'\n');
    text
}

const STATE_HELP: &str =
    "check that the state folder can be written and has room, or set VANTIO_STATE to one that is";
const KERNEL_HELP: &str = "`vantio doctor` shows what this host can enforce and what each gap costs";
