//! A host, a run over a real overlay, and ways to compare trees.

#![allow(dead_code, missing_docs, clippy::pedantic, clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs::{self, File},
    os::{
        fd::AsFd as _,
        unix::fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;
use vantio_phantom::{
    changes::{self, BaseJournal, ChangeSet, Hunks, Layer, LayerKind, RunFolder, write_layers},
    commit::{self, CommitError, CommitReport, HunkChoice, Options, Selector, UndoReport},
};

pub struct World {
    dir: TempDir,
    /// Where the host is, if elsewhere.
    other: Option<TempDir>,
    /// The host is an overlay, mounted there.
    overlay: Option<PathBuf>,
    pub run: RunFolder,
    pub root: File,
}

impl World {
    /// A host that `script` fills, and a run that starts after it.
    pub fn new(script: &str) -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), None, false, script)
    }

    /// The same, with a host that is an overlay, as the root of a container is, and all that `script` makes in its lower
    /// layer. Only root can.
    pub fn with_host_in_overlay(script: &str) -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), None, true, script)
    }

    /// The same, with the host's files on another file system.
    pub fn with_host_on(other: &Path, script: &str) -> Self {
        let host = tempfile::tempdir_in(other).unwrap();
        Self::in_dir(tempfile::tempdir().unwrap(), Some(host), false, script)
    }

    /// The same, with the run's folder, and not the host's files, on another file system.
    pub fn with_state_on(other: &Path, script: &str) -> Self {
        Self::in_dir(tempfile::tempdir_in(other).unwrap(), Some(tempfile::tempdir().unwrap()), false, script)
    }

    fn in_dir(dir: TempDir, other: Option<TempDir>, is_overlay: bool, script: &str) -> Self {
        let path = dir.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        match &other {
            Some(host) => std::os::unix::fs::symlink(host.path(), path.join("host")).unwrap(),
            None => fs::create_dir(path.join("host")).unwrap(),
        }
        for part in ["merged", "runs/r/layers/0/upper", "runs/r/layers/0/work"] {
            fs::create_dir_all(path.join(part)).unwrap();
        }
        sh(&path.join("host"), script);
        let overlay = is_overlay.then(|| path.join("host"));
        if is_overlay {
            sh(
                path,
                "mv host lower && mkdir host above work && mount -t overlay none -o lowerdir=lower,upperdir=above,workdir=work,index=on host",
            );
        }
        // File systems take change times from a clock that lags.
        std::thread::sleep(Duration::from_millis(25));
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
        let run = path.join("runs/r");
        let kind = if is_root() { LayerKind::Trusted } else { LayerKind::User };
        let layer = Layer { mount_point: b"/".to_vec().into(), upper: "layers/0/upper".into(), kind };
        write_layers(&run, &[layer]).unwrap();
        fs::write(run.join("run.json"), "{}").unwrap();
        let root = File::open(path.join("host")).unwrap();
        std::thread::sleep(Duration::from_millis(25));
        Self { run: RunFolder::new(run, started), root, dir, other, overlay }
    }

    pub fn host(&self) -> PathBuf {
        self.dir.path().join("host").canonicalize().unwrap()
    }

    pub fn runs(&self) -> PathBuf {
        self.dir.path().join("runs")
    }

    pub fn upper(&self) -> PathBuf {
        self.run.path().join("layers/0/upper")
    }

    /// Runs `script` in the run's view and returns what the view looks like
    /// then.
    pub fn inside(&self, script: &str) -> String {
        self.inside_seen_by(script, LISTING)
    }

    /// The same, as [`Self::shape`] shows it.
    pub fn inside_shape(&self, script: &str) -> String {
        self.inside_seen_by(script, SHAPE)
    }

    fn inside_seen_by(&self, script: &str, listing: &str) -> String {
        let options = if is_root() {
            "redirect_dir=on,index=off,metacopy=off,xino=off"
        } else {
            "userxattr,index=off,xino=off"
        };
        let program = format!(
            "set -e; cd '{dir}'\n\
             mount -t overlay none -o lowerdir={lower},upperdir=runs/r/layers/0/upper,workdir=runs/r/layers/0/work,{options} merged\n\
             cd merged\n(set -e\n{script}\n) >&2\n{listing}\ncd ..\numount merged",
            dir = self.dir.path().display(),
            lower = self.host().display(),
        );
        let mut command = Command::new("unshare");
        command.arg(if is_root() { "-m" } else { "-Urm" }).args(["sh", "-c", &program]);
        output(command)
    }

    pub fn on_host(&self, script: &str) {
        sh(&self.host(), script);
    }

    /// What the host looks like.
    pub fn listing(&self) -> String {
        sh(&self.host(), LISTING)
    }

    /// What the host looks like, times apart.
    pub fn shape(&self) -> String {
        sh(&self.host(), SHAPE)
    }

    /// The same with everything that a discard must leave alone.
    pub fn exact(&self) -> String {
        sh(&self.host(), EXACT)
    }

    pub fn note(&self, paths: &[&str]) {
        let journal = BaseJournal::open(self.run.path()).unwrap();
        for path in paths {
            journal.note(self.root.as_fd(), path.as_bytes()).unwrap();
        }
    }

    pub fn scan(&self) -> ChangeSet {
        changes::scan(&self.run, self.root.as_fd()).unwrap()
    }

    /// The changes as `kind path` lines.
    pub fn kinds(&self) -> Vec<String> {
        self.scan().changes().iter().map(describe).collect()
    }

    pub fn commit(&self, paths: &[&str]) -> CommitReport {
        self.try_commit(paths, Options::default()).unwrap()
    }

    pub fn try_commit(&self, paths: &[&str], options: Options<'_>) -> Result<CommitReport, CommitError> {
        let selection: Vec<_> = paths.iter().map(|path| Selector::new(*path)).collect();
        commit::commit(&self.run, &selection, options, self.root.as_fd())
    }

    pub fn recover(&self) {
        commit::recover(&self.runs(), self.root.as_fd()).unwrap();
    }

    pub fn undo(&self) -> UndoReport {
        commit::undo(&self.run, self.root.as_fd()).unwrap()
    }

    pub fn try_undo(&self) -> Result<UndoReport, CommitError> {
        commit::undo(&self.run, self.root.as_fd())
    }

    pub fn undo_paths(&self, paths: &[&str]) -> Result<UndoReport, CommitError> {
        let selection: Vec<_> = paths.iter().map(|path| Selector::new(*path)).collect();
        commit::undo_paths(&self.run, &selection, self.root.as_fd())
    }

    /// The hunks of a changed text.
    pub fn hunks(&self, path: &str) -> Hunks {
        let set = self.scan();
        let change = set.get(path.as_bytes()).unwrap();
        set.hunks(change, &self.run, self.root.as_fd()).unwrap().unwrap()
    }

    /// Chooses some pieces of a changed text.
    pub fn choice(&self, path: &str, pieces: &[usize]) -> HunkChoice {
        let of = self.hunks(path).digest();
        HunkChoice { path: path.into(), pieces: pieces.iter().copied().collect(), of }
    }

    /// Commits some pieces of a changed text, and nothing else.
    pub fn commit_hunks(&self, path: &str, pieces: &[usize]) -> CommitReport {
        let hunks = [self.choice(path, pieces)];
        self.try_commit(&[], Options { hunks: &hunks, ..Options::default() }).unwrap()
    }

    /// Merges what conflicts at `path`, and commits nothing else.
    pub fn merge(&self, path: &str, with_markers: bool) -> CommitReport {
        let merge = [Selector::new(path)];
        let options = Options { merge: &merge, with_markers, ..Options::default() };
        self.try_commit(&[path], options).unwrap()
    }

    pub fn inode(&self, path: &str) -> u64 {
        fs::symlink_metadata(self.host().join(path)).unwrap().ino()
    }

    pub fn tree(&self) -> String {
        let mut text = Vec::new();
        self.scan().write_tree(&mut text, false).unwrap();
        String::from_utf8(text).unwrap()
    }

    pub fn patch(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.scan().write_patch(&self.run, self.root.as_fd(), &mut text).unwrap();
        text
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mounted) = &self.overlay {
            let _ = Command::new("umount").arg("--lazy").arg(mounted).status();
        }
        let host = self.host();
        if !host.starts_with(self.dir.path()) {
            sh(Path::new("/"), &format!("chmod -R u+rwX '{0}'; rm -rf '{0}'", host.display()));
        }
        sh(self.dir.path(), "chmod -R u+rwX . 2>/dev/null || true");
    }
}

pub fn describe(change: &changes::Change) -> String {
    let path = String::from_utf8_lossy(&change.path);
    match &change.from {
        Some(from) => format!("{} {path} < {}", change.kind.name(), String::from_utf8_lossy(from)),
        None => format!("{} {path}", change.kind.name()),
    }
}

pub fn paths(list: &[Vec<u8>]) -> Vec<String> {
    list.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn sh(dir: &Path, script: &str) -> String {
    let mut command = Command::new("sh");
    command.current_dir(dir).args(["-ec", script]);
    output(command)
}

fn output(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Everything that a commit brings to the host. Owners are left out because a
/// user namespace shows others.
const LISTING: &str = r#"
find . -mindepth 1 ! -type d ! -type s -printf '%P|%y|%m|%n|%s|%l|%TY%Tm%Td%TH%TM%TS\n' | LC_ALL=C sort
find . -mindepth 1 -type d -printf '%P|%y|%m\n' | LC_ALL=C sort
find . -type f -readable -print0 | LC_ALL=C sort -z | xargs -0r sha256sum
find . -mindepth 1 -print0 | LC_ALL=C sort -z | xargs -0r getfattr -hd -m '^(user\.[^o]|system|security.cap)' 2>/dev/null | cat"#;

const EXACT: &str = r#"
find . -printf '%P|%y|%m|%n|%s|%l|%U|%G|%T@|%i|%b\n' | LC_ALL=C sort
find . -type f -readable -print0 | LC_ALL=C sort -z | xargs -0r sha256sum
find . -print0 | LC_ALL=C sort -z | xargs -0r getfattr -hd -m - 2>/dev/null | cat"#;

/// What a commit brings, without times.
const SHAPE: &str = r#"
find . -mindepth 1 ! -type d -printf '%P|%y|%m|%n|%s|%l\n' | LC_ALL=C sort
find . -mindepth 1 -type d -printf '%P|%y|%m\n' | LC_ALL=C sort
find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum"#;

/// Compares two listings and shows only what differs.
#[track_caller]
pub fn assert_same(found: &str, wanted: &str, what: &str) {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let (found, wanted) = (lines(found), lines(wanted));
    let extra: Vec<_> = found.difference(&wanted).take(20).collect();
    let missing: Vec<_> = wanted.difference(&found).take(20).collect();
    assert!(extra.is_empty() && missing.is_empty(), "{what}\nextra: {extra:#?}\nmissing: {missing:#?}");
}
