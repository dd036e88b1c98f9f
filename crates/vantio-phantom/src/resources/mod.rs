//! What a run may have at one time, and who holds it to that.
//!
//! - Memory, processes and processor time: a controller of control groups, of version 2 where the run's group has it, of
//!   version 1 where that is mounted and the caller may use it. There is no other way: `RLIMIT_AS` counts addresses of one
//!   process, and `RLIMIT_NPROC` spares root and counts the supervisor's threads with a user's.
//! - Descriptors: `RLIMIT_NOFILE` of the agent, which nothing in the run can raise.
//! - Disk: `RLIMIT_FSIZE` for each file, and a [watch](disk) over all changes together, which sees them a moment later.
//!
//! A limit that cannot be held refuses the run, unless it is to be held as far as it can be.

mod disk;
mod groups;
mod watch;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};

use rustix::process::{Pid, Rlimit, setrlimit};
use vantio_core::RunId;

pub use self::groups::holders;
use self::{disk::Disk, groups::Group};
pub(crate) use self::{
    groups::sweep,
    watch::{Watch, Watching},
};
use crate::{LaunchError, cgroup::Cgroup};

/// What a run may have. `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory of all processes together.
    pub memory: Option<u64>,
    /// Processes and threads alive at one time.
    pub processes: Option<u64>,
    /// Processor time, in percent of one processor.
    pub cpu: Option<u64>,
    /// Bytes that the run's changes take on disk.
    pub disk: Option<u64>,
    /// Descriptors that one process has open.
    pub open_files: Option<u64>,
    /// Whether the run goes on where one of these cannot be held.
    pub best_effort: bool,
}

/// What can run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// Memory.
    Memory,
    /// Processes and threads.
    Processes,
    /// Processor time.
    Cpu,
    /// Room for changes.
    Disk,
    /// Descriptors.
    OpenFiles,
}

/// Who holds a run to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A controller of control groups, version 2.
    Cgroup,
    /// A controller of control groups, version 1.
    LegacyCgroup,
    /// A limit of each process.
    Rlimit,
    /// A watch that sees what was used a moment later.
    Watch,
    /// Nobody.
    Nobody,
}

impl Resource {
    /// The name in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Cpu => "cpu",
            Self::Disk => "disk",
            Self::OpenFiles => "open_files",
        }
    }
}

impl Holder {
    /// What records call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::LegacyCgroup => "cgroup v1",
            Self::Rlimit => "rlimit",
            Self::Watch => "watch",
            Self::Nobody => "nobody",
        }
    }
}

impl Limits {
    /// Those that there are.
    pub fn given(&self) -> Vec<(Resource, u64)> {
        let all = [
            (Resource::Memory, self.memory),
            (Resource::Processes, self.processes),
            (Resource::Cpu, self.cpu),
            (Resource::Disk, self.disk),
            (Resource::OpenFiles, self.open_files),
        ];
        all.into_iter().filter_map(|(resource, limit)| Some((resource, limit?))).collect()
    }
}

/// What planes and watch know of what a run uses.
#[derive(Debug)]
pub(crate) struct Meters {
    /// The room for its changes.
    pub(crate) disk: Disk,
    /// How often a descriptor could not be given to a process that had too many.
    pub(crate) descriptors: AtomicU64,
}

/// What holds one run to its limits.
#[derive(Debug)]
pub(crate) struct Hold {
    /// The run's own group, for ending it.
    pub(crate) cgroup: Option<Cgroup>,
    /// Who holds which limit.
    pub(crate) holders: Vec<(Resource, Holder)>,
    groups: Vec<Group>,
}

impl Hold {
    /// Makes the groups of a run and sets their limits. An error where one cannot be held and must be.
    pub(crate) fn prepare(run: RunId, limits: &Limits) -> Result<Self, LaunchError> {
        let given = limits.given();
        let grouped: Vec<_> = given.iter().copied().filter(|(resource, _)| groups::has(*resource)).collect();
        let cgroup = if grouped.is_empty() {
            Cgroup::create(run).ok().flatten()
        } else {
            groups::create_with(run, &grouped)
        };
        let mut hold = Self { cgroup, holders: Vec::new(), groups: Vec::new() };
        for (resource, limit) in given {
            let holder = match resource {
                Resource::OpenFiles => Holder::Rlimit,
                Resource::Disk => Holder::Watch,
                _ => hold.group(run, resource, limit),
            };
            hold.holders.push((resource, holder));
        }
        let unheld = hold.holders.iter().find(|(_, holder)| *holder == Holder::Nobody);
        match unheld.filter(|_| !limits.best_effort) {
            None => Ok(hold),
            Some((resource, _)) => {
                let what = format!("a run cannot be held to the limit on {} here", resource.name());
                hold.remove();
                Err(LaunchError {
                    code: "E_LIMIT_UNHELD".into(),
                    what,
                    cause: io::Error::other("no control group of the run has that controller"),
                    help: HELP.into(),
                })
            }
        }
    }

    /// Puts the first process of the run in its groups, before it starts another.
    pub(crate) fn join(&self, init: Pid) -> io::Result<()> {
        self.groups.iter().try_for_each(|group| group.join(init))
    }

    /// Removes the groups, once nothing is in them.
    pub(crate) fn remove(self) {
        // What cannot be removed now is swept by the next command.
        self.groups.into_iter().for_each(Group::remove);
        if let Some(cgroup) = self.cgroup {
            let _ = cgroup.remove();
        }
    }

    fn group(&mut self, run: RunId, resource: Resource, limit: u64) -> Holder {
        let group = self.cgroup.as_ref().and_then(|own| Group::unified(own, resource, limit));
        let found = group.map(|group| (group, Holder::Cgroup));
        let found = found.or_else(|| Some((Group::legacy(run, resource, limit)?, Holder::LegacyCgroup)));
        let Some((group, holder)) = found else { return Holder::Nobody };
        self.groups.push(group);
        holder
    }
}

/// Sets the limits that each process has. For the agent, before its program.
pub(crate) fn set_rlimits(limits: &Limits) -> rustix::io::Result<()> {
    let set = |resource, limit: Option<u64>| match limit {
        None => Ok(()),
        Some(limit) => {
            let before = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let limit = Some(limit.min(before));
            setrlimit(resource, Rlimit { current: limit, maximum: limit })
        }
    };
    set(rustix::process::Resource::Fsize, limits.disk)?;
    set(rustix::process::Resource::Nofile, limits.open_files)
}

/// What watches a run: what its groups count, and the folders of its changes.
pub(crate) fn watch(
    hold: &Hold,
    limits: &Limits,
    folders: Vec<PathBuf>,
) -> io::Result<Option<(Arc<Meters>, Watch)>> {
    if limits.given().is_empty() {
        return Ok(None);
    }
    let meters = Meters { disk: Disk::new(limits.disk, folders), descriptors: AtomicU64::new(0) };
    let meters = Arc::new(meters);
    let groups = hold.groups.iter().map(Group::try_clone).collect::<io::Result<Vec<_>>>()?;
    Ok(Some((Arc::clone(&meters), Watch::new(groups, meters, limits.open_files.is_some()))))
}

const HELP: &str = "`vantio doctor` tells what can be held here; with `best_effort: true` under `limits` the run starts all the same";
