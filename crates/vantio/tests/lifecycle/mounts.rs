//! Mounts of the host, wherever a run sees them.

use std::{fs, path::Path, process::Command, time::Duration};

use crate::{
    common::{WORKSPACE, World, eventually, finish, needs_root, start},
    failures::assert_one_screen,
};

#[test]
fn mounts_that_come_and_go_stop_no_run() {
    if needs_root("mounts_that_come_and_go_stop_no_run") {
        return;
    }
    let world = World::new();
    let script = "while [ -e more ]; do mkdir -p one/two && mount -t tmpfs none one/two && umount -l one/two; rm -r one; done";
    let elsewhere = tempfile::tempdir_in(world.workspace().parent().unwrap()).unwrap();
    fs::write(elsewhere.path().join("more"), "").unwrap();
    let mut host = start(Command::new("/bin/sh").args(["-c", script]).current_dir(elsewhere.path()));
    for _ in 0..25 {
        let outcome = world.run(WORKSPACE, &["/bin/echo", "ran"]);
        outcome.assert_success();
        assert_eq!(outcome.stdout, "ran\n");
        assert_eq!(world.changes(), []);
    }
    // Whoever is killed in the middle leaves a mount behind.
    fs::remove_file(elsewhere.path().join("more")).unwrap();
    host.wait().unwrap();
}

#[test]
fn a_mount_that_is_gone_hinders_nothing_that_is_elsewhere() {
    if needs_root("a_mount_that_is_gone_hinders_nothing_that_is_elsewhere") {
        return;
    }
    let world = World::new();
    let elsewhere = tempfile::tempdir_in(world.workspace().parent().unwrap()).unwrap();
    let point = elsewhere.path().join("point");
    let policy = WORKSPACE.replace("${tmp}", &format!("{}\n    - ${{tmp}}", elsewhere.path().display()));

    mount(&point);
    world.run(&policy, &["/bin/sh", "-c", "echo new > made"]).assert_success();
    unmount(&point);
    assert_eq!(world.changes(), [("added".to_owned(), world.workspace().join("made"))]);
    mount(&point);
    world.ask(&["commit", "last"]);
    unmount(&point);
    world.ask(&["undo", "last"]);
    assert!(!world.workspace().join("made").exists());

    mount(&point);
    let script = format!("echo new > made; echo new > {}/made", point.display());
    world.run(&policy, &["/bin/sh", "-c", &script]).assert_success();
    unmount(&point);
    let outcome = finish(&mut world.vantio(["diff", "last"]));
    assert_one_screen(&outcome, 1, &["E_SCAN", &point.display().to_string(), "must be mounted"]);
    fs::create_dir(&point).unwrap();
    world.ask(&["commit", "last"]);
    assert_eq!(fs::read_to_string(point.join("made")).unwrap(), "new\n");
}

#[test]
fn a_mount_below_a_read_only_one_is_written_as_on_the_host() {
    if needs_root("a_mount_below_a_read_only_one_is_written_as_on_the_host") {
        return;
    }
    let world = World::new();
    let elsewhere = tempfile::tempdir_in(world.workspace().parent().unwrap()).unwrap();
    let (outer, inner) = (elsewhere.path().join("outer"), elsewhere.path().join("outer/inner"));
    mount(&outer);
    mount(&inner);
    fs::write(inner.join("old"), "old\n").unwrap();
    finish(Command::new("/bin/mount").args(["-o", "remount,ro"]).arg(&outer)).assert_success();
    let policy = WORKSPACE.replace("${tmp}", &format!("{}\n    - ${{tmp}}", elsewhere.path().display()));

    let script = format!("cd {}; cat old; echo new > made; rm old; echo x > ../made", inner.display());
    let outcome = world.run(&policy, &["/bin/sh", "-c", &script]);
    let changes = world.changes();
    let before = fs::read_to_string(inner.join("old")).unwrap();
    let commit = finish(&mut world.vantio(["commit", "last"]));
    let after = fs::read_to_string(inner.join("made"));
    finish(Command::new("/bin/mount").args(["-o", "remount,rw"]).arg(&outer)).assert_success();
    unmount(&inner);
    unmount(&outer);

    assert_eq!(outcome.stdout, "old\n", "{}", outcome.describe());
    assert!(outcome.stderr.contains("Read-only file system"), "{}", outcome.stderr);
    assert_eq!(
        changes,
        [("added".to_owned(), inner.join("made")), ("deleted".to_owned(), inner.join("old"))]
    );
    assert_eq!(before, "old\n");
    commit.assert_success();
    assert_eq!(after.unwrap(), "new\n");
}

#[test]
fn an_undo_takes_back_what_is_on_another_mount_than_the_state() {
    if needs_root("an_undo_takes_back_what_is_on_another_mount_than_the_state") {
        return;
    }
    let world = World::new();
    let elsewhere = tempfile::tempdir_in(world.workspace().parent().unwrap()).unwrap();
    let point = elsewhere.path().join("point");
    mount(&point);
    let fill =
        "echo old > file; mkdir -p gone/deep; echo old > gone/deep/file; setfattr -n user.k -v old gone/deep";
    let on_host =
        |script: &str| finish(Command::new("/bin/sh").args(["-ec", script]).current_dir(&point)).stdout;
    on_host(fill);
    world.write("here", "old\n");
    let look = "find . -printf '%P %y %m %s %T@\n' | sort; cat file gone/deep/file; getfattr -d gone/deep";
    let before = on_host(look);
    let policy = WORKSPACE.replace("${tmp}", &format!("{}\n    - ${{tmp}}", elsewhere.path().display()));
    let script =
        format!("echo new > here; cd {}; echo new > file; rm -r gone; echo new > made", point.display());
    world.run(&policy, &["/bin/sh", "-c", &script]).assert_success();
    world.ask(&["commit", "last"]);
    let committed = on_host("ls -A; cat file");
    let undo = finish(&mut world.vantio(["undo", "last"]));
    let after = on_host(look);
    let left = on_host("ls -A");
    unmount(&point);
    undo.assert_success();
    assert_eq!(committed, "file\nmade\nnew\n");
    assert_eq!(after, before);
    assert_eq!(left, "file\ngone\n");
    assert_eq!(fs::read_to_string(world.workspace().join("here")).unwrap(), "old\n");
}

/// An automounter with one thing mounted, which mounts nothing more, in a mount namespace of its own; runs a command and
/// says what it was asked for.
const AUTOMOUNTER: &str = "
import ctypes, fcntl, os, struct, subprocess, sys, threading
FAIL, NEW_NAMESPACE, PRIVATE = 0x9361, 0x20000, 0x44000
point, command = sys.argv[1], sys.argv[2:]
inner = os.path.join(point, 'inner')
asked, ends = 0, os.pipe()
options = f'fd={ends[1]},pgrp={os.getpgrp()},minproto=5,maxproto=5,indirect'
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(NEW_NAMESPACE) or libc.mount(b'none', b'/', None, PRIVATE, None):
    sys.exit('no namespace')
if libc.mount(b'auto', point.encode(), b'autofs', 0, options.encode()):
    sys.exit(f'no autofs: {os.strerror(ctypes.get_errno())}')
root = os.open(point, os.O_RDONLY)
def answer():
    global asked
    while packet := os.read(ends[0], 4096):
        asked += 1
        fcntl.ioctl(root, FAIL, struct.unpack_from('iII', packet)[2])
threading.Thread(target=answer, daemon=True).start()
os.mkdir(inner)
os.mkdir(os.path.join(point, 'later'))
subprocess.run(['mount', '-t', 'tmpfs', 'none', inner], check=True)
# Whoever is of its group asks for nothing.
subprocess.run(command, check=True, preexec_fn=os.setpgrp)
print('asked', asked, os.listdir(inner), flush=True)
";

#[test]
fn a_run_sees_what_an_automounter_has_mounted_and_has_it_mount_nothing() {
    if needs_root("a_run_sees_what_an_automounter_has_mounted_and_has_it_mount_nothing") {
        return;
    }
    if !fs::read_to_string("/proc/filesystems").unwrap().contains("autofs") {
        eprintln!("skipped: this kernel has no autofs");
        return;
    }
    let world = World::new();
    let elsewhere = tempfile::tempdir_in(world.workspace().parent().unwrap()).unwrap();
    let policy = WORKSPACE.replace("${tmp}", &format!("{}\n    - ${{tmp}}", elsewhere.path().display()));
    let script = format!(
        "cd {}; ls -A; ls later/. later/deep; echo x > outside; cd inner && echo new > made && cat made",
        elsewhere.path().display()
    );
    let run = world.governed(&policy, &["/bin/sh", "-c", &script]);
    let mut automounter = world.command("/usr/bin/python3");
    automounter.args(["-c", AUTOMOUNTER]).arg(elsewhere.path());
    // The run, and then its commit.
    automounter.args(["/bin/sh", "-ec", "\"$0\" \"$@\"; \"$0\" commit last"]);
    automounter.arg(run.get_program()).args(run.get_args());
    let outcome = finish(&mut automounter);
    outcome.assert_success();
    let seen = "inner\nnew\ncommitted 1 path\nasked 0 ['made']\n";
    assert_eq!(outcome.stdout, seen, "{}", outcome.describe());
    assert!(outcome.stderr.contains("Read-only file system"), "{}", outcome.stderr);
}

fn mount(point: &Path) {
    fs::create_dir(point).unwrap();
    finish(Command::new("/bin/mount").args(["-t", "tmpfs", "none"]).arg(point)).assert_success();
}

fn unmount(point: &Path) {
    // It is busy for as long as another run, which begins just now, looks at it.
    let is_free = || finish(Command::new("/bin/umount").arg(point)).status.success();
    assert!(eventually(Duration::from_secs(10), is_free), "{} stays busy", point.display());
    fs::remove_dir(point).unwrap();
}
