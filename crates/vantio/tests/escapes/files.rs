//! Files outside: by name, by link, by device, and the state folder itself.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    attack,
    common::{CLOSED, Manifest, SECRET, WORKSPACE, World, finish, is_root},
};

#[test]
fn two_files_are_exchanged_where_a_rule_names_no_more_than_files() {
    let world = World::new();
    for name in ["a", "b"] {
        world.write(name, name);
    }
    let policy = CLOSED.replace("write: [\"${workspace}\"", "write: [\"${workspace}/*\"");
    let script =
        "import ctypes; print(ctypes.CDLL(None).renameat2(-100, b'a', -100, b'b', 2), open('a').read())";
    let outcome = world.run(&policy, &["/usr/bin/python3", "-c", script]);
    assert_eq!(outcome.stdout, "0 b\n", "{}", outcome.describe());
}

/// A home with credentials in it.
fn with_credentials(world: &World) {
    for name in [".ssh/id_ed25519", ".aws/credentials", ".netrc", ".bash_history"] {
        let path = world.home().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, SECRET).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn no_way_of_naming_a_file_reaches_outside() {
    let world = World::new();
    let secret = world.secret();
    fs::create_dir(world.outside().join("empty")).unwrap();
    with_credentials(&world);
    let [outside, home] = [world.outside(), world.home()].map(|path| Manifest::of(&path).unwrap());
    attack(&world, CLOSED, include_str!("attacks/files.py"), &[&world.outside().to_string_lossy()]);
    assert_eq!(outside.differences(&Manifest::of(&world.outside()).unwrap()), Vec::<String>::new());
    assert_eq!(home.differences(&Manifest::of(&world.home()).unwrap()), Vec::<String>::new());
    let secret = secret.to_string_lossy();
    for effect in
        ["fs.open", "fs.unlink", "fs.rename", "fs.link", "fs.truncate", "fs.chmod", "fs.utime", "fs.xattr"]
    {
        world.assert_refused(effect, &secret);
    }
    for effect in ["fs.mkdir", "fs.symlink", "fs.mknod", "fs.rmdir"] {
        world.assert_refused(effect, "/outside/");
    }
    world.assert_refused("fs.open", ".ssh");
}

#[test]
fn what_is_tried_with_a_file_in_a_closed_folder_is_on_record_as_that() {
    let world = World::new();
    with_credentials(&world);
    let key = world.home().join(".ssh/id_ed25519").to_string_lossy().into_owned();
    let script = "cat $0; rm -f $0; rmdir $0; true";
    let outcome = world.run(WORKSPACE, &["sh", "-c", script, &key]);
    outcome.assert_code(0);
    world.assert_refused("fs.open", &key);
    if is_root() {
        // To an ordinary user the folder is closed in the kernel already, and `rm` looks before it asks.
        for effect in ["fs.unlink", "fs.rmdir"] {
            world.assert_refused(effect, &key);
        }
    }
}

#[test]
fn credentials_are_unreadable_under_every_preset() {
    for preset in ["read-only", "workspace", "open"] {
        let world = World::new();
        with_credentials(&world);
        for name in [".ssh/id_ed25519", ".aws/credentials", ".netrc", ".bash_history"] {
            let path = world.home().join(name).to_string_lossy().into_owned();
            let outcome = finish(&mut world.vantio(["run", "--preset", preset, "--", "/bin/cat", &path]));
            outcome.assert_no_secret();
            assert_eq!(outcome.code(), 1, "{preset} {name}: {}", outcome.describe());
            world
                .assert_refused("fs.", path.trim_end_matches("/id_ed25519").trim_end_matches("/credentials"));
        }
    }
}

#[test]
fn what_is_denied_inside_the_workspace_moves_nowhere() {
    let world = World::new();
    world.write("private/secret", SECRET);
    let policy = WORKSPACE.replace("- ${credentials}", "- ${credentials}\n    - ${workspace}/private");
    let script = r#"
attempt("read", lambda: b"secret" in read("private/secret"))
attempt("move the file", lambda: os.rename("private/secret", "taken"))
attempt("move the folder", lambda: os.rename("private", "public"))
attempt("link", lambda: os.link("private/secret", "taken"))
attempt("cover", lambda: os.rename("empty", "private"))
attempt("list", lambda: "secret" in os.listdir("private"))
attempt("remove", lambda: os.unlink("private/secret"))
attempt("move the workspace", lambda: os.rename(os.getcwd(), os.getcwd() + "-moved"))
attempt("stat below", lambda: os.stat("private/secret").st_size > 0)
"#;
    fs::create_dir(world.workspace().join("empty")).unwrap();
    let before = Manifest::of(&world.workspace().join("private")).unwrap();
    attack(&world, &policy, script, &[]);
    assert_eq!(
        before.differences(&Manifest::of(&world.workspace().join("private")).unwrap()),
        Vec::<String>::new()
    );
    world.assert_refused("fs.open", "/private");
    world.assert_refused("fs.rename", "/private");
}

#[test]
fn devices_kernel_files_and_overlay_attributes_are_closed() {
    let world = World::new();
    world.secret();
    let pattern = fs::read("/proc/sys/kernel/core_pattern").unwrap();
    attack(&world, CLOSED, include_str!("attacks/devices.py"), &[&world.outside().to_string_lossy()]);
    assert_eq!(fs::read("/proc/sys/kernel/core_pattern").unwrap(), pattern);
    for node in world.changes() {
        assert!(!node.1.to_string_lossy().contains("block-"), "a device node is in the diff: {node:?}");
    }
}

#[test]
fn the_ledger_and_the_state_folder_are_closed() {
    let world = World::new();
    world.run(CLOSED, &["/bin/true"]).assert_success();
    let mut files = Vec::new();
    list(&world.state(), &mut files).unwrap();
    assert!(!files.is_empty(), "there is no state");
    let files: Vec<_> = files.iter().map(|path| path.to_string_lossy()).collect();
    let state = world.state();
    let state = state.to_string_lossy();
    let arguments: Vec<_> = std::iter::once(&*state).chain(files.iter().map(|path| &**path)).collect();
    attack(&world, CLOSED, include_str!("attacks/state.py"), &arguments);
    world.assert_refused("fs.", &state);
    assert!(finish(&mut world.vantio(["ledger", "verify"])).status.success());
}

#[test]
fn the_state_folder_is_closed_even_where_the_policy_opens_everything() {
    let world = World::new();
    world.run(CLOSED, &["/bin/true"]).assert_success();
    let mut files = Vec::new();
    list(&world.state(), &mut files).unwrap();
    let files: Vec<_> = files.iter().map(|path| path.to_string_lossy()).collect();
    let state = world.state();
    let state = state.to_string_lossy();
    let arguments: Vec<_> = std::iter::once(&*state).chain(files.iter().map(|path| &**path)).collect();
    let policy = "version: 1\nfs: {read: [/], write: [/]}\nexec: {allow: [/usr, /bin]}\n";
    attack(&world, policy, include_str!("attacks/state.py"), &arguments);
    assert!(finish(&mut world.vantio(["ledger", "verify"])).status.success());
}

fn list(directory: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            // Layers of a run may be closed to its owner.
            let _ = list(&entry.path(), into);
        } else if kind.is_file() {
            into.push(entry.path());
        }
    }
    Ok(())
}
