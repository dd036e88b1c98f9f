//! What of the host a run holds in its hands: device nodes, and the standard streams that it was started with.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::Path,
    process::Command,
};

use crate::{
    assert_held, attack_command,
    common::{World, finish, finish_with_input, needs_root},
};

/// Everything in `/dev` and `/proc` may be written, as far as the policy goes.
const OPENED: &str = "version: 1\nfs: {read: [/], write: [/]}\nexec: {allow: [/usr, /bin, /lib64]}\n";

/// What `lsattr` shows: the flags of a file's inode.
fn flags(path: &Path) -> String {
    let listed = finish(Command::new("/usr/bin/lsattr").arg("-d").arg(path));
    listed.stdout.split_whitespace().next().unwrap_or_default().to_owned()
}

#[test]
fn process_files_that_the_host_has_elsewhere_are_closed() {
    if needs_root("process_files_that_the_host_has_elsewhere_are_closed") {
        return;
    }
    let world = World::new();
    fs::create_dir(world.workspace().join("other")).unwrap();
    let script = "for name in self thread-self 1; do for part in environ cmdline mem fdinfo/0 fd/5; do \
         : < other/$name/$part && echo opened $name/$part; done; done 2> /dev/null; ls other; cat /proc/self/comm";
    let command = world.governed(OPENED, &["/bin/bash", "-c", script]);
    let mut inside = world.command("/usr/bin/unshare");
    inside
        .args(["--mount", "/bin/sh", "-c", "mount -t proc none other && exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    let outcome = finish(&mut inside);
    assert_eq!(outcome.stdout, "cat\n", "{}", outcome.describe());
    assert!(outcome.stderr.contains("outside the run: "), "{}", outcome.describe());
}

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

#[test]
fn the_flags_of_an_inherited_file_stay() {
    let world = World::new();
    let input = world.outside().join("input");
    fs::write(&input, "input\n").unwrap();
    let script = r#"
import fcntl
open("own", "w").close()
for name, handle in (("inherited", 0), ("own", os.open("own", os.O_RDONLY))):
    for request in (0x40086602, 0x40046602):
        attempt(f"no dump {name} {request:x}", lambda: fcntl.ioctl(handle, request, struct.pack("l", 0x80040)) == 0)
"#;
    let before = flags(&input);
    let mut governed = world.governed(OPENED, &attack_command(&world, script, &[]));
    assert_held(&finish(governed.stdin(File::open(&input).unwrap())));
    assert_eq!(flags(&input), before);
    world.assert_refused("proc.syscall", "ioctl");
}

#[test]
fn a_directory_is_no_standard_stream() {
    let world = World::new();
    let mut governed = world.governed(OPENED, &["/bin/ls", "/proc/self/fd/0/"]);
    let outcome = finish(governed.stdin(File::open(world.outside()).unwrap()));
    outcome.assert_code(125);
    assert!(outcome.stderr.contains("E_STREAM"), "{}", outcome.describe());
}

#[test]
fn an_inherited_pipe_carries_one_way() {
    let world = World::new();
    let script = r#"
attempt("write to standard input", lambda: open_for_writing("/proc/self/fd/0"))
attempt("write to /dev/stdin", lambda: open_for_writing("/dev/stdin"))
attempt("read standard output", lambda: os.open("/proc/self/fd/1", os.O_RDONLY | os.O_NONBLOCK) >= 0)
assert os.read(os.open("/dev/stdin", os.O_RDONLY), 100) == b"input"
reading, writing = os.pipe()
os.write(os.open(f"/proc/self/fd/{reading}", os.O_WRONLY), b"own")
assert os.read(reading, 3) == b"own"
"#;
    let mut governed = world.governed(OPENED, &attack_command(&world, script, &[]));
    assert_held(&finish_with_input(&mut governed, b"input"));
    world.assert_refused("fs.open", "pipe:");
}
