//! Who the processes of a run are, and every open end of every channel between them.
//!
//! Everything is read in the run's own `/proc`, by the numbers that processes have there. While a census
//! is taken nobody is born and no descriptor is sent from one process to another: those calls are asked,
//! and wait. Two looks are taken, for what was let go just before.

mod ends;
mod entry;
mod links;
mod mappings;
mod settle;
mod shares;
mod sockets;

use std::{
    collections::{HashMap, HashSet},
    os::fd::OwnedFd,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{Access, AtFlags, CWD, Mode, OFlags, Statx, accessat, openat},
    io::{self, Errno},
};
use vantio_core::{Channel, End, Process};

pub(crate) use self::{
    ends::{inode_channel, process_of},
    mappings::DELETED,
    sockets::{Tables, named},
};
use self::{entry::Entry, links::Links, sockets::Registry};
use crate::{Ways, proc, supervisor::request::Request};

/// A process, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Born {
    /// Which.
    pub process: Process,
    /// Who made it, where that is certain.
    pub parent: Option<Process>,
    /// The path of what it executes, as the run sees it; empty when unknown.
    pub program: Vec<u8>,
}

/// What the oracle may ask about the processes of a run. Numbers are the run's own.
pub trait Processes: Send + Sync {
    /// The process of a thread that the host numbers `tid`.
    fn of_thread(&self, tid: u32) -> Option<Process>;

    /// The number that the host has for what the run numbers `pid`, once that has made a call that was asked.
    fn host_number(&self, pid: u32) -> Option<u32>;

    /// How often processes were born, or may have been: as long as this stays the same, so does [`Processes::all`], but for
    /// those that end.
    fn births(&self) -> u64;

    /// Every process of the run, the older before the younger.
    ///
    /// # Errors
    ///
    /// When not all can be seen.
    fn all(&self) -> io::Result<Vec<Born>>;

    /// What tells the image of a process from the one before an `execve(2)` and from the next; `None` when that
    /// cannot be known.
    fn image(&self, process: Process) -> Option<u64>;

    /// The path of the file that the process executes, as the run sees it.
    fn program(&self, process: Process) -> Option<Vec<u8>>;

    /// The environment with which the process was started.
    fn environment(&self, process: Process) -> Option<Vec<u8>>;

    /// Whether the file system of the run certainly has nothing that is loaded into every program (`ld.so(8)`).
    fn loads_nothing_more(&self, process: Process) -> bool;

    /// Whether the process has certainly no filter of system calls (`seccomp(2)`) but the run's own: another may have
    /// answered its calls.
    fn is_unfiltered(&self, process: Process) -> bool;

    /// Waits a little for processes that were just forked, and for those that made them, to let go of the pipes that
    /// `process` leads to.
    fn settle(&self, process: Process);

    /// All open ends of all processes.
    ///
    /// # Errors
    ///
    /// When not all can be seen.
    fn ends(&self) -> io::Result<Vec<End>>;
}

/// What a run's census is taken from.
pub(crate) struct Census {
    /// The host's `/proc`.
    host: OwnedFd,
    /// The run's `/proc`, once a thread is in the run.
    run: OnceLock<OwnedFd>,
    /// Files that the caller gave as standard input, output and error: nobody's channel.
    given: Vec<Identity>,
    /// Whether the run has a terminal of the caller's.
    has_terminal: bool,
    tables: OnceLock<Box<dyn Tables>>,
    registry: Registry,
    /// What the host calls those that made a call, by what the run calls them.
    numbers: Mutex<HashMap<u32, (u64, u32)>>,
    /// Those that ever made a process that shares their memory or descriptors.
    sharers: Mutex<HashSet<u32>>,
    /// Those that take over the children of others: where a parent is one, it may be another's.
    reapers: Mutex<HashSet<u32>>,
    /// Files that have, or had, more than one name.
    linked: Mutex<Links>,
    /// How many filters of system calls the run's first program was given.
    filters: OnceLock<u32>,
    /// Set once threads of a process may have different descriptors.
    tables_differ: AtomicBool,
    births: AtomicU64,
    /// Ends that calls which wait are about to get, by their notifications.
    expected: Mutex<HashMap<u64, Vec<End>>>,
    /// Held to write while a census is taken.
    moving: RwLock<()>,
}

/// What tells one file from another, over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    device: (u32, u32),
    inode: u64,
    /// When the inode came into use, where the file system says so.
    born: (i64, u32),
}

impl Identity {
    pub(crate) fn of(data: &Statx) -> Self {
        Self {
            device: (data.stx_dev_major, data.stx_dev_minor),
            inode: data.stx_ino,
            born: (data.stx_btime.tv_sec, data.stx_btime.tv_nsec),
        }
    }
}

impl Census {
    /// A census of nobody yet. The calling thread sees the host's `/proc`.
    pub(crate) fn new(has_terminal: bool) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        allow_descriptors();
        Ok(Self {
            host: openat(CWD, "/proc", flags, Mode::empty())?,
            run: OnceLock::new(),
            given: ends::given(),
            has_terminal,
            tables: OnceLock::new(),
            registry: Registry::default(),
            numbers: Mutex::default(),
            sharers: Mutex::default(),
            reapers: Mutex::default(),
            linked: Mutex::default(),
            filters: OnceLock::new(),
            tables_differ: AtomicBool::new(false),
            births: AtomicU64::new(0),
            expected: Mutex::default(),
            moving: RwLock::default(),
        })
    }

    /// Takes the run's `/proc`. The calling thread is in the run's mount namespace.
    pub(crate) fn enter(&self) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let run = openat(CWD, "/proc", flags, Mode::empty())?;
        let _ = self.run.set(run);
        Ok(())
    }

    /// Where the lists of the run's sockets come from.
    pub(crate) fn read_tables_from(&self, tables: Box<dyn Tables>) {
        let _ = self.tables.set(tables);
    }

    /// What sockets are connected to, as far as the supervisor connected them.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// While this is held no census is taken: for a call that moves descriptors, which is let go before it is
    /// given back.
    pub(crate) fn moves(&self) -> RwLockReadGuard<'_, ()> {
        self.moving.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the call is answered its process counts as holding an end of `channel`.
    pub(crate) fn expect(&self, request: &Request, channel: Channel, ways: Ways) -> io::Result<()> {
        let process = self.of_thread(request.tid().as_raw_pid().unsigned_abs()).ok_or(Errno::ACCESS)?;
        let end = End { process, channel, reads: ways.reads, writes: ways.writes };
        lock(&self.expected).entry(request.id()).or_default().push(end);
        Ok(())
    }

    /// The call is answered.
    pub(crate) fn answered(&self, request: u64) {
        lock(&self.expected).remove(&request);
    }

    /// What the calls that wait are about to get. Asked before descriptors are looked at, so that what is
    /// no longer expected is seen there.
    fn expected(&self, entries: &[Entry]) -> Vec<End> {
        let is_alive = |end: &End| entries.iter().any(|entry| entry.process() == end.process);
        let mut expected = lock(&self.expected);
        // Those who died meanwhile got no answer.
        expected.retain(|_, ends| ends.iter().any(is_alive));
        expected.values().flatten().cloned().collect()
    }

    /// The thread `tid` makes a process or a thread; `shares` when it may share memory or descriptors.
    pub(crate) fn gives_birth(&self, tid: u32, shares: bool) {
        if shares && let Some(process) = self.of_thread(tid) {
            lock(&self.sharers).insert(process.pid);
        }
        self.births.fetch_add(1, Ordering::AcqRel);
    }

    /// Threads of one process may have different descriptors from here on.
    pub(crate) fn separate_tables(&self) {
        self.tables_differ.store(true, Ordering::Release);
    }

    /// The thread `tid` takes over orphans.
    pub(crate) fn reaps(&self, tid: u32) {
        if let Some(process) = self.of_thread(tid) {
            lock(&self.reapers).insert(process.pid);
        }
    }

    /// The file of the name `from` gets another.
    pub(crate) fn link(&self, data: &Statx, from: &[u8], to: &[u8]) {
        lock(&self.linked).name(Identity::of(data), [from, to]);
    }

    /// What is at `from`, or below it, is about to be at `to`.
    pub(crate) fn rename(&self, from: &[u8], to: &[u8]) {
        lock(&self.linked).rename(from, to);
    }

    /// Nothing has this name any more, or one below it.
    pub(crate) fn gone(&self, path: &[u8]) {
        lock(&self.linked).forget(path);
    }

    /// The channel that a file is besides its path: one with more than one name, one without, and one that is
    /// written and may lose its name.
    pub(crate) fn beside_path(&self, data: &Statx, writes: bool) -> Option<Channel> {
        let mut linked = lock(&self.linked);
        if data.stx_nlink > 1 {
            linked.name(Identity::of(data), []);
        }
        let is_linked = linked.has(Identity::of(data));
        (data.stx_nlink == 0 || is_linked || writes).then(|| inode_channel(data))
    }

    /// Whether the run has a terminal, which the caller's is behind.
    pub(crate) fn has_terminal(&self) -> bool {
        self.has_terminal
    }

    /// Whether any file has more than one name.
    fn has_links(&self) -> bool {
        !lock(&self.linked).is_empty()
    }

    /// The channel of what is in the memory of process `number` of the run, and that process; `None` when it is none, or
    /// the caller itself.
    pub(crate) fn memory_of(
        &self,
        number: u32,
        caller: Option<Process>,
    ) -> io::Result<Option<(Process, Channel)>> {
        let Some(entry) = self.entry(number)? else { return Ok(None) };
        let owner = entry.process();
        Ok((Some(owner) != caller).then(|| (owner, shares::memory(owner))))
    }

    /// The processes that hold the socket of this inode.
    fn holders(&self, inode: u64) -> Vec<u32> {
        let text = format!("socket:[{inode}]");
        // Nobody who can be seen stands for anybody.
        let entries = self.entries().unwrap_or_default();
        let holding = entries.into_iter().filter(|entry| entry.holds(&text));
        let numbers = lock(&self.numbers);
        // One that made no call yet is not known to the host: nobody, which stands for anybody.
        holding
            .map(|entry| {
                numbers.get(&entry.pid).filter(|known| known.0 == entry.started).map_or(0, |known| known.1)
            })
            .collect()
    }

    /// The processes that hold the sockets which these lists of the run have at `port`, as the host numbers
    /// them; 0 for one that nobody knows.
    pub(crate) fn askers(&self, tables: &[&str], port: u16) -> Vec<u32> {
        let read = |table: &&str| self.tables.get().and_then(|tables| tables.read(table).ok());
        let mut holders = Vec::new();
        for table in tables.iter().map(read) {
            let Some(table) = table else { return vec![0] };
            let sockets = sockets::lines(&table).filter(|line| line.local.port() == port);
            holders.extend(sockets.flat_map(|line| self.holders(line.inode)));
        }
        if holders.is_empty() {
            holders.push(0);
        }
        holders.sort_unstable();
        holders.dedup();
        holders
    }

    fn entries(&self) -> io::Result<Vec<Entry>> {
        entry::all(self.run.get().ok_or(Errno::IO)?)
    }

    fn entry(&self, pid: u32) -> io::Result<Option<Entry>> {
        Entry::read(self.run.get().ok_or(Errno::IO)?, pid)
    }

    /// The entry of exactly this process.
    fn entry_of(&self, process: Process) -> Option<Entry> {
        self.entry(process.pid).ok()?.filter(|entry| entry.started == process.started)
    }

    /// The number that the host has for exactly this process.
    pub(crate) fn number_of(&self, process: Process) -> Option<u32> {
        lock(&self.numbers).get(&process.pid).filter(|known| known.0 == process.started).map(|known| known.1)
    }

    /// The threads that can tell what the process shares, as the host numbers them: its first, where that speaks for all.
    fn threads_of(&self, entry: &Entry) -> Option<Vec<u32>> {
        let host = self.number_of(entry.process())?;
        if !entry.lost_first && !self.tables_differ.load(Ordering::Acquire) {
            return Some(vec![host]);
        }
        // Nobody is left where it is gone.
        Some(entry::list(&self.host, &format!("{host}/task")).unwrap_or_else(|_| vec![host]))
    }

    fn parent(&self, entry: &Entry) -> Option<Process> {
        // Process 1 is the run's init, which takes over orphans.
        if entry.parent <= 1 || lock(&self.reapers).contains(&entry.parent) {
            return None;
        }
        let parent = self.entry(entry.parent).ok()??;
        (parent.started <= entry.started).then(|| parent.process())
    }
}

impl Processes for Census {
    fn of_thread(&self, tid: u32) -> Option<Process> {
        let status = proc::text(&self.host, &format!("{tid}/status")).ok()?;
        let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key));
        let host: u32 = field("Tgid:")?.trim().parse().ok()?;
        let pid: u32 = field("NStgid:")?.split_whitespace().last()?.parse().ok()?;
        let started = entry::Stat::parse(&proc::text(&self.host, &format!("{host}/stat")).ok()?)?.started;
        if let Some(filters) = entry::filters(&status) {
            // The first who asks is the run's first program, before it is started.
            self.filters.get_or_init(|| filters);
        }
        lock(&self.numbers).insert(pid, (started, host));
        Some(Process { pid, started })
    }

    fn host_number(&self, pid: u32) -> Option<u32> {
        lock(&self.numbers).get(&pid).map(|known| known.1)
    }

    fn births(&self) -> u64 {
        self.births.load(Ordering::Acquire)
    }

    fn all(&self) -> io::Result<Vec<Born>> {
        let mut entries = self.entries()?;
        // A parent is older than its children; of those born within one tick it has the lower number, mostly.
        entries.sort_by_key(|entry| (entry.started, entry.pid));
        let born = |entry: &Entry| Born {
            process: entry.process(),
            parent: self.parent(entry),
            program: entry.program().unwrap_or_default(),
        };
        Ok(entries.iter().map(born).collect())
    }

    fn image(&self, process: Process) -> Option<u64> {
        self.entry_of(process)?.stat()?.image
    }

    fn program(&self, process: Process) -> Option<Vec<u8>> {
        self.entry_of(process)?.program()
    }

    fn environment(&self, process: Process) -> Option<Vec<u8>> {
        self.entry_of(process)?.bytes("environ")
    }

    fn loads_nothing_more(&self, process: Process) -> bool {
        let root = self.entry_of(process).and_then(|entry| entry.root());
        root.is_some_and(|root| {
            matches!(accessat(root, PRELOADS, Access::EXISTS, AtFlags::empty()), Err(Errno::NOENT))
        })
    }

    fn is_unfiltered(&self, process: Process) -> bool {
        let status = self.entry_of(process).and_then(|entry| entry.bytes("status")).unwrap_or_default();
        let filters = entry::filters(&String::from_utf8_lossy(&status));
        filters.is_some() && filters.as_ref() == self.filters.get()
    }

    fn settle(&self, process: Process) {
        settle::settle(self, process);
    }

    fn ends(&self) -> io::Result<Vec<End>> {
        let _still = self.moving.write().unwrap_or_else(PoisonError::into_inner);
        let mut ends = self.look_well()?;
        ends.append(&mut self.look_well()?);
        Ok(ends.into_iter().collect())
    }
}

const PRELOADS: &str = "etc/ld.so.preload";

/// A census opens many files; a run that leaves no descriptor for it is refused what it asks.
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Without it there are fewer.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// What is behind the lock holds whatever happened to the thread that had it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
