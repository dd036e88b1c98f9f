//! Runs within a run: processes that put themselves under a further policy, and how the supervisor knows them.
//!
//! A process is known by a *mark* that it takes itself and cannot lose: its hard limits of `RLIMIT_RSS` and
//! `RLIMIT_LOCKS`, which Linux keeps and has no use for. A child inherits them, a program that is executed keeps them, and
//! without `CAP_SYS_RESOURCE` on the host, which nothing in a run has, they only become less. Marks are pairs that are ordered
//! as the runs are nested: one lies under another in both limits exactly where its run is within the other's. So a process
//! is governed by every nested run whose mark its limits lie under, whatever it does with them.
//!
//! Whoever wants one connects to the abstract local socket [`NAME`], of which there is none: the supervisor puts an end
//! of its own in the place of the caller's.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixStream},
    },
    path::{Path, PathBuf},
};

use landlock::{
    AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, Scope,
};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use crate::{
    launch::LOADERS,
    proc,
    sys::process::{close_on_exec_from, restore_signals},
};

/// The abstract name at which a supervisor is asked.
pub const NAME: &[u8] = b"vantio";

/// Hard limits of `RLIMIT_RSS` and `RLIMIT_LOCKS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The first.
    pub left: u64,
    /// The second.
    pub right: u64,
}

/// What a nested run may give to those within it: every mark of theirs lies in its square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Square {
    /// Its upper corner, which is the run's own mark.
    pub mark: Mark,
    side: u64,
}

impl Mark {
    /// Of a process that has none.
    pub const NONE: Self = Self { left: u64::MAX, right: u64::MAX };

    /// That of this process.
    pub fn own() -> Self {
        let hard = |resource| getrlimit(resource).maximum.unwrap_or(u64::MAX);
        Self { left: hard(Resource::Rss), right: hard(Resource::Locks) }
    }

    /// Whether a process with these limits is governed by the run of this mark.
    pub const fn governs(self, limits: Self) -> bool {
        limits.left <= self.left && limits.right <= self.right
    }
}

impl Square {
    /// What a whole run gives.
    pub const WHOLE: Self = Self { mark: Mark { left: CORNER, right: CORNER }, side: 1 << 48 };

    /// The square of the nested run number `index` in this one. Those of two numbers lie beside each other: neither
    /// governs the other's.
    pub const fn child(self, index: u64) -> Option<Self> {
        let side = self.side / CHILDREN;
        if side == 0 || index >= CHILDREN - 1 {
            return None;
        }
        let down = (index + 1) * side;
        let left = self.mark.left - self.side + down;
        Some(Self { mark: Mark { left, right: self.mark.right - down }, side })
    }
}

/// How processes of the run are known.
pub trait Marks: Send + Sync {
    /// The mark of the thread `tid`, as the host numbers it; `None` where it cannot be told.
    fn mark_of(&self, tid: u32) -> Option<Mark>;
}

/// Reads marks in the host's `/proc`.
pub(crate) struct Limits(OwnedFd);

impl Limits {
    /// Called by a thread that sees the host's `/proc`.
    pub(crate) fn new() -> rustix::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, "/proc", flags, Mode::empty())?))
    }
}

impl Marks for Limits {
    fn mark_of(&self, tid: u32) -> Option<Mark> {
        parse(&proc::text(&self.0, &format!("{tid}/limits")).ok()?)
    }
}

/// Whether marks are kept in this resource, as `prlimit(2)` numbers it.
pub(crate) fn is_mark(resource: i32) -> bool {
    [libc::RLIMIT_RSS, libc::RLIMIT_LOCKS].contains(&resource.cast_unsigned())
}

/// The mark of the process whose folder in `/proc` has its limits at `path`.
pub(crate) fn mark_in(folder: impl AsFd, path: &str) -> rustix::io::Result<Mark> {
    // Of a process that is gone there is nothing to be read.
    parse(&proc::text(folder, path)?).ok_or(Errno::SRCH)
}

/// What `/proc/PID/limits` says (`proc_pid_limits(5)`).
fn parse(text: &str) -> Option<Mark> {
    let hard = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        match line.split_whitespace().nth(1)? {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        }
    };
    Some(Mark { left: hard("Max resident set")?, right: hard("Max file locks")? })
}

/// From within a run: connects to its supervisor. `None` where nobody of that kind answers: outside of a run.
pub fn connect() -> io::Result<Option<UnixStream>> {
    let stream = match UnixStream::connect_addr(&SocketAddr::from_abstract_name(NAME)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
        other => other?,
    };
    // Somebody else who listens at that name has it; the supervisor's end has none.
    Ok(stream.peer_addr()?.is_unnamed().then_some(stream))
}

/// Puts this process under the nested run of this mark, for good: with it whatever it executes and starts. Programs are
/// executed at and beneath `executable`; processes outside cannot be signalled. Other descriptors than the standard ones
/// stay behind.
pub fn enter(mark: Mark, executable: &[PathBuf]) -> io::Result<()> {
    for (resource, limit) in [(Resource::Rss, mark.left), (Resource::Locks, mark.right)] {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    confine(executable).map_err(io::Error::other)?;
    restore_signals();
    Ok(close_on_exec_from(3)?)
}

/// A domain of its own also keeps it from what outer processes have in memory.
fn confine(executable: &[PathBuf]) -> Result<(), landlock::RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Execute)?
        .set_compatibility(CompatLevel::BestEffort)
        .scope(Scope::Signal)?
        .create()?
        .set_compatibility(CompatLevel::BestEffort);
    for path in executable.iter().map(PathBuf::as_path).chain(LOADERS.iter().map(Path::new)) {
        if let Ok(fd) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(fd, AccessFs::Execute))?;
        }
    }
    ruleset.restrict_self().map(drop)
}

/// More than any memory or number of locks: whoever limits those in earnest limits them to less.
const CORNER: u64 = 1 << 60;
/// In how many parts the side of a square is divided: one more than there may be children.
const CHILDREN: u64 = 1 << 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The square at the end of a way down.
    fn at(way: &[u64]) -> Option<Square> {
        way.iter().try_fold(Square::WHOLE, |square, index| square.child(*index))
    }

    proptest! {
        #[test]
        fn a_mark_governs_those_within_its_run_and_no_others(
            one in prop::collection::vec(prop_oneof![0..3_u64, 0..4095_u64], 1..5),
            other in prop::collection::vec(prop_oneof![0..3_u64, 0..4095_u64], 1..5),
        ) {
            let (first, second) = (at(&one).unwrap(), at(&other).unwrap());
            prop_assert_eq!(first.mark.governs(second.mark), other.starts_with(&one));
        }
    }

    #[test]
    fn there_is_an_end_to_nesting() {
        assert!(at(&[0, 0, 0, 0]).is_some() && at(&[0, 0, 0, 0, 0]).is_none());
        assert!(at(&[4094]).is_some() && at(&[4095]).is_none());
        assert!(!Square::WHOLE.child(0).unwrap().mark.governs(Mark::NONE));
    }

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = std::fs::read_to_string("/proc/self/limits").unwrap();
        assert_eq!(parse(&text), Some(Mark::own()));
        assert_eq!(
            parse("Max resident set  1  7  bytes\nMax file locks  unlimited  9  locks\n"),
            Some(Mark { left: 7, right: 9 })
        );
        assert_eq!(parse("nothing"), None);
    }
}
