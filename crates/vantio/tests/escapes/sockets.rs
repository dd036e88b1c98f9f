//! Unix sockets of the host, and families that no policy can speak of.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use crate::{
    attack,
    common::{CLOSED, Helper, World},
};

/// Listens on an abstract name and on paths, as stream and as datagram, and says what it hears.
const HOST: &str = "\
import select, socket, sys
sockets = []
for address in ['\\0' + sys.argv[1], *sys.argv[2:]]:
    for kind, suffix in ((socket.SOCK_STREAM, ''), (socket.SOCK_DGRAM, '-datagram')):
        listener = socket.socket(socket.AF_UNIX, kind)
        listener.bind(address + suffix)
        if kind == socket.SOCK_STREAM:
            listener.listen()
        sockets.append(listener)
print('ready', flush=True)
while True:
    ready, _, _ = select.select([*sockets, sys.stdin], [], [])
    if sys.stdin in ready:
        break
    print('heard', ready, flush=True)
    for one in ready:
        one.accept() if one.type == socket.SOCK_STREAM else one.recv(100)
";

#[test]
fn a_socket_that_a_mask_hides_is_refused_on_record() {
    let world = World::new();
    std::fs::create_dir(world.workspace().join("closed")).unwrap();
    let sockets = ["closed/one", "two"].map(|name| world.workspace().join(name));
    let _listening = sockets.each_ref().map(|path| std::os::unix::net::UnixListener::bind(path).unwrap());
    let [closed, two] = ["closed", "two"].map(|name| world.workspace().join(name).display().to_string());
    let policy = CLOSED.replace("exec: {", &format!("  deny: [{closed}, {two}]\nexec: {{"));
    let script = r#"
def connect(path):
    try:
        socket.socket(socket.AF_UNIX).connect(path)
    except FileNotFoundError:
        return "a name that is not there"
for path in sys.argv[1:]:
    attempt(path, lambda: connect(path))
"#;
    attack(&world, &policy, script, &[&format!("{closed}/one"), &two]);
    world.assert_refused("fs.stat", &format!("{closed}/one"));
    world.assert_refused("fs.open", &two);
}

#[test]
fn unix_sockets_of_the_host_are_closed() {
    let world = World::new();
    let name = format!("vantio-test-{}", std::process::id());
    let datagrams = format!("{name}-datagram");
    let inside = world.workspace().join("host.sock").to_string_lossy().into_owned();
    let outside = world.outside().join("host.sock").to_string_lossy().into_owned();
    let mut host = Command::new("/usr/bin/python3");
    host.args(["-c", HOST, &name, &inside, &outside]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut host = Helper(host.spawn().unwrap());
    let mut heard = BufReader::new(host.0.stdout.take().unwrap());
    heard.read_line(&mut String::new()).unwrap();
    let script = include_str!("attacks/unix.py");
    let [inside_datagrams, outside_datagrams] = [&inside, &outside].map(|path| format!("{path}-datagram"));
    let paths = [&*inside, &outside, &inside_datagrams, &outside_datagrams];
    let outcome = attack(&world, CLOSED, script, &[&[&*name][..], &paths].concat());
    world.assert_refused("net.connect", &inside);
    world.assert_refused("net.connect", &outside);
    assert_eq!(outcome.stdout.matches("inside works").count(), 2, "{}", outcome.describe());
    let abstract_only = include_str!("attacks/unix.py").split("# Inside").next().unwrap();
    std::fs::remove_file(world.workspace().join("own.sock")).unwrap_or_default();
    attack(&world, CLOSED, abstract_only, &[&datagrams]);
    drop(host.0.stdin.take());
    let mut rest = String::new();
    heard.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "something reached the host");
}

#[test]
fn families_that_no_policy_can_speak_of_are_refused() {
    let world = World::new();
    attack(&world, CLOSED, include_str!("attacks/sockets.py"), &[]);
    world.assert_refused("proc.syscall", "socket");
}
