//! What a file holds, without its holes: a file may say that it is larger than any disk.

use std::{
    fs::File,
    io::{self, Read, Write as _},
    ops::Range,
    os::unix::fs::FileExt as _,
};

use rustix::{
    fs::{SeekFrom, copy_file_range, ftruncate, ioctl_ficlone, seek},
    io::Errno,
};

/// Where the data at or after `offset` is, up to the next hole; `None` when there is none.
pub(crate) fn data_after(file: &File, offset: u64) -> io::Result<Option<Range<u64>>> {
    let start = match seek(file, SeekFrom::Data(offset)) {
        Err(Errno::NXIO) => return Ok(None),
        // A file system that knows no holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => {
            let size = file.metadata()?.len();
            return Ok((offset < size).then_some(offset..size));
        }
        other => other?,
    };
    match seek(file, SeekFrom::Hole(start)) {
        // It was cut meanwhile.
        Err(Errno::NXIO) => Ok(None),
        other => Ok(Some(start..other?)),
    }
}

/// Reads what a file holds, and of each hole two bytes of the zeros that it stands for: as many as keep UTF-16 in step.
pub(crate) struct Dense {
    file: File,
    at: u64,
    /// Where the data ends that is being read.
    end: u64,
    zeros: usize,
}

impl Dense {
    pub(crate) fn new(file: File) -> Self {
        Self { file, at: 0, end: 0, zeros: 0 }
    }
}

impl Read for Dense {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.zeros == 0 && self.at == self.end {
            let Some(data) = data_after(&self.file, self.at)? else { return Ok(0) };
            self.zeros = if data.start > self.at { 2 } else { 0 };
            (self.at, self.end) = (data.start, data.end);
        }
        if self.zeros > 0 {
            let length = self.zeros.min(buffer.len());
            buffer[..length].fill(0);
            self.zeros -= length;
            return Ok(length);
        }
        let most = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// Makes the opened, empty file `to` hold what `from` does, holes included.
pub(crate) fn copy_content(from: &File, to: &File) -> io::Result<()> {
    if ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    ftruncate(to, from.metadata()?.len())?;
    let mut offset = 0;
    while let Some(data) = data_after(from, offset)? {
        copy_range(from, to, data.start, data.end)?;
        offset = data.end;
    }
    Ok(())
}

fn copy_range(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    let (mut read_at, mut write_at) = (start, start);
    while read_at < end {
        let length = usize::try_from(end - read_at).unwrap_or(usize::MAX).min(1 << 30);
        match copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), length) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::PERM) => {
                return pump(from, to, read_at, end);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn pump(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    seek(from, SeekFrom::Start(start))?;
    seek(to, SeekFrom::Start(start))?;
    let (mut from, mut to) = (from.take(end - start), to);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            length => to.write_all(&buffer[..length])?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_without_its_holes() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 42).unwrap();
        for (offset, text) in [(0, "begin"), (1 << 30, "middle"), (1 << 41, "end")] {
            file.write_all_at(text.as_bytes(), offset).unwrap();
        }
        let copy = tempfile::tempfile().unwrap();
        copy_content(&file, &copy).unwrap();
        for file in [file, copy] {
            assert_eq!(file.metadata().unwrap().len(), 1 << 42);
            let mut bytes = Vec::new();
            Dense::new(file).read_to_end(&mut bytes).unwrap();
            let words: Vec<_> = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty()).collect();
            assert_eq!(words, [&b"begin"[..], b"middle", b"end"]);
            assert!(bytes.len() < 1 << 20 && bytes.len().is_multiple_of(2), "{}", bytes.len());
        }
    }
}
