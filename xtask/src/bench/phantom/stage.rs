//! The folders, programs and the server that the cases use.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::projects;
use crate::{
    failure::{AtPath, Failure},
    layout, shell,
    step::step,
};

const PRESET: &str = include_str!("../../../../crates/vantio-policy/presets/workspace.yaml");

/// Everything that is laid out before anything is measured; it goes with this value.
pub struct Stage {
    directory: TempDir,
    /// The command under test, where everybody can read it.
    pub vantio: PathBuf,
    /// This program, which is also what runs inside.
    pub probe: String,
    /// A server on the host.
    pub server: String,
    /// Where whoever runs the bench works.
    pub own: Seat,
    /// Where an ordinary user works, when that is somebody else.
    pub user: Option<Seat>,
    /// Whether bubblewrap mounts overlays itself.
    pub bwrap_overlays: bool,
}

/// The folders of one user.
pub struct Seat {
    folder: PathBuf,
    /// User and group, when it is not whoever runs the bench.
    pub owner: Option<(u32, u32)>,
}

impl Seat {
    /// One of its folders or files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where programs work.
    pub fn workspace(&self) -> PathBuf {
        self.path("workspace")
    }

    /// The user's home.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }
}

impl Stage {
    /// Lays everything out and starts the server.
    pub fn set(vantio: &Path) -> Result<Self, Failure> {
        // Where another user gets to, and what a run has no folder of its own for, unlike /tmp and /var/tmp.
        let parent = if layout::is_root() { "/var/lib".into() } else { layout::target().join("bench") };
        fs::create_dir_all(&parent).at(&parent)?;
        let directory = tempfile::Builder::new().prefix("vantio-bench-").tempdir_in(&parent).at(&parent)?;
        let root = directory.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).at(root)?;
        let copy = |from: &Path, name: &str| {
            let to = root.join(name);
            fs::copy(from, &to).at(from).map(|_| to)
        };
        let vantio = copy(vantio, "vantio")?;
        let probe = copy(&std::env::current_exe().at("xtask")?, "probe")?.to_string_lossy().into_owned();
        let server = serve()?;
        for mode in ["enforce", "monitor"] {
            let text = PRESET.replace("net:\n  allow: []", &format!("net:\n  allow: [\"{server}\"]"));
            let text = text.replace("\nname: workspace\n", &format!("\nname: {mode}\nmode: {mode}\n"));
            fs::write(policy(root, mode), text).at(root)?;
        }
        step("link the Rust toolchain", || toolchain(&root.join("toolchain")))?;
        let own = seat(root, "own", None)?;
        let user = if layout::is_root() { Some(seat(root, "user", Some(STRANGER))?) } else { None };
        let help = shell::quiet(Command::new("bwrap").arg("--help")).unwrap_or_default();
        let bwrap_overlays = help.contains("--tmp-overlay");
        Ok(Self { directory, vantio, probe, server, own, user, bwrap_overlays })
    }

    /// The policy that decides in this mode: the preset `workspace`, with the server permitted.
    pub fn policy(&self, mode: &str) -> PathBuf {
        policy(self.directory.path(), mode)
    }

    /// What programs find on their search path.
    pub fn search_path(&self) -> String {
        format!("{}:/usr/local/bin:/usr/bin:/bin", self.directory.path().join("toolchain/bin").display())
    }
}

impl Drop for Stage {
    /// What overlays and other users left is more than the library removes.
    fn drop(&mut self) {
        let _ = shell::quiet(Command::new("rm").arg("-rf").arg(self.directory.path()));
    }
}

fn policy(root: &Path, mode: &str) -> PathBuf {
    root.join(format!("{mode}.yaml"))
}

fn seat(root: &Path, name: &str, owner: Option<(u32, u32)>) -> Result<Seat, Failure> {
    let seat = Seat { folder: root.join(name), owner };
    for folder in ["workspace", "home", "state", "runsc", "upper"] {
        fs::create_dir_all(seat.path(folder)).at(seat.path(folder))?;
    }
    fs::write(seat.path("workspace/file"), [b'x'; 4096]).at(&seat.folder)?;
    let allowed =
        [seat.workspace(), seat.home(), "/tmp".into()].map(|path| format!("\"{}\"", path.display()));
    let settings = format!(
        "{{\"network\":{{\"allowedDomains\":[],\"deniedDomains\":[]}},\"filesystem\":{{\"denyRead\":[],\"allowWrite\":[{}],\"denyWrite\":[]}}}}",
        allowed.join(",")
    );
    fs::write(seat.path("srt.json"), settings).at(&seat.folder)?;
    step(&format!("lay out the projects ({name})"), || projects::write(&seat.workspace()))?;
    if let Some((user, group)) = owner {
        let mut command = Command::new("chown");
        shell::quiet(command.arg("-R").arg(format!("{user}:{group}")).arg(&seat.folder))?;
        chown(&seat.folder, Some(user), Some(group)).at(&seat.folder)?;
    }
    Ok(seat)
}

/// A server that accepts and closes; ends with the process.
fn serve() -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").at("127.0.0.1")?;
    let address = listener.local_addr().at("127.0.0.1")?.to_string();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    Ok(address)
}

/// The compiler, where a user other than its owner can read it: linked where that can be had, else copied.
fn toolchain(place: &Path) -> Result<(), Failure> {
    let mut rustc = Command::new("rustc");
    let sysroot = shell::quiet(rustc.args(["--print", "sysroot"]).current_dir(layout::root()))?;
    let sysroot = sysroot.trim();
    if shell::quiet(Command::new("cp").arg("-al").arg(sysroot).arg(place)).is_ok() {
        return Ok(());
    }
    if place.exists() {
        fs::remove_dir_all(place).at(place)?;
    }
    shell::quiet(Command::new("cp").arg("-a").arg(sysroot).arg(place)).map(drop)
}

/// An ordinary user whom nobody has to make: a number that no distribution gives to anybody.
const STRANGER: (u32, u32) = (64_321, 64_321);
