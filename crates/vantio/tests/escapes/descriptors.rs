//! Descriptors that a run inherits, is passed, or opens with unusual flags.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use crate::{
    assert_held, attack, attack_command,
    common::{CLOSED, Helper, Manifest, World, finish},
};

#[test]
fn inherited_descriptors_are_closed() {
    let world = World::new();
    let secret = world.secret();
    let command = attack_command(&world, include_str!("attacks/descriptors.py"), &[]);
    let governed = world.governed(CLOSED, &command);
    let mut shell = Command::new("/bin/sh");
    let open = "exec 5<\"$0\" 6>>\"$0\" 7<\"$1\" 8<\"$2\"; shift 2; exec \"$@\"";
    shell.arg("-c").arg(open).arg(&secret).arg(world.outside()).arg(world.state().parent().unwrap());
    shell.arg(governed.get_program()).args(governed.get_args()).current_dir(world.workspace()).env_clear();
    for (name, value) in governed.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let before = Manifest::of(&world.outside()).unwrap();
    assert_held(&finish(shell.stdin(Stdio::null()).arg0("sh")));
    assert_eq!(before.differences(&Manifest::of(&world.outside()).unwrap()), Vec::<String>::new());
}

#[test]
fn a_directory_passed_over_a_permitted_socket_opens_nothing() {
    let world = World::new();
    let secret = world.secret();
    let socket = world.path().join("server.sock").to_string_lossy().into_owned();
    let server = "\
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print('ready', flush=True)
peer, _ = listener.accept()
directory = os.open(sys.argv[2], os.O_RDONLY | os.O_DIRECTORY)
socket.send_fds(peer, [b'x'], [directory, os.open(sys.argv[2] + '/secret', os.O_PATH)])
peer.recv(1)
";
    let mut host = Command::new("/usr/bin/python3");
    host.args(["-c", server, &socket]).arg(world.outside()).stdout(Stdio::piped());
    let mut host = Helper(host.spawn().unwrap());
    BufReader::new(host.0.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let before = Manifest::of(&world.outside()).unwrap();
    let policy = format!("{CLOSED}net: {{allow: [\"unix:{socket}\"]}}\n");
    let outcome = attack(&world, &policy, include_str!("attacks/passed.py"), &[&socket]);
    assert!(outcome.stdout.contains("received 2"), "{}", outcome.describe());
    assert_eq!(before.differences(&Manifest::of(&world.outside()).unwrap()), Vec::<String>::new());
    world.assert_refused("fs.open", &secret.to_string_lossy());
}

#[test]
fn openat2_opens_what_openat_would() {
    let world = World::new();
    let secret = world.secret().to_string_lossy().into_owned();
    attack(&world, CLOSED, include_str!("attacks/openat2.py"), &[&secret]);
    world.assert_refused("fs.open", &secret);
}
