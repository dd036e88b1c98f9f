//! What a fork printed comes out once it is approved.

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::OFlags,
    io::{self, Errno},
    process::Pid,
};

use super::{adopt::Member, fork::Thread, live::Live, standin::Standin};
use crate::sys::{
    memory,
    trace::{self, Registers},
};

/// What a thread is in the midst of printing: a call that waited for room has returned early, which a program without
/// signals need not expect.
pub(super) struct Rest {
    tid: Pid,
    /// Of the fork's.
    standin: usize,
    bytes: Vec<u8>,
    /// With which the thread goes on where that is printed as well.
    registers: Registers,
}

impl Thread {
    /// What the threads of a fork that stand still are in the midst of printing; `None` where that is more than is kept.
    pub(super) fn rests(&self, live: &Live, members: &[Member]) -> io::Result<Option<Vec<Rest>>> {
        let mut rests = Vec::new();
        let mut room = ROOM;
        for tid in live.lasting() {
            let registers = trace::registers(tid)?;
            let [number, address, length] = [0, 1, 2].map(|index| registers.argument(index));
            let printed =
                u64::try_from(registers.result()).ok().filter(|printed| (1..length).contains(printed));
            let Some(printed) = printed.filter(|_| registers.number() == libc::SYS_write) else { continue };
            let process = self.proc.process(tid)?;
            let descriptors = members.iter().filter(|member| member.process == process);
            let descriptor = descriptors.flat_map(|member| &member.descriptors).find(|descriptor| {
                u64::from(descriptor.number.unsigned_abs()) == number
                    && !descriptor.flags.contains(OFlags::NONBLOCK)
            });
            let standin = descriptor
                .and_then(|found| live.standins.iter().position(|standin| standin.is_behind(found)));
            let Some(standin) = standin else { continue };
            let length = usize::try_from(length - printed).unwrap_or(usize::MAX);
            let Some(left) = room.checked_sub(length) else { return Ok(None) };
            room = left;
            let mut bytes = vec![0; length];
            // Memory that is not there is for the program to meet.
            let count = memory::read(tid, address + printed, &mut bytes).unwrap_or(0);
            bytes.truncate(count);
            let registers = registers.returning((printed + bytes.len() as u64).cast_signed());
            rests.push(Rest { tid, standin, bytes, registers });
        }
        Ok(Some(rests))
    }
}

impl Rest {
    /// Has it printed with the rest.
    pub(super) fn take_over(&self, standins: &mut [Standin]) -> io::Result<()> {
        standins.get_mut(self.standin).ok_or(Errno::INVAL)?.add(&self.bytes);
        trace::set_registers(self.tid, &self.registers)
    }
}

/// Lets out what a fork printed, each as there is room for it: whoever reads one of them may wait for its end before it
/// reads another. A reader that is gone hears nothing.
pub(super) fn let_out(printed: Vec<(Standin, Vec<u8>)>) {
    let mut left: Vec<_> = printed.into_iter().map(|(standin, bytes)| (standin, bytes, 0)).collect();
    loop {
        left.retain(|(standin, bytes, done)| {
            let is_over = *done >= bytes.len();
            if is_over {
                standin.hand_back();
            }
            !is_over
        });
        if left.is_empty() {
            return;
        }
        let mut waiting: Vec<_> =
            left.iter().map(|(standin, ..)| PollFd::new(standin.original(), PollFlags::OUT)).collect();
        match poll(&mut waiting, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return,
        }
        let are_ready: Vec<_> = waiting.iter().map(|polled| !polled.revents().is_empty()).collect();
        for ((standin, bytes, done), _) in left.iter_mut().zip(are_ready).filter(|(_, is_ready)| *is_ready) {
            match standin.print(&bytes[*done..]) {
                Ok(count) => *done += count,
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => *done = bytes.len(),
            }
        }
    }
}

/// What calls may be about to print yet, in bytes, to be taken over.
const ROOM: usize = 16 << 20;
