//! An explanation tells the story that `decide` decides by.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use proptest::prelude::*;
use vantio_core::{Access, Cause, Decision, Effect, Endpoint, Intent, Labels, Section, Target, Transport};
use vantio_policy::{
    Bindings, PolicyProgram, State, compile, decide,
    explain::{Considered, Explanation, Outcome, Question, Wish, explain, to_a_labels},
    judge,
};

fn bindings() -> Bindings {
    Bindings {
        workspace: b"/w".to_vec(),
        home: b"/h".to_vec(),
        tmp: b"/tmp".to_vec(),
        programs: vec![("git".into(), vec![b"/usr/bin/git".to_vec()])],
        aliases: vec![(b"/l".to_vec(), b"/w/a".to_vec())],
        ..Bindings::default()
    }
}

fn program(document: &str) -> PolicyProgram {
    compile(document.as_bytes(), "test.yaml").unwrap().program
}

/// The outcome of a rule as a person reads it.
fn told(explanation: &Explanation<'_>, section: Section, rule: &str) -> String {
    let found = explanation.considered.iter().find(|it| (it.section, it.rule) == (section, rule));
    found.map_or_else(|| "not considered".to_owned(), ToString::to_string)
}

fn asked(document: &str, effect: Effect, target: &str, access: Access) -> Vec<(String, String)> {
    let program = program(document);
    let mut state = State::new(&program, bindings());
    let wish = Wish { effect, target, to: None, access, subtree: false, is_udp: false, labels: Labels::NONE };
    let question = Question::new(&wish, &program, &bindings(), &mut state, |_| None, to_a_labels).unwrap();
    let explanation = explain(&program, &state, &question.intent());
    let line = |it: &Considered<'_>| (format!("{}: {}", it.section, it.rule), it.to_string());
    explanation.considered.iter().map(line).collect()
}

#[test]
fn losers_say_why_they_lost() {
    let document = "version: 1\nfs:\n  read: [/usr, /usr/lib, '/w/*.md', '/w/a/**', '/w/b', '${workspace}/c/x']\n  deny: ['**/.env']\n";
    let reading = |target| asked(document, Effect::FsOpen, target, Access::Read);
    let story = reading("/usr/lib/x");
    assert_eq!(story[0], ("fs.deny: **/.env".into(), "component 3 is `x`, not `.env`".into()));
    assert_eq!(story[1], ("fs.read: /usr".into(), "decided".into()));
    assert_eq!(
        story[2],
        ("fs.read: /usr/lib".into(), "matches, but `/usr` comes first, to the same effect".into())
    );
    let find = |story: Vec<(String, String)>, rule: &str| {
        story.into_iter().find(|(text, _)| text.ends_with(rule)).unwrap().1
    };
    assert_eq!(find(reading("/w/bb"), ": /w/b"), "component 2 is `bb`, not `b`");
    assert_eq!(
        find(reading("/w/x.md/y"), "*.md"),
        "a final wildcard covers the entries that match, not what is below them"
    );
    assert_eq!(find(reading("/w/c"), "c/x"), "it is about something below");
    let story = reading("/w/b/.env");
    assert_eq!(story[0], ("fs.deny: **/.env".into(), "decided".into()));
    assert_eq!(story[1], ("fs.read: /w/b".into(), "matches, but a deny beats it: fs.deny: **/.env".into()));
    let writing = asked("version: 1\nfs: {write: ['/w/a/**']}\n", Effect::FsOpen, "/w/a", Access::Write);
    assert_eq!(writing, [("fs.write: /w/a/**".to_owned(), "`/**` covers only what is below".to_owned())]);
}

#[test]
fn network_rules_say_why_they_lost() {
    let document = "version: 1\nnet: {allow: [example.com, '*.corp.example:22', '10.0.0.0/8:5432', 'udp://9.9.9.9:53']}\n";
    let connecting = |target| asked(document, Effect::NetConnect, target, Access::Read);
    let find = |story: Vec<(String, String)>, rule: &str| {
        story.into_iter().find(|(text, _)| text.contains(rule)).unwrap().1
    };
    assert_eq!(find(connecting("example.com:443"), "example.com"), "decided");
    assert_eq!(connecting("example.com:22")[0].1, "port 22 is not among 80,443");
    assert_eq!(find(connecting("corp.example:22"), "*.corp"), "it covers names below its own");
    assert_eq!(find(connecting("11.0.0.1:5432"), "10.0.0.0"), "the address is outside of it");
    assert_eq!(
        find(connecting("11.0.0.1:443"), "example.com"),
        "no permitted name is known to lead to this address"
    );
    assert_eq!(find(connecting("9.9.9.9:53"), "udp"), "it is about datagrams");
}

#[test]
fn targets_are_read_from_their_text_alone() {
    let program = program("version: 1\n");
    let mut state = State::new(&program, bindings());
    let mut ask = |effect, target: &str| {
        let wish = Wish {
            effect,
            target,
            to: None,
            access: Access::Read,
            subtree: false,
            is_udp: false,
            labels: Labels::NONE,
        };
        let find = |name: &str| (name == "git").then(|| b"/usr/bin/git".to_vec());
        Question::new(&wish, &program, &bindings(), &mut state, find, to_a_labels)
            .map(|question| question.target())
            .map_err(|error| error.to_string())
    };
    for (target, normalised) in [
        ("/a//b/./c/", "/a/b/c"),
        ("~/x", "/h/x"),
        ("${workspace}", "/w"),
        ("${tmp}/y", "/tmp/y"),
        ("/", "/"),
        ("/a/${workspace}", "/a/${workspace}"),
    ] {
        assert_eq!(ask(Effect::FsOpen, target).as_deref(), Ok(normalised), "{target}");
    }
    for target in ["", "x", "./x", "/a/../b", "/a\0b", "~x", "${nothing}/x"] {
        assert!(ask(Effect::FsOpen, target).is_err(), "{target:?}");
    }
    assert_eq!(ask(Effect::ProcExec, "git").as_deref(), Ok("/usr/bin/git"));
    assert!(ask(Effect::ProcExec, "none").is_err());
    assert_eq!(ask(Effect::NetConnect, "Bücher.example:443").as_deref(), Ok("xn--bcher-kva.example:443"));
    assert_eq!(ask(Effect::NetConnect, "[::ffff:10.0.0.1]:5").as_deref(), Ok("10.0.0.1:5"));
    for target in ["example.com", "::1", "http://example.com", "10.0.0.1", "a b:1"] {
        assert!(ask(Effect::NetConnect, target).is_err(), "{target}");
    }
}

#[test]
fn guards_say_whether_they_act() {
    let document = "version: 1\nfs: {read: [/], write: [/w]}\nnet: {allow: ['*:*']}\n\
        taint:\n  sources: [{label: secret, fs: [/w/keys]}]\n  sinks: [{label: secret, net: ['*']}, {label: secret, fs: [/w/public]}]\n\
        thresholds: [{effect: fs.unlink, count: 100, within: 10s, then: hold}]\n\
        hold: [{effect: net.connect, target: '*.corp.example', approvers: [security-engineer], timeout: 5m}]\n";
    let program = program(document);
    let told = |effect, target: &str, labels: &[String]| {
        let mut state = State::new(&program, bindings());
        let labels = vantio_policy::explain::labels(&program, labels).unwrap();
        let access = Access::Write;
        let wish = Wish { effect, target, to: None, access, subtree: false, is_udp: false, labels };
        let question =
            Question::new(&wish, &program, &bindings(), &mut state, |_| None, to_a_labels).unwrap();
        check(&program, &state, &question.intent());
        let explanation = explain(&program, &state, &question.intent());
        let guards = explanation
            .considered
            .iter()
            .filter(|it| !it.section.name().contains('.') || it.section == Section::TaintSinks);
        let told: Vec<String> = guards.map(|it| format!("{}: {it}", it.section)).collect();
        (explanation.verdict.decision, told)
    };
    let secret = ["secret".to_owned()];
    let idle = "taint.sinks: the process carries no label that it keeps from here";
    let (decision, guards) = told(Effect::NetConnect, "example.com:443", &[]);
    assert_eq!(
        (decision, guards),
        (Decision::Permit, vec![idle.to_owned(), "hold: it is about other targets".to_owned()])
    );
    let (decision, guards) = told(Effect::NetConnect, "x.corp.example:443", &secret);
    assert_eq!(decision, Decision::Collapse);
    assert_eq!(guards[0], "taint.sinks: decided");
    assert!(guards[1].starts_with("hold: matches, but taint.sinks decides before it"), "{guards:?}");
    let (decision, guards) = told(Effect::NetConnect, "x.corp.example:443", &[]);
    assert_eq!((decision, guards[1].as_str()), (Decision::Hold, "hold: decided"));
    let (decision, guards) = told(Effect::FsOpen, "/w/public/x", &secret);
    assert_eq!((decision, guards[0].as_str()), (Decision::Collapse, "taint.sinks: decided"));
    let (decision, guards) = told(Effect::FsUnlink, "/w/x", &[]);
    assert_eq!(decision, Decision::Permit);
    assert!(guards.contains(&"thresholds: it is not passed yet".to_owned()), "{guards:?}");
}

fn path_rules() -> impl Strategy<Value = Vec<String>> {
    let component = prop_oneof![Just("a"), Just("b"), Just("*"), Just("**"), Just("a*")];
    let anchor =
        prop_oneof![Just(""), Just("~"), Just("${workspace}"), Just("/w"), Just("/l"), Just("/usr/bin")];
    let rule = (anchor, prop::collection::vec(component, 1..4))
        .prop_map(|(anchor, components)| format!("{anchor}/{}", components.join("/")));
    prop::collection::vec(rule, 0..4)
}

fn net_rules() -> impl Strategy<Value = Vec<String>> {
    let host = prop_oneof![
        Just("*"),
        Just("a.x"),
        Just("*.x"),
        Just("*.a.x"),
        Just("10.0.0.0/8"),
        Just("9.9.0.0/16"),
        Just("127.0.0.1"),
        Just("udp://a.x"),
        Just("udp://9.9.9.9")
    ];
    let ports = prop_oneof![Just(""), Just(":*"), Just(":22"), Just(":53,443")];
    prop::collection::vec((host, ports).prop_map(|(host, ports)| format!("{host}{ports}")), 0..4)
}

fn documents() -> impl Strategy<Value = String> {
    let mode = prop_oneof![Just("enforce"), Just("monitor"), Just("learn")];
    let paths = prop::collection::vec(path_rules(), 5);
    let nets = prop::collection::vec(net_rules(), 2);
    (mode, paths, nets, any::<bool>()).prop_map(|(mode, paths, nets, has_git)| {
        let list = |rules: &Vec<String>| format!("{rules:?}");
        let git = if has_git { ", git" } else { "" };
        format!(
            "version: 1\nmode: {mode}\nfs: {{read: {}, write: {}, deny: {}}}\nexec: {{allow: [{}{git}], deny: {}}}\nnet: {{allow: {}, deny: {}}}\n",
            list(&paths[0]),
            list(&paths[1]),
            list(&paths[2]),
            list(&paths[3]).trim_matches(['[', ']']).trim_end_matches(','),
            list(&paths[4]),
            list(&nets[0]),
            list(&nets[1]),
        )
        .replace("[, git]", "[git]")
    })
}

fn paths() -> impl Strategy<Value = String> {
    let component = prop_oneof![Just("a"), Just("b"), Just("ab"), Just("git")];
    let anchor = prop_oneof![Just(""), Just("/h"), Just("/w"), Just("/w/a"), Just("/usr/bin")];
    (anchor, prop::collection::vec(component, 0..4)).prop_map(|(anchor, components)| {
        let path = components.iter().fold(anchor.to_owned(), |path, name| path + "/" + name);
        if path.is_empty() { "/".to_owned() } else { path }
    })
}

/// What must hold of every explanation.
fn check(program: &PolicyProgram, state: &State, intent: &Intent<'_>) {
    let explanation = explain(program, state, intent);
    assert_eq!(explanation.verdict, decide(program, state, intent));
    assert_eq!(explanation.judged, judge(program, state, intent));
    let decided: Vec<&Considered<'_>> =
        explanation.considered.iter().filter(|it| it.outcome == Outcome::Decided).collect();
    match explanation.judged.cause {
        Cause::Tainted { sink, .. } => {
            assert!(decided.iter().any(|it| (it.section, it.rule) == (Section::TaintSinks, sink)));
        }
        Cause::Rule { section, text } => {
            assert!(
                decided.iter().any(|it| (it.section, it.rule) == (section, text)),
                "{section}: {text} is {}\n{explanation:#?}",
                told(&explanation, section, text)
            );
        }
        Cause::Unmatched(_) | Cause::Always(_) => assert!(decided.is_empty(), "{explanation:#?}"),
        _ => {}
    }
    // The lists alone tell the verdict: a deny that matches refuses, and nothing else does
    // where an allow matches for every name.
    let matches = |it: &&Considered<'_>| it.outcome.is_match();
    let is_deny = |section| matches!(section, Section::FsDeny | Section::ExecDeny | Section::NetDeny);
    let is_denied = explanation.considered.iter().filter(matches).any(|it| is_deny(it.section));
    if is_denied {
        assert_eq!(explanation.judged.decision, Decision::Collapse, "{explanation:#?}");
    }
    if explanation.judged.decision == Decision::Permit && !explanation.considered.is_empty() {
        assert!(!is_denied, "{explanation:#?}");
        if !matches!(explanation.judged.cause, Cause::Always(_)) {
            assert!(!decided.is_empty(), "{explanation:#?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_story_of_a_path_is_the_verdict(
        document in documents(),
        path in paths(),
        other in paths(),
        subtree: bool,
    ) {
        let program = program(&document);
        let state = State::new(&program, bindings());
        let (path, other) = (path.as_bytes(), other.as_bytes());
        for effect in Effect::ALL {
            for access in [Access::Read, Access::Write] {
                check(&program, &state, &Intent::new(*effect, Target::Path { path, access, subtree }));
            }
            check(&program, &state, &Intent::new(*effect, Target::Paths { from: path, to: other, subtree }));
        }
        check(&program, &state, &Intent::new(Effect::NetConnect, Target::Unix(path)));
    }

    #[test]
    fn the_story_of_a_connection_is_the_verdict(
        document in documents(),
        address in prop_oneof![
            Just("10.0.0.1"), Just("9.9.9.9"), Just("127.0.0.1"), Just("8.8.8.8"),
            Just("64:ff9b::a00:1"), Just("64:ff9b::909:909"), Just("2600::1"),
        ],
        port in prop_oneof![Just(22_u16), Just(53), Just(443)],
        name in prop::option::of(prop_oneof![Just("a.x"), Just("b.x"), Just("b.a.x"), Just("y")]),
        is_udp: bool,
    ) {
        let program = program(&document);
        let mut state = State::new(&program, bindings());
        let ip = address.parse().unwrap();
        if let Some(name) = name {
            state.learn_name(name, ip, u64::MAX);
            check(&program, &state, &Intent::new(Effect::NetDns, Target::Name(name)));
        }
        let transport = if is_udp { Transport::Udp } else { Transport::Tcp };
        let endpoint = Endpoint { transport, address: SocketAddr::new(ip, port), in_run: false };
        check(&program, &state, &Intent::new(Effect::NetConnect, Target::Endpoint(endpoint)));
    }
}
