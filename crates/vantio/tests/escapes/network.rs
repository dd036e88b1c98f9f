//! Addresses that the policy does not open, by every family and call.

use std::{
    net::{IpAddr, UdpSocket},
    process::Command,
};

use crate::{
    attack,
    common::{
        CLOSED, World, finish,
        server::{Http, Udp},
    },
};

/// An address of this host that is not loopback, or loopback when it has none.
fn host_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Connecting a datagram socket sends nothing; it only picks a route.
    let routed = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    routed.map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip())
}

#[test]
fn no_family_and_no_call_reaches_a_closed_address() {
    let world = World::new();
    let permitted = Http::start();
    let everywhere = Http::on("0.0.0.0:0", |_| b"leak".to_vec());
    let six = Http::on("[::]:0", |_| b"leak".to_vec());
    let udp = Udp::on("0.0.0.0:0");
    let policy = format!("{CLOSED}net: {{allow: [\"{}\"]}}\n", permitted.address);
    let [port, port6, datagrams] =
        [everywhere.address, six.address, udp.address].map(|address| address.port().to_string());
    let host = host_address().to_string();
    let baseline = (everywhere.connections(), six.connections(), udp.datagrams().len());
    attack(&world, &policy, include_str!("attacks/network.py"), &[&port, &port6, &datagrams, &host]);
    assert_eq!((everywhere.connections(), six.connections(), udp.datagrams().len()), baseline);
    world.assert_refused("net.connect", "198.51.100.7:80");
    world.assert_refused("net.connect", "169.254.169.254:80");
    world.assert_refused("net.connect", "[2001:db8::7]:80");
}

#[test]
fn the_permitted_address_is_reached_and_the_next_port_is_not() {
    let world = World::new();
    let (permitted, denied) = (Http::start(), Http::start());
    let policy = format!("{CLOSED}net: {{allow: [\"{}\"]}}\n", permitted.address);
    let curl =
        |server: &Http| ["/usr/bin/curl", "-sS", "-m", "10", &server.url("/x")].map(str::to_owned).to_vec();
    let run = |words: Vec<String>| world.run(&policy, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let outcome = run(curl(&permitted));
    assert_eq!(outcome.assert_success().stdout, "hello from /x\n");
    assert_eq!(run(curl(&denied)).code(), 7);
    assert_eq!(denied.connections(), 0);
}

#[test]
fn listening_in_a_run_is_not_heard_on_the_host() {
    let world = World::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = format!(
        "exec 2>&1; python3 -m http.server --bind 0.0.0.0 {free} >/dev/null & for i in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:{free}/ && break; sleep 0.1; done; echo up; sleep 2"
    );
    let child = crate::common::start(&mut world.governed(CLOSED, &["/bin/sh", "-c", &script]));
    let outcome = finish(Command::new("/usr/bin/curl").args([
        "-sS",
        "--retry",
        "20",
        "--retry-delay",
        "0",
        "--retry-connrefused",
        "--retry-max-time",
        "2",
        &format!("http://127.0.0.1:{free}/"),
    ]));
    let output = child.wait_with_output().unwrap();
    assert_eq!(outcome.code(), 7, "{}", outcome.describe());
    assert!(String::from_utf8_lossy(&output.stdout).contains("up"), "{output:?}");
}
