//! The test suites of others that the suite `posix` runs, from crates.io.

use std::path::PathBuf;

use crate::{failure::Failure, layout, shell, step::step};

/// Their crates, whose programs have the same names, and the versions that the listed differences are of.
const TOOLS: [(&str, &str); 2] = [("pjdfstest", "0.2.2"), ("fsx", "0.3.2")];

/// Where the programs are.
pub fn folder() -> PathBuf {
    root().join("bin")
}

/// Those that are there.
pub fn found() -> impl Iterator<Item = &'static str> {
    TOOLS.into_iter().map(|(tool, _)| tool).filter(|tool| folder().join(tool).is_file())
}

/// Installs what is missing, or of another version.
pub fn install() -> Result<(), Failure> {
    for (tool, version) in TOOLS {
        step(&format!("install {tool} {version}"), || {
            let mut install = layout::cargo();
            install.args(["install", "--quiet", "--locked", "--version", version, "--root"]).arg(root());
            // Not ours to build where ours is built.
            install.arg("--target-dir").arg(root().join("build"));
            shell::quiet(install.arg(tool))
        })?;
    }
    Ok(())
}

fn root() -> PathBuf {
    layout::target().join("posix")
}
