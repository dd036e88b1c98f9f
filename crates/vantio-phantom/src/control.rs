//! What the caller's process and the supervisor say to each other.
//!
//! Both ends are forks of one program, so the encoding has no version. A message
//! is one packet: a tag byte, then its fields in little-endian order. The agent
//! never holds an end: every descriptor here closes on exec.

use std::{
    io::IoSlice,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::io::Errno;

use crate::{Account, Ending, packets::Packets};

/// One end of the connection between caller and supervisor.
///
/// Each process drops the end that is not its own right after the fork, and
/// init drops both: otherwise a death is not seen as [`ControlError::Closed`].
#[derive(Debug)]
pub(crate) struct Channel(Packets);

/// What one end tells the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// From the supervisor: the agent runs, with this number on the host.
    Started {
        /// Process number of the agent, as the host counts.
        pid: i32,
    },
    /// From the supervisor: the master of the run's terminal is attached.
    Terminal,
    /// From the supervisor: job control stopped the agent's leader.
    Stopped {
        /// `SIGTSTP`, `SIGTTIN`, `SIGTTOU` or `SIGSTOP`.
        signal: i32,
    },
    /// From the supervisor: the agent's leader is gone, and this is written down of it.
    Ended(Ending, Account),
    /// From the supervisor: the run could not start, or had to be ended.
    Failed(Failure),
    /// From the caller: signal the agent's process group.
    Signal {
        /// The signal that the caller received.
        number: i32,
    },
    /// From the caller: continue the agent's process group.
    Continue,
}

/// An error on its way to the caller's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// A stable code, such as `E_NAMESPACE`.
    pub(crate) code: String,
    /// What happened.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: String,
}

/// Why a message could not be passed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// The other end is gone.
    #[error("the other end of the control channel is gone")]
    Closed,
    /// What arrived is no message.
    #[error("a packet on the control channel is no message")]
    Malformed,
    /// The kernel refused.
    #[error("the control channel failed: {0}")]
    Failed(#[source] Errno),
}

impl Channel {
    /// Two connected ends.
    pub(crate) fn pair() -> Result<(Self, Self), ControlError> {
        let (one, other) = Packets::pair()?;
        Ok((Self(one), Self(other)))
    }

    /// Sends a message; `descriptor` travels with it.
    pub(crate) fn send(
        &self,
        message: &Message,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), ControlError> {
        Ok(self.0.send(&[IoSlice::new(&message.encode())], descriptor)?)
    }

    /// Waits for a message and the descriptor that came with it.
    pub(crate) fn receive(&self) -> Result<(Message, Option<OwnedFd>), ControlError> {
        let mut bytes = vec![0; PACKET_MAX];
        let (length, descriptor) = self.0.receive(&mut bytes)?;
        let message = Message::decode(&bytes[..length]).ok_or(ControlError::Malformed)?;
        Ok((message, descriptor))
    }
}

impl AsFd for Channel {
    /// For polling only.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Errno> for ControlError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Self::Closed,
            Errno::MSGSIZE => Self::Malformed,
            other => Self::Failed(other),
        }
    }
}

impl Message {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Started { pid } => with_number(tag::STARTED, *pid),
            Self::Terminal => vec![tag::TERMINAL],
            Self::Stopped { signal } => with_number(tag::STOPPED, *signal),
            Self::Ended(ending, account) => {
                let mut packet = match ending {
                    Ending::Exited(status) => with_number(tag::EXITED, *status),
                    Ending::Signaled(signal) => with_number(tag::SIGNALED, *signal),
                    Ending::NotFound => vec![tag::NOT_FOUND],
                    Ending::NotExecutable => vec![tag::NOT_EXECUTABLE],
                };
                packet.push(*account as u8);
                packet
            }
            Self::Failed(failure) => failure.encode(),
            Self::Signal { number } => with_number(tag::SIGNAL, *number),
            Self::Continue => vec![tag::CONTINUE],
        }
    }

    fn decode(packet: &[u8]) -> Option<Self> {
        let (&tag, fields) = packet.split_first()?;
        let without_fields = |message| fields.is_empty().then_some(message);
        Some(match tag {
            tag::STARTED => Self::Started { pid: number(fields)? },
            tag::TERMINAL => without_fields(Self::Terminal)?,
            tag::STOPPED => Self::Stopped { signal: number(fields)? },
            tag::EXITED | tag::SIGNALED | tag::NOT_FOUND | tag::NOT_EXECUTABLE => {
                let (account, fields) = fields.split_last()?;
                let ending = match tag {
                    tag::EXITED => Ending::Exited(number(fields)?),
                    tag::SIGNALED => Ending::Signaled(number(fields)?),
                    _ if !fields.is_empty() => return None,
                    tag::NOT_FOUND => Ending::NotFound,
                    _ => Ending::NotExecutable,
                };
                Self::Ended(ending, Account::from_byte(*account)?)
            }
            tag::FAILED => Self::Failed(Failure::decode(fields)?),
            tag::SIGNAL => Self::Signal { number: number(fields)? },
            tag::CONTINUE => without_fields(Self::Continue)?,
            _ => return None,
        })
    }
}

impl Failure {
    /// The texts, separated by NUL; a text is cut where it is too long or has a NUL.
    fn encode(&self) -> Vec<u8> {
        let mut packet = vec![tag::FAILED];
        packet.extend_from_slice(cut(&self.code).as_bytes());
        packet.push(0);
        packet.extend_from_slice(cut(&self.message).as_bytes());
        packet.push(0);
        packet.extend_from_slice(cut(&self.help).as_bytes());
        packet
    }

    fn decode(fields: &[u8]) -> Option<Self> {
        let mut texts = std::str::from_utf8(fields).ok()?.split('\0').map(str::to_owned);
        let failure = Self { code: texts.next()?, message: texts.next()?, help: texts.next()? };
        texts.next().is_none().then_some(failure)
    }
}

impl Account {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Unwritten, Self::Written, Self::Quiet].into_iter().find(|account| *account as u8 == byte)
    }
}

fn with_number(tag: u8, number: i32) -> Vec<u8> {
    let mut packet = vec![tag];
    packet.extend_from_slice(&number.to_le_bytes());
    packet
}

fn number(fields: &[u8]) -> Option<i32> {
    Some(i32::from_le_bytes(fields.try_into().ok()?))
}

fn cut(text: &str) -> &str {
    let text = text.split('\0').next().unwrap_or_default();
    &text[..text.floor_char_boundary(TEXT_MAX)]
}

/// Three texts of the greatest length, their separators and the tag fit.
const PACKET_MAX: usize = 3 * TEXT_MAX + 3;
const TEXT_MAX: usize = 8192;

mod tag {
    pub(super) const STARTED: u8 = 1;
    pub(super) const TERMINAL: u8 = 2;
    pub(super) const STOPPED: u8 = 3;
    pub(super) const EXITED: u8 = 4;
    pub(super) const SIGNALED: u8 = 5;
    pub(super) const NOT_FOUND: u8 = 6;
    pub(super) const NOT_EXECUTABLE: u8 = 7;
    pub(super) const FAILED: u8 = 8;
    pub(super) const SIGNAL: u8 = 9;
    pub(super) const CONTINUE: u8 = 10;
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    fn any_message() -> impl Strategy<Value = Message> {
        let text = || proptest::string::string_regex("[^\0]{0,200}").unwrap();
        prop_oneof![
            any::<i32>().prop_map(|pid| Message::Started { pid }),
            Just(Message::Terminal),
            any::<i32>().prop_map(|signal| Message::Stopped { signal }),
            (any_ending(), 0..3u8).prop_map(|(ending, account)| {
                Message::Ended(ending, Account::from_byte(account).unwrap())
            }),
            (text(), text(), text())
                .prop_map(|(code, message, help)| { Message::Failed(Failure { code, message, help }) }),
            any::<i32>().prop_map(|number| Message::Signal { number }),
            Just(Message::Continue),
        ]
    }

    fn any_ending() -> impl Strategy<Value = Ending> {
        prop_oneof![
            any::<i32>().prop_map(Ending::Exited),
            any::<i32>().prop_map(Ending::Signaled),
            Just(Ending::NotFound),
            Just(Ending::NotExecutable),
        ]
    }

    proptest! {
        #[test]
        fn every_message_arrives_as_it_was_sent(messages in prop::collection::vec(any_message(), 1..8)) {
            let (one, other) = Channel::pair().unwrap();
            for message in &messages {
                one.send(message, None).unwrap();
            }
            for message in messages {
                let (received, descriptor) = other.receive().unwrap();
                prop_assert_eq!(received, message);
                prop_assert!(descriptor.is_none());
            }
        }

        #[test]
        fn a_packet_is_refused_or_means_exactly_itself(packet in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(message) = Message::decode(&packet) {
                prop_assert_eq!(message.encode(), packet);
            }
        }
    }

    #[test]
    fn a_descriptor_travels_and_closes_on_exec() {
        let (one, other) = Channel::pair().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        one.send(&Message::Terminal, Some(reader.as_fd())).unwrap();
        drop(reader);
        let (message, descriptor) = other.receive().unwrap();
        assert_eq!(message, Message::Terminal);
        let descriptor = descriptor.unwrap();
        let flags = rustix::io::fcntl_getfd(&descriptor).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        drop(writer);
        let mut rest = Vec::new();
        std::fs::File::from(descriptor).read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }

    #[test]
    fn a_dead_peer_is_named_on_both_ways() {
        let (one, other) = Channel::pair().unwrap();
        drop(other);
        assert!(matches!(one.send(&Message::Continue, None), Err(ControlError::Closed)));
        assert!(matches!(one.receive(), Err(ControlError::Closed)));
    }

    #[test]
    fn what_was_sent_before_death_is_still_received() {
        let (one, other) = Channel::pair().unwrap();
        let ended = Message::Ended(Ending::Exited(3), Account::Written);
        other.send(&ended, None).unwrap();
        drop(other);
        assert_eq!(one.receive().unwrap().0, ended);
        assert!(matches!(one.receive(), Err(ControlError::Closed)));
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_at_a_character() {
        let failure = Failure { code: "E".into(), message: "é".repeat(9000), help: "a\0b".into() };
        let (one, other) = Channel::pair().unwrap();
        one.send(&Message::Failed(failure), None).unwrap();
        let (Message::Failed(received), _) = other.receive().unwrap() else { panic!("no failure arrived") };
        assert_eq!(received.message, "é".repeat(TEXT_MAX / 2));
        assert_eq!(received.help, "a");
    }
}
