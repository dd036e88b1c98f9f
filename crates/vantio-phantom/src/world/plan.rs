//! What the run's root is made of, decided before anything is mounted.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::process::{getegid, geteuid};

use super::mounts::{self, Mount};

/// One step of building the root, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// An overlay over the host's directory of the same path, its upper layer
    /// numbered.
    Overlay {
        /// The host's directory, and where it appears.
        at: PathBuf,
        /// The number of the layer.
        layer: usize,
    },
    /// A directory of the skeleton, which nobody can write.
    Directory(PathBuf),
    /// A symbolic link of the skeleton.
    Symlink(PathBuf, PathBuf),
    /// The host's own file or mount, read-only.
    Bind(PathBuf),
    /// A folder of the run's own, empty at the start.
    Fresh(PathBuf),
}

impl Piece {
    /// Where it appears.
    pub(crate) fn place(&self) -> &Path {
        match self {
            Self::Overlay { at, .. }
            | Self::Directory(at)
            | Self::Symlink(at, _)
            | Self::Bind(at)
            | Self::Fresh(at) => at,
        }
    }
}

/// What is known about the host and the caller.
pub(crate) struct Host<'a> {
    /// Mounts that can be reached, each before what is below it.
    pub(crate) mounts: &'a [Mount],
    /// Whether overlays are mounted with the host's full privileges.
    pub(crate) privileged: bool,
    /// Directories that must appear even below what is fresh: the workspace, the home.
    pub(crate) visible: &'a [PathBuf],
    /// The directory of which the run has a copy.
    pub(crate) frozen: Option<&'a Path>,
}

/// The pieces of the root, and the host directory of each layer.
pub(crate) fn plan(host: &Host<'_>) -> io::Result<(Vec<Piece>, Vec<PathBuf>)> {
    let mut plan = Plan { host, pieces: Vec::new(), layers: Vec::new() };
    if host.privileged {
        plan.whole_root();
    } else {
        plan.by_directory(Path::new("/"))?;
    }
    plan.fresh();
    plan.islands();
    plan.frozen();
    Ok((plan.pieces, plan.layers))
}

struct Plan<'a> {
    host: &'a Host<'a>,
    pieces: Vec<Piece>,
    layers: Vec<PathBuf>,
}

impl Plan<'_> {
    /// One overlay over the root, and one over every other mount. An automounter's shows what is mounted there
    /// already: no run has the host mount anything.
    fn whole_root(&mut self) {
        self.overlay(Path::new("/"));
        for mount in self.host.mounts {
            if mount.point == Path::new("/") || is_own(&mount.point) {
                continue;
            }
            if mount.kind == AUTOFS {
                self.pieces.push(Piece::Directory(mount.point.clone()));
            } else if mount.is_fixed() || !mount.point.is_dir() {
                self.pieces.push(Piece::Bind(mount.point.clone()));
            } else {
                self.overlay(&mount.point);
            }
        }
    }

    /// The kernel refuses an overlay over a tree with mounts of another owner
    /// below: such directories become a skeleton, and each entry is judged by itself.
    fn by_directory(&mut self, directory: &Path) -> io::Result<()> {
        let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, kind) = (entry.path(), entry.file_type()?);
            if is_own(&path) {
                continue;
            }
            if kind.is_dir() {
                self.directory(&path)?;
            } else if kind.is_symlink() {
                // One that cannot be read is gone by now.
                let target = fs::read_link(&path).ok();
                self.pieces.extend(target.map(|target| Piece::Symlink(path, target)));
            } else if kind.is_file() {
                self.pieces.push(Piece::Bind(path));
            }
        }
        Ok(())
    }

    fn directory(&mut self, path: &Path) -> io::Result<()> {
        if self.is_automounted(path) {
            self.pieces.push(Piece::Directory(path.to_owned()));
            for below in mounts::next_below(self.host.mounts, path) {
                self.directory(&below)?;
            }
        } else if self.host.mounts.iter().any(|mount| mount.point == path && mount.is_fixed()) {
            self.fixed(path)?;
        } else if mounts::any_below(self.host.mounts, path) {
            self.pieces.push(Piece::Directory(path.to_owned()));
            // A directory that cannot be listed, or is gone by now, shows nothing.
            match self.by_directory(path) {
                Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound) => {}
                other => other?,
            }
        } else if fs::metadata(path).is_err() {
            // A mount of somebody else's, or one whose server is dead, shows nothing.
            self.pieces.push(Piece::Directory(path.to_owned()));
        } else {
            self.overlay(path);
        }
        Ok(())
    }

    /// A mount that nobody can write, and what is mounted below it.
    fn fixed(&mut self, path: &Path) -> io::Result<()> {
        self.pieces.push(Piece::Bind(path.to_owned()));
        let mounts = self.host.mounts;
        let mut seen_to: Option<&Path> = None;
        for mount in mounts.iter().filter(|mount| mount.point != path && mount.point.starts_with(path)) {
            // What is below one of these comes after it, and its own step sees to that.
            if seen_to.is_some_and(|above| mount.point.starts_with(above)) || !mount.point.is_dir() {
                continue;
            }
            self.directory(&mount.point)?;
            seen_to = Some(&mount.point);
        }
        Ok(())
    }

    /// Whether to look into `path` could have the host mount something.
    fn is_automounted(&self, path: &Path) -> bool {
        let covering = self.host.mounts.iter().filter(|mount| path.starts_with(&mount.point));
        let nearest = covering.max_by_key(|mount| mount.point.as_os_str().len());
        nearest.is_some_and(|mount| mount.kind == AUTOFS)
    }

    fn fresh(&mut self) {
        self.pieces.push(Piece::Fresh("/tmp".into()));
        // A directory that root owns and everybody writes cannot be copied up by a user.
        if !self.host.privileged && Path::new("/var/tmp").is_dir() {
            self.pieces.push(Piece::Fresh("/var/tmp".into()));
        }
    }

    /// Overlays of their own for directories that the pieces so far would hide, or
    /// that a user could not write through a parent which root owns.
    fn islands(&mut self) {
        let mut wanted: Vec<_> = self.host.visible.to_vec();
        wanted.sort();
        for path in wanted {
            // A copy is all that is seen below it.
            if self.host.frozen.is_some_and(|frozen| path != frozen && path.starts_with(frozen)) {
                continue;
            }
            if self.is_hidden(&path) {
                self.overlay(&path);
            } else if let Some(at) = self.below_foreign(&path) {
                self.overlay(&at);
            }
        }
    }

    /// An overlay of its own for the directory of which there is a copy.
    fn frozen(&mut self) {
        if let Some(frozen) = self.host.frozen
            && !self.layers.iter().any(|layer| layer == frozen)
        {
            self.overlay(frozen);
        }
    }

    /// Whether a fresh folder stands where the host has `path`.
    fn is_hidden(&self, path: &Path) -> bool {
        let is_fresh = |piece: &Piece| matches!(piece, Piece::Fresh(at) if path.starts_with(at));
        let is_shown = self.layers.iter().any(|layer| is_fresh_place(layer) && path.starts_with(layer));
        self.pieces.iter().any(is_fresh) && !is_shown
    }

    /// For a user, where on the way to `path` a layer must begin so that everything on the rest of the way
    /// can be copied up: a directory of another owner or group cannot.
    fn below_foreign(&self, path: &Path) -> Option<PathBuf> {
        if self.host.privileged {
            return None;
        }
        let covering = self.layers.iter().filter(|layer| path.starts_with(layer));
        let layer = covering.max_by_key(|layer| layer.as_os_str().len())?;
        let (user, group) = (geteuid().as_raw(), getegid().as_raw());
        let is_foreign =
            |path: &Path| fs::metadata(path).is_ok_and(|data| data.uid() != user || data.gid() != group);
        let mut from_below = path;
        for ancestor in path.ancestors().take_while(|ancestor| ancestor != layer) {
            if is_foreign(ancestor) {
                return Some(from_below.to_owned());
            }
            from_below = ancestor;
        }
        None
    }

    fn overlay(&mut self, at: &Path) {
        self.pieces.push(Piece::Overlay { at: at.to_owned(), layer: self.layers.len() });
        self.layers.push(at.to_owned());
    }
}

/// Whether the run has its own instead of the host's.
fn is_own(path: &Path) -> bool {
    ["/dev", "/proc", "/sys", "/tmp"].iter().any(|own| path.starts_with(own))
}

fn is_fresh_place(path: &Path) -> bool {
    path.starts_with("/tmp") || path.starts_with("/var/tmp")
}

/// Mounts on demand (`autofs(5)`).
const AUTOFS: &str = "autofs";

impl Mount {
    /// Whether nobody writes files there.
    fn is_fixed(&self) -> bool {
        self.read_only || is_pseudo(&self.kind)
    }
}

fn is_pseudo(kind: &str) -> bool {
    const KINDS: &[&str] = &[
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "nsfs",
        "proc",
        "pstore",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "sysfs",
        "tracefs",
    ];
    KINDS.contains(&kind)
}

#[cfg(test)]
mod tests {
    use rustix::{
        fs::open,
        mount::{MountFlags, MountPropagationFlags, mount, mount_change},
        process::geteuid,
    };

    use super::*;
    use crate::sys::process::unshare;

    /// What a user's run is made of where `point` is a mount whose server is dead.
    fn with_a_dead_mount(point: &Path) -> io::Result<Vec<Piece>> {
        unshare(libc::CLONE_NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let server = open("/dev/fuse", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&server);
        let options = std::ffi::CString::new(format!("fd={fd},rootmode=40000,user_id=0,group_id=0"))?;
        mount("none", point, "fuse", MountFlags::empty(), options.as_c_str())?;
        drop(server);
        let mounts = mounts::reachable(&mounts::parse(&fs::read("/proc/thread-self/mountinfo")?));
        let host = Host { mounts: &mounts, privileged: false, visible: &[], frozen: None };
        plan(&host).map(|(pieces, _)| pieces)
    }

    #[test]
    fn a_mount_whose_server_is_dead_shows_nothing() {
        if !geteuid().is_root() || !Path::new("/dev/fuse").exists() {
            return;
        }
        let folder = tempfile::tempdir_in("/var").unwrap();
        let point = folder.path().join("dead");
        fs::create_dir(&point).unwrap();
        let thread = std::thread::scope(|scope| scope.spawn(|| with_a_dead_mount(&point)).join());
        let pieces = thread.unwrap().unwrap();
        let there: Vec<_> = pieces.iter().filter(|piece| format!("{piece:?}").contains("/dead")).collect();
        assert_eq!(there, [&Piece::Directory(point)]);
    }

    fn mounted(kind: &str, point: PathBuf) -> Mount {
        Mount { id: 1, parent: 0, root: "/".into(), point, read_only: false, kind: kind.into() }
    }

    #[test]
    fn what_nobody_writes_is_bound_whole_and_what_is_mounted_below_is_not() {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["proc/1", "proc/fs", "read-only/disk/deep", "read-only/file"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        let mounts = [
            mounted("ext4", "/".into()),
            mounted("proc", at("proc")),
            mounted("tmpfs", at("proc/fs")),
            Mount { read_only: true, ..mounted("ext4", at("read-only")) },
            mounted("ext4", at("read-only/disk")),
            mounted("sysfs", at("read-only/disk/deep")),
        ];
        let host = Host { mounts: &mounts, privileged: false, visible: &[], frozen: None };
        let mut plan = Plan { host: &host, pieces: Vec::new(), layers: Vec::new() };
        plan.directory(folder.path()).unwrap();
        let overlay = |name: &str, layer| Piece::Overlay { at: at(name), layer };
        assert_eq!(
            plan.pieces,
            [
                Piece::Directory(folder.path().into()),
                Piece::Bind(at("proc")),
                overlay("proc/fs", 0),
                Piece::Bind(at("read-only")),
                Piece::Directory(at("read-only/disk")),
                Piece::Bind(at("read-only/disk/deep")),
            ]
        );
    }

    #[test]
    fn an_automounter_shows_what_is_mounted_and_is_not_looked_into() {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["auto/mounted", "auto/not-yet", "auto/deeper/mounted", "plain"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        let mounts = [
            mounted("ext4", "/".into()),
            mounted(AUTOFS, at("auto")),
            mounted("nfs4", at("auto/mounted")),
            mounted("nfs4", at("auto/deeper/mounted")),
        ];
        let planned = |privileged: bool| {
            let host = Host { mounts: &mounts, privileged, visible: &[], frozen: None };
            let mut plan = Plan { host: &host, pieces: Vec::new(), layers: Vec::new() };
            if privileged {
                plan.whole_root();
            } else {
                plan.directory(folder.path()).unwrap();
            }
            plan.pieces.iter().map(|piece| format!("{piece:?}")).collect::<Vec<_>>()
        };
        let (directory, overlay) = (
            |name: &str| format!("Directory({:?})", at(name)),
            |name: &str, layer: u8| format!("Overlay {{ at: {:?}, layer: {layer} }}", at(name)),
        );
        assert_eq!(
            planned(false),
            [
                format!("Directory({:?})", folder.path()),
                directory("auto"),
                directory("auto/deeper"),
                overlay("auto/deeper/mounted", 0),
                overlay("auto/mounted", 1),
                overlay("plain", 2),
            ]
        );
        assert_eq!(
            planned(true)[1..],
            [directory("auto"), overlay("auto/mounted", 1), overlay("auto/deeper/mounted", 2)]
        );
    }
}
