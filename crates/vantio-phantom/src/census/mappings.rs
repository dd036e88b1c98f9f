//! Files in the memory of processes, as ends of channels: a mapping outlives the descriptor it was made from.

use vantio_core::Channel;

use super::ends::View;

/// Adds what is mapped; false when that cannot be read.
pub(super) fn add(view: &mut View<'_>) -> bool {
    let Some(maps) = view.entry.memory("maps") else { return false };
    let mut unsure = false;
    for line in maps.split(|byte| *byte == b'\n') {
        let Some(mapping) = Mapping::parse(line) else { continue };
        if mapping.is_shared && !mapping.writes && mapping.is_writable_file() {
            // Whether it may become writable is only told at length.
            unsure = true;
        } else {
            hold(view, mapping);
        }
    }
    !unsure || add_at_length(view)
}

/// One line of `/proc/PID/maps`.
struct Mapping {
    is_shared: bool,
    writes: bool,
    inode: u64,
    path: Vec<u8>,
}

impl Mapping {
    /// A mapping of a file; `None` for everything else.
    fn parse(line: &[u8]) -> Option<Self> {
        // address perms offset dev inode path
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let permissions = fields.nth(1)?;
        let (_offset, device) = (fields.next()?, fields.next()?);
        let inode = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        if inode == 0 || device == b"00:00" {
            return None;
        }
        let path = fields.next()?.trim_ascii_start();
        Some(Self {
            is_shared: permissions.get(3) == Some(&b's'),
            writes: permissions.get(1) == Some(&b'w'),
            inode,
            path: unescape(path),
        })
    }

    /// Neither shared memory nor deleted: one of the many files that are only ever read.
    fn is_writable_file(&self) -> bool {
        self.path.starts_with(b"/") && !self.path.ends_with(DELETED)
    }
}

/// A private mapping shows what others write to the file, as long as its own page was not written.
fn hold(view: &mut View<'_>, mapping: Mapping) {
    let writes = mapping.is_shared && mapping.writes;
    if mapping.path.starts_with(b"/SYSV") {
        view.add(Channel::SystemV, true, mapping.is_shared);
    } else if mapping.path.ends_with(DELETED) {
        view.nameless(mapping.path, mapping.inode, mapping.is_shared);
    } else {
        view.named(mapping.path, writes);
    }
}

/// Looks at the shared mappings that are not writable now.
fn add_at_length(view: &mut View<'_>) -> bool {
    let Some(maps) = view.entry.memory("smaps") else { return false };
    let mut current = None;
    for line in maps.split(|byte| *byte == b'\n') {
        if let Some(flags) = line.strip_prefix(b"VmFlags:") {
            if let Some(Mapping { is_shared: true, path, .. }) = current.take() {
                let may_write = flags.split(|byte| *byte == b' ').any(|flag| flag == b"mw");
                view.named(path, may_write);
            }
        } else if line.first().is_some_and(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()) {
            current = Mapping::parse(line).filter(Mapping::is_writable_file);
        }
    }
    true
}

/// A line break in a path is written in octal.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, more)) = rest.split_first() {
        if let Some(more) = rest.strip_prefix(b"\\012") {
            plain.push(b'\n');
            rest = more;
        } else {
            plain.push(*first);
            rest = more;
        }
    }
    plain
}

const DELETED: &[u8] = b" (deleted)";
