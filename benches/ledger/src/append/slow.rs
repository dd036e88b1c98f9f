//! The same disk, on which every sync takes longer: another process of this program shows it through FUSE.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use faulty_disk::{Disk, Options};

use crate::{
    failure::{Failure, system},
    place::Place,
};

/// How much longer a sync takes.
const DELAY: Duration = Duration::from_millis(3);
/// What the process says when all is ready.
const READY: &str = "mounted";

/// A folder on it.
pub struct SlowDisk {
    folder: PathBuf,
    process: Child,
}

impl SlowDisk {
    /// Shows a folder of `place`, or says why that cannot be.
    pub fn mount(place: &Place) -> Result<Result<Self, String>, Failure> {
        let [backing, folder] = ["slow-disk", "slow"].map(|name| place.file(name));
        for folder in [&backing, &folder] {
            fs::create_dir(folder).map_err(system("make a folder"))?;
        }
        let mut command = Command::new(env::current_exe().map_err(system("find this program"))?);
        command.arg("slow").args([&backing, &folder]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(system("start a part"))?;
        let mut said = String::new();
        let output = process.stdout.take().map(BufReader::new);
        let _ = output.map(|mut output| output.read_line(&mut said));
        let disk = Self { folder, process };
        Ok(match said.trim() {
            READY => Ok(disk),
            reason => Err(reason.to_owned()),
        })
    }

    /// A file on it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// The process that shows `backing` at `folder` until its standard input ends.
pub fn serve(backing: &Path, folder: &Path) -> Result<(), Failure> {
    let options = Options { sync_delay: DELAY, ..Options::default() };
    let disk = match Disk::mount(backing, folder, &options) {
        Ok(disk) => disk,
        Err(error) => {
            println!("nothing can be mounted here: {error}");
            return Ok(());
        }
    };
    println!("{READY}");
    std::io::stdin().read_to_end(&mut Vec::new()).map_err(system("wait"))?;
    disk.unmount().map_err(system("unmount"))
}
