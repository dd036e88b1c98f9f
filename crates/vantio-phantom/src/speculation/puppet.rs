//! A stopped thread that makes system calls for somebody else, and then goes on as if nothing had been.

use rustix::{
    io::{self, Errno},
    process::Pid,
};

use super::look::Proc;
use crate::sys::{
    memory,
    process::kill,
    trace::{self, Event, Registers, Way},
};

pub(super) struct Puppet {
    pub(super) tid: Pid,
    /// What it had when it stopped.
    pub(super) before: Registers,
    instruction: u64,
    /// Signals that came meanwhile.
    signals: Vec<i32>,
    born: Option<Pid>,
}

impl Puppet {
    /// Takes a thread over that has stopped.
    pub(super) fn new(proc: &Proc, tid: Pid) -> io::Result<Self> {
        Ok(Self {
            tid,
            before: trace::registers(tid)?,
            instruction: proc.instruction(tid)?,
            signals: Vec::new(),
            born: None,
        })
    }

    /// Has it make a call, and returns what that returned.
    pub(super) fn call(&mut self, number: i64, arguments: [u64; 6]) -> io::Result<u64> {
        self.begin(number, arguments)?;
        self.end()
    }

    /// Has it stand before a call, and lets it make it.
    pub(super) fn begin(&mut self, number: i64, arguments: [u64; 6]) -> io::Result<()> {
        trace::set_registers(self.tid, &self.before.calling(self.instruction, number, arguments))?;
        trace::resume(self.tid, Way::ToCall)?;
        self.until_call()?;
        trace::resume(self.tid, Way::ToCall)
    }

    /// Waits for the end of the call, and returns what it returned.
    pub(super) fn end(&mut self) -> io::Result<u64> {
        self.until_call()?;
        let result = trace::registers(self.tid)?.result();
        match i32::try_from(result) {
            Ok(error @ -4095..0) => Err(Errno::from_raw_os_error(-error)),
            _ => Ok(result.cast_unsigned()),
        }
    }

    /// Has it fork, and returns the fork, stopped where it stands itself.
    pub(super) fn fork(&mut self, flags: u64, child_tid: u64) -> io::Result<Pid> {
        self.born = None;
        self.call(libc::SYS_clone, [flags, 0, 0, child_tid, 0, 0])?;
        let born = self.born.take().ok_or(Errno::SRCH)?;
        loop {
            match trace::next(Some(born), true)? {
                Some((_, Event::Trap)) => return Ok(born),
                Some((_, Event::Ended(_))) => return Err(Errno::SRCH),
                _ => trace::resume(born, Way::On(0))?,
            }
        }
    }

    /// A page of its memory that stays, empty.
    pub(super) fn new_page(&mut self) -> io::Result<u64> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        self.call(
            libc::SYS_mmap,
            [0, PAGE, u64::from(protection.unsigned_abs()), u64::from(flags.unsigned_abs()), u64::MAX, 0],
        )
    }

    /// A page of its memory, for as long as `work` takes.
    pub(super) fn with_page<T>(
        &mut self,
        work: impl FnOnce(&mut Self, u64) -> io::Result<T>,
    ) -> io::Result<T> {
        let page = self.new_page()?;
        let done = work(self, page);
        self.call(libc::SYS_munmap, [page, PAGE, 0, 0, 0, 0])?;
        done
    }

    /// Moves it to another working directory.
    pub(super) fn change_directory(&mut self, path: &[u8]) -> io::Result<()> {
        if path.len() >= PAGE as usize {
            return Err(Errno::NAMETOOLONG);
        }
        let path = [path, b"\0"].concat();
        self.with_page(|puppet, page| {
            memory::write(puppet.tid, page, &path)?;
            puppet.call(libc::SYS_chdir, [page, 0, 0, 0, 0, 0]).map(drop)
        })
    }

    /// Whether a timer of `setitimer(2)` runs, and where the C library keeps the number of its first thread.
    pub(super) fn timers_and_number(&mut self) -> io::Result<(bool, u64)> {
        self.with_page(|puppet, page| {
            let mut runs = false;
            for timer in 0..3 {
                puppet.call(libc::SYS_getitimer, [timer, page, 0, 0, 0, 0])?;
                let mut value = [0; 32];
                memory::read(puppet.tid, page, &mut value)?;
                runs |= value != [0; 32];
            }
            let asked = puppet.call(libc::SYS_prctl, [PR_GET_TID_ADDRESS, page, 0, 0, 0, 0]);
            let mut address = [0; 8];
            if asked.is_ok() {
                memory::read(puppet.tid, page, &mut address)?;
            }
            Ok((runs, u64::from_ne_bytes(address)))
        })
    }

    /// Whether `execve(2)` closes one of its descriptors. The flags in `/proc` tell it wrongly for a terminal whose other
    /// end was asked for it (`TIOCGPTPEER`).
    pub(super) fn closes_on_exec(&mut self, number: i32) -> io::Result<bool> {
        let number = u64::from(number.unsigned_abs());
        let flags = self.call(libc::SYS_fcntl, [number, libc::F_GETFD as u64, 0, 0, 0, 0])?;
        Ok(flags & libc::FD_CLOEXEC as u64 != 0)
    }

    /// Gives it these registers, for when it goes on.
    pub(super) fn leave_at(self, registers: &Registers) -> io::Result<()> {
        trace::set_registers(self.tid, registers)?;
        for signal in self.signals {
            kill(self.tid.as_raw_pid(), signal)?;
        }
        Ok(())
    }

    /// Signals that came meanwhile: they are not given back then.
    pub(super) fn signals(&mut self) -> Vec<i32> {
        std::mem::take(&mut self.signals)
    }

    /// Takes a signal for not having come.
    pub(super) fn forget(&mut self, signal: i32) {
        self.signals.retain(|came| *came != signal);
    }

    fn until_call(&mut self) -> io::Result<()> {
        loop {
            let Some((_, event)) = trace::next(Some(self.tid), true)? else { continue };
            match event {
                Event::Call => return Ok(()),
                Event::Ended(_) => return Err(Errno::SRCH),
                Event::Birth | Event::BirthAndWait => {
                    let number = i32::try_from(trace::message(self.tid)?).map_err(|_| Errno::SRCH)?;
                    self.born = Pid::from_raw(number);
                }
                Event::Signal(signal) => self.signals.push(signal),
                Event::Exec | Event::Exit | Event::Trap | Event::Group => {}
            }
            trace::resume(self.tid, Way::ToCall)?;
        }
    }
}

const PAGE: u64 = 4096;
const PR_GET_TID_ADDRESS: u64 = 40;
