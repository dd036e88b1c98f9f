//! Files in the memory of processes, as ends of channels: a mapping outlives the descriptor it was made from.

use vantio_core::Channel;

use super::ends::View;

/// Adds what is mapped; false when that cannot be read.
pub(super) fn add(view: &mut View<'_>) -> bool {
    let Some(maps) = view.entry.memory("maps") else { return false };
    let mut unsure = false;
    for line in maps.split(|byte| *byte == b'\n') {
        let Some(mapping) = Mapping::parse(line) else { continue };
        if mapping.readings().is_none() {
            return false;
        }
        if mapping.is_shared && !mapping.writes && mapping.is_writable_file() {
            // Whether it may become writable is only told at length.
            unsure = true;
        } else {
            hold(view, &mapping);
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
            path: path.to_vec(),
        })
    }

    /// Every path that is written as this one: a line break is written in octal, and a backslash as itself. `None`
    /// when there are too many.
    fn readings(&self) -> Option<Vec<Vec<u8>>> {
        let mut parts = Vec::new();
        let mut rest = self.path.as_slice();
        while let Some(at) = rest.windows(BREAK.len()).position(|part| part == BREAK) {
            parts.push(&rest[..at]);
            rest = &rest[at + BREAK.len()..];
        }
        let mut readings = vec![Vec::new()];
        for part in parts {
            let longer = |break_: &'static [u8]| {
                readings.iter().map(|start: &Vec<u8>| [start.as_slice(), part, break_].concat()).collect()
            };
            let mut all: Vec<Vec<u8>> = longer(b"\n");
            all.extend::<Vec<Vec<u8>>>(longer(BREAK));
            if all.len() > READINGS_MAX {
                return None;
            }
            readings = all;
        }
        Some(readings.into_iter().map(|start| [start.as_slice(), rest].concat()).collect())
    }

    /// Neither shared memory nor deleted: one of the many files that are only ever read.
    fn is_writable_file(&self) -> bool {
        self.path.starts_with(b"/") && !self.path.ends_with(DELETED)
    }
}

/// A private mapping shows what others write to the file, as long as its own page was not written. What looks deleted, or
/// like something that is no file, may be a file of that name too.
fn hold(view: &mut View<'_>, mapping: &Mapping) {
    let looks_gone = mapping.path.ends_with(DELETED);
    if mapping.path.starts_with(b"/SYSV") {
        view.add(Channel::SystemV, true, mapping.is_shared);
    }
    for path in mapping.readings().unwrap_or_default() {
        if looks_gone {
            view.nameless(path.clone(), mapping.inode, mapping.is_shared);
        }
        if !looks_gone || view.has_file(&path) {
            view.named(path, mapping.is_shared && (mapping.writes || looks_gone));
        }
    }
}

/// Looks at the shared mappings that are not writable now.
fn add_at_length(view: &mut View<'_>) -> bool {
    let Some(maps) = view.entry.memory("smaps") else { return false };
    let mut current = None;
    for line in maps.split(|byte| *byte == b'\n') {
        if let Some(flags) = line.strip_prefix(b"VmFlags:") {
            if let Some(mapping @ Mapping { is_shared: true, .. }) = current.take() {
                let may_write = flags.split(|byte| *byte == b' ').any(|flag| flag == b"mw");
                let Some(readings) = mapping.readings() else { return false };
                for path in readings {
                    view.named(path, may_write);
                }
            }
        } else if line.first().is_some_and(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()) {
            current = Mapping::parse(line).filter(Mapping::is_writable_file);
        }
    }
    true
}

/// What the kernel adds to the path of a removed file.
pub(crate) const DELETED: &[u8] = b" (deleted)";
/// How a line break in a path is written.
const BREAK: &[u8] = b"\\012";
/// How many paths may be written alike.
const READINGS_MAX: usize = 64;
