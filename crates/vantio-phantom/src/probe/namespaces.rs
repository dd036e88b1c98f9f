//! Namespaces.

use std::fs;

use rustix::{
    io,
    process::{DumpableBehavior, Gid, Uid, getegid, geteuid, set_dumpable_behavior},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use super::{Finding, Subject};
use crate::sys::{
    process::unshare,
    trial::{Refusal, attempt},
};

/// User namespaces, for an ordinary user too.
pub(super) fn user(is_root: bool) -> Finding {
    if let Err(refusal) = attempt(|| enter_user_namespace().map(|()| 0)) {
        return USER.refused(&refusal, ADVICE);
    }
    let as_nobody = || {
        become_nobody().map_err(Refusal::at("become an ordinary user"))?;
        enter_user_namespace().map(|()| 0)
    };
    match is_root.then(|| attempt(as_nobody)) {
        None => USER.works("as this user"),
        Some(Ok(_)) => USER.works("as root and as an ordinary user"),
        Some(Err(refusal)) => USER.works(format!(
            "as root only; an ordinary user cannot {}: {}",
            refusal.step,
            std::io::Error::from(refusal.errno)
        )),
    }
}

/// Mount, PID, network, IPC and UTS namespaces.
pub(super) fn others() -> Finding {
    let result = attempt(|| {
        enter_user_namespace()?;
        for (flag, step) in OTHERS {
            unshare(flag).map_err(Refusal::at(step))?;
        }
        Ok(0)
    });
    match result {
        Ok(_) => NAMESPACES.works("each of them can be created inside a user namespace"),
        Err(refusal) => {
            NAMESPACES.refused(&refusal, "a container runtime may forbid it: allow `unshare` and `clone`")
        }
    }
}

/// Enters a new user namespace in which the caller is itself, with every capability.
pub(super) fn enter_user_namespace() -> Result<(), Refusal> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare(libc::CLONE_NEWUSER).map_err(Refusal::at("create a user namespace"))?;
    let write = |path, text: String| {
        fs::write(path, text).map_err(|error| {
            let errno = io::Errno::from_io_error(&error).unwrap_or(io::Errno::IO);
            Refusal::at("map the user into its namespace")(errno)
        })
    };
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    write("/proc/self/gid_map", format!("{group} {group} 1"))
}

fn become_nobody() -> io::Result<()> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    // Otherwise the process's own files in /proc belong to root.
    set_dumpable_behavior(DumpableBehavior::Dumpable)
}

const USER: Subject = Subject::required("user namespaces");
const NAMESPACES: Subject = Subject::required("mount, PID, network, IPC and UTS namespaces");

const ADVICE: &str = "run as root: `sysctl -w user.max_user_namespaces=15000`, and on Debian \
                      `sysctl -w kernel.unprivileged_userns_clone=1`; in a container, allow `unshare`";

const OTHERS: [(i32, &str); 5] = [
    (libc::CLONE_NEWNS, "create a mount namespace"),
    (libc::CLONE_NEWPID, "create a PID namespace"),
    (libc::CLONE_NEWNET, "create a network namespace"),
    (libc::CLONE_NEWIPC, "create an IPC namespace"),
    (libc::CLONE_NEWUTS, "create a UTS namespace"),
];

const NOBODY: u32 = 65534;
