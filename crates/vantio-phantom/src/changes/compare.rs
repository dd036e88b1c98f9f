//! Telling whether two files are the same.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{Mode, OFlags, openat},
    io::Errno,
};

use super::{FileType, Node, beneath, content::data_after};

/// True when mode, owner and attributes are the same.
pub(crate) fn same_metadata(one: &Node, other: &Node) -> bool {
    let mode_matters = one.file_type != FileType::Symlink;
    (!mode_matters || one.mode == other.mode)
        && (one.uid, one.gid) == (other.uid, other.gid)
        && one.xattrs == other.xattrs
}

/// True when two nodes of the same type hold the same.
pub(crate) fn same_content(one: &Readable<'_>, other: &Readable<'_>) -> io::Result<bool> {
    match one.node.file_type {
        FileType::File if one.node.size != other.node.size => Ok(false),
        FileType::File if one.node.size == 0 => Ok(true),
        FileType::File => same_bytes(one.open()?, other.open()?),
        FileType::Symlink => Ok(one.node.target == other.node.target),
        FileType::Character | FileType::Block => Ok(one.node.rdev == other.node.rdev),
        FileType::Directory | FileType::Fifo | FileType::Socket => Ok(true),
    }
}

/// A node and where to read it.
pub(crate) struct Readable<'a> {
    pub(crate) node: &'a Node,
    pub(crate) dir: BorrowedFd<'a>,
    pub(crate) name: &'a [u8],
}

impl Readable<'_> {
    /// Opens a regular file, or a directory, for reading.
    pub(crate) fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        // Only the owner may ask that the access time stays.
        let opened = match openat(self.dir, self.name, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => openat(self.dir, self.name, flags, Mode::empty()),
            other => other,
        }?;
        let stat = beneath::stat_fd(opened.as_fd())?;
        if Node::of_stat(&stat).id == self.node.id { Ok(opened) } else { Err(Errno::STALE.into()) }
    }
}

/// Of files of one size; what is a hole in both is not read.
fn same_bytes(one: OwnedFd, other: OwnedFd) -> io::Result<bool> {
    let (one, other) = (File::from(one), File::from(other));
    let (mut left, mut right) = (vec![0; BLOCK], vec![0; BLOCK]);
    let mut offset = 0;
    while let Some(start) = data_in_either(&one, &other, offset)? {
        let length = read_block(&one, &mut left, start)?;
        if length != read_block(&other, &mut right, start)? || left[..length] != right[..length] {
            return Ok(false);
        }
        if length < BLOCK {
            return Ok(true);
        }
        offset = start + length as u64;
    }
    Ok(true)
}

fn data_in_either(one: &File, other: &File, offset: u64) -> io::Result<Option<u64>> {
    let starts = [data_after(one, offset)?, data_after(other, offset)?];
    Ok(starts.into_iter().flatten().map(|data| data.start).min())
}

fn read_block(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}

const BLOCK: usize = 64 * 1024;
