//! Random work in a real overlay, with checkpoints in between: every one can be gone back to, exactly.

#![allow(clippy::pedantic, clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    thread,
};

use proptest::prelude::*;
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount},
};
use tempfile::TempDir;

use super::{
    Cause, Change, Keeper, NotesSource, Options, Setup, Shadow, Standing, find, list, recover, restore,
    restore as going_back,
};
use crate::{
    changes::{Layer, LayerKind, RunFolder, write_layers},
    commit::Moment,
    sys::process::unshare,
};

/// A run over an overlay that is mounted for one thread.
struct World {
    directory: TempDir,
    keeper: Keeper,
}

#[derive(Clone, Debug)]
enum Operation {
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
    fn new() -> Self {
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

    fn run(&self) -> RunFolder {
        RunFolder::new(self.directory.path().join("runs/r"), 0)
    }

    fn upper(&self) -> Tree {
        Tree::of(&self.run())
    }

    fn unmount(&self) {
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

    fn open(&self, path: &str, truncate: bool) -> std::io::Result<File> {
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

    fn perform(&self, operation: &Operation, held: &mut Vec<File>) -> std::io::Result<()> {
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
struct Tree(BTreeMap<String, String>);

impl Tree {
    fn of(run: &RunFolder) -> Self {
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

    fn difference(&self, other: &Self) -> String {
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

fn path() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(vec!["a", "b", "c", "d", "e", "x", "y", "h"]);
    // Few names, so that one thing often takes the place of another.
    let few = prop::sample::select(vec!["d", "e", "x", "d/x", "e/x"]).prop_map(str::to_owned);
    prop_oneof![few, prop::collection::vec(name(), 1..4).prop_map(|names| names.join("/"))]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(path, byte)| Operation::Write(path, byte)),
        3 => (path(), any::<u8>()).prop_map(|(path, byte)| Operation::Append(path, byte)),
        2 => path().prop_map(Operation::Hold),
        3 => any::<u8>().prop_map(Operation::WriteHeld),
        1 => path().prop_map(Operation::Truncate),
        2 => (path(), prop::sample::select(vec![0o700, 0o755, 0o600, 0o644])).prop_map(|(path, mode)| Operation::Mode(path, mode)),
        1 => path().prop_map(Operation::Touch),
        1 => (path(), any::<u8>()).prop_map(|(path, byte)| Operation::Attribute(path, byte)),
        3 => path().prop_map(Operation::Unlink),
        3 => path().prop_map(Operation::MakeDirectory),
        2 => path().prop_map(Operation::RemoveDirectory),
        2 => path().prop_map(Operation::RemoveAll),
        5 => (path(), path()).prop_map(|(from, to)| Operation::Rename(from, to)),
        1 => (path(), path()).prop_map(|(from, to)| Operation::Exchange(from, to)),
        3 => (path(), path()).prop_map(|(from, to)| Operation::Link(from, to)),
        1 => path().prop_map(Operation::Symlink),
        1 => path().prop_map(Operation::Fifo),
        2 => Just(Operation::Forget),
        3 => Just(Operation::Checkpoint),
    ]
}

/// Does everything, and returns what the layer was at each checkpoint.
fn play(world: &World, operations: &[Operation]) -> Vec<(u64, Tree)> {
    let mut trees = Vec::new();
    let mut held = Vec::new();
    for operation in operations {
        if matches!(operation, Operation::Checkpoint) {
            let _gate = world.keeper.enter_alone();
            let taken = world.keeper.take(None, Cause::Asked, Standing::No).unwrap();
            trees.push((taken.id, world.upper()));
            if taken.id.is_multiple_of(2) {
                world.keeper.lay_ahead();
            }
        } else {
            // Much of what is random cannot be done.
            drop(world.perform(operation, &mut held));
        }
    }
    trees
}

/// In a thread whose mounts are its own; not at all where that is not permitted.
fn alone(work: impl FnOnce() + Send) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    thread::scope(|scope| {
        if let Err(panic) = scope.spawn(work).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_checkpoint_can_be_gone_back_to(operations in prop::collection::vec(operation(), 1..40)) {
        can_go_back(&operations);
    }

    #[test]
    fn a_restore_that_is_cut_off_is_finished(operations in prop::collection::vec(operation(), 20..40), crashes in prop::collection::vec(0..60_usize, 1..4)) {
        alone(|| {
            let world = World::new();
            let trees = play(&world, &operations);
            world.unmount();
            let Some((id, tree)) = trees.first() else { return };
            let run = world.run();
            let at = |at: usize| move |moment: usize| if moment == at { Moment::Crash } else { Moment::Go };
            let mut is_begun = false;
            for crash in &crashes {
                let at = at(*crash);
                let options = Options { at_moment: Some(&at) };
                let result = if is_begun {
                    super::restore::finish(&run, options, &mut super::undo::Twins::default()).map(drop)
                } else {
                    restore(&run, *id, options).map(drop)
                };
                is_begun = result.is_err();
                if !is_begun { break; }
            }
            recover(&run).unwrap();
            let seen = world.upper();
            assert!(seen == *tree, "back at {id} after crashes\n{}", seen.difference(tree));
            assert_eq!(list(&run).unwrap().len(), 1);
            assert!(find(&run, "1").is_ok());
        });
    }
}

#[test]
fn a_symlink_with_two_names_keeps_both() {
    let link = Operation::Link("y".into(), "d".into());
    can_go_back(&[link, Operation::Checkpoint, Operation::Touch("d".into())]);
}

#[test]
fn a_kept_file_that_takes_the_place_of_a_directory_stays_what_it_was() {
    can_go_back(&[
        Operation::MakeDirectory("e".into()),
        Operation::Write("g".into(), 1),
        Operation::Checkpoint,
        Operation::RemoveDirectory("e".into()),
        Operation::Rename("g".into(), "e".into()),
        Operation::Write("e".into(), 2),
        Operation::Mode("e".into(), 0o600),
    ]);
}

#[test]
fn what_a_new_directory_brings_to_the_place_of_an_old_one_goes_again() {
    for renames in [Operation::Rename as fn(String, String) -> Operation, Operation::Exchange] {
        for is_gone in [false, true] {
            let mut operations = vec![Operation::MakeDirectory("e".into()), Operation::Checkpoint];
            if is_gone {
                operations.push(Operation::RemoveDirectory("e".into()));
                operations.push(Operation::Write("e".into(), 3));
            }
            operations.extend([
                Operation::MakeDirectory("n".into()),
                Operation::Write("n/f".into(), 1),
                renames("n".into(), "e".into()),
                Operation::Write("e/f".into(), 2),
            ]);
            can_go_back(&operations);
        }
    }
}

#[test]
fn a_refused_link_of_a_directory_is_forgotten() {
    can_go_back(&[
        Operation::MakeDirectory("q".into()),
        Operation::Checkpoint,
        Operation::Link("q".into(), "z".into()),
        Operation::RemoveDirectory("q".into()),
        // It may have the inode number that is free now.
        Operation::Write("f".into(), 1),
        Operation::Link("f".into(), "g".into()),
        Operation::Write("f".into(), 2),
        Operation::Write("q".into(), 3),
        Operation::Link("q".into(), "p".into()),
        Operation::Write("p".into(), 4),
    ]);
}

#[test]
fn the_mode_of_a_fifo_that_got_another_name_goes_back() {
    can_go_back(&[
        Operation::Fifo("g".into()),
        Operation::Checkpoint,
        Operation::Link("g".into(), "z".into()),
        Operation::Mode("z".into(), 0o755),
    ]);
}

/// Looks at every checkpoint from outside, then goes back to each.
fn can_go_back(operations: &[Operation]) {
    alone(|| {
        let world = World::new();
        let trees = play(&world, operations);
        world.unmount();
        let now = world.upper();
        for (id, tree) in &trees {
            let shadow = Shadow::new(&world.run(), Some(*id)).unwrap();
            let seen = Tree::of(shadow.run());
            assert!(seen == *tree, "shadow of {id}\n{}", seen.difference(tree));
        }
        let after = world.upper();
        assert!(after == now, "a look changed the run\n{}", after.difference(&now));
        for (id, tree) in trees.iter().rev() {
            going_back(&world.run(), *id, Options::default()).unwrap();
            let seen = world.upper();
            assert!(seen == *tree, "back at {id}\n{}", seen.difference(tree));
        }
    });
}

#[test]
fn what_is_closed_is_forgotten_and_what_is_open_is_copied() {
    alone(|| {
        let world = World::new();
        let held: Vec<_> = (0..3).map(|n| world.open(&format!("a/held{n}"), true).unwrap()).collect();
        assert!(!world.keeper.has_many_writers());
        for n in 0..300 {
            world.open(&format!("a/b/f{n}"), true).unwrap();
        }
        assert!(world.keeper.has_many_writers());
        world.keeper.forget_closed();
        assert!(!world.keeper.has_many_writers());
        let taken = world.keeper.take(None, Cause::Asked, Standing::No).unwrap();
        assert_eq!((taken.copied, taken.moving), (3, 0));
        drop(held);
        world.unmount();
    });
}

#[test]
fn a_checkpoint_that_was_laid_ahead_is_like_any_other() {
    alone(|| {
        let world = World::new();
        let take = || world.keeper.take(None, Cause::Asked, Standing::No).unwrap().id;
        let append = |byte| world.perform(&Operation::Append("x".into(), byte), &mut Vec::new()).unwrap();
        world.keeper.lay_ahead();
        assert_eq!(super::list(&world.run()).unwrap().len(), 0);
        append(1);
        assert_eq!(take(), 1);
        let before = world.upper();
        append(2);
        world.keeper.lay_ahead();
        world.keeper.lay_ahead();
        assert_eq!(take(), 2);
        append(3);
        world.keeper.lay_ahead();
        fs::remove_dir_all(super::shelf::folder(world.run().path()).join(".begun")).unwrap();
        assert_eq!(take(), 3);
        assert_eq!(super::list(&world.run()).unwrap().len(), 3);
        world.unmount();
        going_back(&world.run(), 1, Options::default()).unwrap();
        assert_eq!(world.upper(), before);
    });
}

fn cases() -> u32 {
    std::env::var("VANTIO_CHECKPOINT_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(48)
}

#[test]
#[ignore = "prints how long things take"]
fn figures() {
    alone(|| {
        let world = World::new();
        for n in 0..1000 {
            let path = format!("f{n}");
            world.perform(&Operation::Write(path, 200), &mut Vec::new()).unwrap();
        }
        let time = |what: &str, work: &mut dyn FnMut()| {
            let own = || -> f64 {
                let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
                text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
            };
            let (start, before) = (std::time::Instant::now(), own());
            work();
            let (wall, own) = (start.elapsed().as_secs_f64() * 1000.0, own() - before);
            println!("{what}: {wall:.2} ms, of which it ran {own:.2} ms");
        };
        let take = || drop(world.keeper.take(None, Cause::Asked, Standing::No).unwrap());
        time("first, 1000 files written before", &mut || take());
        time("second, nothing since", &mut || take());
        let change = |byte: u8| {
            for n in 0..1000 {
                world.perform(&Operation::Append(format!("f{n}"), byte), &mut Vec::new()).unwrap();
            }
        };
        time("change 1000 files, saving each", &mut || change(1));
        time("again, all saved", &mut || change(2));
        time("third, 1000 files changed", &mut || take());
        time("change 1000 files", &mut || change(3));
        let held: Vec<_> = (0..20).map(|n| world.open(&format!("f{n}"), false).unwrap()).collect();
        time("fourth, 1000 changed, 20 open", &mut || take());
        drop(held);
        for n in 0..300 {
            world.perform(&Operation::Append("f1".into(), n as u8), &mut Vec::new()).unwrap();
            if n % 100 == 0 {
                time("of 300", &mut || take());
            } else {
                take();
            }
        }
        change(9);
        world.unmount();
        let run = world.run();
        time("back over the last, 1000 files", &mut || {
            drop(going_back(&run, 304, Options::default()).unwrap())
        });
        time("a shadow of 3", &mut || drop(Shadow::new(&run, Some(3)).unwrap()));
        time("back over 301 to 3, 1000 files", &mut || {
            drop(going_back(&run, 3, Options::default()).unwrap())
        });
        time("back to 1", &mut || drop(going_back(&run, 1, Options::default()).unwrap()));
    });
}
