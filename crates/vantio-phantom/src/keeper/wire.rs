//! What is said on a keeper's socket: one line each way, then frames.
//!
//! A frame is a tag byte, the length of what follows in four bytes (little-endian), and that.

use std::io;

use serde::{Deserialize, Serialize};

/// The version of the protocol.
pub(super) const VERSION: u64 = 1;

/// The longest line that begins a conversation.
pub(super) const LINE_MAX: usize = 4096;

/// The longest that a frame may be.
const FRAME_MAX: usize = 1 << 20;

/// The longest piece of output in one frame.
pub(super) const PIECE: usize = 32 * 1024;

/// How a visitor begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ask {
    /// Whether what it types is for the run.
    pub(super) types: bool,
    /// Where in the run's output to begin; near its end when it does not say.
    pub(super) from: Option<u64>,
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// It is heard.
    Attached {
        /// Whether the run has a terminal.
        terminal: bool,
    },
    /// It is not.
    Refused(String),
}

/// What is said after that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// From a visitor: what was typed.
    Input(Vec<u8>),
    /// From a visitor: the size of its window.
    Size {
        /// Lines.
        rows: u16,
        /// Characters in a line.
        columns: u16,
    },
    /// From the keeper: what the run wrote.
    Output(Vec<u8>),
    /// From the keeper: so many bytes are gone from the log and are left out here.
    Skipped(u64),
    /// From the runner, and on to whoever started it: the program executes.
    Started,
    /// From the runner, and on to everybody: how it ended, in words that are not the keeper's.
    End(Vec<u8>),
    /// From the keeper: the runner is gone without a word.
    Lost,
}

impl Frame {
    /// As it is sent.
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Input(bytes) => framed(1, bytes),
            Self::Size { rows, columns } => {
                let ([a, b], [c, d]) = (rows.to_le_bytes(), columns.to_le_bytes());
                framed(2, &[a, b, c, d])
            }
            Self::Output(bytes) => framed(3, bytes),
            Self::Skipped(count) => framed(4, &count.to_le_bytes()),
            Self::Started => framed(5, &[]),
            Self::End(bytes) => framed(6, bytes),
            Self::Lost => framed(7, &[]),
        }
    }

    fn decode(tag: u8, body: &[u8]) -> Option<Self> {
        Some(match tag {
            1 => Self::Input(body.to_vec()),
            2 => {
                let (rows, columns) = body.split_first_chunk::<2>()?;
                let (rows, columns) = (u16::from_le_bytes(*rows), columns.try_into().ok()?);
                Self::Size { rows, columns: u16::from_le_bytes(columns) }
            }
            3 => Self::Output(body.to_vec()),
            4 => Self::Skipped(u64::from_le_bytes(body.try_into().ok()?)),
            5 if body.is_empty() => Self::Started,
            6 => Self::End(body.to_vec()),
            7 if body.is_empty() => Self::Lost,
            _ => return None,
        })
    }
}

fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
    // What is sent is cut where it is read into pieces; a word of the runner's is far shorter.
    let body = &body[..body.len().min(FRAME_MAX)];
    let mut frame = Vec::with_capacity(body.len() + 5);
    frame.push(tag);
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.extend_from_slice(body);
    frame
}

/// What has arrived and is not understood yet.
#[derive(Debug, Default)]
pub(super) struct Inbox(Vec<u8>);

impl Inbox {
    /// Adds what arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The line that begins a conversation, once all of it is here.
    pub(super) fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.0.iter().position(|byte| *byte == b'\n') {
            Some(end) => Ok(Some(self.0.drain(..=end).collect())),
            None if self.0.len() > LINE_MAX => Err(io::ErrorKind::InvalidData.into()),
            None => Ok(None),
        }
    }

    /// The next frame, once all of it is here.
    pub(super) fn frame(&mut self) -> io::Result<Option<Frame>> {
        let Some(([tag, length @ ..], rest)) = self.0.split_first_chunk::<5>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > FRAME_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let frame = Frame::decode(*tag, body).ok_or(io::ErrorKind::InvalidData)?;
        self.0.drain(..length + 5);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_frame() -> impl Strategy<Value = Frame> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..300);
        prop_oneof![
            bytes().prop_map(Frame::Input),
            (any::<u16>(), any::<u16>()).prop_map(|(rows, columns)| Frame::Size { rows, columns }),
            bytes().prop_map(Frame::Output),
            any::<u64>().prop_map(Frame::Skipped),
            Just(Frame::Started),
            bytes().prop_map(Frame::End),
            Just(Frame::Lost),
        ]
    }

    proptest! {
        #[test]
        fn frames_arrive_as_they_were_sent_in_whatever_pieces(
            frames in prop::collection::vec(any_frame(), 0..8),
            piece in 1_usize..40,
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
            let (mut inbox, mut arrived) = (Inbox::default(), Vec::new());
            for piece in bytes.chunks(piece) {
                inbox.push(piece);
                while let Some(frame) = inbox.frame().unwrap() {
                    arrived.push(frame);
                }
            }
            prop_assert_eq!(arrived, frames);
        }

        #[test]
        fn anything_is_a_frame_that_means_itself_or_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut inbox = Inbox::default();
            inbox.push(&bytes);
            if let Ok(Some(frame)) = inbox.frame() {
                let encoded = frame.encode();
                prop_assert_eq!(&bytes[..encoded.len()], &encoded[..]);
            }
        }
    }

    #[test]
    fn a_line_and_a_frame_without_end_are_refused() {
        let mut inbox = Inbox::default();
        inbox.push(&[b'x'; LINE_MAX + 1]);
        assert!(inbox.line().is_err());
        let mut inbox = Inbox::default();
        inbox.push(&[1, 0xff, 0xff, 0xff, 0xff]);
        assert!(inbox.frame().is_err());
    }
}
