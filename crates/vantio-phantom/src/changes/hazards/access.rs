//! Who may write, before and after.

use std::collections::HashSet;

use super::{
    super::{ChangeKind, FileType, Node},
    Subject,
};

/// A directory, or a file that is obeyed, which somebody may write who could not.
pub(super) fn lets_others_write(subject: &Subject<'_>) -> bool {
    let (node, change, look) = (subject.node, subject.change, subject.look);
    let before = change.before.as_ref().filter(|before| before.file_type == node.file_type);
    let mut gained = writers(node);
    let is_open = gained.contains(&Writer::Everybody);
    if let Some(before) = before {
        let had = writers(before);
        gained.retain(|writer| !had.contains(writer));
    }
    let is_moved = change.kind == ChangeKind::Renamed;
    match node.file_type {
        _ if gained.is_empty() && !is_moved || before.is_none() && !is_open => false,
        FileType::Directory
            if look.places.depends_on(subject.path) || look.index.is_on_way(&subject.names) =>
        {
            // Of a moved one it is not known who could write here.
            is_open || !is_moved
        }
        FileType::Directory => before.is_some() && gained.contains(&Writer::EverybodyFreely),
        FileType::File => {
            // Who replaces a file by one of their own gives it their group.
            gained.remove(&Writer::Group(node.gid));
            before.is_some() && !gained.is_empty() && look.index.is_listed(&subject.names, node)
        }
        _ => false,
    }
}

#[derive(PartialEq, Eq, Hash)]
enum Writer {
    User(u32),
    Group(u32),
    Everybody,
    /// Without the sticky bit: what belongs to others, too.
    EverybodyFreely,
}

/// Those who may write, root apart, or may permit it to themselves.
fn writers(node: &Node) -> HashSet<Writer> {
    let mut found = HashSet::from([Writer::User(node.uid)]);
    let access = node.xattrs.get(&b"system.posix_acl_access"[..]);
    if access.is_none() && node.mode & 0o020 != 0 {
        found.insert(Writer::Group(node.gid));
    }
    if node.mode & 0o002 != 0 {
        found.insert(Writer::Everybody);
        if node.mode & 0o1000 == 0 {
            found.insert(Writer::EverybodyFreely);
        }
    }
    // The mode says what everybody may.
    let access = access.into_iter().flat_map(|list| listed(list, node.gid));
    found.extend(access.filter(|writer| *writer != Writer::EverybodyFreely));
    // By the default list, what is made there is theirs to write.
    let default = node.xattrs.get(&b"system.posix_acl_default"[..]);
    found.extend(default.into_iter().flat_map(|list| listed(list, node.gid)));
    found.remove(&Writer::User(0));
    found
}

/// The writers of an access list, the owner apart, as `linux/posix_acl_xattr.h` lays it out.
fn listed(list: &[u8], gid: u32) -> Vec<Writer> {
    let entries: Vec<(u16, u16, u32)> =
        list.get(4..).unwrap_or_default().chunks_exact(8).map(entry).collect();
    let mask = entries.iter().find(|(tag, ..)| *tag == 0x10).map_or(WRITE, |(_, permits, _)| *permits);
    let writer = |(tag, permits, id): &(u16, u16, u32)| match tag {
        0x20 => (permits & WRITE != 0).then_some(Writer::EverybodyFreely),
        _ if permits & mask & WRITE == 0 => None,
        0x02 => Some(Writer::User(*id)),
        0x04 => Some(Writer::Group(gid)),
        0x08 => Some(Writer::Group(*id)),
        _ => None,
    };
    entries.iter().filter_map(writer).collect()
}

/// Tag, permissions and id.
fn entry(bytes: &[u8]) -> (u16, u16, u32) {
    let short = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    (short(0), short(2), u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]))
}

const WRITE: u16 = 2;
