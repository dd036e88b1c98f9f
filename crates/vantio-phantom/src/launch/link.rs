//! What supervisor, init and agent tell each other while a run starts and ends.

use std::{
    io::IoSlice,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::io::{self, Errno};

use crate::packets::Packets;

/// One end of a packet connection. Closed on exec.
#[derive(Debug)]
pub(super) struct Link(Packets);

/// A packet: what it is about, a number, perhaps a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) topic: Topic,
    pub(super) number: i32,
    pub(super) text: String,
}

/// What a packet is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// To init and agent: go on.
    Go = 1,
    /// From init: the world is built; the terminal's master is attached, if there is one.
    Built = 2,
    /// From the agent: a handle on itself is attached.
    Agent = 3,
    /// From the agent: the number of the filter's descriptor.
    Filtered = 4,
    /// From the agent: the program could not be started, for this errno.
    NotStarted = 5,
    /// From init: the agent exited with this status.
    Exited = 6,
    /// From init: this signal ended the agent.
    Signaled = 7,
    /// From init: job control stopped the agent, by this signal.
    Stopped = 8,
    /// From init or agent: this step failed, for this errno.
    Failed = 9,
    /// From init: its network namespace is attached.
    Network = 10,
}

impl Link {
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = Packets::pair()?;
        Ok((Self(one), Self(other)))
    }

    /// Sends a packet by `write(2)`, which the filter lets pass.
    pub(super) fn tell(&self, topic: Topic, number: i32) -> io::Result<()> {
        let [a, b, c, d] = number.to_ne_bytes();
        io::write(&self.0, &[topic as u8, a, b, c, d]).map(drop)
    }

    pub(super) fn send(
        &self,
        topic: Topic,
        number: i32,
        text: &str,
        fd: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let (topic, number) = ([topic as u8], number.to_ne_bytes());
        let parts = [IoSlice::new(&topic), IoSlice::new(&number), IoSlice::new(text.as_bytes())];
        self.0.send(&parts, fd)
    }

    /// The next packet; `ECONNRESET` when the other end is gone.
    pub(super) fn receive(&self) -> io::Result<(Packet, Option<OwnedFd>)> {
        let mut bytes = [0; 4096];
        let (length, fd) = self.0.receive(&mut bytes)?;
        let [topic, number @ ..] = &bytes[..length] else { return Err(Errno::PROTO) };
        let (number, text) = number.split_first_chunk::<4>().ok_or(Errno::PROTO)?;
        let packet = Packet {
            topic: Topic::from_byte(*topic).ok_or(Errno::PROTO)?,
            number: i32::from_ne_bytes(*number),
            text: String::from_utf8_lossy(text).into_owned(),
        };
        Ok((packet, fd))
    }

    /// Waits for permission to go on.
    pub(super) fn wait(&self) -> io::Result<()> {
        match self.receive()?.0.topic {
            Topic::Go => Ok(()),
            _ => Err(Errno::PROTO),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Topic {
    fn from_byte(byte: u8) -> Option<Self> {
        const ALL: [Topic; 10] = [
            Topic::Go,
            Topic::Built,
            Topic::Agent,
            Topic::Filtered,
            Topic::NotStarted,
            Topic::Exited,
            Topic::Signaled,
            Topic::Stopped,
            Topic::Failed,
            Topic::Network,
        ];
        ALL.into_iter().find(|topic| *topic as u8 == byte)
    }
}
