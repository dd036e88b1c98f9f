//! The host's mounts, read from `/proc/self/mountinfo`.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Its number, unique on the host while it is mounted.
    pub(crate) id: u64,
    /// Which directory of its file system it shows.
    pub(crate) root: PathBuf,
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    /// Whether it may be written.
    pub(crate) read_only: bool,
    /// The file system's type.
    pub(crate) kind: String,
}

/// The mounts that `text`, the content of a `mountinfo` file (`proc_pid_mountinfo(5)`),
/// lists, in order. A line that is not understood is skipped.
pub(crate) fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let (root, point) = (path(fields.nth(2)?), path(fields.next()?));
    let options = fields.next()?;
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount {
        id,
        root,
        point,
        read_only: options.split(|byte| *byte == b',').any(|option| option == b"ro"),
        kind: String::from_utf8_lossy(kind).into_owned(),
    })
}

/// A path without the kernel's `\ooo` escapes.
fn path(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = |digit: u8| matches!(digit, b'0'..=b'7').then(|| digit - b'0');
        let escape = match tail {
            [a, b, c, ..] if *first == b'\\' => octal(*a).zip(octal(*b)).zip(octal(*c)),
            _ => None,
        };
        if let Some(((a, b), c)) = escape {
            bytes.push(a << 6 | b << 3 | c);
            rest = &tail[3..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Those of `mounts` that can be reached: a later mount at or above a point hides
/// what was there before.
pub(crate) fn reachable(mounts: &[Mount]) -> Vec<Mount> {
    let hidden = |index: usize, mount: &Mount| {
        mounts[index + 1..].iter().any(|later| mount.point.starts_with(&later.point))
    };
    let visible = mounts.iter().enumerate().filter(|(index, mount)| !hidden(*index, mount));
    visible.map(|(_, mount)| mount.clone()).collect()
}

/// Whether anything is mounted strictly below `directory`.
pub(crate) fn any_below(mounts: &[Mount], directory: &Path) -> bool {
    mounts.iter().any(|mount| mount.point != directory && mount.point.starts_with(directory))
}

/// The entries of `directory` that are mounts, or on the way to one.
pub(crate) fn next_below(mounts: &[Mount], directory: &Path) -> BTreeSet<PathBuf> {
    let next = |mount: &Mount| {
        let name = mount.point.strip_prefix(directory).ok()?.components().next()?;
        Some(directory.join(name))
    };
    mounts.iter().filter_map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_optional_fields_and_escapes_is_read() {
        let text = b"36 35 98:0 /mnt\\0401 /mnt/a\\040b\\134 rw,noatime master:1 - ext3 /dev/root rw\n\
            37 36 0:5 / /proc ro shared:2 master:3 - proc proc rw\nnonsense\n";
        let mount = |id, root: &str, point: &str, read_only, kind: &str| Mount {
            id,
            root: root.into(),
            point: point.into(),
            read_only,
            kind: kind.into(),
        };
        assert_eq!(
            parse(text),
            [mount(36, "/mnt 1", "/mnt/a b\\", false, "ext3"), mount(37, "/", "/proc", true, "proc")]
        );
    }

    #[test]
    fn what_a_later_mount_covers_is_unreachable() {
        let text =
            b"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /a/b rw - ext4 a rw\n3 1 0:3 / /a rw - ext4 a rw\n";
        let ids: Vec<_> = reachable(&parse(text)).iter().map(|mount| mount.id).collect();
        assert_eq!(ids, [1, 3]);
    }
}
