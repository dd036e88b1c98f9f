//! Who carries data through a run, and what it goes through.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::Transport;

/// A process of the run. Two that have the same number at different times are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process {
    /// Its thread group, as the run numbers it.
    pub pid: u32,
    /// When it started, in clock ticks since the host did (`/proc/PID/stat`, field 22).
    pub started: u64,
}

/// What carries data from one process to another, or out of the run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// A file or a fifo, by its canonical path in the run.
    Path(Vec<u8>),
    /// A pipe, by its inode.
    Pipe(u64),
    /// A socket of the run that is none of the below, by its inode.
    Socket(u64),
    /// All pairs of connected Unix sockets without a name: which two belong together is not known.
    SocketPairs,
    /// A Unix socket of the run, by its path or, after a zero byte, by its abstract name.
    Named(Vec<u8>),
    /// A port of the run's own network.
    Port(Transport, u16),
    /// A destination outside the run.
    Peer(Transport, SocketAddr),
    /// A Unix socket of the host, by its canonical path.
    HostSocket(Vec<u8>),
    /// All pseudo-terminals that the run made.
    Terminals,
    /// All System V objects and POSIX message queues.
    SystemV,
    /// A file without a name, memory files included, by its inode.
    Memory(u64),
    /// What is in the memory of a process, which others share or look into: as it is, whatever the process cleanses.
    Inside(Process),
    /// Descriptors on their way between processes. Every process that holds a socket with
    /// descriptors in its queue (`scm_fds` of `/proc/PID/fdinfo`) has an end of it for
    /// reading: it may get any of them.
    InFlight,
}

/// One open end of a channel, as a census finds it: a descriptor, or a shared mapping.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    /// Who holds it.
    pub process: Process,
    /// Of what.
    pub channel: Channel,
    /// Whether data can come in through it.
    pub reads: bool,
    /// Whether data can go out through it.
    pub writes: bool,
}
