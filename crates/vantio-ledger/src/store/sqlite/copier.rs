//! Copying the write-ahead log into the file, on a thread of its own: the writer goes on meanwhile.

use std::{
    path::Path,
    sync::mpsc::{self, SyncSender},
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, OpenFlags};

use super::BUSY_STEP;

/// The thread, which begins when it is first needed and ends with the appender.
pub(super) struct Copier {
    requests: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Copier {
    /// Starts the thread, with a connection of its own to the file at `path`.
    pub fn start(path: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.busy_timeout(BUSY_STEP)?;
        let (requests, received) = mpsc::sync_channel(1);
        let work = move || {
            for () in received {
                // What is not copied stays in the log, which is as durable as the file.
                let _ = copy(&connection, "PASSIVE");
            }
        };
        let thread = thread::Builder::new().name("ledger-copier".into()).spawn(work).ok();
        Ok(Self { requests: Some(requests), thread })
    }

    /// Has the log copied, unless that is still to come from before.
    pub fn wake(&self) {
        let _ = self.requests.as_ref().map(|requests| requests.try_send(()));
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Copies the log into the file. True when nothing stood in the way.
pub(super) fn copy(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    let pragma = format!("PRAGMA wal_checkpoint({mode})");
    connection.query_row(&pragma, (), |row| Ok(row.get::<_, i64>(0)? == 0))
}
