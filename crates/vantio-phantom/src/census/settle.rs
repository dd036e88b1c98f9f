//! Waiting for those who are about to let go.
//!
//! A shell that starts a pipeline holds ends of its pipes for a moment, and so does what it just forked. The
//! process that reads is stopped meanwhile, so nothing flows while this waits; who does not let go in time
//! counts as holding.

use std::{
    collections::{BTreeSet, HashSet},
    thread,
    time::{Duration, Instant},
};

use vantio_core::{Channel, End, Process};

use super::{Census, entry::Entry};
use crate::proc;

/// Waits until nobody who is busy holds a pipe only for a moment that `process` leads to.
pub(super) fn settle(census: &Census, process: Process) {
    let start = Instant::now();
    let mut pause = Duration::from_micros(200);
    while start.elapsed() < PATIENCE && is_unsettled(census, process) {
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(4));
    }
}

fn is_unsettled(census: &Census, process: Process) -> bool {
    let Ok(entries) = census.entries() else { return false };
    let ancestors = ancestors(&entries, process);
    let is_passing =
        |entry: &&Entry| entry.pid != process.pid && (entry.is_fork || ancestors.contains(&entry.pid));
    let mut passing = entries.iter().filter(is_passing).peekable();
    if passing.peek().is_none() {
        return false;
    }
    let Ok(ends) = census.look() else { return false };
    let reached = reached(&ends, process);
    passing.any(|entry| reached.contains(&entry.process()) && !waits(entry))
}

/// The processes above `process`.
fn ancestors(entries: &[Entry], process: Process) -> HashSet<u32> {
    let parent = |pid: u32| entries.iter().find(|entry| entry.pid == pid).map(|entry| entry.parent);
    let mut found = HashSet::new();
    let mut next = parent(process.pid);
    while let Some(pid) = next.filter(|pid| *pid > 1 && found.insert(*pid)) {
        next = parent(pid);
    }
    found
}

/// The processes that pipes lead to from `process`.
fn reached(ends: &BTreeSet<End>, process: Process) -> HashSet<Process> {
    let mut found = HashSet::from([process]);
    let mut channels: HashSet<&Channel> = HashSet::new();
    loop {
        let before = (found.len(), channels.len());
        let pipes = ends.iter().filter(|end| matches!(end.channel, Channel::Pipe(_)));
        for end in pipes {
            if end.writes && found.contains(&end.process) {
                channels.insert(&end.channel);
            }
            if end.reads && channels.contains(&end.channel) {
                found.insert(end.process);
            }
        }
        if before == (found.len(), channels.len()) {
            return found;
        }
    }
}

/// Whether every thread of the process waits for others, so that what it holds it means to hold.
fn waits(entry: &Entry) -> bool {
    let Some(threads) = entry.numbers("task") else { return true };
    threads.iter().all(|thread| {
        let Some(folder) = entry.folder("task") else { return true };
        // Either `running`, or the number of the call that the thread is in.
        let Ok(call) = proc::text(folder, &format!("{thread}/syscall")) else { return true };
        let number = call.split_whitespace().next().and_then(|number| number.parse::<i64>().ok());
        number.is_some_and(|number| WAITING.contains(&number))
    })
}

/// Calls in which a process waits for others.
const WAITING: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_futex,
    libc::SYS_pause,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_flock,
];

/// How long to wait at most. On a busy machine a shell may need a while to get on.
const PATIENCE: Duration = Duration::from_millis(250);
