//! What a detached run wrote: the last of it, in pieces of one size.
//!
//! A piece is a file that is named after how many bytes came before it, so that what is gone can be told. When there are
//! too many pieces the oldest is removed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The log of a run, for reading.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
}

/// The log of a run, for its keeper.
#[derive(Debug)]
pub(super) struct Writer {
    folder: PathBuf,
    piece: File,
    /// How many bytes came before this piece, and are in it.
    place: (u64, u64),
    /// How many bytes could not be written since the last that could.
    lost: u64,
}

impl Log {
    /// How much is kept, in bytes: never more.
    pub const KEPT: u64 = PIECE * PIECES as u64;

    /// The log of the run in `folder`; `None` where there is none.
    pub fn open(folder: &Path) -> Option<Self> {
        let folder = folder.join(FOLDER);
        folder.is_dir().then_some(Self { folder })
    }

    /// How much was written before what is kept, and in all, in bytes.
    pub(super) fn bounds(&self) -> io::Result<(u64, u64)> {
        let pieces = pieces(&self.folder)?;
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return Ok((0, 0)) };
        let length = match fs::metadata(path_of(&self.folder, *last)) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok((*first, last + length))
    }

    /// Reads what was written after the first `place` bytes, or what is kept after them. Returns the place of what was
    /// read, and how much it is; nothing at the end.
    pub(super) fn read(&self, mut place: u64, into: &mut [u8]) -> io::Result<(u64, usize)> {
        loop {
            let pieces = pieces(&self.folder)?;
            let Some(first) = pieces.first() else { return Ok((place, 0)) };
            place = place.max(*first);
            let next = pieces.partition_point(|piece| *piece <= place);
            let piece = pieces[next - 1];
            let file = match File::open(path_of(&self.folder, piece)) {
                // It was the oldest, and has just gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            match (file.read_at(into, place - piece)?, pieces.get(next)) {
                (0, Some(after)) => place = *after,
                (count, _) => return Ok((place, count)),
            }
        }
    }

    /// What is kept now.
    pub fn kept(&self) -> io::Result<Kept> {
        loop {
            let open = |piece| File::open(path_of(&self.folder, piece)).map(|file| (piece, file));
            match pieces(&self.folder)?.into_iter().map(open).collect::<io::Result<Vec<_>>>() {
                // It was the oldest, and has just gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                pieces => return Kept::new(pieces?),
            }
        }
    }
}

/// What is kept of a log at one moment. It can be read whatever is written and removed meanwhile, and has an end.
#[derive(Debug)]
pub struct Kept {
    /// Each with how many bytes came before it.
    pieces: Vec<(u64, File)>,
    end: u64,
}

impl Kept {
    fn new(pieces: Vec<(u64, File)>) -> io::Result<Self> {
        let end = pieces
            .last()
            .map_or(Ok(0), |(start, file)| Ok::<_, io::Error>(start + file.metadata()?.len()))?;
        Ok(Self { pieces, end })
    }

    /// How much was written before it, in bytes.
    pub fn begin(&self) -> u64 {
        self.pieces.first().map_or(0, |(start, _)| *start)
    }

    /// Reads what was written after the first `place` bytes, or what is kept after them. Returns the place of what was
    /// read, and how much it is; nothing at the end.
    pub fn read(&self, place: u64, into: &mut [u8]) -> io::Result<(u64, usize)> {
        let place = place.max(self.begin());
        let next = self.pieces.partition_point(|(start, _)| *start <= place);
        let Some((start, file)) = next.checked_sub(1).map(|index| &self.pieces[index]) else {
            return Ok((place, 0));
        };
        let end = self.pieces.get(next).map_or(self.end, |(start, _)| *start);
        let length = usize::try_from(end.saturating_sub(place)).unwrap_or(usize::MAX).min(into.len());
        Ok((place, file.read_at(&mut into[..length], place - start)?))
    }

    /// The place where the last `lines` lines begin.
    pub fn tail(&self, lines: u64) -> io::Result<u64> {
        let mut place = self.begin();
        let mut starts = std::collections::VecDeque::from([place]);
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let (found, count) = self.read(place, &mut bytes)?;
            if count == 0 {
                break;
            }
            let breaks = bytes[..count].iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            starts.extend(breaks.map(|(index, _)| found + index as u64 + 1));
            let most = usize::try_from(lines).unwrap_or(usize::MAX).saturating_add(1);
            starts.drain(..starts.len().saturating_sub(most));
            place = found + count as u64;
        }
        // What follows the last line break is a line only where there is something.
        if starts.back() == Some(&place) {
            starts.pop_back();
        } else if starts.len() as u64 > lines {
            starts.pop_front();
        }
        Ok(if lines == 0 { self.end } else { starts.front().copied().unwrap_or(self.end) })
    }
}

impl Writer {
    /// Begins the log of the run in `folder`.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        let folder = folder.join(FOLDER);
        DirBuilder::new().mode(0o700).create(&folder)?;
        let piece = create(&folder, 0)?;
        Ok(Self { folder, piece, place: (0, 0), lost: 0 })
    }

    /// Appends what the run wrote. What cannot be written is lost, and a line in the log says how much.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        if self.lost > 0 {
            let notice =
                format!("\r\n[vantio: {} bytes of output were lost: the disk was full]\r\n", self.lost);
            if self.write(notice.as_bytes()).is_ok() {
                self.lost = 0;
            }
        }
        if self.lost > 0 || self.write(bytes).is_err() {
            self.lost += bytes.len() as u64;
        }
    }

    /// How much was written, in bytes.
    pub(super) fn end(&self) -> u64 {
        self.place.0 + self.place.1
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.place.1 + bytes.len() as u64 > PIECE && self.place.1 > 0 {
            self.rotate()?;
        }
        // All of it, or nothing that anybody will read.
        self.piece
            .write_all_at(bytes, self.place.1)
            .inspect_err(|_| drop(self.piece.set_len(self.place.1)))?;
        self.place.1 += bytes.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let start = self.end();
        let mut pieces = pieces(&self.folder)?;
        while pieces.len() >= PIECES {
            fs::remove_file(path_of(&self.folder, pieces.remove(0)))?;
        }
        self.piece = create(&self.folder, start)?;
        self.place = (start, 0);
        Ok(())
    }
}

fn create(folder: &Path, start: u64) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path_of(folder, start))
}

/// What the pieces begin with, in order.
fn pieces(folder: &Path) -> io::Result<Vec<u64>> {
    let names = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let mut pieces: Vec<u64> =
        names.iter().filter_map(|entry| u64::from_str_radix(entry.file_name().to_str()?, 16).ok()).collect();
    pieces.sort_unstable();
    Ok(pieces)
}

fn path_of(folder: &Path, start: u64) -> PathBuf {
    folder.join(format!("{start:016x}"))
}

/// The folder's name in a run's folder.
const FOLDER: &str = "output";

/// How long a piece is, and how many are kept.
const PIECE: u64 = 4 << 20;
const PIECES: usize = 4;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn all(log: &Log, mut place: u64) -> (u64, Vec<u8>) {
        let (mut text, mut bytes, mut first) = (Vec::new(), vec![0; 10_000], None);
        loop {
            let (found, count) = log.read(place, &mut bytes).unwrap();
            first.get_or_insert(found);
            if count == 0 {
                return (first.unwrap(), text);
            }
            text.extend_from_slice(&bytes[..count]);
            place = found + count as u64;
        }
    }

    #[test]
    fn what_was_written_is_read_from_any_place() {
        let run = tempfile::tempdir().unwrap();
        assert!(Log::open(run.path()).is_none());
        let mut writer = Writer::create(run.path()).unwrap();
        let log = Log::open(run.path()).unwrap();
        assert_eq!((log.bounds().unwrap(), all(&log, 0)), ((0, 0), (0, Vec::new())));
        writer.append(b"one\ntwo\n");
        writer.append(b"three");
        assert_eq!(all(&log, 4), (4, b"two\nthree".to_vec()));
        assert_eq!(all(&log, 99), (99, Vec::new()));
        assert_eq!([0, 1, 2, 3, 9].map(|lines| log.kept().unwrap().tail(lines).unwrap()), [13, 8, 4, 0, 0]);
        writer.append(b"\n");
        assert_eq!([0, 1, 2, 3, 9].map(|lines| log.kept().unwrap().tail(lines).unwrap()), [14, 8, 4, 0, 0]);
        let modes = [run.path().join(FOLDER), path_of(&run.path().join(FOLDER), 0)]
            .map(|path| fs::metadata(path).unwrap().permissions().mode() & 0o777);
        assert_eq!(modes, [0o700, 0o600]);
    }

    #[test]
    fn the_last_of_much_is_kept_and_what_is_gone_is_known() {
        let run = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(run.path()).unwrap();
        let mut expected = Vec::new();
        for number in 0..3_000_u64 {
            let line = format!("{number:>8999}\n");
            writer.append(line.as_bytes());
            expected.extend_from_slice(line.as_bytes());
        }
        let log = Log::open(run.path()).unwrap();
        let (begin, end) = log.bounds().unwrap();
        assert_eq!(end, expected.len() as u64);
        assert!(begin > 0 && end - begin <= Log::KEPT && end - begin > Log::KEPT / 2, "{begin} {end}");
        assert_eq!(all(&log, 0), (begin, expected[begin as usize..].to_vec()));
        assert_eq!(log.kept().unwrap().tail(1).unwrap(), end - 9000);
        assert_eq!(log.kept().unwrap().tail(1_000_000).unwrap(), begin);
        // What was kept is read to its end, though all of it has gone.
        let kept = log.kept().unwrap();
        (0..3_000).for_each(|_| writer.append(&[b'x'; 9000]));
        assert_eq!((kept.begin(), kept.tail(1).unwrap()), (begin, end - 9000));
        let (mut place, mut text, mut bytes) = (0, Vec::new(), vec![0; 10_000]);
        while let (found, count @ 1..) = kept.read(place, &mut bytes).unwrap() {
            text.extend_from_slice(&bytes[..count]);
            place = found + count as u64;
        }
        assert_eq!(text, expected[begin as usize..]);
    }
}
