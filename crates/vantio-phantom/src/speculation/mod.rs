//! A run that is held goes on as a fork of itself, until somebody has answered.
//!
//! The held process is forked at its call, copy-on-write, and the fork goes on as if the call had been permitted. What it
//! changes goes into a shadow of the workspace ([`shadow`]); what it prints waits in pipes and a terminal of its own; what cannot be
//! taken back holds it. Everybody else in the run stands still meanwhile. On a denial the fork and its shadow are gone; on an
//! approval what it changed is carried over ([`merge`]), and the original stands in for it until it ends.
//! Whatever cannot be carried over exactly is dropped instead: the original then goes on by itself, as if there had been
//! no fork.

mod adopt;
mod ascent;
mod descriptors;
mod fork;
mod freeze;
mod kept;
mod live;
mod look;
mod merge;
mod mirror;
mod printing;
mod puppet;
mod release;
mod shadow;
mod standin;

use std::{
    collections::BTreeSet,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    time::Duration,
};

use rustix::process::Pid;
use vantio_core::{Access, Effect, Target};

pub(crate) use fork::{Setup, start};
pub(crate) use kept::Twins;

use crate::supervisor::request::{Reply, Request};

/// What workers and the waiting room know of a fork.
pub(crate) struct Speculator {
    after: Duration,
    is_active: AtomicBool,
    /// Whether an original is awaited.
    awaits: AtomicBool,
    state: Mutex<State>,
    jobs: Mutex<Sender<Job>>,
}

/// What the thread that forks is told.
pub(crate) enum Job {
    /// This call has been held for long enough.
    Consider(Request),
    /// The call of the original has been answered.
    Settled(Request),
    /// The original, or who waits for it, has something else to do.
    GiveUp(&'static str),
    /// A thread is where it was sent.
    Met(Request),
    /// The original waits again.
    Held,
}

#[derive(Default)]
struct State {
    /// Whether there is a fork, or one is being made or taken apart.
    is_busy: bool,
    /// Whether the run goes on as a fork.
    has_forked: bool,
    /// The number of that original as the run counts, and the fork.
    stands_in: Option<(i32, Pid)>,
    /// The thread whose call is held.
    original: Option<Pid>,
    /// The call that the original makes again once it is forked: it waits then, even where its answer is there.
    awaited: Option<Call>,
    /// Who is sent to make a call that nobody answers.
    sent: Option<Pid>,
    /// The fork whose next call is answered as if it were permitted.
    assuming: Option<Pid>,
    /// The threads of the fork, as the run numbers them.
    own_numbers: BTreeSet<i32>,
    roots: Vec<PathBuf>,
    mounts: Vec<u64>,
    /// Calls of the fork that cannot be taken back.
    deferred: Vec<Request>,
    /// Names by which the fork has not the files that the run has.
    gone: BTreeSet<Vec<u8>>,
    /// Those of files to which it gave other names.
    moved: BTreeSet<Vec<u8>>,
    /// The call that no fork is made for again.
    given_up: Option<Call>,
}

/// Who makes which call, with these arguments.
type Call = (Pid, i64, [u64; 6]);

fn call_of(request: &Request) -> Call {
    (request.tid(), request.number(), request.syscall().arguments)
}

/// A thread, as the oracle is told of it.
fn number(pid: Pid) -> u32 {
    pid.as_raw_pid().unsigned_abs()
}

impl Speculator {
    fn new(after: Duration, jobs: Sender<Job>) -> Self {
        let [is_active, awaits] = [const { AtomicBool::new(false) }; 2];
        Self { after, is_active, awaits, state: Mutex::default(), jobs: Mutex::new(jobs) }
    }

    /// Whether the run goes on as a fork, whose original stands in for it.
    pub(crate) fn has_forked(&self) -> bool {
        self.lock().has_forked
    }

    /// Whether there is a fork, or one is being made or taken apart, that is not the run.
    pub(crate) fn is_forking(&self) -> bool {
        let state = self.lock();
        state.is_busy && !state.has_forked
    }

    /// The process of this number stands in for its fork from now on.
    fn stands(&self, original: Option<i32>, fork: Pid) {
        let mut state = self.lock();
        state.has_forked = true;
        state.stands_in = original.map(|number| (number, fork));
    }

    /// The fork that the process of this number stands in for.
    pub(crate) fn stood_in_for(&self, original: i32) -> Option<Pid> {
        self.lock().stands_in.filter(|(number, _)| *number == original).map(|(_, fork)| fork)
    }

    /// There is no fork any more, or none that is different from others.
    fn forget(&self) {
        let mut state = self.lock();
        let given_up = state.given_up.take();
        *state = State { given_up, ..State::default() };
        self.awaits.store(false, Ordering::Release);
        self.activate(false);
    }

    /// Nothing is covered any more.
    fn uncovered(&self) {
        let mut state = self.lock();
        state.roots.clear();
        state.mounts.clear();
        self.activate(false);
    }

    /// The call of a thread that was kept.
    fn deferred_of(&self, tid: Pid) -> Option<Request> {
        let mut state = self.lock();
        let at = state.deferred.iter().position(|request| request.tid() == tid)?;
        Some(state.deferred.swap_remove(at))
    }

    /// How long a call is held before there is a fork.
    pub(crate) const fn after(&self) -> Duration {
        self.after
    }

    /// Whether a fork is going on: every call there is then is one of its own.
    pub(crate) fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Acquire)
    }

    /// Tells that a call has been held for long enough; whether it is taken over.
    pub(crate) fn consider(&self, request: &Request) -> bool {
        let mut state = self.lock();
        if state.is_busy || state.given_up == Some(call_of(request)) {
            return false;
        }
        state.is_busy = true;
        drop(state);
        self.tell(Job::Consider(request.clone()))
    }

    /// Whether the call of this thread is the one that there is a fork for.
    pub(crate) fn owns(&self, tid: Pid) -> bool {
        self.lock().original == Some(tid)
    }

    pub(crate) fn tell(&self, job: Job) -> bool {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).send(job).is_ok()
    }

    /// Whether an original makes its call again that was forked at it: its answer is the fork's too, and nothing may
    /// come of the call before.
    pub(crate) fn awaits(&self, request: &Request) -> bool {
        self.awaits.load(Ordering::Acquire) && self.lock().awaited == Some(call_of(request))
    }

    /// From here on the original of this call is awaited; or it is no longer.
    fn expect(&self, call: Option<Call>) {
        let mut state = self.lock();
        state.awaited = call;
        self.awaits.store(call.is_some(), Ordering::Release);
    }

    /// Takes a call over that a thread was sent to make.
    pub(crate) fn meets(&self, request: &Request) -> bool {
        let mut state = self.lock();
        if state.sent != Some(request.tid()) {
            return false;
        }
        state.sent = None;
        drop(state);
        self.tell(Job::Met(request.clone()))
    }

    /// The thread whose held call this is made in the place of, where it is to be answered as permitted.
    pub(crate) fn assumed(&self, request: &Request) -> Option<u32> {
        let state = self.lock();
        let original = state.original.filter(|_| state.assuming == Some(request.tid()))?;
        Some(number(original))
    }

    /// A call is about to be answered for good.
    pub(crate) fn answers(&self, request: &Request) {
        if !self.is_active() {
            return;
        }
        let mut state = self.lock();
        if state.assuming == Some(request.tid()) {
            state.assuming = None;
        }
    }

    /// Whether the fork has made the call that it was forked at.
    fn has_set_out(&self) -> bool {
        self.lock().assuming.is_none()
    }

    /// Keeps a call until it is known whether it may happen.
    pub(crate) fn keep(&self, request: Request) {
        let mut state = self.lock();
        if state.assuming == Some(request.tid()) {
            self.tell(Job::GiveUp("what it would do cannot be taken back"));
        }
        if state.is_busy && self.is_active() {
            state.deferred.push(request);
        } else {
            drop(state);
            // The fork is gone or adopted meanwhile: the call is made once more.
            request.answer(Reply::Error(crate::sys::socket::RESTART));
        }
    }

    /// Of an object whose path is below a shadow: whether it is of the shadow, or of what that covers, which the fork must
    /// not use.
    pub(crate) fn is_shadow(&self, path: &[u8], mount: u64) -> Option<bool> {
        let state = self.lock();
        let is_shadow = state.mounts.contains(&mount);
        (is_shadow || is_below(&state.roots, path)).then_some(is_shadow)
    }

    /// Whether this could not be taken back.
    pub(crate) fn hinders(&self, effect: Effect, target: &Target<'_>) -> bool {
        let state = self.lock();
        let is_shadowed = |path: &[u8]| is_below(&state.roots, path);
        match (effect, *target) {
            (Effect::FsStat | Effect::ProcSyscall | Effect::ProcSignal, _) => false,
            (Effect::FsOpen, Target::Path { path, access, .. }) => match access {
                _ if HARMLESS.contains(&path) => false,
                _ if is_below_one(Path::new("/dev"), path) || !path.starts_with(b"/") => true,
                Access::Read => false,
                Access::Write => !is_shadowed(path),
            },
            (Effect::ProcExec, Target::Path { path, .. }) => !path.starts_with(b"/") || is_shadowed(path),
            // A new folder cannot be told from what it hides, and moves with it: the fork's would not.
            (Effect::FsRename, Target::Paths { from, to, subtree }) => {
                subtree || !is_shadowed(from) || !is_shadowed(to)
            }
            (
                Effect::FsUnlink
                | Effect::FsRmdir
                | Effect::FsMkdir
                | Effect::FsSymlink
                | Effect::FsChmod
                | Effect::FsTruncate
                | Effect::FsUtime,
                Target::Path { path, .. },
            ) => !is_shadowed(path),
            _ => true,
        }
    }

    /// The fork has taken a name from a file of the run's, and maybe given it another.
    pub(crate) fn gone(&self, path: &[u8], moved: bool) {
        let mut state = self.lock();
        state.gone.insert(path.to_vec());
        if moved {
            state.moved.insert(path.to_vec());
        }
    }

    /// Whether a process of the run with this number is the fork's.
    pub(crate) fn is_own(&self, number: i32) -> bool {
        self.lock().own_numbers.contains(&number)
    }

    /// The original waits again.
    pub(crate) fn is_held_again(&self, tid: Pid) {
        if self.owns(tid) {
            self.tell(Job::Held);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn activate(&self, is_active: bool) {
        self.is_active.store(is_active, Ordering::Release);
    }
}

fn is_below(roots: &[PathBuf], path: &[u8]) -> bool {
    roots.iter().any(|root| is_below_one(root, path))
}

fn is_below_one(root: &Path, path: &[u8]) -> bool {
    Path::new(std::ffi::OsStr::from_bytes(path)).starts_with(root)
}

/// What a file may have, in bytes, that is copied because a fork changes it.
pub(crate) const LARGEST_COPIED: u64 = 64 << 20;
/// Devices that keep nothing.
const HARMLESS: [&[u8]; 5] = [b"/dev/null", b"/dev/zero", b"/dev/full", b"/dev/random", b"/dev/urandom"];
