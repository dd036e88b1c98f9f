//! What of the host a run holds in its hands: device nodes, and the standard streams that it was started with.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use crate::{assert_held, attack_command, common::World};

/// Everything in `/dev` and `/proc` may be written, as far as the policy goes.
const OPENED: &str = "version: 1\nfs: {read: [/], write: [/]}\nexec: {allow: [/usr, /bin, /lib64]}\n";

#[test]
fn device_nodes_stay_as_the_host_has_them() {
    let world = World::new();
    let script = r#"
for name in ("full", "null", "zero", "tty"):
    path = "/dev/" + name
    mode = os.stat(path).st_mode & 0o7777
    attempt(f"chmod {name}", lambda: os.chmod(path, mode))
    attempt(f"chown {name}", lambda: os.chown(path, os.getuid(), -1))
    attempt(f"utime {name}", lambda: os.utime(path, (1, 1)))
attempt("chmod what hides", lambda: os.chmod("/proc/keys", 0o666))
open_for_writing("/dev/null")
"#;
    let stamp = |name: &str| {
        let data = fs::metadata(Path::new("/dev").join(name)).unwrap();
        (data.mode(), data.uid(), data.gid(), data.ctime(), data.ctime_nsec())
    };
    let before = ["full", "zero"].map(stamp);
    assert_held(&world.run(OPENED, &attack_command(&world, script, &[])));
    assert_eq!(before, ["full", "zero"].map(stamp));
}
