//! Control groups with controllers, of either version.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags, open, openat},
    process::Pid,
};
use vantio_core::RunId;

use super::{Holder, Resource};
use crate::cgroup::{self, Cgroup};

/// One limit of one run, held by a controller.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) resource: Resource,
    directory: OwnedFd,
    /// Where it is, for one of version 1, which is this one's to fill and to remove.
    legacy: Option<PathBuf>,
}

/// Whether a controller holds it, if anything does.
pub(super) const fn has(resource: Resource) -> bool {
    controller(resource).is_some()
}

const fn controller(resource: Resource) -> Option<&'static str> {
    match resource {
        Resource::Memory => Some("memory"),
        Resource::Processes => Some("pids"),
        Resource::Cpu => Some("cpu"),
        Resource::Disk | Resource::OpenFiles => None,
    }
}

/// Who would hold runs of this process to each limit.
pub fn holders() -> Vec<(Resource, Holder)> {
    // Nobody else's, while this process lives.
    let run = RunId::new(u64::from(std::process::id()), *b"limits-try");
    let all = [Resource::Memory, Resource::Processes, Resource::Cpu].map(|resource| (resource, 1 << 30));
    let own = create_with(run, &all);
    let mut found = Vec::new();
    for (resource, limit) in all {
        let limit = if resource == Resource::Cpu { 100 } else { limit };
        let unified = own.as_ref().and_then(|own| Group::unified(own, resource, limit)).is_some();
        let legacy = if unified { None } else { Group::legacy(run, resource, limit) };
        let holder = match (unified, legacy) {
            (true, _) => Holder::Cgroup,
            (false, Some(group)) => {
                group.remove();
                Holder::LegacyCgroup
            }
            (false, None) => Holder::Nobody,
        };
        found.push((resource, holder));
    }
    if let Some(own) = own {
        let _ = own.remove();
    }
    found.extend([(Resource::Disk, Holder::Watch), (Resource::OpenFiles, Holder::Rlimit)]);
    found
}

/// Creates the run's group where it has the controllers for `limits`, if there is such a place: beside the caller's own
/// group, because a group with processes has no children with controllers; only the root of all has both.
pub(super) fn create_with(run: RunId, limits: &[(Resource, u64)]) -> Option<Cgroup> {
    let own = cgroup::own_group()?;
    let wanted: Vec<_> = limits.iter().filter_map(|(resource, _)| controller(*resource)).collect();
    let has_all = |parent: &&Path| {
        let enabled = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
        wanted.iter().all(|name| enabled.split_whitespace().any(|enabled| enabled == *name))
    };
    let is_root = !own.join("cgroup.type").exists();
    if is_root {
        for name in &wanted {
            let _ = fs::write(own.join("cgroup.subtree_control"), format!("+{name}"));
        }
    }
    let place = if is_root { Some(own.as_path()) } else { own.parent() };
    if let Some(parent) = place.filter(has_all)
        && let Ok(Some(group)) = Cgroup::create_beneath(parent, run)
    {
        return Some(group);
    }
    Cgroup::create(run).ok().flatten()
}

/// Removes the groups of version 1 of runs that are dead.
pub(crate) fn sweep(is_dead: &dyn Fn(RunId) -> bool) {
    for name in ["memory", "pids", "cpu"] {
        let Some(parent) = legacy_parent(name) else { continue };
        let Ok(entries) = fs::read_dir(parent) else { continue };
        for entry in entries.flatten() {
            if cgroup::run_of(&entry.path()).is_some_and(is_dead) {
                remove(&entry.path());
            }
        }
    }
}

impl Group {
    /// The run's own group, limited; `None` where it has not the controller.
    pub(super) fn unified(own: &Cgroup, resource: Resource, limit: u64) -> Option<Self> {
        let directory = own.as_fd().try_clone_to_owned().ok()?;
        let group = Self { resource, directory, legacy: None };
        match resource {
            Resource::Memory => {
                group.write("memory.max", &limit.to_string()).ok()?;
                // Without swap there is none to limit.
                let _ = group.write("memory.swap.max", "0");
                let _ = group.write("memory.oom.group", "1");
            }
            Resource::Processes => group.write("pids.max", &with_init(limit)).ok()?,
            _ => group.write("cpu.max", &format!("{} {PERIOD}", quota(limit))).ok()?,
        }
        Some(group)
    }

    /// A group of version 1 of the run's own, limited; `None` where there cannot be one.
    pub(super) fn legacy(run: RunId, resource: Resource, limit: u64) -> Option<Self> {
        let path = legacy_parent(controller(resource)?)?.join(cgroup::name_of(run));
        fs::create_dir(&path).ok()?;
        let group = Self::open_legacy(&path, resource).and_then(|group| group.limit_legacy(limit));
        group.inspect_err(|_| remove(&path)).ok()
    }

    fn open_legacy(path: &Path, resource: Resource) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { resource, directory: open(path, flags, Mode::empty())?, legacy: Some(path.to_owned()) })
    }

    fn limit_legacy(self, limit: u64) -> io::Result<Self> {
        match self.resource {
            Resource::Memory => {
                self.write("memory.limit_in_bytes", &limit.to_string())?;
                // Without swap, or without counting it, there is none to limit.
                let _ = self.write("memory.memsw.limit_in_bytes", &limit.to_string());
            }
            Resource::Processes => self.write("pids.max", &with_init(limit))?,
            _ => {
                self.write("cpu.cfs_period_us", &PERIOD.to_string())?;
                self.write("cpu.cfs_quota_us", &quota(limit).to_string())?;
            }
        }
        Ok(self)
    }

    /// Moves the first process of the run here, where it is not already.
    pub(super) fn join(&self, init: Pid) -> io::Result<()> {
        match self.legacy {
            Some(_) => self.write("cgroup.procs", &init.as_raw_nonzero().to_string()),
            None => Ok(()),
        }
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        // Another one that looks, and removes nothing.
        Ok(Self {
            resource: self.resource,
            directory: self.directory.try_clone()?,
            legacy: self.legacy.clone(),
        })
    }

    /// How often it ran out.
    pub(super) fn exhausted(&self) -> u64 {
        let (file, key) = match (self.resource, &self.legacy) {
            (Resource::Memory, None) => ("memory.events", "oom_kill"),
            (Resource::Memory, Some(_)) => ("memory.oom_control", "oom_kill"),
            (Resource::Processes, _) => ("pids.events", "max"),
            _ => return 0,
        };
        let text = self.read(file).unwrap_or_default();
        let value =
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok());
        value.unwrap_or(0)
    }

    pub(super) fn remove(self) {
        if let Some(path) = &self.legacy {
            remove(path);
        }
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let file = openat(&self.directory, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        File::from(file).write_all(text.as_bytes())
    }

    fn read(&self, file: &str) -> io::Result<String> {
        let file = openat(&self.directory, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        io::read_to_string(File::from(file))
    }
}

/// Removes an empty group, waiting a moment for processes that are just ending.
fn remove(path: &Path) {
    for _ in 0..TRIES {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                thread::sleep(Duration::from_millis(1));
            }
            _ => return,
        }
    }
}

/// Init is in the group, and no process of the agent's.
fn with_init(limit: u64) -> String {
    limit.saturating_add(1).min(PIDS_MAX).to_string()
}

/// Microseconds of each period.
const fn quota(percent: u64) -> u64 {
    percent.saturating_mul(PERIOD / 100)
}

/// The caller's own group in the hierarchy of version 1 that has `controller`.
fn legacy_parent(controller: &str) -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        names.split(',').any(|name| name == controller).then_some(path)
    })?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - cgroup ")?;
        let options = kind.split_whitespace().nth(1)?;
        let mut place = place.split_whitespace().skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let beneath = Path::new(own).strip_prefix(root).ok()?;
        options.split(',').any(|name| name == controller).then(|| Path::new(point).join(beneath))
    })
}

/// More than this there cannot be (`PID_MAX_LIMIT`), and none may be written.
const PIDS_MAX: u64 = 4 << 20;
/// Microseconds.
const PERIOD: u64 = 100_000;
/// How often it is tried to remove a group, a millisecond apart.
const TRIES: u32 = 2000;
