//! What is suggested permits what was seen, and opens nothing that the learning policy would not have.

#![cfg(feature = "document")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use proptest::prelude::*;
use vantio_core::{Access, Effect, Endpoint, Intent, Section, Target, Transport};
use vantio_policy::{
    Bindings, PolicyProgram, State, compile, decide,
    explain::Subject,
    suggest::{Host, Lesson, Observation, Suggestion, suggest},
};

/// A host with nothing on it.
struct Bare;

impl Host for Bare {
    fn is_directory(&self, _: &[u8]) -> bool {
        false
    }

    fn is_file(&self, _: &[u8]) -> bool {
        false
    }

    fn bare_name(&self, _: &[u8]) -> Option<String> {
        None
    }
}

fn bindings() -> Bindings {
    Bindings {
        workspace: b"/h/w".to_vec(),
        home: b"/h".to_vec(),
        tmp: b"/tmp".to_vec(),
        ..Bindings::default()
    }
}

fn program(document: &str) -> PolicyProgram {
    compile(document.as_bytes(), "learn.yaml").unwrap().program
}

fn seen(effect: Effect, subject: Subject, names: &[&str]) -> Observation {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    Observation { effect, subject, names, who: None, count: 1 }
}

fn file(path: &str, access: Access) -> Observation {
    seen(Effect::FsOpen, Subject::Path { path: path.into(), access, subtree: false }, &[])
}

fn connection(address: &str, names: &[&str]) -> Observation {
    let endpoint = Endpoint { transport: Transport::Tcp, address: address.parse().unwrap(), in_run: false };
    seen(Effect::NetConnect, Subject::Endpoint { endpoint, name: None }, names)
}

fn suggested(learning: &str, observations: Vec<Observation>) -> Suggestion {
    let program = program(learning);
    suggest(&[Lesson { program: &program, bindings: bindings(), observations }], &Bare, &[])
}

fn rules(suggestion: &Suggestion, section: Section) -> Vec<&str> {
    let rules = suggestion.rules.iter().filter(|rule| rule.section == section);
    rules.map(|rule| rule.text.as_str()).collect()
}

const LEARN: &str = "version: 1\nmode: learn\nfs: {deny: ['${credentials}']}\nnet: {allow: ['*:443', '*:8443', '10.0.0.0/8:443']}\n";

#[test]
fn a_domain_is_opened_on_the_evidence_of_three_names_and_ports_are_kept() {
    let names = ["a.example.com", "b.example.com"];
    let mut observations: Vec<Observation> =
        names.iter().map(|name| connection("93.1.1.1:443", &[name])).collect();
    let two = suggested(LEARN, observations.clone());
    assert_eq!(rules(&two, Section::NetAllow), ["a.example.com:443", "b.example.com:443"]);
    observations.push(connection("93.1.1.1:443", &["c.example.com"]));
    observations.push(connection("93.1.1.1:8443", &["c.example.com"]));
    let three = suggested(LEARN, observations.clone());
    assert_eq!(rules(&three, Section::NetAllow), ["*.example.com:443", "c.example.com:8443"]);
    // Where the learning policy names its hosts, it would not have permitted others.
    let names = "['a.example.com:443', 'b.example.com:443', 'c.example.com:443', 'c.example.com:8443']";
    let narrow = suggested(&format!("version: 1\nmode: learn\nnet: {{allow: {names}}}\n"), observations);
    assert!(!narrow.document.contains("*.example.com"), "{}", narrow.document);
}

#[test]
fn a_name_with_a_private_address_gets_a_rule_for_both() {
    let suggestion = suggested(LEARN, vec![connection("10.0.0.7:443", &["git.corp.example"])]);
    assert_eq!(rules(&suggestion, Section::NetAllow), ["10.0.0.7:443", "git.corp.example:443"]);
}

#[test]
fn single_files_stay_single_and_a_folder_takes_three() {
    let two = ["/h/w/src/a", "/h/w/src/b"].map(|path| file(path, Access::Read));
    let suggestion = suggested(LEARN, two.to_vec());
    assert!(rules(&suggestion, Section::FsRead).contains(&"${workspace}/src/a"), "{}", suggestion.document);
    let three = two.into_iter().chain([file("/h/w/src/c", Access::Read)]).collect();
    assert!(rules(&suggested(LEARN, three), Section::FsRead).contains(&"${workspace}/src"));
    // The home is nobody's folder, however much of it was read.
    let home = ["/h/a", "/h/b", "/h/c", "/h/d"].map(|path| file(path, Access::Read)).to_vec();
    let suggestion = suggested(LEARN, home);
    assert!(!rules(&suggestion, Section::FsRead).contains(&"~/"), "{}", suggestion.document);
}

#[test]
fn temporary_names_become_patterns() {
    let temporary = |path: &str| {
        let rename = Subject::Paths { from: path.into(), to: b"/h/w/price.py".to_vec(), subtree: false };
        vec![file(path, Access::Write), seen(Effect::FsRename, rename, &[])]
    };
    let suggestion = suggested(LEARN, temporary("/h/w/sedAb3xYz"));
    assert_eq!(
        rules(&suggestion, Section::FsWrite),
        ["${workspace}/price.py", "${workspace}/sed*", "/dev/null"],
        "{}",
        suggestion.document
    );
}

#[test]
fn a_store_by_the_beginnings_of_random_names_is_opened_whole() {
    let store = "/h/w/.git/objects/4b";
    let made = Subject::Path { path: store.into(), access: Access::Write, subtree: false };
    let object = format!("{store}/825dc642cb6eb9a060e54bf8d69288fbee4904");
    let observations = vec![
        seen(Effect::FsMkdir, made, &[]),
        file(&object, Access::Write),
        file("/h/w/ab/notes", Access::Write),
    ];
    let suggestion = suggested(LEARN, observations);
    let expected = ["${workspace}/.git/objects", "${workspace}/ab/notes", "/dev/null"];
    assert_eq!(rules(&suggestion, Section::FsWrite), expected, "{}", suggestion.document);
}

#[test]
fn hooks_of_git_stay_closed_unless_the_run_wrote_them() {
    let samples = ["/h/w/.git/hooks/pre-commit.sample", "/h/w/.git/config"];
    let observations = samples.map(|path| file(path, Access::Write)).to_vec();
    let suggestion = suggested(LEARN, observations.clone());
    assert!(suggestion.opened.is_empty(), "{}", suggestion.document);
    let suggested_program = program(&suggestion.document);
    for hook in ["**/.git/hooks/pre-commit", "**/.git/modules/**/hooks/update"] {
        let mut own = suggested_program.rules(Section::FsDeny).iter();
        assert!(own.any(|rule| rule.text() == hook), "{hook}");
    }
    // What the run wrote has to be open, and that is said at the top.
    let written = observations.into_iter().chain([file("/h/w/.git/hooks/pre-push", Access::Write)]).collect();
    let suggestion = suggested(LEARN, written);
    assert_eq!(suggestion.opened, ["**/.git/hooks/pre-push"]);
    let line = "# opened, because the run wrote there: **/.git/hooks/pre-push (git runs what lies there; close it again if you can)\n";
    assert!(suggestion.document.contains(line), "{}", suggestion.document);
    assert!(suggestion.document.contains("**/.git/hooks/pre-commit\""), "{}", suggestion.document);
    // A deny of the learning policy's own never gives way.
    let own = "version: 1\nmode: monitor\nfs: {write: [/], deny: ['**/.git/hooks/pre-push']}\n";
    let suggestion = suggested(own, vec![file("/h/w/.git/hooks/pre-push", Access::Write)]);
    assert!(suggestion.opened.is_empty() && !suggestion.left_out.is_empty(), "{}", suggestion.document);
}

fn paths() -> impl Strategy<Value = String> {
    let anchor = prop_oneof![
        Just("/h/w"),
        Just("/h"),
        Just("/etc"),
        Just("/usr"),
        Just("/opt/x"),
        Just("/tmp"),
        Just("/proc/7")
    ];
    let name = prop_oneof![
        Just("a"),
        Just("b"),
        Just("c"),
        Just("dir"),
        Just("tmpAb12Cd9"),
        Just("0a1b2c3d4e5f"),
        Just(".env"),
        Just("x y"),
        Just("*"),
        Just("[z]"),
        Just(".ssh"),
    ];
    (anchor, prop::collection::vec(name, 1..4))
        .prop_map(|(anchor, names)| format!("{anchor}/{}", names.join("/")))
}

fn observations() -> impl Strategy<Value = Vec<Observation>> {
    let of_path = (paths(), paths(), 0..5_u8, any::<bool>()).prop_map(|(path, other, kind, subtree)| {
        let path_of = |access, subtree| Subject::Path { path: path.clone().into(), access, subtree };
        match kind {
            0 => seen(Effect::FsOpen, path_of(Access::Read, false), &[]),
            1 => seen(Effect::FsOpen, path_of(Access::Write, false), &[]),
            2 => seen(Effect::FsMkdir, path_of(Access::Write, false), &[]),
            3 => seen(Effect::ProcExec, path_of(Access::Read, false), &[]),
            _ => {
                let (from, to) = (path.clone().into(), other.into());
                seen(Effect::FsRename, Subject::Paths { from, to, subtree }, &[])
            }
        }
    });
    prop::collection::vec(of_path, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_suggested_permits_what_was_seen_and_no_more_than_learning_did(
        observations in observations(),
        probes in prop::collection::vec(paths(), 12),
    ) {
        let learning = program(LEARN);
        let learned = State::new(&learning, bindings());
        let permitted = |intent: &Intent<'_>| decide(&learning, &learned, intent).is_permit();
        let observations: Vec<Observation> = observations
            .into_iter()
            .filter(|seen| permitted(&Intent::new(seen.effect, seen.subject.target())))
            .collect();
        let lesson = Lesson { program: &learning, bindings: bindings(), observations: observations.clone() };
        let suggestion = suggest(&[lesson], &Bare, &["a\nheading".to_owned()]);
        let suggested = program(&suggestion.document);
        let state = State::new(&suggested, bindings());
        for seen in &observations {
            let intent = Intent::new(seen.effect, seen.subject.target());
            let is_left_out = suggestion.left_out.iter().any(|out| out.what.starts_with(seen.effect.name()));
            let verdict = decide(&suggested, &state, &intent);
            prop_assert!(verdict.is_permit() || is_left_out, "{seen:?} {verdict:?}\n{}", suggestion.document);
        }
        for probe in &probes {
            for access in [Access::Read, Access::Write] {
                let target = Target::Path { path: probe.as_bytes(), access, subtree: false };
                let intent = Intent::new(Effect::FsOpen, target);
                let is_broader = decide(&suggested, &state, &intent).is_permit() && !permitted(&intent);
                prop_assert!(!is_broader, "{probe} {access:?}\n{}", suggestion.document);
            }
        }
        let endpoint = Endpoint {
            transport: Transport::Tcp,
            address: SocketAddr::from(([93, 1, 1, 1], 443)),
            in_run: false,
        };
        prop_assert!(!decide(&suggested, &state, &Intent::new(Effect::NetConnect, Target::Endpoint(endpoint))).is_permit());
    }
}
