//! The descriptors of the processes of a run, as ends of channels.

use std::{
    collections::{BTreeSet, HashSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    os::fd::OwnedFd,
    thread,
    time::Duration,
};

use rustix::{
    fs::{AtFlags, FileType, Statx, StatxFlags, readlinkat, statx},
    io::{self, Errno},
};
use vantio_core::{Channel, End, Process};

use super::{
    Census, Identity,
    entry::{self, Entry},
    lock, mappings, shares,
    sockets::{Sockets, Ways},
};
use crate::proc;

/// The channel of a file that is found by no path alone: its content, whatever names it has.
pub(crate) fn inode_channel(data: &Statx) -> Channel {
    Identity::of(data).channel()
}

impl Identity {
    fn channel(&self) -> Channel {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        Channel::Memory(hasher.finish() | FILE)
    }
}

/// What this process was given as standard input, output and error.
pub(super) fn given() -> Vec<Identity> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let data = streams.into_iter().filter_map(|fd| statx(fd, "", AtFlags::EMPTY_PATH, FIELDS).ok());
    data.map(|data| Identity::of(&data)).collect()
}

impl Census {
    /// All open ends, at a glance; tried again for those who were just ending.
    ///
    /// Of whom not everything can be read may hold anything, also what nobody else has: then nothing is known.
    pub(super) fn look_well(&self) -> io::Result<BTreeSet<End>> {
        for _ in 1..ATTEMPTS {
            match self.look() {
                Err(Errno::AGAIN) => thread::sleep(PAUSE),
                looked => return looked,
            }
        }
        self.look()
    }

    /// All open ends; [`Errno::AGAIN`] when not all could be seen.
    pub(super) fn look(&self) -> io::Result<BTreeSet<End>> {
        let sockets = Sockets::read(self.tables.get().map(|tables| &**tables), &self.registry)?;
        let entries = self.entries()?;
        let mut ends = BTreeSet::from_iter(self.expected(&entries));
        let mut is_blind = false;
        let (mut nameless, mut held) = (Vec::new(), HashSet::new());
        // All descriptors first: they tell what mappings of files without a name belong to.
        for is_first in [true, false] {
            for entry in &entries {
                let (ends, nameless, held) = (&mut ends, &mut nameless, &mut held);
                let is_blind = &mut is_blind;
                let mut view =
                    View { census: self, sockets: &sockets, entry, ends, nameless, held, is_blind };
                let is_seen = if is_first { view.descriptors() } else { mappings::add(&mut view) };
                *view.is_blind |= !is_seen && entry.is_alive();
            }
        }
        if is_blind {
            return Err(Errno::AGAIN);
        }
        shares::add(self, &entries, &mut ends);
        if ends.iter().any(|end| end.channel == Channel::InFlight) {
            // Whose descriptors they are is not known.
            ends.extend(entries.iter().map(|entry| End {
                process: entry.process(),
                channel: Channel::InFlight,
                reads: false,
                writes: true,
            }));
        } else {
            self.registry.forget_all_but(&held);
        }
        Ok(ends)
    }
}

/// One process, as it is looked at.
pub(super) struct View<'a> {
    pub(super) census: &'a Census,
    sockets: &'a Sockets<'a>,
    pub(super) entry: &'a Entry,
    ends: &'a mut BTreeSet<End>,
    /// Open files without a name, as all descriptors show them.
    nameless: &'a mut Vec<Nameless>,
    /// The sockets that somebody holds.
    held: &'a mut HashSet<u64>,
    /// Set when something is held of which it is not known what it is.
    is_blind: &'a mut bool,
}

/// A file without a name, as a descriptor shows it.
struct Nameless {
    text: Vec<u8>,
    inode: u64,
    channel: Channel,
}

impl View<'_> {
    pub(super) fn add(&mut self, channel: Channel, reads: bool, writes: bool) {
        if !(reads || writes) {
            return;
        }
        self.ends.insert(End { process: self.entry.process(), channel, reads, writes });
    }

    /// Adds what the descriptors are; false when not all of them can be seen.
    fn descriptors(&mut self) -> bool {
        let tables_differ = self.census.tables_differ.load(std::sync::atomic::Ordering::Acquire);
        let Some(places) = self.entry.places(tables_differ) else { return false };
        // A thread that is gone took its table along, or left it to another that is looked at.
        places.iter().all(|place| entry::found(self.table(place)).is_ok())
    }

    fn table(&mut self, place: &str) -> io::Result<()> {
        let (descriptors, information) = (format!("{place}fd"), format!("{place}fdinfo"));
        let numbers = self.entry.list(&descriptors)?;
        let (Some(links), Some(information)) =
            (self.entry.folder(&descriptors), self.entry.folder(&information))
        else {
            return if numbers.is_empty() { Ok(()) } else { Err(Errno::AGAIN) };
        };
        for number in numbers {
            let looked = self.descriptor(&links, &information, &number.to_string());
            entry::found(looked)?;
        }
        Ok(())
    }

    /// A descriptor that is gone by now had its end closed: nothing flows through it any more.
    fn descriptor(&mut self, links: &OwnedFd, information: &OwnedFd, number: &str) -> io::Result<()> {
        let link = match readlinkat(links, number, Vec::with_capacity(128)) {
            Ok(link) => link.into_bytes(),
            // Nothing flows through a folder, however deep it is.
            Err(Errno::NAMETOOLONG) if is_folder(links, number)? => return Ok(()),
            Err(error) => return Err(error),
        };
        let text = proc::text(information, number)?;
        let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let flags = field("flags:").and_then(|flags| u32::from_str_radix(flags, 8).ok()).unwrap_or(2);
        if flags & libc::O_PATH as u32 != 0 {
            return self.reference(links, number, link);
        }
        let mode = flags & libc::O_ACCMODE as u32;
        let (reads, writes) = (mode != libc::O_WRONLY as u32, mode != libc::O_RDONLY as u32);
        if let Some(identifier) = field("eventfd-id:").and_then(|text| text.parse::<u64>().ok()) {
            self.add(Channel::Memory(EVENT | identifier), true, true);
        }
        if link.starts_with(b"anon_inode:") {
            return Ok(());
        }
        // Through the link, to the open file itself.
        let data = statx(links, number, AtFlags::NO_AUTOMOUNT, FIELDS)?;
        let is_file = FileType::from_raw_mode(data.stx_mode.into()) == FileType::RegularFile;
        if self.census.given.contains(&Identity::of(&data)) {
            if is_file && writes {
                // What is written to it may be read by its path.
                self.file(link, &data, false, true);
            }
            return Ok(());
        }
        match FileType::from_raw_mode(data.stx_mode.into()) {
            FileType::Fifo if link.starts_with(b"pipe:") => {
                self.add(Channel::Pipe(data.stx_ino), reads, writes);
            }
            FileType::Socket => {
                self.socket(data.stx_ino, field("scm_fds:").is_some_and(|count| count != "0"));
            }
            FileType::CharacterDevice => self.device(&data, reads, writes),
            FileType::RegularFile | FileType::Fifo => self.file(link, &data, reads, writes),
            _ => {}
        }
        Ok(())
    }

    /// What only refers to a file is no end, but tells what a mapping of it is.
    fn reference(&mut self, links: &OwnedFd, number: &str, text: Vec<u8>) -> io::Result<()> {
        let data = statx(links, number, AtFlags::NO_AUTOMOUNT, FIELDS)?;
        let is_file = FileType::from_raw_mode(data.stx_mode.into()) == FileType::RegularFile;
        if is_file && data.stx_nlink == 0 {
            let channel = inode_channel(&data);
            self.nameless.push(Nameless { text, inode: data.stx_ino, channel });
        }
        Ok(())
    }

    fn socket(&mut self, inode: u64, has_descriptors: bool) {
        if has_descriptors {
            self.add(Channel::InFlight, true, false);
        }
        self.held.insert(inode);
        match self.sockets.ways(inode) {
            Ways::To(channels) => channels.into_iter().for_each(|channel| self.add(channel, true, true)),
            Ways::Unknown => *self.is_blind = true,
        }
    }

    /// A pseudo-terminal is a channel, but for the one that the caller's terminal is behind.
    fn device(&mut self, data: &Statx, reads: bool, writes: bool) {
        let is_master = (data.stx_rdev_major, data.stx_rdev_minor) == (5, 2);
        let is_slave = (136..=143).contains(&data.stx_rdev_major);
        let is_callers = self.census.has_terminal && (data.stx_rdev_major, data.stx_rdev_minor) == (136, 0);
        if is_master || is_slave && !is_callers {
            self.add(Channel::Terminals, reads, writes);
        }
    }

    /// A file by its path; and by itself where it has several names or none, or may come to have none.
    fn file(&mut self, link: Vec<u8>, data: &Statx, reads: bool, writes: bool) {
        if let Some(number) = process_of(&link) {
            match self.census.memory_of(number, Some(self.entry.process())) {
                Ok(Some((owner, channel))) => self.memory_of(owner, channel, reads, writes),
                Ok(None) => {}
                Err(_) => *self.is_blind = true,
            }
            return;
        }
        if let Some(channel) = self.census.beside_path(data, writes) {
            self.add(channel.clone(), reads, writes);
            self.names(Identity::of(data), reads, writes);
            if data.stx_nlink == 0 {
                self.nameless.push(Nameless { text: link, inode: data.stx_ino, channel });
                return;
            }
        }
        self.add(Channel::Path(link), reads, writes);
    }

    /// Every name that is known of a file.
    fn names(&mut self, file: Identity, reads: bool, writes: bool) {
        let names = lock(&self.census.linked).names(file);
        for name in names {
            self.add(Channel::Path(name), reads, writes);
        }
    }

    /// A mapping of a file that has no name: the same as any descriptor that looks like it.
    pub(super) fn nameless(&mut self, text: Vec<u8>, inode: u64, writes: bool) {
        let alike: Vec<&Nameless> = self.nameless.iter().filter(|other| other.text == text).collect();
        let is_found = alike.iter().any(|other| other.inode == inode);
        let same = alike.into_iter().filter(|other| !is_found || other.inode == inode);
        let mut channels: Vec<Channel> = same.map(|other| other.channel.clone()).collect();
        let former = text.strip_suffix(mappings::DELETED).unwrap_or(&text);
        let linked = lock(&self.census.linked).alike(inode, former);
        for file in linked {
            channels.push(file.channel());
            self.names(file, true, writes);
        }
        let mut hasher = DefaultHasher::new();
        (text, inode).hash(&mut hasher);
        channels.push(Channel::Memory(hasher.finish() | FILE));
        for channel in channels {
            self.add(channel, true, writes);
        }
    }

    /// Whether there may be a file of this name.
    pub(super) fn has_file(&self, path: &[u8]) -> bool {
        let (Some(root), Some(relative)) = (self.entry.root(), path.strip_prefix(b"/")) else { return true };
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        !matches!(statx(root, relative, flags, FIELDS), Err(Errno::NOENT | Errno::NOTDIR))
    }

    /// A mapping of a file that has a name.
    pub(super) fn named(&mut self, path: Vec<u8>, writes: bool) {
        if self.census.has_links()
            && let Some(root) = self.entry.root()
            && let Some(relative) = path.strip_prefix(b"/")
            && let Ok(data) = statx(root, relative, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, FIELDS)
            && let Some(channel) = self.census.beside_path(&data, writes)
        {
            self.add(channel, true, writes);
            self.names(Identity::of(&data), true, writes);
        }
        self.add(Channel::Path(path), true, writes);
    }

    /// What the process holds of another one's memory, that one has the other end of.
    fn memory_of(&mut self, owner: Process, channel: Channel, reads: bool, writes: bool) {
        self.add(channel.clone(), reads, writes);
        self.ends.insert(End { process: owner, channel, reads: writes, writes: reads });
    }
}

/// Whether a descriptor is a folder's.
fn is_folder(links: &OwnedFd, number: &str) -> io::Result<bool> {
    let data = statx(links, number, AtFlags::NO_AUTOMOUNT, FIELDS)?;
    Ok(FileType::from_raw_mode(data.stx_mode.into()) == FileType::Directory)
}

/// The process whose memory, or what stands in it, a path below `/proc` is: the numbers and switches there
/// carry nothing of a process's data.
pub(crate) fn process_of(path: &[u8]) -> Option<u32> {
    let mut names = path.strip_prefix(b"/proc/")?.split(|byte| *byte == b'/');
    let number = std::str::from_utf8(names.next()?).ok()?.parse().ok()?;
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    matches!(name, b"mem" | b"environ" | b"cmdline").then_some(number)
}

pub(super) const FIELDS: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);
/// What keeps apart the numbers of different kinds of [`Channel::Memory`].
const FILE: u64 = 1 << 63;
const EVENT: u64 = 1 << 61;
/// How often to look when somebody cannot be seen, and how long to wait each time.
const ATTEMPTS: u32 = 8;
const PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_holds_the_data_of_a_process_leads_to_it() {
        assert_eq!(process_of(b"/proc/12/mem"), Some(12));
        assert_eq!(process_of(b"/proc/12/task/13/environ"), Some(12));
        assert_eq!(process_of(b"/proc/12/stat"), None);
        assert_eq!(process_of(b"/proc/sys/kernel/mem"), None);
        assert_eq!(process_of(b"/home/proc/12/mem"), None);
    }
}
