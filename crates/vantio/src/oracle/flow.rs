//! Where data goes in a run: the labels of its processes, kept up to date with what the mechanism tells.

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use vantio_core::{Channel, End, Intent, Process};
use vantio_phantom::{Born, Processes, Ways};
use vantio_policy::{
    PolicyProgram, State,
    flow::{Act, Ended, Flow, Step},
};

use super::lock;
use crate::present::now_ms;

/// The labels of one run. Its lock is taken before the state's.
pub struct Tracker {
    flow: Mutex<Flow>,
    processes: OnceLock<Arc<dyn Processes>>,
    /// How often processes had been born when all were last looked at.
    births: AtomicU64,
    /// Programs that were permitted to start, until it is known how that went.
    starting: Mutex<HashMap<Process, Starting>>,
    /// Counts those of whom nobody knows who they are.
    strangers: AtomicU64,
}

/// A start of a program.
#[derive(Default)]
struct Starting {
    /// The image of the process before.
    image: Option<u64>,
    /// The program and its interpreters; the last is what the kernel executes.
    programs: Vec<Vec<u8>>,
    /// Whether it is a script that may be another by the time its interpreter opens it.
    is_astray: bool,
}

impl Tracker {
    pub fn new(program: &PolicyProgram) -> Self {
        Self {
            flow: Mutex::new(Flow::new(program)),
            processes: OnceLock::new(),
            births: AtomicU64::new(u64::MAX),
            starting: Mutex::default(),
            strangers: AtomicU64::new(0),
        }
    }

    pub fn attach(&self, processes: Arc<dyn Processes>) {
        let _ = self.processes.set(processes);
    }

    /// The process of a thread that the host numbers `tid`; a stranger when it is not known.
    pub fn process(&self, tid: u32) -> Process {
        let known = self.processes.get().filter(|_| tid != 0).and_then(|processes| processes.of_thread(tid));
        known.unwrap_or_else(|| Process { pid: 0, started: self.strangers.fetch_add(1, Ordering::Relaxed) })
    }

    /// The labels, with every process known that was born since; `None` when half a change may have been left
    /// behind.
    pub fn current(&self, asks: Process) -> Option<MutexGuard<'_, Flow>> {
        let mut flow = self.flow.lock().ok()?;
        if let Some(processes) = self.processes.get() {
            let births = processes.births();
            let may_have_changed = self.births.swap(births, Ordering::AcqRel) != births;
            // Where not all can be seen nobody is forgotten, and who is not known has no parents.
            if (may_have_changed || !flow.knows(asks))
                && let Ok(all) = processes.all()
            {
                flow.retain(|process| process == asks || all.iter().any(|born| born.process == process));
                appear(&mut flow, all);
            }
        }
        if !flow.knows(asks) {
            flow.appear(asks, None, b"");
        }
        Some(flow)
    }

    /// Whether a census will be taken for the act, or for an end of `channel`.
    pub fn will_look(&self, state: &RwLock<State>, act: &Act<'_>, channel: Option<&Channel>) -> bool {
        let Some(flow) = self.current(act.process) else { return false };
        state.read().is_ok_and(|state| flow.will_look(&state, act, channel))
    }

    /// Waits until those who hold pipes for a moment only have let go of them.
    pub fn settle(&self, process: Process) {
        if let Some(processes) = self.processes.get() {
            processes.settle(process);
        }
    }

    /// All open ends; none, and `is_blind` set, when not all can be seen.
    pub fn census(&self, is_blind: &Cell<bool>) -> Vec<End> {
        let ends = self.processes.get().map_or_else(|| Ok(Vec::new()), |processes| processes.ends());
        ends.unwrap_or_else(|_| {
            is_blind.set(true);
            Vec::new()
        })
    }

    /// A program that the process is permitted to start.
    pub fn starts(&self, process: Process, path: &[u8]) {
        let Some(processes) = self.processes.get() else { return };
        let mut starting = lock(&self.starting);
        let start = starting
            .entry(process)
            .or_insert_with(|| Starting { image: processes.image(process), ..Starting::default() });
        start.programs.push(path.to_vec());
    }

    /// What the process starts is a script named by a way that can be changed.
    pub fn goes_astray(&self, process: Process) {
        if let Some(start) = lock(&self.starting).get_mut(&process) {
            start.is_astray = true;
        }
    }

    /// The process makes a call: whatever it was permitted to start runs by now, or never will.
    pub fn begins(&self, program: &PolicyProgram, state: &RwLock<State>, process: Process) {
        if process.pid == 0 {
            return;
        }
        let Some(mut flow) = self.current(process) else { return };
        if !flow.awaits_execution(process) {
            return;
        }
        let start = lock(&self.starting).remove(&process).unwrap_or_default();
        let Some(processes) = self.processes.get() else { return };
        let environment = processes.environment(process);
        let names = environment.as_deref().map(|bytes| names(bytes));
        let has_run = start.image.is_some()
            && !start.is_astray
            && processes.is_unfiltered(process)
            && processes.image(process).is_some_and(|image| Some(image) != start.image)
            && start.programs.last().is_some_and(|last| processes.program(process).as_ref() == Some(last));
        let is_clean = names.is_some_and(|names| names.iter().all(|name| is_plain(name)))
            && processes.loads_nothing_more(process);
        let Ok(state) = state.read() else { return };
        flow.executed(program, &state, process, has_run && is_clean, is_clean);
    }

    /// The process is about to end. Its children appear first, while it is known whose they are.
    pub fn ends(&self, process: Process, status: u8) -> Option<Ended> {
        let all = self.processes.get().and_then(|processes| processes.all().ok());
        if let (Some(all), Ok(mut flow)) = (all, self.flow.lock()) {
            // As [`Tracker::current`], whatever was counted.
            appear(&mut flow, all);
        }
        lock(&self.starting).remove(&process);
        self.current(process)?.exit(process, Some(status))
    }

    pub fn gone(&self, path: &[u8]) {
        if let Ok(mut flow) = self.flow.lock() {
            flow.gone(path);
        }
    }

    /// The steps to a process, of which the last names the program that it executes now.
    pub fn up_to_date(&self, process: Process, mut steps: Vec<Step>) -> Vec<Step> {
        if let Some(Step::Process { pid, program } | Step::Orphan { pid, program }) = steps.last_mut()
            && *pid == process.pid
            && let Some(now) = self.processes.get().and_then(|processes| processes.program(process))
        {
            *program = now;
        }
        steps
    }

    /// The steps with the numbers that the host has for processes, as far as they are known.
    pub fn numbered(&self, mut steps: Vec<Step>) -> Vec<Step> {
        for step in &mut steps {
            if let Step::Source { pid, .. } | Step::Process { pid, .. } | Step::Orphan { pid, .. } = step
                && let Some(number) = self.number(*pid)
            {
                *pid = number;
            }
        }
        steps
    }

    fn number(&self, pid: u32) -> Option<u32> {
        self.processes.get()?.host_number(pid)
    }
}

/// Forgets a stranger, who asked once.
pub fn leave(flow: &mut Flow, process: Process) {
    if process.pid == 0 {
        flow.retain(|other| other != process);
    }
}

/// Lets processes appear, parents first.
fn appear(flow: &mut Flow, mut all: Vec<Born>) {
    loop {
        let before = all.len();
        let waits = |flow: &Flow, born: &Born| born.parent.is_some_and(|parent| !flow.knows(parent));
        all.retain(|born| {
            let is_next = !waits(flow, born);
            if is_next && !flow.knows(born.process) {
                flow.appear(born.process, born.parent, &born.program);
            }
            !is_next
        });
        if all.len() == before {
            break;
        }
    }
    for born in all {
        // Its parent is gone.
        flow.appear(born.process, None, &born.program);
    }
}

/// What the plane knows of an intent.
pub fn act<'a>(process: Process, intent: &'a Intent<'a>, ways: Option<Ways>) -> Act<'a> {
    let act = Act::new(process, now_ms(), intent);
    match ways {
        Some(Ways { reads, writes, is_new }) => Act { reads, writes, is_new, ..act },
        None => act,
    }
}

/// What a channel is called where an end of it is refused.
pub const fn name_of(channel: &Channel) -> &'static str {
    match channel {
        Channel::Path(_) => "a file",
        Channel::Pipe(_) => "a pipe",
        Channel::Socket(_) | Channel::SocketPairs | Channel::Named(_) => "a local socket",
        Channel::Port(..) => "a port of the run",
        Channel::Peer(..) | Channel::HostSocket(_) => "a connection to the outside",
        Channel::Terminals => "a terminal",
        Channel::SystemV => "a System V object or a message queue",
        Channel::Memory(_) => "memory that is shared",
        Channel::Inside(_) => "memory of another process",
        Channel::InFlight => "descriptors on their way",
    }
}

/// The names of the variables in `/proc/PID/environ`; an entry without `=` is its own name.
fn names(environment: &[u8]) -> Vec<&[u8]> {
    let entries = environment.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    entries.map(|entry| entry.split(|byte| *byte == b'=').next().unwrap_or(entry)).collect()
}

/// Whether a variable says nothing that changes what a program does with its input.
fn is_plain(name: &[u8]) -> bool {
    const PLAIN: [&[u8]; 15] = [
        b"PATH",
        b"HOME",
        b"LANG",
        b"TERM",
        b"USER",
        b"LOGNAME",
        b"PWD",
        b"OLDPWD",
        b"SHLVL",
        b"SHELL",
        b"TMPDIR",
        b"TZ",
        b"_",
        b"VANTIO",
        b"VANTIO_RUN_ID",
    ];
    PLAIN.contains(&name) || name.starts_with(b"LC_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_variables_leave_a_program_as_it_is() {
        let environment = b"PATH=/bin\0LC_ALL=C\0LD_PRELOAD=/tmp/x\0odd\0";
        assert_eq!(names(environment), [b"PATH".as_slice(), b"LC_ALL", b"LD_PRELOAD", b"odd"]);
        assert!(is_plain(b"PATH") && is_plain(b"LC_ALL") && !is_plain(b"LD_PRELOAD") && !is_plain(b"odd"));
        assert!(!is_plain(b"BASH_ENV") && !is_plain(b"PYTHONPATH") && !is_plain(b"SHELLOPTS"));
    }
}
