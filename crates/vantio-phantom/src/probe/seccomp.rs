//! Seccomp user notification.

use std::{fs::File, os::fd::AsFd as _};

use rustix::{io::Errno, thread::set_no_new_privs};

use super::{Finding, Subject};
use crate::sys::{
    probe::can_wake_in_step,
    seccomp::{Instruction, Listener, install},
    trial::{Refusal, attempt, fork_child, status_of},
};

/// Notification, answered by giving the caller a descriptor.
pub(super) fn notification() -> Finding {
    let result = attempt(|| {
        let listener = Listener::new(listen()?);
        answer_one(&listener)?;
        Ok(0)
    });
    match result {
        Ok(_) => NOTIFICATION.works("`ADDFD` with `SEND`, and `WAIT_KILLABLE_RECV`"),
        Err(refusal) => {
            NOTIFICATION.refused(&refusal, "it needs Linux 5.19; a container runtime may forbid `seccomp`")
        }
    }
}

/// Supervisor and agent taking turns on one processor.
pub(super) fn sync_wake_up() -> Finding {
    let result = attempt(|| {
        let listener = listen()?;
        can_wake_in_step(listener.as_fd()).map_err(Refusal::at("ask for wake-ups in step"))?;
        Ok(0)
    });
    match result {
        Ok(_) => SYNC.works("`SYNC_WAKE_UP`"),
        Err(refusal) => SYNC.refused(&refusal, "it needs Linux 6.6"),
    }
}

/// Sends this process's `getppid`, and its children's, to the descriptor returned.
fn listen() -> Result<std::os::fd::OwnedFd, Refusal> {
    set_no_new_privs(true).map_err(Refusal::at("give up new privileges"))?;
    let instruction = |code: u32, k, jt, jf| Instruction { code: code as u16, jt, jf, k };
    let load_number = instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0);
    let is_getppid = instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_getppid as u32, 0, 1);
    let answer = |action| instruction(libc::BPF_RET | libc::BPF_K, action, 0, 0);
    install(&[load_number, is_getppid, answer(libc::SECCOMP_RET_USER_NOTIF), answer(libc::SECCOMP_RET_ALLOW)])
        .map_err(Refusal::at("install a filter with notification"))
}

/// Has a child call, gives it a descriptor for an answer, and checks that it came.
fn answer_one(listener: &Listener) -> Result<(), Refusal> {
    let child = fork_child(|| {
        let given = rustix::process::getppid().map_or(-1, |number| number.as_raw_nonzero().get());
        i32::from(std::fs::metadata(format!("/proc/self/fd/{given}")).is_err())
    })
    .map_err(Refusal::at("fork"))?;
    let call = listener.receive().map_err(Refusal::at("receive a notification"))?;
    let null = File::open("/dev/null").map_err(|_| Refusal::at("open /dev/null")(Errno::NOENT))?;
    listener.inject(call.id, null.as_fd(), true).map_err(Refusal::at("answer with a descriptor"))?;
    match status_of(child) {
        Ok(Some(status)) if status.exit_status() == Some(0) => Ok(()),
        _ => Err(Refusal::at("find the descriptor that was given")(Errno::BADF)),
    }
}

const NOTIFICATION: Subject = Subject::required("seccomp user notification");
const SYNC: Subject =
    Subject::optional("seccomp wake-ups in step", "each file that an agent opens costs some 20 µs more");
