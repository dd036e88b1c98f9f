//! What a program sees of the network of a run: as little difference as can be, and nothing that no rule opens.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as LocalAddress, UnixDatagram, UnixListener},
    },
    thread,
    time::{Duration, Instant},
};

use common::{CLOSED, Outcome, World, finish, server::Udp};

const PRELUDE: &str = include_str!("prelude.py");

/// The command line of a Python script, written into the workspace.
fn python<'a>(world: &World, script: &str, arguments: &[&'a str]) -> Vec<&'a str> {
    world.write("script.py", format!("{PRELUDE}\n{script}"));
    [&["/usr/bin/python3", "-B", "script.py"], arguments].concat()
}

fn permitting(rules: &[String]) -> String {
    format!("{CLOSED}net: {{allow: {}}}\n", serde_json::to_string(rules).unwrap())
}

/// Runs a script with and without Vantio; both must print the same.
#[track_caller]
fn same(script: &str, rules: &[String], arguments: &[&str]) {
    let [bare, governed] = [World::new(), World::new()];
    let expected = bare.bare(&python(&bare, script, arguments));
    expected.assert_success();
    let outcome = governed.run(&permitting(rules), &python(&governed, script, arguments));
    assert_eq!(outcome.assert_success().stdout, expected.stdout);
}

#[track_caller]
fn prints(outcome: &Outcome, expected: &str) {
    assert_eq!(outcome.assert_success().stdout, expected);
}

/// A server that reads to the end and tells how much it was.
fn counter() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut data = Vec::new();
                if stream.read_to_end(&mut data).is_ok() {
                    let _ = stream.write_all(format!("got {}", data.len()).as_bytes());
                    let _ = stream.shutdown(Shutdown::Write);
                }
            });
        }
    });
    address
}

/// A listener whose queue is full, so that connecting to it blocks, and what fills it.
fn stuck() -> (TcpListener, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let filler = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener, filler)
}

fn port(address: SocketAddr) -> String {
    address.port().to_string()
}

#[test]
fn the_corners_of_the_socket_calls_are_the_kernels() {
    let server = counter();
    same(include_str!("corners.py"), &[server.to_string()], &[&port(server)]);
}

#[test]
fn a_blocking_connect_ends_as_without_vantio() {
    let (server, (listener, _filler)) = (counter(), stuck());
    let blocked = listener.local_addr().unwrap();
    let rules = [server.to_string(), blocked.to_string()];
    same(include_str!("blocking.py"), &rules, &[&port(server), &port(blocked)]);
}

#[test]
fn a_program_does_not_notice_who_connects_it() {
    let server = counter();
    same(include_str!("unnoticed.py"), &[server.to_string()], &[&port(server)]);
}

#[test]
fn loopback_is_the_runs_own() {
    let server = counter();
    let world = World::new();
    let command = python(&world, include_str!("own.py"), &[]);
    let port = port(server);
    let outcome = world.run(&permitting(&[server.to_string()]), &[command, vec![&port]].concat());
    prints(
        &outcome,
        "options 1 1 77\nduplicates True False True\n127.0.0.1 b'own'\nlocalhost b'own'\n127.0.0.9 b'own'\n\
         0.0.0.0 b'own'\nv6 b'own' b'own'\nunbound b'own'\nreused True\nown first b'own'\n\
         then the host's b'got 0'\ndatagram b'datagram'\n",
    );
    assert!(world.refusals().is_empty(), "{:?}", world.refusals());
}

#[test]
fn a_refused_connect_fails_at_once_and_is_recorded() {
    let world = World::new();
    let script = "
for blocking in (True, False):
    made = tcp()
    made.setblocking(blocking)
    print(connect(made, v4('192.0.2.9', 443)))
print(connect(tcp(socket.AF_INET6), v6('::ffff:192.0.2.9', 444)), connect(tcp(socket.AF_INET6), v6('2001:db8::9', 445)))
";
    let start = Instant::now();
    let outcome = world.run(&permitting(&[]), &python(&world, script, &[]));
    prints(&outcome, "EACCES\nEACCES\nEACCES EACCES\n");
    assert!(start.elapsed() < Duration::from_secs(30));
    world.assert_refused("net.connect", "192.0.2.9:443");
    world.assert_refused("net.connect", "192.0.2.9:444");
    world.assert_refused("net.connect", "[2001:db8::9]:445");
}

#[test]
fn local_sockets_of_the_host_need_a_rule_and_the_runs_own_none() {
    let world = World::new();
    let folder = world.outside();
    let greets = |name: &str| {
        let listener = UnixListener::bind(folder.join(name)).unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.write_all(b"host");
            }
        });
    };
    greets("open");
    greets("closed");
    let datagrams = UnixDatagram::bind(folder.join("open.datagrams")).unwrap();
    datagrams.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let hidden = format!("vantio-{}", std::process::id());
    let _hidden = UnixListener::bind_addr(&LocalAddress::from_abstract_name(&hidden).unwrap()).unwrap();
    let shown = folder.display().to_string();
    let rules = [format!("unix:{shown}/open"), format!("unix:{shown}/open.datagrams")];
    let command = python(&world, include_str!("local.py"), &[&shown, &hidden]);
    let outcome = world.run(&permitting(&rules), &command);
    prints(
        &outcome,
        "named by a rule None b'host'\nanother EACCES\nby a link EACCES\nabstract EACCES\ndatagrams 3 3\n\
         connected None 5\nclosed EACCES\nown own 0o140750\nown b'hello' own\npeer True\nagain EADDRINUSE ENOENT\n\
         moved None ENOENT\ndescriptor b'fd' b'through'\nown abstract None\n",
    );
    let mut received = Vec::new();
    for _ in 0..3 {
        let mut buffer = [0; 16];
        let length = datagrams.recv(&mut buffer).unwrap();
        received.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    assert_eq!(received, ["one", "two", "three"]);
    world.assert_refused("net.connect", &format!("{shown}/closed"));
    world.assert_refused("net.connect", &format!("@{hidden}"));
}

/// A name server: every A question has the address 192.0.2.77, every TXT question an answer.
fn name_server() -> Udp {
    Udp::answering(|query| {
        let end = 12 + query.get(12..)?.iter().position(|byte| *byte == 0)? + 5;
        let data: &[u8] = match query.get(end - 4..end - 2)? {
            [0, 1] => &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77],
            [0, 16] => &[0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 3, 2, b'h', b'i'],
            _ => &[],
        };
        let head = [0x81, 0x80, 0, 1, 0, u8::from(!data.is_empty()), 0, 0, 0, 0];
        Some([&query[..2], &head, &query[12..end], data].concat())
    })
}

#[test]
fn names_are_resolved_for_any_client_and_only_those_a_rule_opens() {
    let world = World::new();
    let server = name_server();
    let mut command =
        world.governed(&permitting(&["*.open.test".into()]), &python(&world, include_str!("names.py"), &[]));
    let outcome = finish(command.env("VANTIO_DNS", server.address.to_string()));
    let asked = |address| {
        format!(
            "{address} True (True, 0, 1)\nclosed (True, 3, 0)\nany (True, 5, 0)\n\
             stream (True, 0, 1)\nstream (True, 0, 1)\n"
        )
    };
    let expected = [
        "['192.0.2.77'] ['192.0.2.77'] ['127.0.0.1', '::1'] True\n".to_owned(),
        asked("198.51.100.53"),
        asked("2001:db8::53"),
        asked("127.0.0.53"),
        "reverse www.open.test\n".to_owned(),
    ];
    prints(&outcome, &expected.concat());
    world.assert_refused("net.dns", "secret.closed.test");
    let leaked = server.datagrams().iter().any(|packet| packet.windows(6).any(|part| part == b"secret"));
    assert!(!leaked, "the name that is not permitted was asked upstream");
}

#[test]
fn datagrams_leave_by_a_rule_only() {
    let world = World::new();
    let echo = || Udp::answering(|payload| Some([b"echo ", payload].concat()));
    let (open, closed) = (echo(), echo());
    let [open_port, closed_port] = [&open, &closed].map(|server| port(server.address));
    let command = python(&world, include_str!("datagrams.py"), &[&open_port, &closed_port]);
    let outcome = world.run(&permitting(&[format!("udp://{}", open.address)]), &command);
    prints(
        &outcome,
        "sendto True\nconnected 3005\nmany True\nclosed EACCES EACCES\nconnects None\n\
         beside TimeoutError('timed out')\n",
    );
    assert!(closed.datagrams().is_empty());
    world.assert_refused("net.connect", "192.0.2.5:123");
    let connects =
        world.refusals().into_iter().filter(|refusal| refusal.target.contains("192.0.2.6")).count();
    assert_eq!(connects, 0, "connecting a datagram socket sends nothing");
}

#[test]
fn a_low_port_is_bound_by_whom_the_kernel_lets() {
    let script = r#"
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        socket.socket(socket.AF_INET, kind).bind(("127.0.0.1", 923))
        print("bound")
    except PermissionError:
        print("refused")
"#;
    same(script, &[], &[]);
}
