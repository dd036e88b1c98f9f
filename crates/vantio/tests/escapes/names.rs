//! Names that resolve to where no name may lead, and queries that carry secrets.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    assert_held, attack_command,
    common::{
        CLOSED, Outcome, World, finish,
        server::{Http, Udp},
    },
};

/// A resolver that answers A queries by `address`, with a time to live of zero.
fn resolver(address: impl Fn(&str) -> Option<Ipv4Addr> + Send + 'static) -> Udp {
    Udp::answering(move |query| {
        let name = name_of(query)?;
        let question_end = 12 + name.len() + 2 + 4;
        let is_a = query.get(question_end - 4..question_end - 2)? == [0, 1];
        let answer = address(&name).filter(|_| is_a);
        let mut reply = query[..2].to_vec();
        reply.extend([0x81, if address(&name).is_some() { 0x80 } else { 0x83 }, 0, 1]);
        reply.extend([0, u8::from(answer.is_some()), 0, 0, 0, 0]);
        reply.extend(&query[12..question_end]);
        if let Some(address) = answer {
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            reply.extend(address.octets());
        }
        Some(reply)
    })
}

/// The first name that `query` asks for, in lower case.
fn name_of(query: &[u8]) -> Option<String> {
    let mut labels = Vec::new();
    let mut rest = query.get(12..)?;
    while let [length, after @ ..] = rest
        && *length > 0
    {
        labels.push(String::from_utf8_lossy(after.get(..usize::from(*length))?).to_lowercase());
        rest = after.get(usize::from(*length)..)?;
    }
    Some(labels.join("."))
}

/// Runs the attack with `resolver` as the supervisor's upstream.
fn attack_names(world: &World, policy: &str, resolver: &Udp, arguments: &[&str]) -> Outcome {
    let command = attack_command(world, include_str!("attacks/names.py"), arguments);
    finish(world.governed(policy, &command).env("VANTIO_DNS", resolver.address.to_string()))
}

#[test]
fn names_that_resolve_to_closed_addresses_are_refused() {
    let world = World::new();
    let server = Http::on("0.0.0.0:0", |_| b"leak".to_vec());
    let port = server.address.port().to_string();
    let resolver = resolver(|name| match name {
        "loopback.example.test" => Some(Ipv4Addr::LOCALHOST),
        "zero.example.test" => Some(Ipv4Addr::UNSPECIFIED),
        "private.example.test" => Some(Ipv4Addr::new(10, 1, 2, 3)),
        "metadata.example.test" => Some(Ipv4Addr::new(169, 254, 169, 254)),
        "multicast.example.test" => Some(Ipv4Addr::new(224, 0, 0, 1)),
        _ => None,
    });
    let policy = format!("{CLOSED}net: {{allow: [\"*.example.test:*\"]}}\n");
    let names =
        ["loopback", "zero", "private", "metadata", "multicast"].map(|name| format!("{name}.example.test"));
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let outcome = attack_names(&world, &policy, &resolver, &[&[&*port][..], &names].concat());
    assert_held(&outcome);
    assert_eq!(server.connections(), 0);
    assert!(!resolver.datagrams().is_empty(), "permitted names were never asked for");
    assert!(!world.refusals().is_empty(), "nothing was recorded: {}", outcome.describe());
    let why = finish(&mut world.vantio(["why", "last"]));
    assert!(why.stdout.contains("permit: only a rule for the address itself can"), "{}", why.describe());
}

#[test]
fn a_name_that_changes_its_address_is_refused() {
    let world = World::new();
    let server = Http::on("0.0.0.0:0", |_| b"leak".to_vec());
    let port = server.address.port().to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // Public at first, loopback ever after: what a rebinding page does.
    let resolver = resolver(move |_| {
        let first = count.fetch_add(1, Ordering::SeqCst) < 2;
        Some(if first { Ipv4Addr::new(198, 51, 100, 7) } else { Ipv4Addr::LOCALHOST })
    });
    let policy = format!("{CLOSED}net: {{allow: [\"rebind.example.test:{port}\"]}}\n");
    let script = "import socket, sys\nfor _ in range(4):\n    try:\n        print(socket.getaddrinfo('rebind.example.test', 0))\n        socket.create_connection(('127.0.0.1', int(sys.argv[1])), 2)\n        print('REACHED')\n    except OSError as error:\n        print(error)\nprint('DONE')\n";
    let command = ["/usr/bin/python3", "-c", script, &port];
    let outcome = finish(world.governed(&policy, &command).env("VANTIO_DNS", resolver.address.to_string()));
    assert_held(&outcome);
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_query_for_a_closed_name_never_leaves() {
    let world = World::new();
    let resolver = resolver(|_| Some(Ipv4Addr::new(198, 51, 100, 7)));
    let policy = format!("{CLOSED}net: {{allow: [\"*.example.test\"]}}\n");
    let outcome = attack_names(&world, &policy, &resolver, &["80"]);
    assert!(outcome.stdout.contains("tunnel refused"), "{}", outcome.describe());
    assert!(!outcome.stdout.contains("REACHED"), "{}", outcome.describe());
    for datagram in resolver.datagrams() {
        assert!(!String::from_utf8_lossy(&datagram).contains("evil"), "the query left");
    }
    world.assert_refused("net.dns", "evil.example");
}
