//! A recursive listing that shows any change to a tree: content, mode, owner, times, links and attributes.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// One line for each path below a root, the root included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest(BTreeMap<PathBuf, String>);

impl Manifest {
    /// Lists everything below `root`.
    pub fn of(root: &Path) -> io::Result<Self> {
        Self::of_except(root, Path::new("\0"))
    }

    /// Lists everything below `root` but what is below `skipped`, a path from there.
    pub fn of_except(root: &Path, skipped: &Path) -> io::Result<Self> {
        let mut manifest = Self::default();
        manifest.add(root, root, skipped)?;
        Ok(manifest)
    }

    /// The paths whose lines differ, with both lines: empty when nothing changed.
    pub fn differences(&self, after: &Self) -> Vec<String> {
        let paths: std::collections::BTreeSet<_> = self.0.keys().chain(after.0.keys()).collect();
        let differing = paths.into_iter().filter(|path| self.0.get(*path) != after.0.get(*path));
        let describe = |line: Option<&String>| line.map_or("absent", String::as_str).to_owned();
        differing
            .map(|path| {
                let (before, after) = (describe(self.0.get(path)), describe(after.0.get(path)));
                format!("{}: {before} -> {after}", path.display())
            })
            .collect()
    }

    /// The listing without one path and what is below it.
    #[must_use]
    pub fn without(mut self, path: &Path) -> Self {
        self.0.retain(|listed, _| !listed.starts_with(path));
        self
    }

    /// The listing without its root's own line, which changes whenever an excluded entry comes or goes.
    #[must_use]
    pub fn without_root(mut self) -> Self {
        self.0.remove(Path::new(""));
        self
    }

    fn add(&mut self, root: &Path, path: &Path, skipped: &Path) -> io::Result<()> {
        if path.strip_prefix(root).is_ok_and(|relative| relative == skipped) {
            return Ok(());
        }
        let metadata = fs::symlink_metadata(path)?;
        let relative = path.strip_prefix(root).unwrap_or(path).to_owned();
        self.0.insert(relative, line(path, &metadata)?);
        if metadata.is_dir() {
            for entry in fs::read_dir(path)? {
                self.add(root, &entry?.path(), skipped)?;
            }
        }
        Ok(())
    }
}

fn line(path: &Path, metadata: &fs::Metadata) -> io::Result<String> {
    let mut line = format!(
        "mode {:o} owner {}:{} links {} mtime {}.{:09} ino {}",
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        if metadata.is_dir() { 0 } else { metadata.nlink() },
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ino(),
    );
    if metadata.is_file() {
        let digest = Sha256::digest(fs::read(path)?);
        let _ = write!(line, " blocks {} sha256 {}", metadata.blocks(), hex(&digest));
    } else if metadata.is_symlink() {
        let _ = write!(line, " to {}", fs::read_link(path)?.display());
    }
    for (name, value) in attributes(path)? {
        let _ = write!(line, " {name}={}", hex(&value));
    }
    Ok(line)
}

fn attributes(path: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut names = vec![0; 65536];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut attributes = BTreeMap::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = std::ffi::OsStr::from_bytes(name);
        let mut value = vec![0; 65536];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        value.truncate(length);
        attributes.insert(name.to_string_lossy().into_owned(), value);
    }
    Ok(attributes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
