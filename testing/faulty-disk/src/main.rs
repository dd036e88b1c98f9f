//! Shows a folder at another place, on a disk that is slower, until its standard input ends.

use std::{
    env,
    error::Error,
    io::{self, Read as _, Write as _},
    path::Path,
    time::Duration,
};

use faulty_disk::{Disk, Options};

const USAGE: &str = "usage: faulty-disk FOLDER PLACE MICROSECONDS\n\
    Shows FOLDER at PLACE; every sync takes so many microseconds longer. Prints `mounted`, and unmounts\n\
    when its standard input ends.";

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [folder, place, delay] = &words[..] else { return Err(USAGE.into()) };
    let options = Options { sync_delay: Duration::from_micros(delay.parse()?), ..Options::default() };
    let disk = Disk::mount(Path::new(folder), Path::new(place), &options)?;
    writeln!(io::stdout(), "mounted")?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(disk.unmount()?)
}
