//! Where things lie.

use std::{env, path::PathBuf, process::Command};

/// The root of the repository.
pub fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    manifest.and_then(|directory| directory.parent().map(PathBuf::from)).unwrap_or_else(|| PathBuf::from("."))
}

/// Cargo's target directory.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |directory| root().join(directory))
}

/// The release build of the command.
pub fn vantio() -> PathBuf {
    target().join("release/vantio")
}

/// The cargo that runs this task, at the root of the repository.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// True when this process may install packages and create users.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
