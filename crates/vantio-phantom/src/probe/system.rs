//! Single calls and settings of the system.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
    process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_open},
};
use vantio_core::RunId;

use super::{Finding, Subject, namespaces::enter_user_namespace};
use crate::{
    cgroup::{Cgroup, CgroupError},
    sys::{
        probe::landlock_version,
        process::unshare,
        trial::{Refusal, attempt, fork_sleeper, status_of},
    },
};

/// Landlock that governs files.
pub(super) fn landlock() -> Finding {
    match landlock_version() {
        Ok(version) => LANDLOCK.works(format!("ABI {version}")),
        Err(Errno::OPNOTSUPP) => {
            LANDLOCK.fails("disabled at boot; add `landlock` to the kernel parameter `lsm=` and restart")
        }
        Err(errno) => LANDLOCK.fails(format!("{}; it needs Linux 5.13", std::io::Error::from(errno))),
    }
}

/// Landlock that governs TCP.
pub(super) fn landlock_tcp() -> Finding {
    match landlock_version() {
        Ok(version @ 4..) => TCP.works(format!("ABI {version}")),
        Ok(version) => TCP.fails(format!("ABI {version}; it needs Linux 6.7")),
        Err(errno) => TCP.fails(std::io::Error::from(errno).to_string()),
    }
}

/// Landlock that closes abstract Unix sockets and signals.
pub(super) fn landlock_scopes() -> Finding {
    match landlock_version() {
        Ok(version @ 6..) => SCOPES.works(format!("ABI {version}")),
        Ok(version) => SCOPES.fails(format!("ABI {version}; it needs Linux 6.12")),
        Err(errno) => SCOPES.fails(std::io::Error::from(errno).to_string()),
    }
}

/// Resolving a path beneath a directory, following no link.
pub(super) fn openat2() -> Finding {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let beneath = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(CWD, "/", flags, Mode::empty(), beneath) {
        Ok(_) => OPENAT2.works("resolves inside a root"),
        Err(errno) => OPENAT2.fails(format!("{}; it needs Linux 5.6", std::io::Error::from(errno))),
    }
}

/// Taking a descriptor of another process.
pub(super) fn pidfd_getfd() -> Finding {
    let result = attempt(|| {
        // As a supervisor does it: in the user namespace of its run.
        enter_user_namespace()?;
        let (reader, _writer) = std::io::pipe().map_err(|_| Refusal::at("open a pipe")(Errno::MFILE))?;
        let child = fork_sleeper().map_err(Refusal::at("fork"))?;
        let taken = take_descriptor(child, reader.as_fd());
        end(child);
        taken.map(|()| 0)
    });
    match result {
        Ok(_) => GETFD.works("a descriptor of a child can be taken"),
        Err(refusal) => GETFD.refused(&refusal, "see `ptrace scope`; a container runtime may forbid it"),
    }
}

fn take_descriptor(child: Pid, theirs: BorrowedFd<'_>) -> Result<(), Refusal> {
    let pidfd = pidfd_open(child, PidfdFlags::empty()).map_err(Refusal::at("open a process"))?;
    rustix::process::pidfd_getfd(&pidfd, theirs.as_raw_fd(), PidfdGetfdFlags::empty())
        .map(drop)
        .map_err(Refusal::at("take a descriptor"))
}

/// Yama's limits on what a process may do to another.
pub(super) fn yama() -> Finding {
    match setting("/proc/sys/kernel/yama/ptrace_scope") {
        None => YAMA.works("Yama is not active"),
        Some(scope) if scope == "3" => {
            YAMA.fails("3: nothing may be traced; it can only be changed by a restart")
        }
        Some(scope) => YAMA.works(format!("{scope}: a supervisor may read the processes of its run")),
    }
}

/// Ubuntu's restriction of user namespaces.
pub(super) fn apparmor() -> Finding {
    match setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") {
        None => APPARMOR.works("no restriction of user namespaces"),
        Some(value) if value == "0" => APPARMOR.works("the restriction of user namespaces is off"),
        Some(_) if rustix::process::geteuid().is_root() => {
            APPARMOR.works("user namespaces are restricted for ordinary users, not for root")
        }
        // A profile can lift it for this program. Without one the namespace comes without a use.
        Some(_) if attempt(use_user_namespace).is_ok() => {
            APPARMOR.works("user namespaces are restricted, but not for this program")
        }
        Some(_) => APPARMOR.fails(
            "user namespaces are restricted; run `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, \
             or give the program an AppArmor profile with `userns,`",
        ),
    }
}

fn use_user_namespace() -> Result<u32, Refusal> {
    enter_user_namespace()?;
    unshare(libc::CLONE_NEWNS).map_err(Refusal::at("create a mount namespace"))?;
    Ok(0)
}

/// A control group that can be created, joined, killed and removed.
pub(super) fn cgroup() -> Finding {
    match try_cgroup() {
        Ok(true) => CGROUP.works("create, join, kill and remove"),
        Ok(false) => CGROUP.fails(
            "no group can be created beneath this process's own; start it with `systemd-run --user --scope`, \
             or mount cgroup version 2",
        ),
        Err(error) => CGROUP.fails(error.to_string()),
    }
}

fn try_cgroup() -> Result<bool, CgroupError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut random = [0; 10];
    random[..8].copy_from_slice(&now.as_nanos().to_le_bytes()[..8]);
    let run = RunId::new(now.as_millis() as u64, random);
    let Some(group) = Cgroup::create(run)? else { return Ok(false) };
    let used = match fork_sleeper() {
        Ok(child) => {
            let used = group.join(child).and_then(|()| group.kill());
            end(child);
            used
        }
        // Without a process there is nothing to see; creating the group worked.
        Err(_) => Ok(()),
    };
    group.remove()?;
    used.map(|()| true)
}

fn end(child: Pid) {
    // It is a child that was not waited for, so the number is its own, dead or alive.
    let _ = kill_process(child, Signal::KILL);
    let _ = status_of(child);
}

fn setting(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

const LANDLOCK: Subject = Subject::required("Landlock for files");
const TCP: Subject = Subject::optional(
    "Landlock for TCP",
    "connections are held by the supervisor alone, without a second floor; a run can occupy a free TCP port of the host",
);
const SCOPES: Subject = Subject::optional(
    "Landlock scopes",
    "abstract Unix sockets and signals are closed by namespaces alone, without a second floor",
);
const OPENAT2: Subject = Subject::required("openat2");
const GETFD: Subject = Subject::required("pidfd_getfd");
const YAMA: Subject = Subject::required("ptrace scope");
const APPARMOR: Subject = Subject::required("AppArmor");
const CGROUP: Subject = Subject::optional(
    "control groups, version 2",
    "a run is killed and frozen through its PID namespace only",
);
