//! What is said on a run's socket: one line of JSON, with the version of its protocol.

use std::{
    io::{self, Read as _, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// How much one side takes of the other.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The longest line, in bytes.
    pub longest: usize,
    /// How long all of it may take.
    pub time: Duration,
}

/// Why a line says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is of another version.
    #[error("the other side speaks version {theirs}, and this one {ours}")]
    Version {
        /// The version of the other side.
        theirs: u64,
        /// That of this one.
        ours: u64,
    },
    /// It is none of the protocol.
    #[error("what was said is no line of this protocol")]
    Malformed,
}

impl From<LineError> for io::Error {
    fn from(error: LineError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// The line that says `says`.
pub fn encode<T: Serialize>(version: u64, says: T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Versioned { version, says })?;
    line.push(b'\n');
    Ok(line)
}

/// What a line says.
pub fn decode<T: DeserializeOwned>(version: u64, line: &[u8]) -> Result<T, LineError> {
    let VersionOnly { version: theirs } = serde_json::from_slice(line).map_err(|_| LineError::Malformed)?;
    if theirs != version {
        return Err(LineError::Version { theirs, ours: version });
    }
    let said: Versioned<T> = serde_json::from_slice(line).map_err(|_| LineError::Malformed)?;
    Ok(said.says)
}

/// Says it; whoever does not read within `time` is not told.
pub fn write<T: Serialize>(stream: &UnixStream, version: u64, says: T, time: Duration) -> io::Result<()> {
    stream.set_write_timeout(Some(time))?;
    let mut stream = stream;
    stream.write_all(&encode(version, says)?)
}

/// Reads a line, and nothing after it.
pub fn read<T: DeserializeOwned>(stream: &UnixStream, version: u64, patience: Patience) -> io::Result<T> {
    let line = take(stream, patience)?.0;
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it went away without a word"));
    }
    Ok(decode(version, &line)?)
}

/// Reads a line, and returns it with what came after it.
pub fn take(mut stream: &UnixStream, patience: Patience) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let deadline = Instant::now() + patience.time;
    let mut line = Vec::new();
    let mut piece = [0; 4096];
    loop {
        // Whoever says one letter at a time takes no longer than whoever says nothing.
        let left = deadline.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let count = match stream.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let piece = &piece[..count];
        let end = piece.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
        let (said, rest) = piece.split_at(end.unwrap_or(count));
        if line.len() + said.len() > patience.longest {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        line.extend_from_slice(said);
        if end.is_some() || count == 0 {
            return Ok((line, rest.to_vec()));
        }
        if deadline <= Instant::now() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u64,
    says: T,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u64,
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const PATIENCE: Patience = Patience { longest: 100, time: Duration::from_secs(20) };

    #[test]
    fn a_line_arrives_in_pieces_and_what_follows_is_kept() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let line = encode(3, "said").unwrap();
        for byte in &line {
            (&theirs).write_all(&[*byte]).unwrap();
        }
        (&theirs).write_all(b"rest").unwrap();
        let (taken, rest) = take(&ours, PATIENCE).unwrap();
        assert_eq!((decode::<String>(3, &taken), &rest[..]), (Ok("said".into()), &b"rest"[..]));
    }

    #[test]
    fn who_goes_away_has_said_nothing_wrong() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert_eq!(read::<String>(&ours, 1, PATIENCE).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn another_version_is_told_from_nonsense() {
        let other = decode::<String>(1, br#"{"version":2,"says":{"anything":1}}"#);
        assert_eq!(other, Err(LineError::Version { theirs: 2, ours: 1 }));
        let nested = [&b"{\"version\":1,\"says\":"[..], &b"[".repeat(100_000), b"\n"].concat();
        for line in [&b"GET / HTTP/1.1\r\n"[..], b"", b"\n", b"{\"version\":1,\"says\":7}", &nested] {
            assert_eq!(decode::<String>(1, line), Err(LineError::Malformed));
        }
    }

    #[test]
    fn who_says_too_much_or_too_slowly_is_not_waited_for() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (&theirs).write_all(&[b'x'; 101]).unwrap();
        assert_eq!(take(&ours, PATIENCE).unwrap_err().kind(), io::ErrorKind::FileTooLarge);

        let (ours, theirs) = UnixStream::pair().unwrap();
        let talker = thread::spawn(move || {
            while (&theirs).write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let patience = Patience { longest: 1 << 20, time: Duration::from_millis(200) };
        assert!(take(&ours, patience).is_err());
        drop(ours);
        talker.join().unwrap();
    }
}
