//! Modes that are lent: a run may leave files that their owner may not read, and whoever compares them is an ordinary
//! user.
//!
//! What is lent stands in a file beside the upper layer before it is, so that others that look at the run meanwhile tell
//! the true mode, and so that the next one gives back what somebody left lent who was killed. Whoever is the last to look
//! gives all of it back.

use std::{
    cell::RefCell,
    collections::HashMap,
    fs::File,
    io::{self, Write as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, FlockOperation, Mode, OFlags, chmod, flock, fstat, ftruncate, openat, stat, unlink},
    io::{Errno, pread},
};
use serde::{Deserialize, Serialize};

use super::{
    FileType, Node, PathBytes,
    beneath::{Pinned, magic, stat_fd},
};

/// What is lent of one upper layer. Nothing is where root looks, whom no mode keeps out.
#[derive(Debug)]
pub(super) struct Lent {
    path: PathBuf,
    file: File,
    told: RefCell<Told>,
}

/// What is known of the file, up to a byte of it.
#[derive(Debug, Default)]
struct Told {
    until: u64,
    loans: Vec<Loan>,
    /// The last loan of each path.
    last: HashMap<Vec<u8>, usize>,
}

/// One mode, as a line of the file has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Loan {
    path: PathBytes,
    inode: u64,
    mode: u32,
    lent: u32,
}

impl Lent {
    /// Begins to look at `upper`, which is at `place`; gives back what somebody left lent who looks no more.
    pub(super) fn open(upper: &Pinned, place: &Path) -> io::Result<Self> {
        let mut path = place.as_os_str().to_owned();
        path.push(".lent");
        let path = PathBuf::from(path);
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = File::from(openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR)?);
            let lent = Self { path: path.clone(), file, told: RefCell::default() };
            if flock(&lent.file, FlockOperation::NonBlockingLockExclusive).is_ok() && lent.is_named()? {
                lent.give_back(upper)?;
                ftruncate(&lent.file, 0)?;
                lent.told.take();
            }
            flock(&lent.file, FlockOperation::LockShared)?;
            // Whoever looked last may have removed it before the lock was had.
            if lent.is_named()? {
                return Ok(lent);
            }
        }
    }

    /// Makes what is at `path` of the upper layer readable for its owner, and a folder one that can be changed.
    pub(super) fn lend(&self, upper: &Pinned, path: &[u8], node: &Node) -> io::Result<()> {
        let needed = if node.is_dir() { 0o700 } else { 0o400 };
        let may = node.is_dir() || node.file_type == FileType::File;
        if !may || node.mode & needed == needed {
            return Ok(());
        }
        let file = upper.at(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        let lent = node.mode | needed;
        self.note(Loan { path: path.into(), inode: node.id.1, mode: node.mode, lent })?;
        Ok(chmod(magic(file.as_fd()), Mode::from_raw_mode(lent))?)
    }

    /// The mode that `node`, which is at `path` of the upper layer, has by itself.
    pub(super) fn true_mode(&self, path: &[u8], node: &Node) -> io::Result<u32> {
        self.read()?;
        let told = self.told.borrow();
        let loan = told.last.get(path).map(|last| &told.loans[*last]);
        let loan = loan.filter(|loan| loan.is_of(node));
        Ok(loan.map_or(node.mode, |loan| loan.mode))
    }

    fn note(&self, loan: Loan) -> io::Result<()> {
        let mut line = serde_json::to_vec(&loan)?;
        line.push(b'\n');
        match (&self.file).write_all(&line) {
            // Better a mode that a kill leaves lent than nothing to be seen on a full disk.
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOSPC | Errno::DQUOT)) => {
                self.told.borrow_mut().take_in(loan);
                Ok(())
            }
            other => other,
        }
    }

    /// Takes in what others and this one have written since.
    fn read(&self) -> io::Result<()> {
        let size = fstat(&self.file)?.st_size.unsigned_abs();
        let mut told = self.told.borrow_mut();
        if size <= told.until {
            return Ok(());
        }
        let mut text = vec![0; usize::try_from(size - told.until).unwrap_or(usize::MAX)];
        let read = pread(&self.file, &mut *text, told.until)?;
        // A line that a kill cut short was written for nothing: the mode is lent afterwards.
        let whole = text[..read].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if let Ok(loan) = serde_json::from_slice(line) {
                told.take_in(loan);
            }
        }
        told.until += whole as u64;
        Ok(())
    }

    /// Gives back what is still lent, the last first: what is in a folder before the folder.
    fn give_back(&self, upper: &Pinned) -> io::Result<()> {
        self.read()?;
        for loan in self.told.borrow().loans.iter().rev() {
            let Ok(file) = upper.at(loan.path.as_bytes(), OFlags::PATH | OFlags::NOFOLLOW) else { continue };
            if loan.is_of(&Node::of_stat(&stat_fd(file.as_fd())?)) {
                // A failure leaves the run's copy more readable for its owner.
                let _ = chmod(magic(file.as_fd()), Mode::from_raw_mode(loan.mode));
            }
        }
        Ok(())
    }

    /// Looks no more; the last one gives back.
    pub(super) fn close(&self, upper: &Pinned) -> io::Result<()> {
        if flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_ok() && self.is_named()? {
            self.give_back(upper)?;
            unlink(&self.path)?;
        }
        Ok(())
    }

    fn is_named(&self) -> io::Result<bool> {
        let own = fstat(&self.file)?;
        match stat(&self.path) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Told {
    fn take_in(&mut self, loan: Loan) {
        self.last.insert(loan.path.as_bytes().to_vec(), self.loans.len());
        self.loans.push(loan);
    }
}

impl Loan {
    /// Whether it is what is still lent; what is another, or has another mode, is as the run has it.
    fn is_of(&self, node: &Node) -> bool {
        (node.id.1, node.mode) == (self.inode, self.lent)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use tempfile::TempDir;

    use super::*;

    struct World {
        folder: TempDir,
        upper: Pinned,
    }

    impl World {
        /// An upper layer with a folder in which nothing can be made, and a closed file in it.
        fn new() -> Self {
            let folder = TempDir::new().unwrap();
            fs::create_dir_all(folder.path().join("upper/d")).unwrap();
            fs::write(folder.path().join("upper/d/f"), "f").unwrap();
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let upper = openat(CWD, folder.path().join("upper"), flags, Mode::empty()).unwrap();
            let world = Self { upper: Pinned::adopt(upper).unwrap(), folder };
            world.set("d/f", 0);
            world.set("d", 0o555);
            world
        }

        fn open(&self) -> Lent {
            Lent::open(&self.upper, &self.folder.path().join("upper")).unwrap()
        }

        fn set(&self, path: &str, mode: u32) {
            let path = self.folder.path().join("upper").join(path);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }

        fn node(&self, path: &str) -> Node {
            Node::of_stat(&self.upper.stat(path.as_bytes()).unwrap().unwrap())
        }

        fn modes(&self) -> (u32, u32) {
            (self.node("d").mode, self.node("d/f").mode)
        }

        fn told(&self, lent: &Lent) -> (u32, u32) {
            let told = |path: &str| lent.true_mode(path.as_bytes(), &self.node(path)).unwrap();
            (told("d"), told("d/f"))
        }

        fn lend(&self, lent: &Lent) {
            for path in ["d", "d/f"] {
                lent.lend(&self.upper, path.as_bytes(), &self.node(path)).unwrap();
            }
        }

        fn is_noted(&self) -> bool {
            self.folder.path().join("upper.lent").exists()
        }
    }

    const OWN: (u32, u32) = (0o555, 0);
    const LENT: (u32, u32) = (0o755, 0o400);

    #[test]
    fn the_last_to_look_gives_back_and_all_tell_the_true_modes() {
        let world = World::new();
        let (one, other) = (world.open(), world.open());
        world.lend(&one);
        assert_eq!((world.modes(), world.told(&one), world.told(&other)), (LENT, OWN, OWN));
        world.lend(&other);
        one.close(&world.upper).unwrap();
        drop(one);
        let third = world.open();
        assert_eq!((world.modes(), world.told(&other), world.told(&third)), (LENT, OWN, OWN));
        for last in [third, other] {
            last.close(&world.upper).unwrap();
        }
        assert_eq!((world.modes(), world.is_noted()), (OWN, false));
    }

    #[test]
    fn what_somebody_left_lent_who_was_killed_is_given_back_by_the_next() {
        let world = World::new();
        let killed = world.open();
        world.lend(&killed);
        drop(killed);
        let path = world.folder.path().join("upper.lent");
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(br#"{"path":"d","ino"#);
        fs::write(path, text).unwrap();
        assert_eq!(world.modes(), LENT);
        let next = world.open();
        assert_eq!((world.modes(), world.told(&next)), (OWN, OWN));
        next.close(&world.upper).unwrap();
        assert!(!world.is_noted());
    }

    #[test]
    fn what_the_run_changed_meanwhile_stays() {
        let world = World::new();
        let lent = world.open();
        world.lend(&lent);
        world.set("d", 0o700);
        fs::remove_file(world.folder.path().join("upper/d/f")).unwrap();
        fs::write(world.folder.path().join("upper/d/f"), "new").unwrap();
        world.set("d/f", 0o444);
        assert_eq!(world.told(&lent), (0o700, 0o444));
        // What was closed again is lent again.
        world.set("d", 0o500);
        world.lend(&lent);
        assert_eq!((world.modes(), world.told(&lent)), ((0o700, 0o444), (0o500, 0o444)));
        lent.close(&world.upper).unwrap();
        assert_eq!(world.modes(), (0o500, 0o444));
    }
}
