//! The thread that forks what is held, watches over the fork, and ends it.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    os::fd::{AsFd as _, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::{self, Errno},
    process::Pid,
    thread::{CapabilitySet, CapabilitySets, set_capabilities},
};

use super::{
    Job, Speculator, call_of,
    descriptors::{self, Covered, Given},
    freeze::{Failed, Line},
    live::{Found, Live},
    look::{Obstacle, Proc},
    number,
    puppet::Puppet,
    shadow::{Shadows, mount_of},
};
use crate::{
    oracle::Speculated,
    supervisor::{
        Plane, ROOT_CAPABILITIES,
        request::{Reply, Request},
    },
    sys::trace::{self, Event, Way},
};

/// The thread, in the run's mount namespace.
pub(super) struct Thread {
    pub(super) plane: Arc<Plane>,
    pub(super) shared: Arc<Speculator>,
    jobs: Receiver<Job>,
    pub(super) proc: Proc,
    init: Pid,
    follows_flows: bool,
    /// Folders that are covered, where they are there.
    pub(super) roots: Vec<PathBuf>,
}

/// What a run that may be forked is told besides.
pub(crate) struct Setup {
    pub(crate) after: Duration,
    pub(crate) roots: Vec<PathBuf>,
    pub(crate) proc: OwnedFd,
    /// Whether labels or an order are followed, which no fork can be taken out of again.
    pub(crate) follows_flows: bool,
    pub(crate) init: Pid,
}

/// Makes what workers know of forks, and how to start the thread once there is a plane.
pub(crate) fn start(
    setup: Setup,
) -> (Arc<Speculator>, impl FnOnce(Arc<Plane>, OwnedFd) -> std::io::Result<()> + Send) {
    let (sender, jobs) = channel();
    let shared = Arc::new(Speculator::new(setup.after, sender));
    let known = Arc::clone(&shared);
    let begin = move |plane: Arc<Plane>, namespace: OwnedFd| {
        let (ready, started) = sync_channel(1);
        let Setup { proc, init, roots, follows_flows, .. } = setup;
        let proc = Proc::new(proc);
        thread::Builder::new().name(NAME.into()).spawn(move || {
            let entered = Plane::see_run(namespace.as_fd()).and_then(|()| limit());
            let is_ready = entered.is_ok();
            let _ = ready.send(entered);
            if is_ready {
                Thread { plane, shared: known, jobs, proc, init, follows_flows, roots }.work();
            }
        })?;
        Ok(started.recv().map_err(std::io::Error::other)??)
    };
    (shared, begin)
}

/// Keeps what it takes to mount, to trace, and to treat files as the agent does.
pub(super) fn limit() -> io::Result<()> {
    let own = CapabilitySet::SYS_PTRACE.union(CapabilitySet::SYS_ADMIN).union(ROOT_CAPABILITIES);
    set_capabilities(
        None,
        CapabilitySets { effective: own, permitted: own, inheritable: CapabilitySet::empty() },
    )
}

impl Thread {
    fn work(self) {
        while let Ok(job) = self.jobs.recv() {
            match job {
                Job::Consider(request) => {
                    if catch_unwind(AssertUnwindSafe(|| self.consider(request))).is_err() {
                        return self.plane.end_run("an error in Vantio, as a run went on speculatively");
                    }
                    if !let_go() {
                        return self.hand_on();
                    }
                }
                // Of a fork that is gone.
                Job::Settled(request) => self.plane.take_back(request),
                Job::Met(request) => request.answer(Reply::Error(Errno::PERM)),
                Job::GiveUp(_) | Job::Held => {}
            }
        }
    }

    /// Has another thread go on: whoever is traced yet is let go of when the thread that traces ends.
    fn hand_on(self) {
        let plane = Arc::clone(&self.plane);
        if thread::Builder::new().name(NAME.into()).spawn(move || self.work()).is_err() {
            plane.end_run("no thread could be started for it");
        }
    }

    fn consider(&self, request: Request) {
        let tid = request.tid();
        self.shared.lock().original = Some(tid);
        match self.begin(&request) {
            Ok(live) => self.attend(live),
            Err(Failed { obstacle, was_answered }) => {
                self.shared.forget();
                self.plane.oracle().waits_because(number(tid), &obstacle.to_string());
                if was_answered {
                    if obstacle != Obstacle::Answered {
                        self.shared.lock().given_up = Some(call_of(&request));
                    }
                } else {
                    self.plane.take_back_considered(request);
                }
            }
        }
    }

    /// Forks the process that makes the call, and lets the fork go on.
    fn begin(&self, request: &Request) -> Result<Live, Failed> {
        let tid = request.tid();
        if self.follows_flows {
            return Err(Obstacle::Flows.into());
        }
        if !is_revocable(request.number()) {
            return Err(Obstacle::Effect.into());
        }
        let pids = self.proc.line(self.init, tid)?;
        let listed = self.proc.mounts(self.init).map_err(Obstacle::at("see the mounts of the run"))?;
        let mounts: BTreeSet<u64> = listed.iter().map(|mount| mount.id).collect();
        let ancestors = &pids[..pids.len() - 1];
        self.check_memory(tid, ancestors)?;
        descriptors::check(&self.proc, tid, ancestors, (&mounts, &self.roots))?;
        let mut still = Line { thread: self, stopped: Vec::new() };
        for pid in ancestors {
            still.freeze(*pid)?;
        }
        let lost = self.with_lost_names(&pids, &mounts)?;
        if lost.contains(&tid) {
            return Err(Obstacle::Holds(
                "something open that lost its name, or is written and has several".to_owned(),
            )
            .into());
        }
        // Nobody else can have changed anything since.
        if self.proc.line(self.init, tid)? != pids {
            return Err(Obstacle::Others.into());
        }
        self.shared.expect(Some(call_of(request)));
        let born = still.fork_held(request)?;
        let mut live = Live {
            level: pids.len() - 1,
            lost,
            line: still.keep(tid, born),
            top: born,
            ending: None,
            threads: HashMap::from([(born, true)]),
            waits_for: HashMap::new(),
            shadows: Shadows { all: Vec::new() },
            covered: Covered { roots: Vec::new(), before: Vec::new() },
            standins: Vec::new(),
            mounts,
            is_told: false,
            settled: None,
            owed: None,
            queue: VecDeque::new(),
            looks: 0,
        };
        let begun = self.set_out(&mut live, &listed, request);
        if let Err(obstacle) = begun {
            self.drop_fork(live, &obstacle.to_string());
            return Err(Failed { obstacle, was_answered: true });
        }
        Ok(live)
    }

    /// A process that uses its parent's memory cannot be forked: the parent would stand still for as long as the
    /// fork's program runs.
    fn check_memory(&self, held: Pid, ancestors: &[Pid]) -> Result<(), Obstacle> {
        let Some(parent) = ancestors.last() else { return Ok(()) };
        let failed = Obstacle::at("compare the memory of two processes");
        if Proc::are_one_in_memory(*parent, held).map_err(&failed)? {
            return Err(Obstacle::Lends(self.proc.own_number(*parent).map_err(&failed)?));
        }
        Ok(())
    }

    /// Those of `pids` of which no fork can be given what it has.
    fn with_lost_names(&self, pids: &[Pid], mounts: &BTreeSet<u64>) -> Result<HashSet<Pid>, Obstacle> {
        let mut found = HashSet::new();
        for pid in pids {
            let has_lost = descriptors::has_lost_names(&self.proc, *pid, (mounts, &self.roots));
            if has_lost.map_err(Obstacle::at("see what the process has open"))? {
                found.insert(*pid);
            }
        }
        Ok(found)
    }

    /// Covers the run, gives the fork what is its own, and lets it go on.
    fn set_out(
        &self,
        live: &mut Live,
        listed: &[crate::world::mounts::Mount],
        request: &Request,
    ) -> Result<(), Obstacle> {
        let is_held = self.await_held(live);
        self.shared.expect(None);
        is_held?;
        if live.settled.is_some() {
            return Err(Obstacle::Answered);
        }
        let roots: Vec<_> = self.roots.iter().filter(|root| root.is_dir()).cloned().collect();
        let before = roots.iter().map(|root| mount_of(root)).collect::<io::Result<_>>();
        let failed = Obstacle::at("cover the workspace");
        live.covered = Covered { roots: roots.clone(), before: before.map_err(&failed)? };
        live.shadows = Shadows::cover(&roots, listed).map_err(&failed)?;
        {
            let mut state = self.shared.lock();
            state.mounts = live.shadows.all.iter().flat_map(|shadow| shadow.mounts.clone()).collect();
            state.roots = roots;
        }
        self.shared.activate(true);
        let (original, fork) = (request.tid(), live.top);
        self.join(fork).map_err(Obstacle::at("count the fork"))?;
        let mut puppet = Puppet::new(&self.proc, fork).map_err(Obstacle::at("hold the fork"))?;
        self.equip(live, original, &mut puppet)
            .map_err(Obstacle::at("give the fork descriptors of its own"))?;
        self.shared.lock().assuming = Some(fork);
        let numbers = [original, fork].map(number);
        let oracle = self.plane.oracle();
        live.is_told = oracle.speculates(numbers[0], numbers[1]);
        if !live.is_told {
            return Err(if self.is_answered(live) {
                Obstacle::Answered
            } else {
                Obstacle::Refused("write it down", Errno::IO)
            });
        }
        let again = puppet.before.again();
        let left = puppet.leave_at(&again).and_then(|()| trace::resume(fork, Way::On(0)));
        live.threads.insert(fork, false);
        left.map_err(Obstacle::at("let the fork go on"))
    }

    /// Waits until the original waits for its answer again. A signal has it do something else before, which its fork would
    /// not do.
    fn await_held(&self, live: &mut Live) -> Result<(), Obstacle> {
        let failed = Obstacle::at("hold the original again");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.jobs.recv_timeout(PAUSE) {
                Ok(Job::Held) => return Ok(()),
                Ok(Job::Settled(request)) => {
                    live.settled = Some(request);
                    return Ok(());
                }
                Ok(job) => live.queue.push_back(job),
                Err(RecvTimeoutError::Timeout) => {
                    if live.is_called_away().map_err(&failed)? {
                        return Err(Obstacle::Signal);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Err(failed(Errno::TIMEDOUT))
    }

    /// Moves a fork into the shadows, with descriptors of its own.
    pub(super) fn equip(&self, live: &mut Live, original: Pid, puppet: &mut Puppet) -> io::Result<()> {
        let number = original.as_raw_pid();
        let directory = self.proc.link(&format!("{number}/cwd"))?;
        if live.covered.has(&directory, self.proc.mount_of(&format!("{number}/cwd"))?) {
            puppet.change_directory(&directory)?;
        }
        let given = descriptors::give(&self.proc, original, &live.covered, &mut live.standins)?;
        self.hand_over(live, puppet, &given)
    }

    /// Puts descriptors in place of those that the thread has.
    pub(super) fn hand_over(&self, live: &mut Live, puppet: &mut Puppet, given: &[Given]) -> io::Result<()> {
        if given.is_empty() {
            return Ok(());
        }
        self.shared.lock().sent = Some(puppet.tid);
        descriptors::hand_over(puppet, given, || self.met(live))
    }

    /// The call of a thread that was sent to make it.
    fn met(&self, live: &mut Live) -> io::Result<Request> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.jobs.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Job::Met(request)) => return Ok(request),
                Ok(job) => live.queue.push_back(job),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(Errno::TIMEDOUT);
                }
            }
        }
    }

    pub(super) fn join(&self, tid: Pid) -> io::Result<()> {
        let own = self.proc.own_number(tid)?;
        self.shared.lock().own_numbers.insert(own);
        Ok(())
    }

    /// Watches over a fork until it is known what becomes of it.
    fn attend(&self, mut live: Live) {
        let why = loop {
            match self.look(&mut live) {
                Ok(Some(why)) => break why,
                Ok(None) => thread::sleep(PAUSE),
                Err(_) => break "one of its processes was lost",
            }
        };
        let is_approved = live
            .settled
            .as_ref()
            .is_some_and(|request| self.plane.oracle().is_approved(number(request.tid())));
        if is_approved {
            self.adopt(live);
        } else {
            self.drop_fork(live, why);
        }
    }

    /// Looks at what happened; why the fork does not go on, where it does not.
    fn look(&self, live: &mut Live) -> io::Result<Option<&'static str>> {
        if live.settled.is_some() {
            return Ok(Some(Speculated::ANSWERED));
        }
        for _ in 0..EVENTS_AT_ONCE {
            match live.step(&self.proc)? {
                Found::Nothing => break,
                Found::Something => {}
                Found::Born(tid) => drop(self.join(tid)),
                Found::Ending => self.go_up(live),
            }
        }
        let job = live.queue.pop_front().map_or_else(|| self.jobs.try_recv(), Ok);
        match job {
            Ok(Job::Settled(request)) => live.settled = Some(request),
            // What was put aside because it is answered already is no reason.
            Ok(Job::GiveUp(why)) => {
                return Ok(Some(if self.is_answered(live) { Speculated::ANSWERED } else { why }));
            }
            Ok(Job::Met(request)) => request.answer(Reply::Error(Errno::PERM)),
            Ok(Job::Consider(request)) => self.plane.take_back_considered(request),
            Ok(Job::Held) | Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Err(Errno::PIPE),
        }
        live.looks += 1;
        if !live.looks.is_multiple_of(LOOKS) {
            return Ok(None);
        }
        live.attend()?;
        if live.shadows.used()? > MEMORY_MAX {
            return Ok(Some("it changed more than is kept in memory"));
        }
        let held = live.line.len() - 1;
        for original in &live.line[..held] {
            if self.proc.pending(original.pid)? != 0 {
                return Ok(Some("a process that waits for it got a signal"));
            }
        }
        Ok(None)
    }

    /// Whether somebody has answered what the original waits for.
    pub(super) fn is_answered(&self, live: &Live) -> bool {
        live.line.last().is_none_or(|held| self.plane.oracle().is_settled(number(held.pid)))
    }
}

/// Lets go of whoever is traced yet, and buries who has ended: a namespace lives as long as anybody in it is not buried.
/// Whether that could be done: who does not stop cannot be let go of.
fn let_go() -> bool {
    let deadline = Instant::now() + PATIENCE_TO_LET_GO;
    loop {
        match trace::next(None, false) {
            Ok(Some((_, Event::Ended(_)))) | Err(Errno::INTR) => {}
            Ok(None) if Instant::now() > deadline => return false,
            Ok(None) => thread::sleep(PAUSE),
            // One that is being killed ends by itself.
            Ok(Some((tid, Event::Signal(signal)))) => drop(trace::detach_with(tid, signal)),
            Ok(Some((tid, _))) => drop(trace::detach(tid)),
            Err(_) => return true,
        }
    }
}

/// Whether what the call does stays in the run's files.
fn is_revocable(number: i64) -> bool {
    !matches!(
        number,
        libc::SYS_connect
            | libc::SYS_bind
            | libc::SYS_listen
            | libc::SYS_sendto
            | libc::SYS_sendmsg
            | libc::SYS_sendmmsg
            | libc::SYS_socket
            | libc::SYS_setsockopt
            | libc::SYS_link
            | libc::SYS_linkat
            | libc::SYS_mknod
            | libc::SYS_mknodat
            | libc::SYS_kill
    )
}

const PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_TO_LET_GO: Duration = Duration::from_millis(100);
const NAME: &str = "vantio-forks";
const PAUSE: Duration = Duration::from_micros(300);
/// What a fork may change, in bytes.
const MEMORY_MAX: u64 = 256 << 20;
/// How often is looked at events, for each time that is looked at everything else.
const LOOKS: u32 = 32;
const EVENTS_AT_ONCE: usize = 64;
