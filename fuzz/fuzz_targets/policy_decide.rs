//! No document and no intent make `decide` panic, and what may be executed may be
//! read.

#![no_main]

use std::net::{IpAddr, SocketAddr};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use vantio_core::{Access, Effect, Endpoint, Intent, Target, Transport};
use vantio_policy::{Bindings, State, compile, decide};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    document: &'a [u8],
    first: &'a [u8],
    second: &'a [u8],
    name: &'a str,
    address: IpAddr,
    port: u16,
    effect: u8,
    kind: u8,
    is_write: bool,
    subtree: bool,
}

fuzz_target!(|input: Input<'_>| {
    let Ok(compiled) = compile(input.document, "policy.yaml") else { return };
    let bindings = Bindings {
        workspace: b"/w".to_vec(),
        home: b"/h".to_vec(),
        tmp: b"/tmp".to_vec(),
        ..Bindings::default()
    };
    let mut state = State::new(&compiled.program, bindings);
    state.learn_name(input.name, input.address, 0);
    let access = if input.is_write { Access::Write } else { Access::Read };
    let transport = if input.is_write { Transport::Udp } else { Transport::Tcp };
    let endpoint =
        Endpoint { transport, address: SocketAddr::new(input.address, input.port), in_run: input.subtree };
    let target = match input.kind % 7 {
        0 => Target::Path { path: input.first, access, subtree: input.subtree },
        1 => Target::Paths { from: input.first, to: input.second, subtree: input.subtree },
        2 => Target::Endpoint(endpoint),
        3 => Target::Name(input.name),
        4 => Target::Unix(input.first),
        5 => Target::Process(input.port.into()),
        _ => Target::Named(input.name),
    };
    let effect = Effect::ALL[usize::from(input.effect) % Effect::ALL.len()];
    let ask = |effect, target| decide(&compiled.program, &state, &Intent::new(effect, target));
    let _ = ask(effect, target);
    let exec =
        |path| ask(Effect::ProcExec, Target::Path { path, access: Access::Read, subtree: false }).is_permit();
    let open =
        |path| ask(Effect::FsOpen, Target::Path { path, access: Access::Read, subtree: false }).is_permit();
    assert!(!exec(input.first) || open(input.first));
});
