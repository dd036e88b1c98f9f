//! A control group for each run (`cgroups(7)`, version 2).
//!
//! The group is named after the run and lies beneath the caller's own group, so
//! that the caller's limits keep holding. Where the caller may not create groups,
//! as an ordinary user outside a delegated subtree, there is none; nothing but
//! convenience depends on it, because the run's PID namespace ends the run too.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::{Pid, Signal},
};
use vantio_core::RunId;

use crate::{resources, world::mounts};

/// The control group of a run.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    directory: OwnedFd,
}

/// Why a control group could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the control group {path}: {cause}")]
pub struct CgroupError {
    action: &'static str,
    path: String,
    #[source]
    cause: io::Error,
}

impl CgroupError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        "E_CGROUP"
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        "`vantio doctor` shows whether control groups work here; the next run removes what was left over"
    }

    fn new(action: &'static str, path: &Path, cause: impl Into<io::Error>) -> Self {
        Self { action, path: path.display().to_string(), cause: cause.into() }
    }
}

/// A group that was stopped for a moment.
pub(crate) struct Still<'a>(&'a Cgroup);

impl Drop for Still<'_> {
    fn drop(&mut self) {
        // A write to a file that was written a moment ago fails only when the group is gone.
        let _ = self.0.thaw();
    }
}

impl Cgroup {
    /// Creates the group of `run` beneath the caller's own; `None` where the
    /// caller may not, or no version 2 hierarchy is mounted.
    pub fn create(run: RunId) -> Result<Option<Self>, CgroupError> {
        let Some(parent) = own_group() else { return Ok(None) };
        Self::create_beneath(&parent, run)
    }

    /// As [`Cgroup::create`], beneath another group.
    pub(crate) fn create_beneath(parent: &Path, run: RunId) -> Result<Option<Self>, CgroupError> {
        let path = parent.join(name_of(run));
        match fs::create_dir(&path) {
            Ok(()) => Self::open(path).map(Some),
            Err(error) if is_unavailable(&error) => Ok(None),
            Err(error) => Err(CgroupError::new("create", &path, error)),
        }
    }

    /// The group of `run`, wherever in the hierarchy it was created.
    pub fn find(run: RunId) -> Result<Option<Self>, CgroupError> {
        let mut found = None;
        visit_groups(&mut |path, id| {
            if id == run {
                found = Some(path.to_owned());
            }
        });
        found.map(Self::open).transpose()
    }

    /// Kills and removes the groups of runs that the caller knows to be dead, and
    /// returns how many. A run that the caller does not know is another state
    /// folder's, and none of its business.
    pub fn sweep(is_dead: &dyn Fn(RunId) -> bool) -> usize {
        let mut dead = Vec::new();
        visit_groups(&mut |path, id| {
            if is_dead(id) {
                dead.push(path.to_owned());
            }
        });
        resources::sweep(is_dead);
        let remove = |path| Self::open(path).and_then(|group| group.kill().and_then(|()| group.remove()));
        dead.into_iter().filter_map(|path| remove(path).ok()).count()
    }

    /// Moves a process, with all its threads, into the group.
    pub fn join(&self, pid: Pid) -> Result<(), CgroupError> {
        self.write("cgroup.procs", &pid.as_raw_nonzero().to_string(), "move a process into")
    }

    /// Kills everything in the group and waits until nothing is left.
    pub fn kill(&self) -> Result<(), CgroupError> {
        match self.write("cgroup.kill", "1", "kill") {
            Err(error) if error.cause.kind() == io::ErrorKind::NotFound => self.kill_each()?,
            other => other?,
        }
        self.wait_until("kill", || Ok(!self.populated()?))
    }

    /// Stops everything in the group until [`thaw`](Self::thaw).
    pub fn freeze(&self) -> Result<(), CgroupError> {
        self.write("cgroup.freeze", "1", "freeze")?;
        self.wait_until("freeze", || self.event("frozen"))
    }

    /// Lets a frozen group go on.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        self.write("cgroup.freeze", "0", "thaw")
    }

    /// Stops everything in the group that is not waiting for an answer, for as long as the result lives. What takes
    /// long to stop is not waited for.
    pub(crate) fn still(&self) -> Still<'_> {
        // Without it what is read may change meanwhile, which whoever reads looks for.
        let is_begun = self.write("cgroup.freeze", "1", "freeze").is_ok();
        let deadline = Instant::now() + STILL_AFTER;
        while is_begun && Instant::now() < deadline && !self.event("frozen").unwrap_or(true) {
            thread::sleep(Duration::from_micros(100));
        }
        Still(self)
    }

    /// A second handle on the group.
    pub(crate) fn again(&self) -> io::Result<Self> {
        Ok(Self { path: self.path.clone(), directory: self.directory.try_clone()? })
    }

    /// Whether any process is in the group.
    pub fn populated(&self) -> Result<bool, CgroupError> {
        self.event("populated")
    }

    /// Removes the group, waiting a moment for processes that are just ending.
    pub fn remove(self) -> Result<(), CgroupError> {
        self.wait_until("remove", || match fs::remove_dir(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(false),
            Err(error) => Err(CgroupError::new("remove", &self.path, error)),
        })
    }

    fn open(path: PathBuf) -> Result<Self, CgroupError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(directory) => Ok(Self { path, directory }),
            Err(errno) => Err(CgroupError::new("open", &path, errno)),
        }
    }

    /// For kernels before 5.14: a frozen group forks no more, so one pass is enough.
    fn kill_each(&self) -> Result<(), CgroupError> {
        self.freeze()?;
        for line in self.read("cgroup.procs")?.lines() {
            if let Some(pid) = line.parse().ok().and_then(Pid::from_raw) {
                match rustix::process::kill_process(pid, Signal::KILL) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(errno) => return Err(CgroupError::new("kill", &self.path, errno)),
                }
            }
        }
        Ok(())
    }

    fn event(&self, key: &str) -> Result<bool, CgroupError> {
        let events = self.read("cgroup.events")?;
        Ok(events.lines().any(|line| line.strip_prefix(key) == Some(" 1")))
    }

    fn wait_until(
        &self,
        action: &'static str,
        mut done: impl FnMut() -> Result<bool, CgroupError>,
    ) -> Result<(), CgroupError> {
        let deadline = Instant::now() + PATIENCE;
        while !done()? {
            if Instant::now() > deadline {
                return Err(CgroupError::new(action, &self.path, Errno::BUSY));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn read(&self, file: &str) -> Result<String, CgroupError> {
        let read = || {
            let file =
                rustix::fs::openat(&self.directory, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            io::read_to_string(File::from(file))
        };
        read().map_err(|cause| CgroupError::new("read", &self.path.join(file), cause))
    }

    fn write(&self, file: &str, text: &str, action: &'static str) -> Result<(), CgroupError> {
        let write = || {
            let file =
                rustix::fs::openat(&self.directory, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            File::from(file).write_all(text.as_bytes())
        };
        write().map_err(|cause| CgroupError::new(action, &self.path, cause))
    }
}

impl AsFd for Cgroup {
    /// The group's directory, as `clone3(2)` takes it for `CLONE_INTO_CGROUP`.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

pub(crate) fn name_of(run: RunId) -> String {
    format!("{PREFIX}{run}")
}

pub(crate) fn run_of(path: &Path) -> Option<RunId> {
    path.file_name()?.to_str()?.strip_prefix(PREFIX)?.parse().ok()
}

/// A refusal that means "not here", not "broken".
fn is_unavailable(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(
        errno,
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::NOENT | Errno::AGAIN | Errno::OPNOTSUPP)
    )
}

/// Calls `visit` for every run's group that can be seen.
fn visit_groups(visit: &mut dyn FnMut(&Path, RunId)) {
    let Some((mount, _)) = hierarchy() else { return };
    let mut pending = vec![mount];
    while let Some(path) = pending.pop() {
        let Ok(entries) = fs::read_dir(&path) else { continue };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let path = entry.path();
            match run_of(&path) {
                Some(run) => visit(&path, run),
                None => pending.push(path),
            }
        }
    }
}

/// The directory of the group that this process is in.
pub(crate) fn own_group() -> Option<PathBuf> {
    let (mount, root) = hierarchy()?;
    let groups = fs::read("/proc/self/cgroup").ok()?;
    let own = groups.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    let beneath = Path::new(std::ffi::OsStr::from_bytes(own)).strip_prefix(root).ok()?;
    Some(mount.join(beneath))
}

/// Where version 2 is mounted, and which part of it: `(mount point, root)`.
fn hierarchy() -> Option<(PathBuf, PathBuf)> {
    let mounts = mounts::parse(&fs::read("/proc/self/mountinfo").ok()?);
    let mount = mounts.into_iter().find(|mount| mount.kind == "cgroup2")?;
    Some((mount.point, mount.root))
}

const PREFIX: &str = "vantio-";

/// How long the kernel may take to end, freeze or let go of processes.
/// A process that waits for the supervisor cannot be stopped, and changes nothing.
const STILL_AFTER: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    #[test]
    fn a_group_is_found_frozen_thawed_killed_and_removed() {
        let run = RunId::new(1, *b"cgroup-t-1");
        let Some(group) = Cgroup::create(run).unwrap() else { return };
        assert!(!group.populated().unwrap());
        let mut child = sleeper();
        group.join(Pid::from_child(&child)).unwrap();
        assert!(group.populated().unwrap());

        let found = Cgroup::find(run).unwrap().unwrap();
        assert_eq!(found.path, group.path);
        found.freeze().unwrap();
        found.thaw().unwrap();
        found.kill().unwrap();
        assert_eq!(signal_of(&mut child), Some(9));
        group.remove().unwrap();
        assert!(Cgroup::find(run).unwrap().is_none());
    }

    #[test]
    fn a_group_without_the_kill_file_is_killed_one_by_one() {
        let Some(group) = Cgroup::create(RunId::new(1, *b"cgroup-t-2")).unwrap() else { return };
        let mut children = [sleeper(), sleeper()];
        for child in &children {
            group.join(Pid::from_child(child)).unwrap();
        }
        group.kill_each().unwrap();
        assert_eq!(children.each_mut().map(signal_of), [Some(9), Some(9)]);
        group.remove().unwrap();
    }

    #[test]
    fn sweeping_spares_the_living() {
        let [live, dead] = [*b"cgroup-t-3", *b"cgroup-t-4"].map(|random| RunId::new(1, random));
        let Some(live_group) = Cgroup::create(live).unwrap() else { return };
        let dead_group = Cgroup::create(dead).unwrap().unwrap();
        let mut child = sleeper();
        dead_group.join(Pid::from_child(&child)).unwrap();

        assert_eq!(Cgroup::sweep(&|run| run == dead), 1);
        assert_eq!(signal_of(&mut child), Some(9));
        assert!(Cgroup::find(dead).unwrap().is_none());
        live_group.remove().unwrap();
    }

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").spawn().unwrap()
    }

    fn signal_of(child: &mut Child) -> Option<i32> {
        std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap())
    }
}
