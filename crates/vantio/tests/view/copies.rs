//! The copy that a snapshot is made of.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    thread,
    time::Duration,
};

use crate::{
    Paused,
    common::{SECRET, World, eventually, finish, is_root, needs_root},
    folder, viewing,
};

#[test]
fn a_copy_has_everything_as_it_was() {
    let world = World::new();
    world.write("plain", "content");
    fs::set_permissions(world.workspace().join("plain"), fs::Permissions::from_mode(0o751)).unwrap();
    fs::hard_link(world.workspace().join("plain"), world.workspace().join("twin")).unwrap();
    symlink("plain", world.workspace().join("link")).unwrap();
    symlink("nowhere", world.workspace().join("dangling")).unwrap();
    world.write("sub/.hidden file\n", "x");
    finish(world.command("/usr/bin/mkfifo").arg("pipe")).assert_success();
    finish(world.command("/usr/bin/truncate").args(["-s", "1G", "holes"])).assert_success();
    fs::set_permissions(world.workspace().join("sub"), fs::Permissions::from_mode(0o500)).unwrap();
    finish(world.command("/usr/bin/setfattr").args(["-n", "user.note", "-v", "kept", "plain"]));
    let script = "find . -printf '%p %y %m %s %n %u %T@ %l\\n' | grep -v '^. d' | LC_ALL=C sort; getfattr -d plain 2>/dev/null; cat twin";
    let bare = world.bare(&["/bin/bash", "-c", script]);
    let seen = world.run(&viewing("snapshot"), &["/bin/bash", "-c", script]);
    // A directory's size depends on what was in it once.
    let lines = |text: &str| {
        let size = |line: &str| line.split(' ').nth(3).map(str::to_owned).unwrap_or_default();
        text.lines()
            .map(|line| {
                line.replace(&format!(" {} ", size(line)), if line.contains(" d ") { " " } else { " s " })
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(&seen.stdout), lines(&bare.stdout), "{}", seen.stderr);
    assert!(world.changes().is_empty(), "{:?}", world.changes());
}

#[test]
fn what_is_denied_by_name_is_not_copied() {
    let world = World::new();
    world.write("keys/secret", SECRET);
    world.write("token", SECRET);
    let deny = "  deny:\n    - \"${workspace}/keys\"\n    - \"${workspace}/token\"\n";
    let policy = viewing("snapshot").replacen("  deny:\n", deny, 1);
    let mut command =
        world.governed(&policy, &["/bin/sh", "-c", "cat keys/secret token; ls -A; echo paused; read -r _"]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("paused") {
        assert!(std::io::BufRead::read_line(&mut output, &mut seen).unwrap() > 0, "{seen}");
    }
    assert!(!seen.contains(SECRET) && seen.contains("keys") && seen.contains("token"), "{seen}");
    let copy = folder(&world).join("snapshot");
    assert!(copy.join("keys").is_dir() && !copy.join("keys/secret").exists());
    assert_eq!(fs::metadata(copy.join("token")).unwrap().len(), 0);
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(world.changes().is_empty(), "{:?}", world.changes());
}

#[test]
fn a_state_folder_in_the_workspace_is_not_copied_into_itself() {
    let world = World::new();
    let state = world.workspace().join("state");
    let mut command = world.governed(&viewing("snapshot"), &["/bin/sh", "-c", "ls state; echo done > done"]);
    let outcome = finish(command.env("VANTIO_STATE", &state));
    assert!(outcome.status.success(), "{}", outcome.describe());
    assert_eq!(outcome.stdout, "");
}

#[test]
fn what_dies_leaves_no_copy() {
    let world = World::new();
    world.write("a", "old");
    let run = Paused::start(&world, "snapshot", "echo new > a; pause");
    let copy = folder(&world).join("snapshot");
    assert!(copy.exists());
    run.kill();
    // The next command that finds it dead removes it.
    let is_gone = || {
        world.ask(&["ps", "--all"]);
        !copy.exists()
    };
    assert!(eventually(Duration::from_secs(30), is_gone));
    // What the run had changed is there whole.
    finish(&mut world.vantio(["commit", "last"])).assert_success();
    assert_eq!(fs::read_to_string(world.workspace().join("a")).unwrap(), "new\n");
}

#[test]
fn what_cannot_be_copied_is_refused_and_leaves_nothing() {
    if is_root() {
        return;
    }
    let world = World::new();
    let closed = world.write("closed", "x");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let outcome = world.run(&viewing("snapshot"), &["/bin/true"]);
    outcome.assert_code(125);
    assert!(outcome.stderr.contains("E_SNAPSHOT") && outcome.stderr.contains("closed"), "{}", outcome.stderr);
    assert!(!folder(&world).join("snapshot").exists());
}

#[test]
fn a_mount_in_the_workspace_is_refused() {
    if needs_root("a_mount_in_the_workspace_is_refused") {
        return;
    }
    let world = World::new();
    fs::create_dir(world.workspace().join("other")).unwrap();
    let mut command = world.governed(&viewing("snapshot"), &["/bin/true"]);
    let script = "mount -t tmpfs none other && exec \"$@\"";
    let mut inside = world.command("/usr/bin/unshare");
    inside
        .args(["--mount", "/bin/sh", "-c", script, "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    let outcome = finish(&mut inside);
    outcome.assert_code(125);
    assert!(outcome.stderr.contains("E_SNAPSHOT_MOUNT"), "{}", outcome.stderr);
    finish(&mut command).assert_success();
}

#[test]
fn a_file_that_is_written_all_the_time_ends_the_copy_all_the_same() {
    let world = World::new();
    let busy = world.write("busy", "");
    for number in 0..200 {
        world.write(&format!("files/{number}"), "x");
    }
    let writer = thread::spawn(move || {
        for number in 0..20_000 {
            fs::write(&busy, format!("{number}")).unwrap();
        }
    });
    let outcome = world.run(&viewing("snapshot"), &["/bin/sh", "-c", "wc -c < busy; ls files | wc -l"]);
    outcome.assert_success();
    assert!(outcome.stdout.ends_with("200\n"), "{}", outcome.stdout);
    writer.join().unwrap();
    assert!(fs::metadata(world.workspace().join("busy")).unwrap().size() > 0);
}
