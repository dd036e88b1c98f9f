//! A run over a real overlay, to try checkpoints on.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount},
};
use tempfile::TempDir;

use crate::{
    changes::{Layer, LayerKind, RunFolder, write_layers},
    checkpoint::{Change, Keeper, NotesSource, Setup},
    sys::process::unshare,
};

/// A run over an overlay that is mounted for one thread.
pub struct World {
    directory: TempDir,
    pub keeper: Keeper,
}

#[derive(Clone, Debug)]
pub enum Operation {
    Write(String, u8),
    Append(String, u8),
    /// Opens for writing, and writes a while later.
    Hold(String),
    WriteHeld(u8),
    Truncate(String),
    Mode(String, u32),
    Touch(String),
    Attribute(String, u8),
    Unlink(String),
    MakeDirectory(String),
    RemoveDirectory(String),
    RemoveAll(String),
    Rename(String, String),
    Exchange(String, String),
    Link(String, String),
    Symlink(String),
    Fifo(String),
    /// Those who opened much have what is closed again forgotten.
    Forget,
    Checkpoint,
}

impl World {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for part in ["host", "merged", "runs/r/layers/0/upper", "runs/r/layers/0/work"] {
            fs::create_dir_all(path.join(part)).unwrap();
        }
        let host = path.join("host");
        for part in ["a/b", "c/d/e", "b"] {
            fs::create_dir_all(host.join(part)).unwrap();
        }
        for (name, text) in
            [("a/x", "1"), ("a/b/y", "2"), ("c/x", "3"), ("c/d/y", "4"), ("c/d/e/x", "5"), ("x", "6")]
        {
            fs::write(host.join(name), text).unwrap();
        }
        symlink("nowhere", host.join("y")).unwrap();
        fs::hard_link(host.join("x"), host.join("h")).unwrap();
        let run = path.join("runs/r");
        let layer = Layer {
            mount_point: b"/".to_vec().into(),
            upper: "layers/0/upper".into(),
            kind: LayerKind::Trusted,
        };
        write_layers(&run, std::slice::from_ref(&layer)).unwrap();
        let keeper = Keeper::open(Setup {
            run,
            layers: vec![layer],
            outside: Vec::new(),
            notes: NotesSource::Here,
            cgroup: None,
        });
        let world = Self { keeper: keeper.unwrap(), directory };
        world.mount();
        world
    }

    fn mount(&self) {
        unshare(libc::CLONE_FS | libc::CLONE_NEWNS).unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        let at = |part: &str| self.directory.path().join(part).display().to_string();
        let options = format!(
            "lowerdir={},upperdir={},workdir={},redirect_dir=on,index=off,metacopy=off\0",
            at("host"),
            at("runs/r/layers/0/upper"),
            at("runs/r/layers/0/work")
        );
        let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes()).unwrap();
        mount("none", self.merged(""), "overlay", MountFlags::empty(), options).unwrap();
    }

    fn merged(&self, path: &str) -> PathBuf {
        self.directory.path().join("merged").join(path)
    }

    pub fn run(&self) -> RunFolder {
        RunFolder::new(self.directory.path().join("runs/r"), 0)
    }

    pub fn upper(&self) -> Tree {
        Tree::of(&self.run())
    }

    pub fn unmount(&self) {
        unmount(self.merged(""), UnmountFlags::empty()).unwrap();
    }

    /// As the supervisor does it: says what is about to change, and changes it, within the gate.
    fn change<T>(
        &self,
        path: &str,
        change: Change,
        work: impl FnOnce(&Path) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let _gate = self.keeper.enter();
        let absolute = format!("/{path}");
        if !self.keeper.is_saved(absolute.as_bytes(), change) {
            self.keeper.before(absolute.as_bytes(), change)?;
        }
        work(&self.merged(path))
    }

    pub fn open(&self, path: &str, truncate: bool) -> std::io::Result<File> {
        let is_there = fs::symlink_metadata(self.merged(path)).is_ok_and(|data| data.is_file());
        let change = if is_there { Change::Content } else { Change::Name };
        if !is_there && fs::symlink_metadata(self.merged(path)).is_ok() {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        let file = self.change(path, change, |at| {
            OpenOptions::new().write(true).create(true).truncate(truncate).open(at)
        })?;
        // Told by the supervisor for a file that it made, too.
        self.keeper.is_saved(format!("/{path}").as_bytes(), Change::Content);
        Ok(file)
    }

    pub fn perform(&self, operation: &Operation, held: &mut Vec<File>) -> std::io::Result<()> {
        match operation {
            Operation::Write(path, byte) => {
                self.open(path, true)?.write_all(&vec![*byte; usize::from(*byte) * 40])
            }
            Operation::Append(path, byte) => {
                let file = self.open(path, false)?;
                file.write_at(&[*byte; 3], file.metadata()?.len()).map(drop)
            }
            Operation::Hold(path) => {
                held.push(self.open(path, false)?);
                Ok(())
            }
            Operation::WriteHeld(byte) => {
                for file in held {
                    file.write_at(&[*byte; 5], u64::from(*byte))?;
                }
                Ok(())
            }
            Operation::Truncate(path) => self.open(path, false)?.set_len(1),
            Operation::Mode(path, mode) => self.change(path, Change::Metadata, |at| {
                if at.is_symlink() {
                    return Ok(());
                }
                fs::set_permissions(at, fs::Permissions::from_mode(*mode))
            }),
            Operation::Touch(path) => self.change(path, Change::Metadata, |at| {
                let time = rustix::fs::Timespec { tv_sec: 12345, tv_nsec: 0 };
                let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
                // A fifo that is opened waits for whoever else opens it.
                Ok(rustix::fs::utimensat(CWD, at, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?)
            }),
            Operation::Attribute(path, byte) => self.change(path, Change::Metadata, |at| {
                if at.is_symlink() {
                    return Ok(());
                }
                Ok(rustix::fs::setxattr(at, "user.mark", &[*byte], rustix::fs::XattrFlags::empty())?)
            }),
            Operation::Unlink(path) => self.change(path, Change::Name, |at| fs::remove_file(at)),
            Operation::MakeDirectory(path) => self.change(path, Change::Name, |at| fs::create_dir(at)),
            Operation::RemoveDirectory(path) => self.remove_directory(path),
            Operation::RemoveAll(path) => self.remove_all(path),
            Operation::Rename(from, to) => self.rename(from, to, RenameFlags::empty()),
            Operation::Exchange(from, to) => self.rename(from, to, RenameFlags::EXCHANGE),
            Operation::Link(from, to) => {
                let _gate = self.keeper.enter();
                self.keeper.before_link(format!("/{from}").as_bytes(), format!("/{to}").as_bytes())?;
                fs::hard_link(self.merged(from), self.merged(to))
            }
            Operation::Fifo(path) => self.change(path, Change::Name, |at| {
                let kind = rustix::fs::FileType::Fifo;
                Ok(rustix::fs::mknodat(CWD, at, kind, 0o600.into(), 0)?)
            }),
            Operation::Symlink(path) => self.change(path, Change::Name, |at| symlink("nowhere", at)),
            Operation::Forget => {
                let _gate = self.keeper.enter_alone();
                self.keeper.forget_closed();
                Ok(())
            }
            Operation::Checkpoint => Ok(()),
        }
    }

    fn remove_directory(&self, path: &str) -> std::io::Result<()> {
        let _gate = self.keeper.enter();
        self.keeper.before_removal(format!("/{path}").as_bytes())?;
        fs::remove_dir(self.merged(path))
    }

    fn remove_all(&self, path: &str) -> std::io::Result<()> {
        if !fs::symlink_metadata(self.merged(path))?.is_dir() {
            return self.perform(&Operation::Unlink(path.into()), &mut Vec::new());
        }
        for entry in fs::read_dir(self.merged(path))? {
            let name = entry?.file_name().into_string().unwrap();
            self.remove_all(&format!("{path}/{name}"))?;
        }
        self.remove_directory(path)
    }

    fn rename(&self, from: &str, to: &str, flags: RenameFlags) -> std::io::Result<()> {
        let is_directory = |path| fs::symlink_metadata(self.merged(path)).is_ok_and(|data| data.is_dir());
        let exchanges = flags.contains(RenameFlags::EXCHANGE);
        let (old, new) = (format!("/{from}"), format!("/{to}"));
        if is_directory(from) || exchanges && is_directory(to) {
            let _gate = self.keeper.enter_alone();
            self.keeper.before_move(old.as_bytes(), new.as_bytes(), exchanges)?;
            let renamed = renameat_with(CWD, self.merged(from), CWD, self.merged(to), flags);
            self.keeper.after_move(renamed.is_ok())?;
            renamed?;
        } else {
            let _gate = self.keeper.enter();
            self.keeper.before(old.as_bytes(), Change::Name)?;
            self.keeper.before(new.as_bytes(), Change::Name)?;
            renameat_with(CWD, self.merged(from), CWD, self.merged(to), flags)?;
        }
        self.keeper.renamed(old.as_bytes(), new.as_bytes(), exchanges);
        Ok(())
    }
}

/// Everything in an upper layer that can be seen through the overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, String>);

impl Tree {
    pub fn of(run: &RunFolder) -> Self {
        let mut tree = Self(BTreeMap::new());
        let root = run.path().join("layers/0/upper");
        let mut inodes = BTreeMap::new();
        tree.visit(&root, &root, &mut inodes);
        tree
    }

    fn visit(&mut self, root: &Path, at: &Path, inodes: &mut BTreeMap<u64, String>) {
        let data = fs::symlink_metadata(at).unwrap();
        let name = at.strip_prefix(root).unwrap().display().to_string();
        let is_whiteout = data.mode() & 0o170_000 == 0o020_000;
        if is_whiteout {
            self.0.insert(name, "whiteout".into());
            return;
        }
        // The first name stands for the file.
        let first = inodes.entry(data.ino()).or_insert_with(|| name.clone()).clone();
        let content = match () {
            () if data.is_dir() => String::new(),
            () if data.mode() & 0o170_000 == 0o010_000 => "fifo".into(),
            () if data.is_symlink() => fs::read_link(at).unwrap().display().to_string(),
            () => {
                let mut bytes = Vec::new();
                File::open(at).unwrap().read_to_end(&mut bytes).unwrap();
                format!("{}:{:?}", bytes.len(), &bytes[..bytes.len().min(12)])
            }
        };
        let notes = attributes(at, data.is_dir());
        self.0.insert(
            name,
            format!(
                "{:o} {}:{} {}.{} <{first}> {content} {notes}",
                data.mode(),
                data.uid(),
                data.gid(),
                data.mtime(),
                data.mtime_nsec()
            ),
        );
        if data.is_dir() {
            let mut entries: Vec<_> = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()).collect();
            entries.sort();
            for entry in &entries {
                self.visit(root, entry, inodes);
            }
        }
    }

    pub fn difference(&self, other: &Self) -> String {
        let mut text = String::new();
        for (name, line) in &self.0 {
            if other.0.get(name) != Some(line) {
                text += &format!("is   {name}: {line}\nwas  {name}: {:?}\n", other.0.get(name));
            }
        }
        for (name, line) in &other.0 {
            if !self.0.contains_key(name) {
                text += &format!("lost {name}: {line}\n");
            }
        }
        text
    }
}

/// Without what tells an overlay about inode numbers only.
fn attributes(at: &Path, is_directory: bool) -> String {
    let mut list = vec![0; 4096];
    let length = rustix::fs::llistxattr(at, &mut list).unwrap();
    let mut text = String::new();
    let mut names: Vec<_> = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    for name in names {
        let shown = String::from_utf8_lossy(name).into_owned();
        if shown.ends_with("impure") || shown.ends_with("origin") && !is_directory || shown.ends_with("uuid")
        {
            continue;
        }
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(at, name, &mut value).unwrap();
        text += &format!("{shown}={:?} ", &value[..length.min(60)]);
    }
    text
}
