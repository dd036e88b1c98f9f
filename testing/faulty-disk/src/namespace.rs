//! A mount namespace for the process that mounts.

use std::{
    env, io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

/// What is done in the namespace first.
const INNER: &str = "mount -t tmpfs -o mode=1777 tmpfs /dev/shm && exec \"$@\"";

/// Set for a process that has its namespace.
const INSIDE: &str = "FAULTY_DISK_NAMESPACE";

/// Starts this program again in a mount namespace of its own, with the same arguments: what it mounts
/// nobody else sees, and is gone when it and its children are; so is what it keeps in `/dev/shm`.
/// Returns in the program that was started again; or, without having done anything, the reason why it
/// cannot be.
///
/// # Errors
/// Where namespaces cannot be made, or there is no unshare(1).
pub fn enter_namespace() -> Result<(), String> {
    if env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let is_root = rustix::process::geteuid().is_root();
    let flags: &[&str] = if is_root { &["--mount"] } else { &["--user", "--map-root-user", "--mount"] };
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(flags).args(["--propagation", "private", "sh", "-c", INNER, "sh"]);
        command
    };
    let trial = unshare().arg("true").stdin(Stdio::null()).output();
    let trial = trial.map_err(|error| format!("there is no unshare(1): {error}"))?;
    if !trial.status.success() {
        return Err(String::from_utf8_lossy(&trial.stderr).trim().to_owned());
    }
    let again = |program: io::Result<_>| -> io::Result<()> {
        let error = unshare().arg(program?).args(env::args_os().skip(1)).env(INSIDE, "1").exec();
        Err(error)
    };
    again(env::current_exe()).map_err(|error| format!("cannot start again: {error}"))
}
