//! What the processes of a detached run keep of whoever started it: nothing.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{fs::PermissionsExt as _, net::UnixStream},
    },
    path::Path,
    process::Stdio,
};

use crate::common::{
    WORKSPACE, World, binary,
    detached::{Detached, line_of},
    finish,
};

fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    entries
        .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        .collect()
}

#[test]
fn nothing_of_the_caller_stays_open() {
    let world = World::new();
    world.governed(WORKSPACE, &["/bin/true"]);
    let open = world.path().join("open");
    fs::write(&open, "").unwrap();
    // That this comes to its end shows that nobody holds its standard streams, nor descriptor 7.
    let script = format!(
        "umask 027; exec 7>&1 8<{}; {} run --policy {} --detach -- /bin/sh -c 'umask; sleep 600'",
        open.display(),
        binary().display(),
        world.path().join("policy.yaml").display(),
    );
    let mut shell = world.command("/bin/sh");
    let outcome = finish(shell.args(["-c", &script]).env("A_SECRET", "in-the-environment"));
    let run = Detached::named(&world, outcome.assert_success().stdout.trim());
    let [keeper, runner] = run.processes();
    for pid in [keeper, runner] {
        let held = descriptors(pid);
        assert!(!held.contains(&open.to_string_lossy().into_owned()), "{held:#?}");
    }
    let environment = fs::read(format!("/proc/{keeper}/environ")).unwrap();
    assert!(environment.is_empty(), "{}", String::from_utf8_lossy(&environment));
    let session = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap().parse::<u32>().unwrap()
    };
    assert_eq!([session(keeper), session(runner)], [keeper, runner]);
    let directory = fs::read_link(format!("/proc/{keeper}/cwd")).unwrap();
    assert_eq!(directory, world.workspace());
    // The program's own are the caller's, as in the foreground.
    run.wait_for("0027");
}

#[test]
fn the_socket_and_the_log_are_the_users_own() {
    let world = World::new();
    let run = Detached::start(&world, WORKSPACE, &["/bin/sh", "-c", "echo written; sleep 600"]);
    run.wait_for("written");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = run.folder();
    assert_eq!([mode(&folder.join("terminal.sock")), mode(&folder.join("output"))], [0o600, 0o700]);
    for piece in fs::read_dir(folder.join("output")).unwrap().flatten() {
        assert_eq!(mode(&piece.path()), 0o600);
    }
    world.ask(&["kill", &run.id]);
    assert!(!folder.join("terminal.sock").exists());
}

#[test]
fn who_speaks_another_language_is_refused_and_the_run_goes_on() {
    let world = World::new();
    let run = Detached::start(&world, WORKSPACE, &["/bin/sh", "-c", "echo written; sleep 600"]);
    run.wait_for("written");
    // A path may be longer than the address of a socket.
    let folder = fs::File::open(run.folder()).unwrap();
    let path = format!("/proc/self/fd/{}/terminal.sock", folder.as_raw_fd());
    let say = |words: &[u8]| {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(words).unwrap();
        let mut answer = Vec::new();
        // One that is only closed may be closed before it is read.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let other = say(b"{\"version\":2,\"says\":{\"anything\":1}}\n");
    assert!(other.contains("refused") && other.contains("version 2"), "{other}");
    assert!(say(b"GET / HTTP/1.1\r\n\r\n").contains("refused"));
    assert_eq!(say(&[b'x'; 5000]), "");
    // A frame that nobody may send.
    let hello = b"{\"version\":1,\"says\":{\"types\":false,\"from\":0}}\n";
    let forged = [hello.as_slice(), &[6, 0, 0, 0, 0]].concat();
    assert!(!say(&forged).contains("summary"));
    // Somebody who says nothing stays, and holds nobody up.
    let _silent: Vec<_> = (0..70).map(|_| UnixStream::connect(&path)).collect();
    assert_eq!(run.logs(), "written\n");
    assert_eq!(run.state(), "live, detached");
    let mut attach = run.vantio("attach", &["--no-stdin"]);
    let mut attached = attach.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(line_of(attached.stdout.take().unwrap()), "written\n");
    world.ask(&["kill", &run.id]);
    assert_eq!(attached.wait().unwrap().code(), Some(137));
}
