//! The last steps before the agent's own program: give up what a run must not have.

use std::{
    env,
    ffi::{CString, OsStr},
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, Scope,
};
use rustix::{
    fs::{Access, CWD, accessat},
    process::{DumpableBehavior, PidfdFlags, getegid, geteuid, getpid, pidfd_open, set_dumpable_behavior},
    thread::{
        CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities,
        set_no_new_privs,
    },
};

use super::link::{Link, Topic};
use crate::{
    Spec, filter, resources,
    supervisor::{ROOT_CAPABILITIES, current_mask},
    sys::{
        process::{close_on_exec_from, execute, exit, restore_signals},
        seccomp,
    },
    terminal::{self, session},
};

/// Becomes the agent. The supervisor learns of every failure.
pub(super) fn main(spec: &Spec, plan: &terminal::Plan, slave: Option<BorrowedFd<'_>>, link: &Link) -> ! {
    let error = match confine(spec, plan, slave, link) {
        Ok(()) => start(spec),
        Err(error) => {
            let (step, cause) = error;
            let number = cause.raw_os_error().unwrap_or(libc::EIO);
            let _ = link.send(Topic::Failed, number, step, None);
            exit(125)
        }
    };
    // From here on the filter stands, and a plain write is all it takes.
    let _ = link.tell(Topic::NotStarted, error.raw_os_error().unwrap_or(libc::EIO));
    exit(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

type Step = (&'static str, io::Error);

fn confine(
    spec: &Spec,
    plan: &terminal::Plan,
    slave: Option<BorrowedFd<'_>>,
    link: &Link,
) -> Result<(), Step> {
    let at = |step: &'static str| move |error: rustix::io::Errno| (step, io::Error::from(error));
    // Init closed itself; the supervisor still has to take the filter over from here.
    set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(at("open itself"))?;
    session::join(slave, plan).map_err(at("join the session"))?;
    env::set_current_dir(&spec.directory).map_err(|error| ("enter the working directory", error))?;
    let handle = pidfd_open(getpid(), PidfdFlags::empty()).map_err(at("open a handle"))?;
    link.send(Topic::Agent, 0, "", Some(std::os::fd::AsFd::as_fd(&handle))).map_err(at("report"))?;
    drop(handle);
    restore_signals();
    close_on_exec_from(3).map_err(at("close what was inherited"))?;
    resources::set_rlimits(&spec.limits).map_err(at("limit itself"))?;
    drop_capabilities().map_err(at("drop capabilities"))?;
    set_no_new_privs(true).map_err(at("renounce new privileges"))?;
    restrict_files(&spec.executable).map_err(|error| ("enter Landlock", io::Error::other(error)))?;
    let listener =
        seccomp::install(&filter::program(filtered(spec))).map_err(at("install the system call filter"))?;
    link.tell(Topic::Filtered, listener.as_raw_fd()).map_err(at("report"))?;
    link.wait().map_err(at("wait for the supervisor"))
}

fn filtered(spec: &Spec) -> filter::Run {
    filter::Run {
        tracks_flows: spec.tracks_flows,
        forks: spec.speculation.is_some(),
        root: geteuid().is_root().then(|| (geteuid().as_raw(), getegid().as_raw())),
        mask: current_mask().bits(),
    }
}

/// What remains is what root needs to treat files of others as its own; nothing that reaches
/// the kernel, the network or another process's memory.
fn drop_capabilities() -> rustix::io::Result<()> {
    let kept = if geteuid().is_root() { ROOT_CAPABILITIES } else { CapabilitySet::empty() };
    for capability in CapabilitySet::all().difference(kept).iter() {
        match remove_capability_from_bounding_set(capability) {
            // A capability that this kernel does not have.
            Err(rustix::io::Errno::INVAL) | Ok(()) => {}
            other => other?,
        }
    }
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )
}

/// The floor, whatever the filter misses: nothing is written, created or removed, no TCP socket connected
/// or bound by the agent itself, and nothing read or executed but where a program may be.
///
/// Landlock takes executing for reading as well, so both are granted together; no call that the
/// kernel continues after a judgement can open a file for reading.
fn restrict_files(executable: &[PathBuf]) -> Result<(), landlock::RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        // What follows is a second floor: the supervisor makes every such call itself.
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V3))?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .scope(Scope::AbstractUnixSocket)?
        .create()?
        .set_compatibility(CompatLevel::BestEffort);
    for path in executable.iter().map(PathBuf::as_path).chain(LOADERS.iter().map(Path::new)) {
        if let Ok(fd) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(fd, AccessFs::Execute | AccessFs::ReadFile))?;
        }
    }
    ruleset.restrict_self().map(drop)
}

/// The dynamic loaders, which the kernel runs for a program that names one.
pub(crate) const LOADERS: &[&str] = &["/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"];

/// Executes the program; returns only the error.
fn start(spec: &Spec) -> io::Error {
    let Some(name) = spec.command.first() else { return io::Error::from_raw_os_error(libc::ENOENT) };
    let path = match look_up(name, spec) {
        Ok(path) => path,
        Err(error) => return error,
    };
    let text = |bytes: &[u8]| CString::new(bytes).ok();
    let arguments: Option<Vec<_>> = spec.command.iter().map(|word| text(word.as_bytes())).collect();
    let variable = |(name, value): &(std::ffi::OsString, std::ffi::OsString)| {
        text(&[name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let environment: Option<Vec<_>> = spec.environment.iter().map(variable).collect();
    match (text(path.as_os_str().as_bytes()), arguments, environment) {
        (Some(path), Some(arguments), Some(environment)) => execute(&path, &arguments, &environment),
        _ => io::Error::from_raw_os_error(libc::EINVAL),
    }
}

/// The program's path by the rules of `execvp(3)`.
fn look_up(name: &OsStr, spec: &Spec) -> io::Result<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Ok(name.into());
    }
    let path = spec.environment.iter().find(|(name, _)| name == "PATH");
    let path = path.map_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"), |(_, value)| value.as_os_str());
    let mut found = libc::ENOENT;
    for directory in env::split_paths(path) {
        let candidate = directory.join(name);
        if !candidate.is_file() {
            continue;
        }
        if accessat(CWD, &candidate, Access::EXEC_OK, rustix::fs::AtFlags::empty()).is_ok() {
            return Ok(candidate);
        }
        found = libc::EACCES;
    }
    Err(io::Error::from_raw_os_error(found))
}
