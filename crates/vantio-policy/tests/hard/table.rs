//! Files of cases.

use std::net::SocketAddr;

use vantio_core::{Access, Context, Effect};
use vantio_policy::{Bindings, PolicyProgram};

use crate::{
    evaluator::{Policy, World},
    question::{Aim, Question},
};

/// A policy and what is asked of it.
pub struct Asked {
    pub policy: Policy,
    pub world: World,
    pub cases: Vec<Case>,
}

/// One line.
pub struct Case {
    /// File and line.
    pub place: String,
    /// As the evaluator words it.
    pub outcome: String,
    pub question: Question,
    pub reason: String,
}

pub fn parse(file: &str, text: &str) -> Vec<Asked> {
    let mut all: Vec<Asked> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", index + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with("policy ") {
            all.push(Asked::new());
            continue;
        }
        let asked = all.last_mut().expect("a line belongs to a policy");
        if line.contains('|') {
            asked.cases.push(Case::parse(place, line));
        } else {
            asked.add(line, &place);
        }
    }
    all
}

impl Asked {
    fn new() -> Self {
        let bindings = Bindings {
            workspace: b"/home/u/w".to_vec(),
            home: b"/home/u".to_vec(),
            tmp: b"/tmp".to_vec(),
            ..Bindings::default()
        };
        let world = World { bindings, ..World::default() };
        Self { policy: Policy { mode: "enforce", ..Policy::default() }, world, cases: Vec::new() }
    }

    fn add(&mut self, line: &str, place: &str) {
        let (key, value) = line.split_once(' ').unwrap();
        if key == "on" {
            return value.split_whitespace().for_each(|word| self.on(word));
        }
        if key == "mode" {
            self.policy.mode =
                ["enforce", "monitor", "learn"].into_iter().find(|mode| *mode == value).unwrap();
            return;
        }
        let section = PolicyProgram::SECTIONS.into_iter().find(|section| section.name() == key);
        let section = section.unwrap_or_else(|| panic!("{place}: there is no list {key}"));
        self.policy.rules.push((section, text(value.trim())));
    }

    fn on(&mut self, word: &str) {
        let (key, value) = word.split_once('=').unwrap();
        let pair = || value.split_once('>').unwrap();
        let bindings = &mut self.world.bindings;
        match key {
            "workspace" => bindings.workspace = bytes(value),
            "home" => bindings.home = bytes(value),
            "tmp" => bindings.tmp = bytes(value),
            "alias" => bindings.aliases.push((bytes(pair().0), bytes(pair().1))),
            "program" => {
                let (name, paths) = pair();
                bindings.programs.push((name.to_owned(), paths.split(',').map(bytes).collect()));
            }
            "host" => bindings.host_addresses.push(value.parse().unwrap()),
            "answer" => self.world.answers.push((pair().0.to_owned(), pair().1.parse().unwrap())),
            "spelled" => self.world.a_labels.push((text(pair().0), pair().1.to_owned())),
            other => panic!("{other}"),
        }
    }
}

impl Case {
    fn parse(place: String, line: &str) -> Self {
        let mut columns = line.split('|').map(str::trim);
        let outcome = columns.next().unwrap().to_owned();
        let question = question(columns.next().unwrap());
        let reason = columns.next().unwrap().to_owned();
        assert!(!reason.is_empty() && columns.next().is_none(), "{place}: outcome, intent, reason");
        Self { place, outcome, question, reason }
    }
}

fn question(words: &str) -> Question {
    let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
    let at = |access, subtree| Aim::Path { path: bytes(rest), access, subtree };
    let two = |subtree| {
        let (from, to) = rest.split_once(" -> ").unwrap();
        Aim::Paths { from: bytes(from), to: bytes(to), subtree }
    };
    let endpoint = |is_udp| {
        let address: SocketAddr = rest.parse().unwrap();
        Aim::Endpoint { is_udp, address: address.ip(), port: address.port(), in_run: false }
    };
    let (effect, aim) = match verb {
        "read" => (Effect::FsOpen, at(Access::Read, false)),
        "write" => (Effect::FsOpen, at(Access::Write, false)),
        "write-all" => (Effect::FsOpen, at(Access::Write, true)),
        "stat" => (Effect::FsStat, at(Access::Read, false)),
        "exec" => (Effect::ProcExec, at(Access::Read, false)),
        "rename" => (Effect::FsRename, two(false)),
        "rename-all" => (Effect::FsRename, two(true)),
        "link" => (Effect::FsLink, two(false)),
        "connect" => (Effect::NetConnect, endpoint(false)),
        "udp" => (Effect::NetConnect, endpoint(true)),
        "unix" => (Effect::NetConnect, Aim::Unix(bytes(rest))),
        "dns" => (Effect::NetDns, Aim::Name(text(rest))),
        "signal" => (Effect::ProcSignal, Aim::Process(rest.parse().unwrap())),
        "tool" => (Effect::ToolCall, Aim::Named(text(rest))),
        "infer" => (Effect::Infer, Aim::Named(text(rest))),
        other => (Effect::from_name(other).unwrap_or_else(|| panic!("{other}")), at(Access::Write, false)),
    };
    Question { effect, aim, context: Context::default() }
}

fn text(written: &str) -> String {
    String::from_utf8(bytes(written)).unwrap()
}

/// The bytes that a text of a table stands for.
fn bytes(written: &str) -> Vec<u8> {
    let Some(at) = ["\\x", "\\u{", "\\r{", "\\s"].iter().filter_map(|escape| written.find(escape)).min()
    else {
        return written.as_bytes().to_vec();
    };
    let (before, escaped) = written.split_at(at);
    let braced = || escaped[3..].split_once('}').unwrap();
    let (middle, after) = match &escaped[..2] {
        "\\x" => (vec![u8::from_str_radix(&escaped[2..4], 16).unwrap()], &escaped[4..]),
        "\\s" => (b" ".to_vec(), &escaped[2..]),
        "\\u" => {
            let character = char::from_u32(u32::from_str_radix(braced().0, 16).unwrap()).unwrap();
            (character.to_string().into_bytes(), braced().1)
        }
        _ => {
            let (count, repeated) = braced().0.split_once(',').unwrap();
            (repeated.repeat(count.parse().unwrap()).into_bytes(), braced().1)
        }
    };
    [before.as_bytes(), &middle, &bytes(after)].concat()
}

#[test]
fn escapes_stand_for_bytes() {
    assert_eq!(bytes("a\\xffb\\u{e9}\\r{3,xy}\\s\\*"), b"a\xffb\xc3\xa9xyxyxy \\*");
}
