//! The machine against models that try every way: labels as sets, spread by brute force after every step.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

use proptest::{collection::vec, prelude::*};
use vantio_core::{Access, Effect, Intent, Labels, Target, Transport};

use super::world::{OTHER, SECRET, World, file};
use crate::flow::Channel;

const PATHS: [&str; 4] = ["/k/secret", "/k/other", "/tmp/a", "/tmp/b"];
const PEERS: [&str; 3] = ["192.0.2.1:443", "203.0.113.1:443", "198.51.100.1:80"];

/// What happens; numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Event {
    Fork(usize),
    Exit(usize),
    Read(usize, usize),
    Write(usize, usize),
    Connect(usize, usize),
    Pipe(usize),
    Pair(usize),
    Close(usize, usize),
    HandOn(usize, usize, usize),
}

fn event() -> impl Strategy<Value = Event> {
    let index = || 0_usize..8;
    prop_oneof![
        3 => index().prop_map(Event::Fork),
        1 => index().prop_map(Event::Exit),
        4 => (index(), index()).prop_map(|(process, path)| Event::Read(process, path)),
        3 => (index(), index()).prop_map(|(process, path)| Event::Write(process, path)),
        2 => (index(), index()).prop_map(|(process, peer)| Event::Connect(process, peer)),
        3 => index().prop_map(Event::Pipe),
        2 => index().prop_map(Event::Pair),
        2 => (index(), index()).prop_map(|(process, end)| Event::Close(process, end)),
        3 => (index(), index(), index()).prop_map(|(from, to, end)| Event::HandOn(from, to, end)),
    ]
}

/// An end as it is: pairs are told apart.
type Held = (u32, Channel, bool, bool);

/// Who has what, in truth.
#[derive(Clone, Debug, Default)]
struct Truth {
    processes: BTreeMap<u32, Labels>,
    channels: BTreeMap<Channel, Labels>,
    ends: Vec<Held>,
}

impl Truth {
    fn new() -> Self {
        let mut truth = Self::default();
        truth.processes.insert(1, Labels::NONE);
        truth.channels.insert(file("/k/secret"), SECRET);
        truth.channels.insert(file("/k/other"), OTHER);
        truth.channels.insert(peer(PEERS[2]), OTHER);
        truth
    }

    /// Lets everything flow that can.
    fn settle(&mut self) {
        loop {
            let before = (self.processes.clone(), self.channels.clone());
            for (pid, channel, reads, writes) in &self.ends {
                let process = self.processes.entry(*pid).or_default();
                let carried = self.channels.entry(channel.clone()).or_default();
                if *writes {
                    *carried = carried.union(*process);
                }
                if *reads {
                    *process = process.union(*carried);
                }
            }
            if before == (self.processes.clone(), self.channels.clone()) {
                return;
            }
        }
    }

    fn is_at_a_sink(&self) -> bool {
        self.ends.iter().any(|(pid, channel, _, writes)| {
            let sink = [(peer(PEERS[0]), SECRET), (peer(PEERS[1]), OTHER)];
            let labels = self.processes.get(pid).copied().unwrap_or_default();
            sink.iter().any(|(sink, label)| *writes && channel == sink && labels.contains(*label))
        })
    }

    fn pid(&self, index: usize) -> u32 {
        *self.processes.keys().nth(index % self.processes.len()).unwrap()
    }

    fn end(&self, pid: u32, index: usize) -> Option<Held> {
        let ends: Vec<&Held> = self.ends.iter().filter(|end| end.0 == pid).collect();
        (!ends.is_empty()).then(|| ends[index % ends.len()].clone())
    }
}

fn peer(address: &str) -> Channel {
    Channel::Peer(Transport::Tcp, address.parse().unwrap())
}

/// Socket pairs are told apart in truth only.
fn as_seen(channel: &Channel) -> Channel {
    if let Channel::Socket(_) = channel { Channel::SocketPairs } else { channel.clone() }
}

struct Run {
    world: World,
    truth: Truth,
    next: u32,
}

impl Run {
    fn new() -> Self {
        Self { world: World::new(), truth: Truth::new(), next: 2 }
    }

    fn hold(&mut self, held: Held) {
        self.world.hold(held.0, as_seen(&held.1), held.2, held.3);
        self.truth.ends.push(held);
        self.truth.settle();
    }

    /// An end that has to be asked for: what the model says of it, and what the machine.
    fn ask(&mut self, held: Held, ask: impl Fn(&mut World) -> bool) -> (bool, bool) {
        let mut after = self.truth.clone();
        after.ends.push(held);
        after.settle();
        let may = !after.is_at_a_sink();
        let is_permitted = ask(&mut self.world);
        if is_permitted {
            self.truth = after;
        }
        (may, is_permitted)
    }

    /// `None` where nothing was asked.
    fn step(&mut self, event: Event) -> Option<(bool, bool)> {
        match event {
            Event::Fork(index) if self.truth.processes.len() < 6 => {
                let (parent, child) = (self.truth.pid(index), self.next);
                self.next += 1;
                self.world.fork(parent, child);
                let labels = self.truth.processes[&parent];
                self.truth.processes.insert(child, labels);
                let ends = self.truth.ends.iter().filter(|end| end.0 == parent);
                let ends: Vec<Held> = ends.map(|end| (child, end.1.clone(), end.2, end.3)).collect();
                self.truth.ends.extend(ends);
            }
            Event::Exit(index) => {
                let pid = self.truth.pid(index);
                if pid != 1 {
                    self.world.exit(pid);
                    self.truth.processes.remove(&pid);
                    self.truth.ends.retain(|end| end.0 != pid);
                }
            }
            Event::Read(index, path) => {
                let (pid, path) = (self.truth.pid(index), PATHS[path % PATHS.len()]);
                return Some(self.ask((pid, file(path), true, false), |world| world.read(pid, path).is_ok()));
            }
            Event::Write(index, path) => {
                let (pid, path) = (self.truth.pid(index), PATHS[path % PATHS.len()]);
                return Some(
                    self.ask((pid, file(path), false, true), |world| world.write(pid, path).is_ok()),
                );
            }
            Event::Connect(index, address) => {
                let (pid, address) = (self.truth.pid(index), PEERS[address % PEERS.len()]);
                let held = (pid, peer(address), true, true);
                return Some(self.ask(held, |world| world.connect(pid, address).is_ok()));
            }
            Event::Pipe(index) => {
                let (pid, pipe) = (self.truth.pid(index), Channel::Pipe(u64::from(self.next)));
                self.next += 1;
                self.hold((pid, pipe.clone(), true, false));
                self.hold((pid, pipe, false, true));
            }
            Event::Pair(index) => {
                let pair = Channel::Socket(u64::from(self.next));
                self.next += 1;
                self.hold((self.truth.pid(index), pair, true, true));
            }
            Event::Close(index, end) => {
                let pid = self.truth.pid(index);
                if let Some((_, channel, ..)) = self.truth.end(pid, end)
                    && !matches!(channel, Channel::Socket(_))
                {
                    self.world.drop_ends(pid, &channel);
                    self.truth.ends.retain(|end| end.0 != pid || end.1 != channel);
                }
            }
            Event::HandOn(from, to, end) => {
                let (from, to) = (self.truth.pid(from), self.truth.pid(to));
                let pairs = |pid| -> BTreeSet<Channel> {
                    let ends = self.truth.ends.iter().filter(|end| end.0 == pid);
                    ends.map(|end| end.1.clone()).filter(|end| matches!(end, Channel::Socket(_))).collect()
                };
                if from != to
                    && !pairs(from).is_disjoint(&pairs(to))
                    && let Some((_, channel, reads, writes)) = self.truth.end(from, end)
                {
                    self.hold((to, channel, reads, writes));
                }
            }
            Event::Fork(_) => {}
        }
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Without pairs nothing is guessed: the machine knows exactly what the model knows.
    #[test]
    fn labels_and_refusals_are_those_of_the_model(events in vec(event(), 1..60)) {
        let mut run = Run::new();
        for (index, event) in events.into_iter().enumerate() {
            if matches!(event, Event::Pair(_)) {
                continue;
            }
            if let Some((may, is_permitted)) = run.step(event) {
                prop_assert_eq!(may, is_permitted, "{}: {:?}", index, event);
            }
            for (pid, labels) in &run.truth.processes {
                prop_assert_eq!(run.world.labels(*pid), *labels, "{}: {:?}: {}", index, event, pid);
            }
        }
    }

    /// Whatever is handed on unseen: no label that a process has in truth comes to a sink.
    #[test]
    fn no_label_reaches_a_sink_in_truth(events in vec(event(), 1..80)) {
        let mut run = Run::new();
        for (index, event) in events.into_iter().enumerate() {
            if let Some((may, is_permitted)) = run.step(event) {
                prop_assert!(may || !is_permitted, "{index}: {event:?}");
            }
            prop_assert!(!run.truth.is_at_a_sink(), "{index}: {event:?}");
        }
    }
}

const NAMES: [&str; 6] = ["/w/a/x", "/w/a/y", "/w/b/x", "/w/b/d/x", "/k/secret", "/w/a/z"];
const DIRECTORIES: [&str; 5] = ["/w/a", "/w/b", "/w/c", "/w/b/d", "/k"];

/// What happens to names. The booleans: whether it succeeds; whether it is an exchange.
#[derive(Clone, Copy, Debug)]
enum Naming {
    Copy(usize, usize),
    Link(usize, usize, bool),
    Rename(usize, usize, bool, bool),
    RenameDirectory(usize, usize, bool, bool),
    Unlink(usize, bool),
}

fn naming() -> impl Strategy<Value = Naming> {
    let index = || 0_usize..6;
    prop_oneof![
        3 => (index(), index()).prop_map(|(from, to)| Naming::Copy(from, to)),
        2 => (index(), index(), any::<bool>()).prop_map(|(from, to, works)| Naming::Link(from, to, works)),
        3 => (index(), index(), any::<bool>(), any::<bool>())
            .prop_map(|(from, to, works, exchanges)| Naming::Rename(from, to, works, exchanges)),
        3 => (index(), index(), any::<bool>(), any::<bool>())
            .prop_map(|(from, to, works, exchanges)| Naming::RenameDirectory(from, to, works, exchanges)),
        1 => (index(), any::<bool>()).prop_map(|(path, works)| Naming::Unlink(path, works)),
    ]
}

/// Files by name, and whether the secret is in them.
#[derive(Debug, Default)]
struct Files {
    names: BTreeMap<String, usize>,
    is_secret: Vec<bool>,
}

impl Files {
    fn secret(&self, path: &str) -> bool {
        self.names.get(path).is_some_and(|file| self.is_secret[*file])
    }

    fn create(&mut self, path: &str, is_secret: bool) {
        let next = self.is_secret.len();
        let file = *self.names.entry(path.to_string()).or_insert(next);
        if file == next {
            self.is_secret.push(false);
        }
        self.is_secret[file] |= is_secret;
    }

    fn below(&self, directory: &str) -> Vec<(String, usize)> {
        let prefix = format!("{directory}/");
        let names = self.names.iter().filter(|(name, _)| name.starts_with(&prefix));
        names.map(|(name, file)| (name[directory.len()..].to_string(), *file)).collect()
    }

    fn put(&mut self, directory: &str, entries: Vec<(String, usize)>) {
        self.names.extend(entries.into_iter().map(|(rest, file)| (format!("{directory}{rest}"), file)));
    }

    fn remove_below(&mut self, directory: &str) {
        for (rest, _) in self.below(directory) {
            self.names.remove(&format!("{directory}{rest}"));
        }
    }
}

fn rename(
    world: &mut World,
    files: &mut Files,
    from: &str,
    to: &str,
    works: bool,
    exchanges: bool,
    tree: bool,
) {
    world.rename(1, from, to, tree);
    if exchanges {
        world.rename(1, to, from, true);
    }
    if !works {
        return;
    }
    let (left, right) = (files.below(from), files.below(to));
    let (left_file, right_file) = (files.names.remove(from), files.names.remove(to));
    files.remove_below(from);
    files.remove_below(to);
    files.put(to, left);
    files.names.extend(left_file.map(|file| (to.to_string(), file)));
    if exchanges {
        files.put(from, right);
        files.names.extend(right_file.map(|file| (from.to_string(), file)));
    } else {
        world.flow.gone(from.as_bytes());
    }
}

fn step(world: &mut World, files: &mut Files, pid: u32, naming: Naming) {
    let (name, directory) = (|index: usize| NAMES[index % 6], |index: usize| DIRECTORIES[index % 5]);
    match naming {
        Naming::Copy(from, to) => {
            let (from, to) = (name(from), name(to));
            if files.names.contains_key(from) {
                world.fork(1, pid);
                world.read(pid, from).unwrap();
                world.write(pid, to).unwrap();
                world.exit(pid);
                files.create(to, files.secret(from));
            }
        }
        Naming::Link(from, to, works) => {
            let (from, to) = (name(from), name(to));
            if from != to && files.names.contains_key(from) && !files.names.contains_key(to) {
                world.link(1, from, to);
                if works {
                    let file = files.names[from];
                    files.names.insert(to.to_string(), file);
                }
            }
        }
        Naming::Rename(from, to, works, exchanges) => {
            let (from, to) = (name(from), name(to));
            let exists = files.names.contains_key(from) && (!exchanges || files.names.contains_key(to));
            if from != to && exists {
                rename(world, files, from, to, works, exchanges, false);
            }
        }
        Naming::RenameDirectory(from, to, works, exchanges) => {
            let (from, to) = (directory(from), directory(to));
            let is_apart = !from.starts_with(to) && !to.starts_with(from);
            if is_apart && (exchanges || files.below(to).is_empty()) {
                rename(world, files, from, to, works, exchanges, true);
            }
        }
        Naming::Unlink(path, works) => {
            let path = name(path);
            let target = Target::Path { path: path.as_bytes(), access: Access::Write, subtree: false };
            world.act(1, &Intent::new(Effect::FsUnlink, target)).unwrap();
            if works {
                files.names.remove(path);
                world.flow.gone(path.as_bytes());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// However files are named: who reads the secret carries it.
    #[test]
    fn no_name_loses_a_label(namings in vec(naming(), 1..25)) {
        let (mut world, mut files) = (World::new(), Files::default());
        files.create("/k/secret", true);
        for path in ["/w/a/x", "/w/b/x", "/w/b/d/x"] {
            files.create(path, false);
        }
        for (index, naming) in namings.into_iter().enumerate() {
            let pid = 1_000 + 10 * index as u32;
            step(&mut world, &mut files, pid, naming);
            for (path, _) in files.names.iter().filter(|(path, _)| files.secret(path)) {
                world.fork(1, pid + 1);
                world.read(pid + 1, path).unwrap();
                prop_assert!(world.labels(pid + 1).contains(SECRET), "{index}: {naming:?}: {path}");
                world.exit(pid + 1);
            }
        }
    }
}
