//! A folder on a disk that fails, lies, dawdles and loses its power when a test says so.
//!
//! [`Disk::mount`] shows one folder at another place through FUSE, and passes everything on. It can
//! make every sync slower, let a write or a sync fail or lie ([`Fault`]), and keep a [`Record`] of all
//! that programs asked for. Of a record, [`Cut`] makes the folder that a disk may have if the power
//! fails at a moment: all that was synced is there, and of what was not any part, torn and reordered.
//!
//! Mounting needs root, or a user namespace, and `/dev/fuse`: [`enter_namespace`] gives a test binary
//! a mount namespace of its own, so that nothing stays mounted however it ends. The program
//! `faulty-disk` does the same for what is not written in Rust.
//!
//! The process that mounts must not use the mounted folder itself where it might be killed: a thread
//! that waits for an answer of its own process cannot end. Start another process for that.
//!
//! A model, and no disk: it knows files, folders and hard links; no symbolic links, no extended
//! attributes; permissions are those at creation. A sync of a file does not keep its name, which a
//! sync of the folder does, as POSIX has it and ext4 does not.

#![forbid(unsafe_code)]

mod fault;
mod file_system;
mod namespace;
mod nodes;
mod power;
mod random;
mod record;
mod sectors;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fuser::{BackgroundSession, Config, MountOption};

pub use fault::Fault;
pub use namespace::enter_namespace;
pub use power::Cut;
pub use random::Random;
pub use record::{Change, Kept, Record};

use fault::Faults;
use file_system::Passthrough;
use record::Recorder;

/// How a disk behaves from the beginning. By default it is a good one, of which no record is kept.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How much longer every sync takes.
    pub sync_delay: Duration,
    /// Whether all changes are kept in memory, for [`Disk::record`].
    pub is_recorded: bool,
    /// Files of this name never fail: where a test keeps its own notes.
    pub spared: Option<String>,
}

/// A mounted folder; dropping it unmounts.
pub struct Disk {
    faults: Arc<Faults>,
    recorder: Arc<Recorder>,
    folder: PathBuf,
    session: Option<BackgroundSession>,
}

impl Disk {
    /// Shows the folder `backing` at the folder `place`.
    ///
    /// # Errors
    /// Where this process may not mount, or there is no `/dev/fuse`.
    pub fn mount(backing: &Path, place: &Path, options: &Options) -> io::Result<Self> {
        let faults = Arc::new(Faults::default());
        let recorder = Arc::new(Recorder::new(options.is_recorded));
        let file_system =
            Passthrough::new(backing, options.clone(), Arc::clone(&faults), Arc::clone(&recorder))?;
        let mut config = Config::default();
        config.mount_options =
            vec![MountOption::FSName("faulty-disk".into()), MountOption::NoDev, MountOption::NoSuid];
        // So that a slow request does not hold up others.
        config.n_threads = Some(4);
        let session = fuser::spawn_mount(file_system, place, &config)?;
        Ok(Self { faults, recorder, folder: place.into(), session: Some(session) })
    }

    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lets `times` operations of the fault's kind fail, after `after` more that do not.
    pub fn inject(&self, fault: Fault, after: u64, times: u64) {
        self.faults.inject(fault, after, times);
    }

    /// How many operations have failed.
    pub fn failures(&self) -> u64 {
        self.faults.failures()
    }

    /// Lets nothing fail any more. Returns how many operations have failed.
    pub fn repair(&self) -> u64 {
        self.faults.repair()
    }

    /// What was done so far.
    pub fn record(&self) -> Record {
        self.recorder.record()
    }

    /// Unmounts, and says whether that succeeded; something may still have a file of it open.
    ///
    /// # Errors
    /// Those of umount(2).
    pub fn unmount(mut self) -> io::Result<()> {
        self.session.take().map_or(Ok(()), BackgroundSession::umount_and_join)
    }
}
