//! The host's mounts, read from `/proc/self/mountinfo`.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Its number, unique on the host while it is mounted.
    pub(crate) id: u64,
    /// The number of the mount that it is mounted on.
    pub(crate) parent: u64,
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
    let number = |field| str::from_utf8(field).ok()?.parse().ok();
    let (id, parent) = (number(fields.next()?)?, number(fields.next()?)?);
    let (root, point) = (path(fields.nth(1)?), path(fields.next()?));
    let options = fields.next()?;
    let mut of_file_system = fields.skip_while(|field| *field != b"-").skip(1);
    let (kind, _source) = (of_file_system.next()?, of_file_system.next());
    let all_options = [options, of_file_system.next().unwrap_or_default()];
    Some(Mount {
        id,
        parent,
        root,
        point,
        read_only: all_options.iter().any(|options| is_read_only(options)),
        kind: String::from_utf8_lossy(kind).into_owned(),
    })
}

fn is_read_only(options: &[u8]) -> bool {
    options.split(|byte| *byte == b',').any(|option| option == b"ro")
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

/// Those of `mounts` that can be reached, each after the one that it is mounted on: what is mounted on a place hides
/// what is there and below. A mount that was moved keeps its line, so their order tells nothing.
pub(crate) fn reachable(mounts: &[Mount]) -> Vec<Mount> {
    let listed: HashSet<u64> = mounts.iter().map(|mount| mount.id).collect();
    // The mount that the whole root is on is mounted on none of them.
    let parent = |mount: &Mount| Some(mount.parent).filter(|id| *id != mount.id && listed.contains(id));
    let on: HashMap<_, _> = mounts.iter().map(|mount| ((parent(mount), &*mount.point), mount.id)).collect();
    let seen_at = |path: &Path| {
        let mut here = None;
        let mut steps: Vec<&Path> = path.ancestors().collect();
        while let Some(step) = steps.pop() {
            while let Some(id) = on.get(&(here, step)) {
                here = Some(*id);
            }
        }
        here
    };
    let mut reached: Vec<_> =
        mounts.iter().filter(|mount| seen_at(&mount.point) == Some(mount.id)).cloned().collect();
    reached.sort_by(|one, other| one.point.cmp(&other.point));
    reached
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
            parent: id - 1,
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
    fn a_file_system_that_is_read_only_is_so_through_every_mount() {
        let mounts = parse(b"36 35 0:9 / /b rw,relatime - tmpfs t ro,size=1m\n");
        assert!(mounts[0].read_only);
    }

    #[test]
    fn a_mount_that_was_moved_keeps_its_line() {
        // `/e` was moved to `/p/s`; the root was changed after `/run` was mounted.
        let text = b"4 5 0:4 / /run rw - tmpfs t rw\n5 1 0:5 / / rw - ext4 t rw\n\
            6 7 0:6 / /p/s rw - tmpfs t rw\n7 5 0:7 / /p rw - tmpfs t rw\n";
        let points: Vec<_> = reachable(&parse(text)).into_iter().map(|mount| mount.point).collect();
        assert_eq!(points, ["/", "/p", "/p/s", "/run"].map(PathBuf::from));
    }

    #[test]
    fn of_mounts_on_one_place_the_uppermost_is_seen() {
        let text = b"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /a rw - ext4 a rw\n3 2 0:3 / /a rw - ext4 a rw\n\
            4 2 0:4 / /a/b rw - ext4 a rw\n5 3 0:5 / /a/c rw - ext4 a rw\n";
        let ids: Vec<_> = reachable(&parse(text)).iter().map(|mount| mount.id).collect();
        assert_eq!(ids, [1, 3, 5]);
    }

    #[test]
    fn what_a_later_mount_covers_is_unreachable() {
        let text =
            b"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /a/b rw - ext4 a rw\n3 1 0:3 / /a rw - ext4 a rw\n";
        let ids: Vec<_> = reachable(&parse(text)).iter().map(|mount| mount.id).collect();
        assert_eq!(ids, [1, 3]);
    }
}
