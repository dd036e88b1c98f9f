//! What a fork has in place of what it prints to and reads from: nobody sees what it printed, and nothing comes, until it is
//! approved.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, fcntl_getfl, fcntl_setfl, openat, statx},
    io::{self, Errno, ioctl_fionread},
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, tee},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
    termios::{
        OptionalActions, OutputModes, Winsize, tcgetattr, tcgetsid, tcgetwinsize, tcsetattr, tcsetwinsize,
    },
};

use super::look::{Descriptor, Identity};
use crate::terminal::session::open_pair;

/// A pipe or a terminal of the fork's in place of what the original has.
#[derive(Debug)]
pub(super) struct Standin {
    /// What the original has there.
    of: Identity,
    /// What the fork has.
    is: Identity,
    /// The end that the fork gets.
    end: OwnedFd,
    /// The other end.
    ours: OwnedFd,
    /// What the original has.
    original: OwnedFd,
    /// What the fork has printed, as it came out.
    seen: Vec<u8>,
    /// What it was about to print after that.
    rest: Vec<u8>,
    /// The size that its terminal was given.
    size: Option<Winsize>,
}

impl Standin {
    pub(super) fn new(pid: Pid, descriptor: &Descriptor) -> io::Result<Self> {
        let original = of_process(pid, descriptor.number)?;
        let (end, ours) =
            if descriptor.is_terminal() { like(&original)? } else { pipe(descriptor.may_write())? };
        fcntl_setfl(&end, descriptor.flags & OFlags::NONBLOCK)?;
        let data = statx(&end, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        let kind = FileType::from_raw_mode(data.stx_mode.into());
        let device = (data.stx_dev_major, data.stx_dev_minor);
        let is = (kind, data.stx_ino, device, descriptor.may_write());
        fcntl_setfl(&ours, OFlags::NONBLOCK)?;
        let size = descriptor.is_terminal().then(|| tcgetwinsize(&ours)).transpose()?;
        let (seen, rest) = (Vec::new(), Vec::new());
        Ok(Self { of: descriptor.identity(), is, end, ours, original, seen, rest, size })
    }

    /// Whether it stands for what a descriptor of an original refers to.
    pub(super) fn is_for(&self, descriptor: &Descriptor) -> bool {
        self.of == descriptor.identity()
    }

    pub(super) fn end(&self) -> io::Result<OwnedFd> {
        self.end.try_clone().map_err(|_| Errno::MFILE)
    }

    /// Whether it stands for what can be read where a descriptor of another original can be written, or the other way round.
    pub(super) fn is_for_other_end(&self, descriptor: &Descriptor) -> bool {
        let (kind, inode, device, may_write) = descriptor.identity();
        self.of == (kind, inode, device, !may_write)
    }

    /// What `pid` gets that reads what is printed here, once nobody prints any more: all of that, after what it has yet to
    /// read already.
    pub(super) fn source(&mut self, pid: Pid, reads: &Descriptor) -> io::Result<Self> {
        self.drain(usize::MAX)?;
        let original = of_process(pid, reads.number)?;
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let before = usize::try_from(ioctl_fionread(&original)?).map_err(|_| Errno::NOSPC)?;
        // Without more room not everything fits in, and then it is refused below.
        let _ = fcntl_setpipe_size(&writer, before + self.seen.len() + CHUNK);
        fcntl_setfl(&writer, OFlags::NONBLOCK)?;
        if before > 0 && tee(&original, &writer, before, SpliceFlags::NONBLOCK)? < before {
            return Err(Errno::NOSPC);
        }
        let mut left = &*self.seen;
        while !left.is_empty() {
            left = &left[io::write(&writer, left)?..];
        }
        fcntl_setfl(&reader, reads.flags & OFlags::NONBLOCK)?;
        let of = reads.identity();
        // Nobody writes to it any more.
        let ours = original.try_clone().map_err(|_| Errno::MFILE)?;
        let (seen, rest) = (Vec::new(), Vec::new());
        Ok(Self { of, is: of, end: reader, ours, original, seen, rest, size: None })
    }

    /// Whether a descriptor of the fork is this.
    pub(super) fn is_behind(&self, descriptor: &Descriptor) -> bool {
        self.is == descriptor.identity()
    }

    /// What the original has, where a descriptor of the fork is this.
    pub(super) fn original_for(&self, descriptor: &Descriptor) -> Option<io::Result<OwnedFd>> {
        self.is_behind(descriptor).then(|| self.original.try_clone().map_err(|_| Errno::MFILE))
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is.0 == FileType::CharacterDevice
    }

    /// Follows the size of the original's terminal; whether that has changed.
    pub(super) fn follows_size(&mut self) -> io::Result<bool> {
        if !self.is_terminal() {
            return Ok(false);
        }
        let size = Some(tcgetwinsize(&self.original)?);
        if size == self.size {
            return Ok(false);
        }
        self.size = size;
        size.map_or(Ok(()), |size| tcsetwinsize(&self.ours, size)).map(|()| true)
    }

    /// Whether what the fork did with its terminal can be done with the original's.
    pub(super) fn can_be_handed_back(&self) -> io::Result<bool> {
        if !self.is_terminal() {
            return Ok(true);
        }
        let [before, after] = [tcgetattr(&self.original)?, tcgetattr(&self.end)?];
        let is_of_a_session = tcgetsid(&self.ours).is_ok();
        let has_size = Some(tcgetwinsize(&self.ours)?) == self.size;
        Ok(before.output_modes == after.output_modes && has_size && !is_of_a_session)
    }

    /// Makes room for what the fork prints, up to a bound. A fork that prints more waits.
    pub(super) fn attend(&mut self) -> io::Result<()> {
        self.drain(ROOM)
    }

    /// Takes what the fork was about to print when it was stopped, after all that it has printed.
    pub(super) fn add(&mut self, rest: &[u8]) {
        self.rest.extend_from_slice(rest);
    }

    /// What the fork has printed, and nobody has seen.
    pub(super) fn printed(&mut self) -> io::Result<Vec<u8>> {
        self.drain(usize::MAX)?;
        let has_returns = self.is_terminal() && tcgetattr(&self.end)?.output_modes.contains(RETURNS);
        let mut bytes = std::mem::take(&mut self.seen);
        if has_returns {
            bytes = unprocessed(&bytes);
        }
        bytes.append(&mut self.rest);
        Ok(bytes)
    }

    /// Reads what can be read without waiting, until this much is there.
    fn drain(&mut self, enough: usize) -> io::Result<()> {
        let (.., prints) = self.is;
        if !prints {
            return Ok(());
        }
        let mut chunk = vec![0; CHUNK];
        while self.seen.len() < enough {
            match io::read(&self.ours, &mut chunk) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(()),
                Ok(count) => self.seen.extend_from_slice(&chunk[..count]),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) const fn original(&self) -> &OwnedFd {
        &self.original
    }

    /// Lets out some of what the fork printed. There is room for it.
    pub(super) fn print(&self, bytes: &[u8]) -> io::Result<usize> {
        let at_once = if self.is_terminal() { A_LITTLE } else { PIPE_BUF };
        io::write(&self.original, &bytes[..bytes.len().min(at_once)])
    }

    /// Gives what the original has the flags and modes of the fork's.
    pub(super) fn hand_back(&self) {
        // What cannot be set is as it was.
        if let (Ok(own), Ok(flags)) = (fcntl_getfl(&self.end), fcntl_getfl(&self.original))
            && (own ^ flags).contains(OFlags::NONBLOCK)
        {
            let _ = fcntl_setfl(&self.original, flags ^ OFlags::NONBLOCK);
        }
        if self.is_terminal() {
            let modes = tcgetattr(&self.end);
            let _ = modes.and_then(|modes| tcsetattr(&self.original, OptionalActions::Now, &modes));
        }
    }
}

/// Whether what a program printed can be told from what its terminal made of it.
pub(super) fn is_plain_terminal(pid: Pid, descriptor: &Descriptor) -> io::Result<bool> {
    let modes = tcgetattr(of_process(pid, descriptor.number)?)?.output_modes;
    Ok(!modes.contains(OutputModes::OPOST) || modes == OutputModes::OPOST || modes == RETURNS)
}

/// What a process has open, the same open file.
fn of_process(pid: Pid, number: i32) -> io::Result<OwnedFd> {
    pidfd_getfd(pidfd_open(pid, PidfdFlags::empty())?, number, PidfdGetfdFlags::empty())
}

fn pipe(prints: bool) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok(if prints { (writer, reader) } else { (reader, writer) })
}

/// A pseudoterminal like another, beside it in the run.
fn like(original: &OwnedFd) -> io::Result<(OwnedFd, OwnedFd)> {
    let instance = openat(CWD, INSTANCE, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let (modes, size) = (tcgetattr(original)?, tcgetwinsize(original)?);
    let pair = open_pair(instance.as_fd(), Some(&modes), Some(size))?;
    Ok((pair.slave, pair.master))
}

/// What was printed before a terminal put a carriage return before each line feed (`ONLCR`).
fn unprocessed(bytes: &[u8]) -> Vec<u8> {
    let is_added = |at: usize| bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n');
    (0..bytes.len()).filter(|at| !is_added(*at)).map(|at| bytes[at]).collect()
}

/// A terminal that puts a carriage return before each line feed, and does nothing else.
const RETURNS: OutputModes = OutputModes::OPOST.union(OutputModes::ONLCR);
/// Where the run's pseudoterminals are.
const INSTANCE: &str = "/dev/pts";
/// What a pipe takes without waiting that has room (`pipe(7)`).
const PIPE_BUF: usize = 4096;
/// What a terminal takes that has room.
const A_LITTLE: usize = 256;
/// What a fork may print before it waits, in bytes.
const ROOM: usize = 1 << 20;
const CHUNK: usize = 1 << 16;
