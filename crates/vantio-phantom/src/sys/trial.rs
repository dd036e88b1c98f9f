//! Children that try something out, so that nothing of it lasts.

use std::{
    io::{PipeReader, Read as _, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{self, Errno},
    process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, set_parent_process_death_signal, waitpid},
};

use super::{memory::last_error, process::exit};

/// Which step failed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The step, in a few words.
    pub(crate) step: String,
    /// What the kernel said.
    pub(crate) errno: Errno,
}

impl Refusal {
    /// For `map_err`: names the step that failed.
    pub(crate) fn at(step: &str) -> impl Fn(Errno) -> Self {
        move |errno| Self { step: step.to_owned(), errno }
    }
}

/// Tries `attempt` in a child and reports what it found, or where it failed.
/// A child that hangs is killed and counts as `ETIMEDOUT`.
pub(crate) fn attempt(attempt: impl FnOnce() -> Result<u32, Refusal>) -> Result<u32, Refusal> {
    let failed = Refusal::at("try it in a child process");
    let (reader, mut writer) = std::io::pipe().map_err(|_| failed(Errno::MFILE))?;
    let child = fork_child(|| {
        let report = encode(attempt());
        i32::from(writer.write_all(&report).is_err())
    })
    .map_err(&failed)?;
    drop(writer);
    let report = await_report(reader, child);
    // The child's status says nothing that its report does not.
    let _ = waitpid(Some(child), WaitOptions::empty());
    report.ok_or_else(|| failed(Errno::TIMEDOUT)).and_then(|report| decode(&report))
}

/// Forks a child that runs `body` and exits with what it returns.
///
/// Unlike [`super::process::fork`] the caller may have other threads: the C
/// library sees to its own locks. `body` takes no other lock, and prints nothing.
pub(crate) fn fork_child(body: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: the child runs on a copy, uses the C library's allocator, which stays usable after its own
    // `fork`, and leaves by `_exit`.
    match unsafe { libc::fork() } {
        ..0 => Err(last_error()),
        0 => exit(catch_unwind(AssertUnwindSafe(body)).unwrap_or(PANICKED)),
        pid => Pid::from_raw(pid).ok_or(Errno::SRCH),
    }
}

/// Forks a child that does nothing until it is killed, or its parent ends.
pub(crate) fn fork_sleeper() -> io::Result<Pid> {
    fork_child(|| {
        if set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
            return 1;
        }
        loop {
            std::thread::park();
        }
    })
}

/// The status of a child that is known to end.
pub(crate) fn status_of(child: Pid) -> io::Result<Option<WaitStatus>> {
    Ok(waitpid(Some(child), WaitOptions::empty())?.map(|(_, status)| status))
}

fn await_report(mut reader: PipeReader, child: Pid) -> Option<Vec<u8>> {
    let timeout = Timespec::try_from(PATIENCE).ok();
    let is_ready = {
        let mut descriptors = [PollFd::new(&reader, PollFlags::IN)];
        poll(&mut descriptors, timeout.as_ref()).is_ok_and(|count| count > 0)
    };
    if !is_ready {
        // It is this process's child and not yet waited for, so the number is still its own.
        let _ = kill_process(child, Signal::KILL);
        return None;
    }
    let mut report = Vec::new();
    reader.read_to_end(&mut report).ok()?;
    (report.len() >= HEADER).then_some(report)
}

/// A number and an errno, one of which is zero, and the step that failed.
fn encode(result: Result<u32, Refusal>) -> Vec<u8> {
    let (value, errno, step) = match result {
        Ok(value) => (value, 0, String::new()),
        Err(refusal) => (0, refusal.errno.raw_os_error(), refusal.step),
    };
    [&value.to_ne_bytes(), &errno.to_ne_bytes(), step.as_bytes()].concat()
}

fn decode(report: &[u8]) -> Result<u32, Refusal> {
    let (header, step) = report.split_at(HEADER);
    let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
    match i32::from_ne_bytes(word(4)) {
        0 => Ok(u32::from_ne_bytes(word(0))),
        errno => Err(Refusal {
            step: String::from_utf8_lossy(step).into_owned(),
            errno: Errno::from_raw_os_error(errno),
        }),
    }
}

const HEADER: usize = 8;
const PANICKED: i32 = 101;
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_reports_its_result_its_step_or_its_death() {
        assert_eq!(attempt(|| Ok(7)), Ok(7));
        let refusal = Refusal { step: "mount".into(), errno: Errno::PERM };
        assert_eq!(attempt(|| Err(refusal.clone())), Err(refusal.clone()));
        let died = attempt(|| exit(0)).unwrap_err();
        assert_eq!(died.errno, Errno::TIMEDOUT);
    }
}
