//! Signals, and calls that no agent may make.

use std::fs;

use rustix::io::Errno;
use vantio_core::{Effect, Target};

use super::{
    Plane,
    request::{Reply, Request},
};
use crate::{filter, nested};

impl Plane {
    /// The kernel delivers signals within the run, where its process numbers end. What aims at init,
    /// or at a number that is the supervisor's on the host, is refused with a record.
    pub(super) fn signal(&self, request: &Request) -> Reply {
        if !self.is_own_signal(request) {
            request.defer();
            return Reply::Later;
        }
        if let Some(reply) = self.signal_to_itself(request) {
            return reply;
        }
        let (target, signal) = (request.int(0), request.int(1));
        let aims_outside = target == 1 || (target > 1 && self.is_supervisor(target));
        if self.is_kept(target) {
            // As far as the run is concerned, nobody is there.
            return Reply::Error(Errno::SRCH);
        }
        if !aims_outside || signal == 0 {
            return Reply::Continue;
        }
        let number = u32::from(target == 1);
        self.decide(request, Effect::ProcSignal, Target::Process(number));
        Reply::Error(Errno::PERM)
    }

    /// Limits of another process are a way to end it, and two of them say in which nested run it is. A nested run sets
    /// none of those: the number may be an outer process's by the time that the kernel looks.
    pub(super) fn limit(&self, request: &Request) -> Reply {
        let (target, resource) = (request.int(0), request.int(1));
        if is_caller(request, target)
            || target != 1 && !nested::is_mark(resource) && self.is_outermost(request)
        {
            return self.act_on_others(request);
        }
        self.refuse_call(request, filter::name(request.number()))
    }

    /// Whether a number means this process, its parent or init as the host counts, and nothing in the run.
    fn is_supervisor(&self, number: i32) -> bool {
        let own = std::process::id() as i32;
        let parent = rustix::process::getppid().map_or(0, rustix::process::Pid::as_raw_pid);
        [own, parent, self.init.as_raw_pid()].contains(&number)
            && fs::metadata(format!("/proc/{number}")).is_err()
    }

    /// Refuses a call as such.
    pub(super) fn refuse_call(&self, request: &Request, name: &str) -> Reply {
        self.decide(request, Effect::ProcSyscall, Target::Syscall(name));
        Reply::Error(Errno::PERM)
    }
}

/// Whether a number is that of the calling process or thread, which nobody else has while it calls.
fn is_caller(request: &Request, number: i32) -> bool {
    let own = |key| request.own_number(key).is_ok_and(|own| own.parse() == Ok(number));
    own("NStgid:") || own("NSpid:")
}
