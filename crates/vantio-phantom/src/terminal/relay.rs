//! Bytes on their way between two terminals.

use std::os::fd::AsFd;

use rustix::io::{self, Errno};

/// A bounded queue between a descriptor that is read and one that is written.
///
/// Whoever has no room does not read: so a writer that is too fast waits.
#[derive(Debug, Default)]
pub(super) struct Relay {
    bytes: Vec<u8>,
    /// How much of `bytes` is already written.
    written: usize,
}

/// How a transfer went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    /// Bytes moved.
    Moved,
    /// Nothing can move for now.
    Blocked,
    /// The descriptor gave an end of file.
    End,
    /// The other side of the terminal is gone, or the terminal is not ours now.
    Refused,
}

impl Relay {
    pub(super) fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes.len() - self.written < CAPACITY
    }

    /// Appends bytes of our own, beyond the bound: a few.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Reads once, if there is room.
    pub(super) fn fill(&mut self, source: impl AsFd) -> io::Result<Transfer> {
        if !self.has_room() {
            return Ok(Transfer::Blocked);
        }
        let mut chunk = [0; CHUNK];
        let count = match rustix::io::read(source, &mut chunk) {
            Ok(count) => count,
            Err(errno) => return refusal(errno),
        };
        self.bytes.drain(..self.written);
        self.written = 0;
        self.bytes.extend_from_slice(&chunk[..count]);
        Ok(if count == 0 { Transfer::End } else { Transfer::Moved })
    }

    /// Writes once, if there is anything to write.
    pub(super) fn drain(&mut self, sink: impl AsFd) -> io::Result<Transfer> {
        if self.is_empty() {
            return Ok(Transfer::Blocked);
        }
        let end = self.bytes.len().min(self.written + CHUNK);
        match rustix::io::write(sink, &self.bytes[self.written..end]) {
            Ok(count) => self.written += count,
            Err(errno) => return refusal(errno),
        }
        if self.is_empty() {
            self.clear();
        }
        Ok(Transfer::Moved)
    }
}

fn refusal(errno: Errno) -> io::Result<Transfer> {
    match errno {
        Errno::AGAIN | Errno::INTR => Ok(Transfer::Blocked),
        Errno::IO | Errno::PIPE | Errno::NXIO => Ok(Transfer::Refused),
        other => Err(other),
    }
}

const CAPACITY: usize = 64 * 1024;
const CHUNK: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Feed(Vec<u8>),
        Fill,
        Drain,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 1..20_000).prop_map(Step::Feed),
            Just(Step::Fill),
            Just(Step::Drain),
        ]
    }

    proptest! {
        #[test]
        fn bytes_arrive_once_and_in_order(steps in prop::collection::vec(any_step(), 1..60)) {
            let (source, mut feed) = nonblocking_pipe();
            let (mut result, sink) = nonblocking_pipe();
            let (mut relay, mut sent, mut received) = (Relay::default(), Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Feed(bytes) => {
                        let count = feed.write(&bytes).unwrap_or(0);
                        sent.extend_from_slice(&bytes[..count]);
                    }
                    Step::Fill => drop(relay.fill(&source).unwrap()),
                    Step::Drain => drop(relay.drain(&sink).unwrap()),
                }
                prop_assert!(relay.bytes.len() - relay.written < CAPACITY + CHUNK);
            }
            drop(feed);
            loop {
                let filled = relay.fill(&source).unwrap();
                while relay.drain(&sink).unwrap() == Transfer::Moved {}
                let mut buffer = vec![0; 1 << 16];
                while let Ok(count @ 1..) = result.read(&mut buffer) {
                    received.extend_from_slice(&buffer[..count]);
                }
                if filled == Transfer::End && relay.is_empty() {
                    break;
                }
            }
            prop_assert!(sent == received);
        }
    }

    #[test]
    fn a_full_relay_does_not_read() {
        let (source, mut feed) = nonblocking_pipe();
        let mut relay = Relay::default();
        while relay.has_room() {
            feed.write_all(&[7; CHUNK]).unwrap();
            assert_eq!(relay.fill(&source).unwrap(), Transfer::Moved);
        }
        feed.write_all(&[7]).unwrap();
        assert_eq!(relay.fill(&source).unwrap(), Transfer::Blocked);
    }

    fn nonblocking_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        (reader, writer)
    }
}
