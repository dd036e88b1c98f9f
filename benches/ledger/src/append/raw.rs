//! A file, synced after every entry.

use std::{fs::File, io::Write as _, path::Path, time::Duration};

use super::Way;
use crate::{
    failure::{Failure, system},
    stopwatch::{Spent, Stopwatch},
};

pub struct Raw {
    file: File,
    line: Vec<u8>,
}

impl Raw {
    pub fn new(path: &Path, line: &str) -> Result<Self, Failure> {
        let file = File::create(path).map_err(system("create a file"))?;
        Ok(Self { file, line: format!("{line}\n").into_bytes() })
    }
}

impl Way for Raw {
    fn append(&mut self, time: Duration) -> Result<Spent, Failure> {
        let watch = Stopwatch::start();
        let mut count = 0;
        while watch.elapsed() < time {
            self.file.write_all(&self.line).map_err(system("write"))?;
            self.file.sync_data().map_err(system("sync"))?;
            count += 1;
        }
        Ok(watch.spent(count))
    }
}
