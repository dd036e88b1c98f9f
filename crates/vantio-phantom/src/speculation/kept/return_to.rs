//! The return to a checkpoint.

use std::{
    collections::HashSet,
    fs::File,
    os::fd::OwnedFd,
    sync::mpsc::SyncSender,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::{self, Errno},
    process::Pid,
};

use super::{
    Job, files, not_brought,
    room::{PATIENCE, PAUSE, Room},
    take::{fork, set_apart},
};
use crate::{
    checkpoint::CheckpointError,
    speculation::{freeze, look::Obstacle, number, puppet::Puppet},
    supervisor::request::Reply,
    sys::{
        process::kill,
        trace::{self, Event},
    },
};

impl Room {
    /// Goes back to checkpoint `id`: `stopped` hears when nothing moves.
    pub(super) fn go_back(&mut self, id: u64, stopped: &SyncSender<Result<(), CheckpointError>>) {
        let (at, original_stands) = match self.stand_still(id) {
            Ok(found) => found,
            Err(error) => return drop(stopped.send(Err(error))),
        };
        let plane = std::sync::Arc::clone(&self.plane);
        let still = self.end_what_came(at).and_then(|()| plane.await_quiet());
        // Nobody who might change anything is left but the command that asks.
        let _gate = plane.enter_alone();
        if still.is_err() {
            plane.end_run(NOT_RETURNED);
            let why = "what came after it could not be ended, and so the run was";
            return drop(stopped.send(Err(not_brought(why))));
        }
        drop(stopped.send(Ok(())));
        let Some((steps, answer)) = self.steps() else { return plane.end_run(NOT_RETURNED) };
        let done = match steps {
            Some((list, folder)) => self.bring_back(id, original_stands, (list, folder)),
            None => Err(not_brought("what changed could not be told, and the run was ended")),
        };
        if done.is_err() {
            plane.end_run(NOT_RETURNED);
        }
        drop(answer.send(done));
    }

    fn steps(&self) -> Option<Steps> {
        let deadline = Instant::now() + PATIENCE_TO_COMPARE;
        loop {
            match self.jobs.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Job::Return(steps, answer)) => return Some((steps, answer)),
                Ok(Job::Met(request)) => request.answer(Reply::Error(Errno::PERM)),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Sees whether the run can go back, and stops the original: nothing is lost by it. Says which twin it is, and
    /// whether the original stood in before.
    fn stand_still(&mut self, id: u64) -> Result<(usize, bool), CheckpointError> {
        if self.plane.is_forking() {
            return Err(not_brought("a call is held, and the run goes on as a fork meanwhile"));
        }
        self.attend();
        self.look_after();
        let at = self.twins.iter().position(|twin| twin.id == id);
        let at = at.ok_or_else(|| {
            not_brought("the checkpoint keeps no processes, or the process that acted then has ended since")
        })?;
        let twin = &self.twins[at];
        for (pid, switches) in &twin.ancestors {
            if self.waits(*pid).ok() != Some(*switches) {
                return Err(not_brought(
                    "a process that waited for the one that acted then has gone on since",
                ));
            }
        }
        for (pid, written) in twin.written.iter().filter(|(pid, _)| !self.stands.contains_key(pid)) {
            let now = self.written(*pid).map_err(|obstacle| not_brought(obstacle.to_string()))?;
            if !now.is_superset(written) {
                return Err(not_brought(
                    "a file that a process that waited for the one that acted then has open for writing was removed, renamed or replaced since",
                ));
            }
        }
        let root = twin.root;
        if self.stands.contains_key(&root) {
            return Ok((at, true));
        }
        let is_single = self.proc.is_single_threaded(root);
        if !is_single.map_err(|error| not_brought(Obstacle::at("see the process")(error).to_string()))? {
            return Err(not_brought("the process that acted then has started threads since"));
        }
        self.stop_original(root).map_err(|obstacle| not_brought(obstacle.to_string()))?;
        if !self.is_fit(&self.twins[at]) {
            let _ = trace::detach(root);
            return Err(not_brought("the process that was kept has been killed"));
        }
        Ok((at, false))
    }

    /// Stops an original, out of a call that is held too.
    fn stop_original(&mut self, root: Pid) -> Result<(), Obstacle> {
        let Err(obstacle) = self.stop(root) else { return Ok(()) };
        let is_asked_to = self.loose.contains(&root);
        let Some(request) = self.plane.take_waiting(root).filter(|_| is_asked_to) else {
            return Err(obstacle);
        };
        self.plane.oracle().steps_aside(number(root));
        request.answer(Reply::Error(Errno::INTR));
        freeze::stopped_within(root, PATIENCE).map_err(Obstacle::at("stop the process"))?;
        self.loose.remove(&root);
        Ok(())
    }

    /// Ends all that there was not at the checkpoint.
    fn end_what_came(&mut self, at: usize) -> io::Result<()> {
        let twin = &self.twins[at];
        let mut stays: HashSet<Pid> = twin.ancestors.iter().map(|(pid, _)| *pid).collect();
        stays.insert(twin.root);
        let roots = stays.clone();
        stays.extend(self.twins.iter().filter(|twin| roots.contains(&twin.root)).map(|twin| twin.pid));
        let deadline = Instant::now() + PATIENCE_TO_END;
        let mut before = None;
        loop {
            let mut others = self.everybody()?;
            others.retain(|pid| !stays.contains(pid));
            let (ended, others): (HashSet<Pid>, HashSet<Pid>) =
                others.into_iter().partition(|pid| self.proc.is_ended(*pid));
            // One that is left by its parent meanwhile may not be seen, but the parent is: it was not among those that had
            // ended when this looked before.
            let is_over = others.is_empty() && self.see_ends(&stays);
            if is_over && before.as_ref() == Some(&ended) {
                return Ok(());
            }
            before = is_over.then_some(ended);
            for pid in others {
                // Gone already: nothing to end.
                let _ = kill(pid.as_raw_pid(), libc::SIGKILL);
            }
            if Instant::now() > deadline {
                return Err(Errno::TIMEDOUT);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Reaps what is traced and was killed: nobody else hears of its end before; whether that is all. What happens to an
    /// original that stands in is seen to later.
    fn see_ends(&mut self, stays: &HashSet<Pid>) -> bool {
        let mut traced: HashSet<Pid> = self.twins.iter().map(|twin| twin.pid).collect();
        traced.extend(self.stands.keys().chain(&self.loose));
        traced.retain(|pid| !stays.contains(pid));
        for pid in &traced {
            match trace::next(Some(*pid), false) {
                Ok(Some((_, Event::Ended(_)))) | Err(_) => {
                    self.stands.remove(pid);
                    self.loose.remove(pid);
                    self.forget(*pid);
                }
                Ok(_) => {}
            }
        }
        traced.is_empty()
    }

    fn bring_back(
        &mut self,
        id: u64,
        original_stands: bool,
        (steps, folder): (File, OwnedFd),
    ) -> Result<(), CheckpointError> {
        let lost = |what: &'static str| {
            move |error: Errno| not_brought(format!("could not {what}, and the run was ended: {error}"))
        };
        files::put_back(&self.plane, steps, &folder).map_err(lost("put its files back"))?;
        let at = self.twins.iter().position(|twin| twin.id == id);
        let at = at.ok_or_else(|| not_brought("the twin is gone, and the run was ended"))?;
        let (root, pid) = (self.twins[at].root, self.twins[at].pid);
        self.renew(at).map_err(lost("give its process what it had"))?;
        let stood = if original_stands { self.stand_in_again(root, pid) } else { self.stand_in(root, pid) };
        stood.map_err(lost("have the process wait for it"))?;
        // Before anybody could look for the next one.
        self.look_after();
        trace::detach(pid).map_err(lost("let its process go on"))
    }

    /// Keeps a twin of the twin, and gives the twin all that it needs to go on.
    fn renew(&mut self, at: usize) -> io::Result<()> {
        let twin = &self.twins[at];
        let (pid, registers) = (twin.pid, twin.registers);
        let mut puppet = Puppet::new(&self.proc, pid)?;
        let number = puppet.timers_and_number()?.1;
        let born = fork(&mut puppet, number, true)?;
        set_apart(&self.proc, born, &registers)?;
        let twin = &self.twins[at];
        let group = u64::from(twin.group.unsigned_abs());
        puppet.call(libc::SYS_setpgid, [0, group, 0, 0, 0, 0])?;
        if let Some(directory) = &twin.directory {
            puppet.change_directory(directory)?;
        }
        let given = self.open_anew(pid, &twin.carried)?;
        self.hand_over(&mut puppet, &given)?;
        drain(&mut puppet)?;
        // What was sent to it while it was kept was not sent to the one that it was.
        drop(puppet.signals());
        puppet.leave_at(&registers)?;
        self.twins[at].pid = born;
        Ok(())
    }
}

/// Takes away the signals that wait for a thread because it blocks them.
fn drain(puppet: &mut Puppet) -> io::Result<()> {
    puppet.with_page(|puppet, page| {
        crate::sys::memory::write(puppet.tid, page, &[0xff; 8])?;
        // How long is waited: no time.
        crate::sys::memory::write(puppet.tid, page + 8, &[0; 16])?;
        for _ in 0..SIGNALS_MAX {
            match puppet.call(libc::SYS_rt_sigtimedwait, [page, 0, page + 8, 8, 0, 0]) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Err(Errno::AGAIN)
    })
}

/// The steps of a return, and who hears what came of it.
type Steps = (Option<(File, OwnedFd)>, SyncSender<Result<(), CheckpointError>>);

/// Why a run ends that did not come back to a checkpoint.
const NOT_RETURNED: &str = "it could not be brought back to a checkpoint";
/// For how long may be compared while nothing moves.
const PATIENCE_TO_COMPARE: Duration = Duration::from_mins(5);
const PATIENCE_TO_END: Duration = Duration::from_secs(5);
/// Signals that may wait for a process at once.
const SIGNALS_MAX: usize = 4096;
