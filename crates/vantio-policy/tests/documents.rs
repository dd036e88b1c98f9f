//! What documents mean, through the hash and the program.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use vantio_core::Section;
use vantio_policy::{Budgets, CommitMode, Mode, PolicyProgram, Position, compile};

fn program(source: &str) -> PolicyProgram {
    match compile(source.as_bytes(), "policy.yaml") {
        Ok(compiled) => compiled.program,
        Err(error) => panic!("{error:?}"),
    }
}

fn texts(program: &PolicyProgram, section: Section) -> Vec<&str> {
    program.rules(section).iter().map(vantio_policy::Rule::text).collect()
}

const WHOLE: &str = r#"version: 1
name: web-team
mode: monitor
fs:
  read: [/usr, /etc, "${workspace}"]
  write: ["${workspace}"]
  deny: ["**/.env", "~/.ssh"]
exec: {allow: [git, /usr/bin/python3, "${workspace}/bin/**"], deny: [sudo]}
net:
  allow: [github.com, "*.pypi.org:443", "10.0.0.0/8:5432", "127.0.0.1:8080", "unix:/run/postgresql/**", "udp://10.0.0.53:53"]
  deny: ["*.internal"]
env: {allow: [CI], deny: ["*_TOKEN"], set: {LANG: C.UTF-8}}
budgets: {tokens: 100000, calls: 50, inference_ms: 300000, file_bytes: 104857600, cost_usd: "2.50"}
phantom: {commit: never}
"#;

#[test]
fn a_whole_document_is_read() {
    let program = program(WHOLE);
    assert_eq!(program.name(), Some("web-team"));
    assert_eq!((program.mode(), program.commit_mode()), (Mode::Monitor, CommitMode::Never));
    let budgets = Budgets {
        tokens: Some(100_000),
        calls: Some(50),
        inference_ms: Some(300_000),
        file_bytes: Some(104_857_600),
        cost_micro_usd: Some(2_500_000),
        ..Budgets::default()
    };
    assert_eq!(program.budgets(), &budgets);
    assert_eq!(texts(&program, Section::ExecAllow), ["/usr/bin/python3", "${workspace}/bin/**", "git"]);
    assert_eq!(program.bare_programs().collect::<Vec<_>>(), ["git", "sudo"]);
    assert_eq!(program.env().set().collect::<Vec<_>>(), [("LANG", "C.UTF-8")]);
    assert_eq!(program.udp_ports(), [(53, 53)]);
}

#[test]
fn json_order_spelling_and_name_do_not_change_the_hash() {
    let hash =
        program("version: 1\nfs: {read: [/usr, ~/x], deny: ['**/.env']}\nnet: {allow: [github.com]}").hash();
    for same in [
        r#"{"version": "1.0", "fs": {"read": ["${home}/x", "/usr"], "deny": ["/**/.env"]}, "net": {"allow": ["GitHub.com.:443,80"]}}"#,
        "# a comment\nversion: 1.0\nname: other\nmode: enforce\nnet:\n  allow: [github.com, github.com]\nfs:\n  deny: ['**/**/.env/']\n  read: [/usr//, /./usr, '~/x/']\n",
        "\u{feff}version: 1\r\nfs:\r\n  read:\r\n    - /usr\r\n    - ~/x\r\n  deny: [\"**/.env\"]\r\nnet:\r\n  allow:\r\n    - github.com\r\n",
    ] {
        assert_eq!(program(same).hash(), hash, "{same}");
    }
    for other in [
        "version: 1\nfs: {read: [/usr, /home/u/x], deny: ['**/.env']}\nnet: {allow: [github.com]}",
        "version: 1\nmode: learn\nfs: {read: [/usr, ~/x], deny: ['**/.env']}\nnet: {allow: [github.com]}",
        "version: 1\nfs: {read: [/usr, ~/x], deny: ['**/.env']}\nnet: {allow: ['github.com:443']}",
        "version: 1\nfs: {write: [/usr, ~/x], deny: ['**/.env']}\nnet: {allow: [github.com]}",
    ] {
        assert_ne!(program(other).hash(), hash, "{other}");
    }
}

#[test]
fn the_hash_of_a_document_is_this_one() {
    let hash = "bb4e26a1fbe6f67ab9b4236adfeb952fe2500f2e45c8ca05a77114b1926de8c4";
    assert_eq!(program(WHOLE).hash().to_string(), hash, "a changed hash needs a new version of the format");
}

#[test]
fn words_of_yaml_1_1_are_strings() {
    let program = program("version: 1\nexec: {allow: [no, on, yes]}\nenv: {set: {A: off, B: 12:30, C: 1_0}}");
    assert_eq!(texts(&program, Section::ExecAllow), ["no", "on", "yes"]);
    assert_eq!(program.env().set().collect::<Vec<_>>(), [("A", "off"), ("B", "12:30"), ("C", "1_0")]);
}

#[test]
fn anchors_stand_for_what_they_name() {
    let aliased = program("version: 1\nfs: {read: &dirs [/usr, /etc], write: *dirs}");
    assert_eq!(aliased, program("version: 1\nfs: {read: [/usr, /etc], write: [/usr, /etc]}"));
}

#[test]
fn international_names_become_a_labels() {
    let program = program("version: 1\nnet: {allow: ['BÜCHER.example:443', '*.例え。jp', '_srv.x']}");
    let expected = ["_srv.x", "xn--bcher-kva.example:443", "*.xn--r8jz45g.jp:80,443"];
    assert_eq!(texts(&program, Section::NetAllow), expected);
}

#[test]
fn rules_are_found_in_the_document() {
    let source = "version: 1\nfs:\n  read: [/é, /usr/]\n  deny:\n    - ${credentials}\n";
    let compiled = compile(source.as_bytes(), "policy.yaml").unwrap();
    let map = compiled.source_map;
    assert_eq!(map.position(Section::FsRead, "/usr/"), Some(Position { line: 3, column: 14 }));
    assert_eq!(map.position(Section::FsDeny, "~/.ssh"), Some(Position { line: 5, column: 7 }));
    assert_eq!(map.position(Section::FsRead, "/usr"), None);
    let rules: Vec<_> = map.iter().map(|(section, text, _)| (section, text.to_owned())).collect();
    for section in [Section::FsRead, Section::FsDeny] {
        for rule in compiled.program.rules(section) {
            assert!(rules.contains(&(section, rule.text().to_owned())));
        }
    }
}

#[test]
fn a_program_survives_its_bytes() {
    let program = program(WHOLE);
    let bytes = program.encode();
    assert_eq!(PolicyProgram::decode(&bytes), Ok(program));
    for length in 0..bytes.len() {
        assert!(PolicyProgram::decode(&bytes[..length]).is_err(), "cut at {length}");
    }
    let longer = [bytes.as_slice(), b"x"].concat();
    assert!(PolicyProgram::decode(&longer).is_err());
}
