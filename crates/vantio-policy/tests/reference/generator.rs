//! Random policies, worlds and intents, of few and short names, so that they often meet.

use vantio_core::{Access, Context, Effect, Labels, Section};
use vantio_policy::Bindings;

use crate::{
    dice::Dice,
    evaluator::{
        Policy, World,
        guards::{Event, Guards, Order, Scope, Sink, Threshold},
    },
    question::{Aim, Question},
};

const NAMES: [&[u8]; 9] = [b"a", b"b", b"ab", b".e", b"w", b"h", "é".as_bytes(), b"\xff", b"*"];
const COMPONENTS: [&str; 20] = [
    "a", "b", "ab", ".e", "w", "h", "é", "*", "?", "a*", "*b", "*.e", "[ab]", "[!a]", "[a-c]?", "**", "**",
    "\\*", ".", "",
];
const ANCHORS: [&str; 8] = ["", "", "", "${workspace}", "~", "${home}", "${tmp}", "**"];
const PROGRAMS: [&str; 3] = ["git", "a", "["];

const HOSTS: [&str; 20] = [
    "unix.",
    "*",
    "a.com",
    "A.Com.",
    "*.a.com",
    "x.a.com",
    "*.com",
    "com",
    "b.org",
    "_srv.b.org",
    "8.8.8.8",
    "8.8.0.0/16",
    "10.0.0.0/8",
    "127.0.0.0/8",
    "0.0.0.0/0",
    "[::/0]",
    "[64:ff9b::/96]",
    "[2606:4700::]/32",
    "[::1]",
    "198.51.99.7",
];
const PORTS: [&str; 10] =
    ["", "", "", ":*", ":80", ":22,443", ":70-90", ":1-65535", ":1-79,80,81-65535", ":5432"];
const DOMAINS: [&str; 9] =
    ["a.com", "x.a.com", "y.x.a.com", "ba.com", "com", "b.org", "_srv.b.org", "c.net", "A.com"];
const ADDRESSES: [&str; 24] = [
    "8.8.8.8",
    "8.8.4.4",
    "9.9.9.9",
    "10.0.0.1",
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "169.254.169.254",
    "224.0.0.1",
    "198.51.99.7",
    "192.168.1.1",
    "::1",
    "::",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::10.0.0.1",
    "64:ff9b::808:808",
    "64:ff9b::a00:1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "2606:4700::1",
    "fd00::1",
    "fe80::1",
    "ff02::1",
];
const HOSTILE_PATHS: [&[u8]; 14] = [
    b"", b"/", b"//", b"a", b"/a/", b"//a", b"/a//b", b"/./a", b"/a/.", b"/a/..", b"/..", b"/a\0", b"/a/\0b",
    b"/...",
];

pub fn policy(dice: &mut Dice) -> Policy {
    let mut policy =
        Policy { mode: dice.pick(&["enforce", "enforce", "monitor", "learn"]), ..Policy::default() };
    for section in [Section::FsRead, Section::FsWrite, Section::FsDeny] {
        policy.rules.extend(dice.some(0, 3, |dice| (section, path_pattern(dice))));
    }
    if dice.chance(30) {
        policy.rules.push((Section::FsWrite, "/".to_owned()));
    }
    for section in [Section::ExecAllow, Section::ExecDeny] {
        policy.rules.extend(dice.some(0, 3, |dice| (section, program(dice))));
    }
    policy.rules.extend(dice.some(0, 4, |dice| (Section::NetAllow, network_rule(dice))));
    policy.rules.extend(dice.some(0, 2, |dice| (Section::NetDeny, network_rule(dice))));
    policy.rules.extend(dice.some(0, 3, |dice| (Section::ToolsAllow, dice.pick(&TOOLS).to_owned())));
    policy.rules.extend(dice.some(0, 2, |dice| (Section::ToolsDeny, dice.pick(&TOOLS).to_owned())));
    policy.rules.extend(dice.some(0, 2, |dice| (Section::InferModels, dice.pick(&TOOLS).to_owned())));
    if dice.chance(60) {
        policy.guards = guards(dice);
    }
    policy
}

fn guards(dice: &mut Dice) -> Guards {
    let mut budgets = Vec::new();
    for (name, limits) in BUDGETS {
        if dice.chance(15) {
            budgets.push((name, dice.pick(&limits)));
        }
    }
    let mut reversibility = Vec::new();
    for effect in [Effect::NetConnect, Effect::NetDns, Effect::FsUnlink, Effect::ToolCall, Effect::FsStat] {
        if dice.chance(10) {
            let values = ["none", "reversible", "compensatable", "irreversible", "unknown"];
            reversibility.push((effect, dice.pick(&values)));
        }
    }
    Guards {
        sources: dice.some(0, 2, |dice| dice.pick(&LABELS)),
        sinks: dice.some(0, 3, sink),
        order: dice.some(0, 2, |dice| {
            let since = scope(dice);
            let is_exec = dice.chance(20);
            let (unless_after, exit) = if is_exec {
                let scope = Scope { effects: vec![Effect::ProcExec], access: None, targets: Vec::new() };
                (scope, dice.pick(&[None, Some(0)]))
            } else {
                (scope(dice), None)
            };
            Order { refuse: scope(dice), unless_after, exit, since }
        }),
        thresholds: dice.some(0, 2, |dice| Threshold {
            scope: scope(dice),
            measure: dice.pick(&["count", "bytes", "distinct"]),
            limit: dice.pick(&[0, 1, 3, 10, 200]),
            within_ms: dice.pick(&[1, 5, 50, 1000]),
            holds: dice.chance(50),
        }),
        hold: dice.some(0, 1, scope),
        budgets,
        kill_switch: dice.below(100) == 99,
        reversibility,
    }
}

const BUDGETS: [(&str, [u64; 4]); 5] = [
    ("calls", [0, 1, 5, 50]),
    ("file_bytes", [0, 10, 500, 5000]),
    ("network_bytes", [0, 10, 500, 5000]),
    ("wall_ms", [0, 50, 200, 1000]),
    ("tokens", [0, 1, 2, 3]),
];
const LABELS: [&str; 3] = ["secret", "a", "untrusted"];
const TOOLS: [&str; 9] = ["a", "a/b", "a/*", "*", "*b", "a*b", "m:1", "m:*", "é*"];
const TOOL_NAMES: [&str; 8] = ["a", "a/b", "a/b/b", "b", "m:1", "m:", "é", "aé/b"];

fn sink(dice: &mut Dice) -> Sink {
    let key = dice.pick(&["fs", "net", "exec", "tools", "infer", "heap"]);
    let targets = dice.some(1, 2, |dice| match key {
        "fs" => path_pattern(dice),
        "exec" => program(dice),
        "net" => network_rule(dice),
        _ => dice.pick(&TOOLS).to_owned(),
    });
    Sink { label: dice.pick(&[None, Some("secret"), Some("a")]), key, targets }
}

/// A scope of one effect or of several that have targets of one kind.
fn scope(dice: &mut Dice) -> Scope {
    let kinds: [&[Effect]; 8] = [
        &[Effect::FsOpen],
        &[Effect::FsOpen, Effect::FsUnlink, Effect::FsRename],
        &[Effect::FsRmdir, Effect::FsRename],
        &[Effect::ProcExec],
        &[Effect::NetConnect],
        &[Effect::NetConnect, Effect::NetDns],
        &[Effect::ToolCall, Effect::Infer],
        &[Effect::ToolCall],
    ];
    let effects = dice.pick(&kinds).to_vec();
    let has_open = effects.contains(&Effect::FsOpen);
    let access = if has_open { dice.pick(&[None, Some(Access::Read), Some(Access::Write)]) } else { None };
    let targets = dice.some(0, 2, |dice| match effects[0] {
        Effect::ProcExec => program(dice),
        Effect::NetConnect => network_rule(dice),
        Effect::ToolCall => dice.pick(&TOOLS).to_owned(),
        _ => path_pattern(dice),
    });
    Scope { effects, access, targets }
}

fn program(dice: &mut Dice) -> String {
    let is_bare = dice.chance(30);
    if is_bare { dice.pick(&PROGRAMS).to_owned() } else { path_pattern(dice) }
}

fn path_pattern(dice: &mut Dice) -> String {
    let anchor = dice.pick(&ANCHORS);
    let components = dice.some(0, 4, |dice| dice.pick(&COMPONENTS));
    let text = format!("{anchor}/{}", components.join("/"));
    if dice.chance(10) { format!("{text}/") } else { text }
}

fn network_rule(dice: &mut Dice) -> String {
    if dice.chance(20) {
        return format!("unix:{}", path_pattern(dice));
    }
    let scheme = dice.pick(&["", "", "", "udp://"]);
    format!("{scheme}{}{}", dice.pick(&HOSTS), dice.pick(&PORTS))
}

pub fn world(dice: &mut Dice) -> World {
    let workspaces: [&[u8]; 9] = [b"/w", b"/w", b"/h/w", b"/h", b"/", b"", b"w", b"/w/", b"/a*/[b]\xff"];
    let homes: [&[u8]; 6] = [b"/h", b"/h", b"/", b"/w/h/", b"", b"/a/b"];
    let bindings = Bindings {
        workspace: dice.pick(&workspaces).to_vec(),
        home: dice.pick(&homes).to_vec(),
        tmp: dice.pick(&[&b"/tmp"[..], b"/b", b"/w/a"]).to_vec(),
        aliases: dice.some(0, 2, |dice| (path_of(dice, 1, 2), path_of(dice, 0, 2))),
        programs: dice.some(0, 3, |dice| {
            (dice.pick(&PROGRAMS).to_owned(), dice.some(0, 2, |dice| path_of(dice, 1, 3)))
        }),
        host_addresses: dice.some(0, 2, |dice| {
            dice.pick(&["198.51.99.7", "10.0.0.1", "8.8.4.4", "2606:4700::1"]).parse().unwrap()
        }),
    };
    let answers =
        dice.some(0, 5, |dice| (dice.pick(&DOMAINS[..8]).to_owned(), dice.pick(&ADDRESSES).parse().unwrap()));
    World {
        bindings,
        answers,
        is_killed: dice.below(50) == 0,
        is_foreign: dice.below(100) == 0,
        a_labels: Vec::new(),
    }
}

fn path_of(dice: &mut Dice, least: usize, most: usize) -> Vec<u8> {
    let names = dice.some(least, most, |dice| dice.pick(&NAMES));
    [b"/", names.join(&b'/').as_slice()].concat()
}

pub fn question(dice: &mut Dice) -> Question {
    let effect = match dice.below(10) {
        0..=2 => Effect::FsOpen,
        3 => Effect::ProcExec,
        4 => dice.pick(&[Effect::FsRename, Effect::FsLink]),
        5 => Effect::NetConnect,
        6 => dice.pick(&[Effect::NetConnect, Effect::NetDns]),
        7 => dice.pick(&[Effect::ToolCall, Effect::ToolCall, Effect::Infer]),
        _ => dice.pick(Effect::ALL),
    };
    let context = Context {
        labels: Labels::from_bits(dice.pick(&[0, 0, 0, 1, 2, 3, 8, 1 << 63])),
        elapsed_ms: 0,
        bytes: dice.pick(&[0, 0, 1, 10, 100]),
    };
    Question { effect, aim: aim(dice, effect), context }
}

fn aim(dice: &mut Dice, effect: Effect) -> Aim {
    let fitting = match effect {
        Effect::FsRename | Effect::FsLink => 1,
        Effect::NetConnect => dice.pick(&[2, 2, 2, 4]),
        Effect::NetBind | Effect::NetListen => 2,
        Effect::NetDns => 3,
        Effect::ProcSignal => 5,
        Effect::ProcSyscall => 6,
        Effect::ToolCall | Effect::Infer | Effect::HeapRead | Effect::HeapWrite | Effect::IpcSend => 7,
        _ => 0,
    };
    let kind = if dice.chance(3) { dice.below(8) } else { fitting };
    let subtree = dice.chance(20);
    match kind {
        0 => {
            let access = dice.pick(&[Access::Read, Access::Write]);
            Aim::Path { path: path(dice), access, subtree }
        }
        1 => Aim::Paths { from: path(dice), to: path(dice), subtree },
        2 => Aim::Endpoint {
            is_udp: dice.chance(25),
            address: dice.pick(&ADDRESSES).parse().unwrap(),
            port: dice.pick(&[0, 22, 80, 81, 443, 443, 5432, 65535]),
            in_run: dice.chance(3),
        },
        3 => Aim::Name(domain(dice)),
        4 => Aim::Unix(path(dice)),
        5 => Aim::Process(dice.below(4) as u32),
        6 => Aim::Syscall,
        _ => Aim::Named(dice.pick(&TOOL_NAMES).to_owned()),
    }
}

fn path(dice: &mut Dice) -> Vec<u8> {
    if dice.chance(2) { dice.pick(&HOSTILE_PATHS).to_vec() } else { path_of(dice, 0, 5) }
}

fn domain(dice: &mut Dice) -> String {
    match dice.below(40) {
        0 => String::new(),
        1 => "a.com.".to_owned(),
        2 => "a..com".to_owned(),
        3 => format!("{}.com", "a".repeat(64)),
        _ => dice.pick(&DOMAINS).to_owned(),
    }
}

/// A moment a little after the last that was remembered, and now and then one before it.
pub fn time(dice: &mut Dice, history: &[Event]) -> u64 {
    let last = history.last().map_or(0, |event| event.at_ms);
    if dice.chance(10) { last / 2 } else { last + dice.below(6) as u64 }
}
