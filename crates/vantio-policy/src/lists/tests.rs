//! The compiled form against the lists judged rule by rule: the same verdict, by the same
//! rule, for policies and intents whose parts often meet.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::{IpAddr, SocketAddr};

use proptest::{collection::vec, prelude::*, sample::select};
use vantio_core::{Access, Effect, Endpoint, Intent, Target, Transport};

use super::linear;
use crate::{
    Bindings, PolicyProgram, Rule, State,
    program::Parts,
    rule::{LISTS, Rules, SECTIONS},
};

/// Two of these do not end within the 64 bytes of a path that are looked at together.
const LONG: &str = "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffb";

fn path_pattern() -> impl Strategy<Value = String> {
    let start = select(alloc::vec!["", "", "${workspace}", "~", "**", "${tmp}"]);
    let parts = [
        "a", "b", "ab", "w", "*", "?", "a*", "*b", "[ab]", "[!a]", "**", "**", "a*b", "*a*", "h", "u", "é*",
        "?b", LONG,
    ];
    (start, vec(select(parts.to_vec()), 0..5)).prop_map(|(start, parts)| match parts.as_slice() {
        [] if start.is_empty() || start == "~" || start == "**" => format!("{start}/"),
        [] => start.to_string(),
        parts => format!("{start}/{}", parts.join("/")),
    })
}

fn exec_pattern() -> impl Strategy<Value = String> {
    prop_oneof![3 => path_pattern(), 1 => select(alloc::vec!["git", "sh"]).prop_map(str::to_string)]
}

fn net_pattern() -> impl Strategy<Value = String> {
    let hosts = [
        "*",
        "a.com",
        "b.a.com",
        "*.a.com",
        "c.b.a.com",
        "*.com",
        "com",
        "8.8.8.8",
        "8.8.0.0/16",
        "10.0.0.0/8",
        "0.0.0.0/0",
        "127.0.0.1",
        "[::/0]",
        "[2606:4700::/32]",
        "[::1]",
        "[64:ff9b::/96]",
    ];
    let ports = ["", ":*", ":443", ":80,443", ":1-500", ":400-450,8080", ":22"];
    let endpoint = (select(alloc::vec!["", "", "udp://"]), select(hosts.to_vec()), select(ports.to_vec()))
        .prop_map(|(scheme, host, ports)| format!("{scheme}{host}{ports}"));
    prop_oneof![4 => endpoint, 1 => path_pattern().prop_map(|path| format!("unix:{path}"))]
}

fn name_pattern() -> impl Strategy<Value = String> {
    let names = ["*", "a", "a*", "*b", "a*b", "ab", "a/*", "b[*", "*a*", "é*"];
    select(names.to_vec()).prop_map(str::to_string)
}

pub(crate) fn program() -> impl Strategy<Value = PolicyProgram> {
    let paths = || vec(path_pattern(), 0..4);
    let execs = || vec(exec_pattern(), 0..3);
    let nets = || vec(net_pattern(), 0..5);
    let names = || vec(name_pattern(), 0..3);
    let lists = (paths(), paths(), paths(), execs(), execs(), nets(), nets(), names(), names(), names());
    lists.prop_map(|(read, write, deny, exec, exec_deny, net, net_deny, tools, tools_deny, models)| {
        let texts: [Vec<String>; LISTS] =
            [read, write, deny, exec, exec_deny, net, net_deny, tools, tools_deny, models];
        let mut rules: [Vec<Rule>; LISTS] = [const { Vec::new() }; LISTS];
        for ((section, texts), rules) in SECTIONS.into_iter().zip(texts).zip(&mut rules) {
            let parsed = texts.iter().map(|text| Rule::parse(section, text, crate::names::lower_ascii));
            *rules = parsed.map(|rule| rule.unwrap()).collect();
        }
        PolicyProgram::new(Parts { rules: Rules::new(rules), ..Parts::default() })
    })
}

/// Bindings under which variables, aliases and programs often overlap.
pub(crate) fn bindings() -> impl Strategy<Value = Bindings> {
    let place = || select(alloc::vec!["/", "/a", "/w", "/h/u", "/h/u/w", "/a/b", "/b", ""]);
    let bytes = |text: &str| text.as_bytes().to_vec();
    (place(), place(), place(), vec((place(), place()), 0..4), vec((place(), place()), 0..2)).prop_map(
        move |(workspace, home, tmp, aliases, programs)| Bindings {
            workspace: bytes(workspace),
            home: bytes(home),
            tmp: bytes(tmp),
            aliases: aliases.into_iter().map(|(from, to)| (bytes(from), bytes(to))).collect(),
            programs: programs
                .into_iter()
                .zip(["git", "sh"])
                .map(|((one, other), name)| (name.to_string(), [bytes(one), bytes(other)].to_vec()))
                .collect(),
            host_addresses: ["8.8.4.4".parse().unwrap()].to_vec(),
        },
    )
}

pub(crate) fn path() -> impl Strategy<Value = Vec<u8>> {
    let names: [&[u8]; 11] =
        [b"a", b"b", b"ab", b"w", b"h", b"u", b"a\xffb", "é".as_bytes(), b"zz", b"aab", LONG.as_bytes()];
    let path =
        vec(select(names.to_vec()), 0..6).prop_map(|names| [b"/", names.join(&b'/').as_slice()].concat());
    let broken = select(alloc::vec![
        "",
        "a",
        "//",
        "/a/",
        "/a//b",
        "//a",
        "/./a",
        "/a/..",
        "/a\0b",
        "/aaaaaaaaaaaa\0",
        "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa//a",
        "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/../a",
        "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/../a",
        "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/"
    ]);
    prop_oneof![12 => path, 1 => broken.prop_map(|path| path.as_bytes().to_vec())]
}

pub(crate) const ADDRESSES: [&str; 9] = [
    "8.8.8.8",
    "8.8.4.4",
    "10.0.0.1",
    "127.0.0.1",
    "::1",
    "64:ff9b::808:808",
    "2002:7f00:1::1",
    "2606:4700::1",
    "0.0.0.0",
];
pub(crate) const NAMES: [&str; 8] =
    ["a.com", "b.a.com", "c.b.a.com", "com", "x.org", "b.com", "a.com.", "A.com"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn paths_are_judged_as_rule_by_rule(
        program in program(),
        bindings in bindings(),
        from in path(),
        to in path(),
    ) {
        let has_aliases = !bindings.aliases.is_empty();
        let state = State::new(&program, bindings);
        let check = |effect: Effect, target: Target<'_>| {
            let intent = Intent::new(effect, target);
            let expected = linear::judge(&program, &state, &intent);
            let verdict = super::judge(&program, &state, &intent);
            let reaches_below = match target {
                // The root of everything is not removed where anything is denied.
                Target::Path { .. } if from == b"/" && effect == Effect::FsRmdir => return,
                Target::Path { path: b"/", subtree, .. } if subtree => return,
                Target::Path { subtree, .. } => subtree || effect == Effect::FsRmdir,
                Target::Paths { subtree, .. } => subtree,
                _ => false,
            };
            // Where two paths are one by an alias, what is denied below both is the same.
            if has_aliases && reaches_below && !expected.is_permit() {
                return;
            }
            assert_eq!(verdict, expected, "{intent:?}");
        };
        for effect in [Effect::FsOpen, Effect::FsRmdir, Effect::FsStat, Effect::ProcExec, Effect::FsUnlink] {
            for access in [Access::Read, Access::Write] {
                for subtree in [false, true] {
                    check(effect, Target::Path { path: &from, access, subtree });
                }
            }
        }
        for subtree in [false, true] {
            check(Effect::FsRename, Target::Paths { from: &from, to: &to, subtree });
        }
        check(Effect::NetConnect, Target::Unix(&from));
    }

    #[test]
    fn destinations_are_judged_as_rule_by_rule(
        program in program(),
        address in select(ADDRESSES.to_vec()),
        port in select(alloc::vec![0_u16, 22, 80, 425, 443, 8080, u16::MAX]),
        names in vec(select(NAMES.to_vec()), 0..3),
        tool in select(alloc::vec!["a", "ab", "axb", "a/b", "b[x", "", "é", "éa", "\u{1f600}"]),
    ) {
        let mut state = State::new(&program, Bindings::default());
        let ip: IpAddr = address.parse().unwrap();
        for name in &names {
            state.learn_name(name, ip, 0);
        }
        let check = |effect: Effect, target: Target<'_>| {
            let intent = Intent::new(effect, target);
            let expected = linear::judge(&program, &state, &intent);
            assert_eq!(super::judge(&program, &state, &intent), expected, "{intent:?}");
        };
        for transport in [Transport::Tcp, Transport::Udp] {
            let endpoint = Endpoint { transport, address: SocketAddr::new(ip, port), in_run: false };
            check(Effect::NetConnect, Target::Endpoint(endpoint));
        }
        for name in NAMES {
            check(Effect::NetDns, Target::Name(name));
        }
        check(Effect::ToolCall, Target::Named(tool));
        check(Effect::Infer, Target::Named(tool));
    }
}
