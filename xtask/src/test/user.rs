//! An ordinary user to run suites as.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use super::artifacts::{Artifact, DEFAULT_SIGNALS};
use super::posix;
use crate::{
    failure::{AtPath, Failure},
    layout, shell,
};

const NAME: &str = "vantio-test";
const HOME: &str = "/var/lib/vantio-test";

/// The user, with its copies of the executables.
pub struct User {
    stage: PathBuf,
    toolchain: Option<PathBuf>,
}

impl User {
    /// Makes the user if there is none, and copies to its home what it must be able to read.
    pub fn prepare(vantio: &Path, built: &[Artifact]) -> Result<Self, Failure> {
        if shell::quiet(Command::new("id").arg(NAME)).is_err() {
            let mut command = Command::new("useradd");
            command.args(["--system", "--create-home", "--user-group", "--shell", "/bin/bash"]);
            shell::quiet(command.args(["--home-dir", HOME, NAME]))?;
        }
        fs::set_permissions(HOME, fs::Permissions::from_mode(0o755)).at(HOME)?;
        let stage = Path::new(HOME).join("stage");
        let scratch = Path::new(HOME).join("scratch");
        for directory in [&stage, &scratch] {
            fs::create_dir_all(directory).at(directory)?;
        }
        own(&scratch)?;
        replace(vantio, &stage.join("vantio"))?;
        for artifact in built {
            replace(&artifact.executable, &stage.join(artifact.suite))?;
        }
        for tool in posix::found() {
            replace(&posix::folder().join(tool), &stage.join(tool))?;
        }
        let toolchain = stage_toolchain(&stage)?;
        Ok(Self { stage, toolchain })
    }

    /// Why this user cannot make sandboxes here, if it cannot.
    pub fn cannot_sandbox(&self) -> Option<String> {
        let mut command = self.as_user();
        command.args(["unshare", "--user", "--map-current-user", "--mount", "true"]);
        shell::quiet(&mut command)
            .err()
            .map(|_| "this host forbids user namespaces to ordinary users".to_owned())
    }

    /// The command that runs `artifact` as the user.
    pub fn command(&self, artifact: &Artifact) -> Command {
        let mut command = self.as_user();
        command.arg("env").arg(DEFAULT_SIGNALS).arg(assignment("VANTIO_BIN", &self.stage.join("vantio")));
        command.arg(assignment("VANTIO_TEST_DIR", &Path::new(HOME).join("scratch")));
        command.arg(assignment("VANTIO_TEST_TOOLS", &self.stage));
        if let Some(toolchain) = &self.toolchain {
            command.arg(assignment("VANTIO_TEST_TOOLCHAIN", toolchain));
        }
        command.arg(self.stage.join(artifact.suite));
        command
    }

    fn as_user(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={NAME}")).arg(format!("--regid={NAME}")).args(["--init-groups", "--"]);
        command.current_dir(&self.stage).env_clear().env("HOME", HOME).env("USER", NAME);
        command.env("PATH", "/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        command.env("LANG", "C.UTF-8").env("RUST_BACKTRACE", "1");
        command
    }
}

/// Links the Rust toolchain where the user can read it: the home of root is closed to others.
fn stage_toolchain(stage: &Path) -> Result<Option<PathBuf>, Failure> {
    let mut rustc = Command::new("rustc");
    let Ok(sysroot) = shell::quiet(rustc.args(["--print", "sysroot"]).current_dir(layout::root())) else {
        return Ok(None);
    };
    let sysroot = Path::new(sysroot.trim());
    let staged = stage.join("toolchain");
    if staged.exists() {
        fs::remove_dir_all(&staged).at(&staged)?;
    }
    let linked = shell::quiet(Command::new("cp").arg("-al").arg(sysroot).arg(&staged));
    if linked.is_err() {
        shell::quiet(Command::new("cp").arg("-a").arg(sysroot).arg(&staged))?;
    }
    Ok(Some(staged))
}

fn replace(from: &Path, to: &Path) -> Result<(), Failure> {
    let _ = fs::remove_file(to);
    fs::copy(from, to).at(from)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).at(to)
}

fn own(path: &Path) -> Result<(), Failure> {
    let number = |option: &str| {
        let text = shell::quiet(Command::new("id").args([option, NAME]))?;
        text.trim().parse::<u32>().map_err(|_| Failure::Check(format!("`id {option} {NAME}` gave `{text}`")))
    };
    chown(path, Some(number("-u")?), Some(number("-g")?)).at(path)
}

fn assignment(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}
