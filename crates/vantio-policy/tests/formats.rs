//! YAML, JSON and TOML: one meaning, one set of errors.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use vantio_core::Section;
use vantio_policy::{Compiled, PolicyError, compile};

fn compiled(source: &str, name: &str) -> Compiled {
    match compile(source.as_bytes(), name) {
        Ok(compiled) => compiled,
        Err(error) => panic!("{name}: {error:?}"),
    }
}

fn codes(source: &str, name: &str) -> Vec<&'static str> {
    let problems = |error: PolicyError| error.problems().iter().map(|problem| problem.code).collect();
    compile(source.as_bytes(), name).err().map_or_else(Vec::new, problems)
}

const YAML: &str = r#"
version: 1
name: web-team
mode: learn
fs: {read: [/usr, "${workspace}"], deny: ["**/.env"]}
exec: {allow: [git]}
net: {allow: ["*.pypi.org:443"]}
env: {set: {LANG: C.UTF-8, A.B: "1"}}
tools: {allow: ["github/*"]}
infer: {models: ["claude-*"], max_tokens: 4096}
budgets: {calls: 255, cost_usd: "2.50"}
taint:
  sources: [user_input, {label: secret, fs: ["~/.aws/**"]}]
  sinks: [{label: secret, net: ["*"]}]
thresholds:
  - {effect: fs.unlink, count: 100, within: 10s, then: hold}
  - {effect: [fs.open, fs.truncate], access: write, bytes: 1000000, within: 1h}
kill_switch: {active: false, approvers: [ciso]}
reversibility: {net.connect: reversible}
phantom: {commit: auto}
tests: [{effect: fs.open, target: /x, expect: Collapse}]
"#;

const TOML: &str = r#"
version = 1.0
name = "web-team"
mode = "learn"
reversibility."net.connect" = "reversible"
tests = [{ effect = "fs.open", target = "/x", expect = "Collapse" }]
exec.allow = ['git']
fs = { read = ["/usr", "${workspace}"], deny = ["**/.env"] }

[net]
allow = ["*.pypi.org:443"]
[env.set]
LANG = "C.UTF-8"
"A.B" = '1'
[tools]
allow = ["github/*"]
[infer]
models = ["claude-*"]
max_tokens = 4_096
[budgets]
calls = 0xff
cost_usd = 2.50
[taint]
sources = [
  "user_input", # a tool
  { label = "secret", fs = ["~/.aws/**"] },
]
[[taint.sinks]]
label = "secret"
net = ["*"]
[[thresholds]]
effect = "fs.unlink"
count = 100
within = "10s"
then = "hold"
[[thresholds]]
effect = ["fs.open", "fs.truncate"]
access = "write"
bytes = 1_000_000
within = "1h"
[kill_switch]
active = false
approvers = ["ciso"]
[phantom]
commit = "auto"
"#;

const JSON: &str = "{\n\t\"version\": \"1\", \"name\": \"web\\u002dteam\", \"mode\": \"learn\",\r\n\
    \t\"fs\": {\"read\": [\"\\/usr\", \"${workspace}\"], \"deny\": [\"**/.env\"]},\n\
    \t\"exec\": {\"allow\": [\"git\"]}, \"net\": {\"allow\": [\"*.pypi.org:443\"]},\n\
    \t\"env\": {\"set\": {\"LANG\": \"C.UTF-8\", \"A.B\": \"1\"}},\n\
    \t\"tools\": {\"allow\": [\"github/*\"]}, \"infer\": {\"models\": [\"claude-*\"], \"max_tokens\": 4096},\n\
    \t\"budgets\": {\"calls\": 255, \"cost_usd\": 2.50},\n\
    \t\"taint\": {\"sources\": [\"user_input\", {\"label\": \"secret\", \"fs\": [\"~/.aws/**\"]}],\n\
    \t\t\"sinks\": [{\"label\": \"secret\", \"net\": [\"*\"]}]},\n\
    \t\"thresholds\": [{\"effect\": \"fs.unlink\", \"count\": 100, \"within\": \"10s\", \"then\": \"hold\"},\n\
    \t\t{\"effect\": [\"fs.open\", \"fs.truncate\"], \"access\": \"write\", \"bytes\": 1000000, \"within\": \"1h\"}],\n\
    \t\"kill_switch\": {\"active\": false, \"approvers\": [\"ciso\"]},\n\
    \t\"reversibility\": {\"net.connect\": \"reversible\"}, \"phantom\": {\"commit\": \"auto\"},\n\
    \t\"tests\": [{\"effect\": \"fs.open\", \"target\": \"/x\", \"expect\": \"Collapse\"}]}\n";

#[test]
fn one_policy_in_three_formats_is_one_program() {
    let yaml = compiled(YAML, "policy.yaml");
    for (source, name) in
        [(TOML, "policy.toml"), (JSON, "policy.json"), (JSON, "policy.yaml"), (JSON, "policy")]
    {
        let other = compiled(source, name);
        assert_eq!(other.program, yaml.program, "{name}");
        assert_eq!(other.program.hash(), yaml.program.hash(), "{name}");
        assert_eq!(other.tests.len(), 1);
        let texts = |compiled: &Compiled| {
            let texts = compiled.source_map.iter().map(|(section, text, _)| (section, text.to_owned()));
            texts.collect::<Vec<_>>()
        };
        assert_eq!(texts(&other), texts(&yaml), "{name}");
    }
}

#[test]
fn places_are_those_of_the_format() {
    let position = |source: &str, name: &str, section, text: &str| {
        let position = compiled(source, name).source_map.position(section, text).unwrap();
        (position.line, position.column)
    };
    assert_eq!(position(TOML, "a.toml", Section::FsDeny, "**/.env"), (8, 49));
    assert_eq!(position(TOML, "a.toml", Section::TaintSinks, "secret: net *"), (28, 1));
    assert_eq!(position(JSON, "a.json", Section::NetAllow, "*.pypi.org:443"), (4, 48));
    assert_eq!(
        position("version: 1\nname: é\nfs: {read: [/é, /usr]}", "a", Section::FsRead, "/usr"),
        (3, 17)
    );
}

#[test]
fn the_same_mistakes_have_the_same_codes() {
    for (yaml, json, toml, expected) in [
        ("version: 2", r#"{"version": 2}"#, "version = 2", "E_POLICY_VERSION"),
        ("mode: learn", r#"{"mode": "learn"}"#, "mode = 'learn'", "E_POLICY_VERSION"),
        (
            "version: 1\nnmae: x",
            r#"{"version": 1, "nmae": "x"}"#,
            "version = 1\nnmae = 'x'",
            "E_POLICY_UNKNOWN_KEY",
        ),
        ("version: 1\nname: 1", r#"{"version": 1, "name": 1}"#, "version = 1\nname = 1", "E_POLICY_TYPE"),
        (
            "version: 1\nname: a\nname: b",
            r#"{"version": 1, "name": "a", "name": "b"}"#,
            "version = 1\nname = 'a'\nname = 'b'",
            "E_POLICY_DUPLICATE_KEY",
        ),
        (
            "version: 1\nfs: {}\nfs: {}",
            r#"{"version": 1, "fs": {}, "fs": {}}"#,
            "version = 1\n[fs]\n[fs]",
            "E_POLICY_DUPLICATE_KEY",
        ),
        ("version: 1\nfs: []", r#"{"version": 1, "fs": []}"#, "version = 1\nfs = []", "E_POLICY_TYPE"),
        (
            "version: 1\nbudgets: {calls: -1}",
            r#"{"version": 1, "budgets": {"calls": -1}}"#,
            "version = 1\nbudgets.calls = -1",
            "E_POLICY_BUDGET",
        ),
        ("a: [b", r#"{"a": ["b""#, "a = ['b'", "E_POLICY_SYNTAX"),
        ("", " ", "# nothing", "E_POLICY_EMPTY"),
    ] {
        for (source, name) in [(yaml, "a.yaml"), (json, "a.json"), (toml, "a.toml")] {
            assert_eq!(codes(source, name), [expected], "{name}: {source}");
        }
    }
    assert_eq!(codes("version = 1\nname = 1979-05-27", "a.toml"), ["E_POLICY_TYPE"]);
    assert_eq!(codes("version: 1", "a.json"), ["E_POLICY_SYNTAX"]);
    assert_eq!(codes("version: 1", "a.toml"), ["E_POLICY_SYNTAX"]);
    // Flow style of YAML begins as JSON does.
    assert_eq!(codes("{version: 1, fs: {read: [/usr,]}}", "a.yaml"), [""; 0]);
    assert_eq!(codes("{version: 1}", "a.json"), ["E_POLICY_SYNTAX"]);
}

#[test]
fn limits_hold_in_every_format() {
    let rules = |rule: &str| vec![rule; 16_384].join(", ");
    assert_eq!(codes(&format!("version: 1\nfs: {{read: [{}]}}", rules("/x")), "a.yaml"), [""; 0]);
    assert_eq!(
        codes(&format!("{{\"version\": 1, \"fs\": {{\"read\": [{}]}}}}", rules("\"/x\"")), "a.json"),
        [""; 0]
    );
    assert_eq!(codes(&format!("version = 1\nfs.read = [{}]", rules("'/x'")), "a.toml"), [""; 0]);
    for (open, close, name) in [
        ("[", "]", "a.json"),
        ("{\"a\":", "}", "a.json"),
        ("a = [", "]", "a.toml"),
        ("a = {a.a=", "}", "a.toml"),
    ] {
        let open =
            if name == "a.toml" { open.to_owned() + &open[4..].repeat(20_000) } else { open.repeat(20_000) };
        let deep = format!("{open}{}", close.repeat(20_000));
        assert_eq!(codes(&deep, name), ["E_POLICY_TOO_DEEP"], "{name} {}", &open[..8]);
    }
    assert_eq!(codes(&format!("{}a = 1", "a.".repeat(200_000)), "a.toml"), ["E_POLICY_TOO_DEEP"]);
    assert_eq!(codes(&format!("[{}]", vec!["1"; 70_000].join(",")), "a.json"), ["E_POLICY_TOO_LARGE"]);
    assert_eq!(codes(&format!("a = [{}]", vec!["1"; 70_000].join(",")), "a.toml"), ["E_POLICY_TOO_LARGE"]);
    let long = format!("version: 1\nfs: {{read: [{}, /y]}}", rules("/x"));
    assert_eq!(codes(&long, "a.yaml"), ["E_POLICY_TOO_LARGE"]);
}

#[test]
fn everything_that_is_valid_in_json_is_read() {
    for value in [
        r#""\ud83d\ude00 \u00e9 \" \\ \/ \b \f \n \r \t""#,
        "\"\u{7f}\u{85}\u{9f}\u{2028}\u{feff}😀\"",
        "\"a: b # c {d} [e] & * ! | > ' % @ `\"",
    ] {
        let source = format!("{{\"version\":1,\"env\":{{\"set\":{{\"A\":{value}}}}}}}");
        let expected: String = serde_json::from_str(value).unwrap();
        for name in ["a.json", "a.yaml"] {
            let program = compiled(&source, name).program;
            assert_eq!(program.env().set().collect::<Vec<_>>(), [("A", expected.as_str())], "{value}");
        }
    }
}

#[test]
fn half_a_character_is_refused() {
    for half in [r"\ud83d", r"\ude00", r"\ud83d\u0041", r"\ud83dx", r"\ude00\ud83d"] {
        assert_eq!(codes(&format!("{{\"name\": \"{half}\"}}"), "a.json"), ["E_POLICY_SYNTAX"], "{half}");
    }
}

/// Pieces of JSON, and near misses.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"\"",
        "\"\\u00e9\"",
        "\"\\ud83d\\ude00\"",
        "\"\\x\"",
        "\"\t\"",
        "\"",
        "\\",
        "1",
        "-1",
        "-",
        "01",
        "1.5",
        "1.",
        ".5",
        "1e3",
        "1E+3",
        "1e",
        "true",
        "false",
        "null",
        "True",
        "nul",
        " ",
        "\n",
        "\t",
        "\r",
        "\u{b}",
        "é",
        "'a'",
        "//",
        "#",
        "+1",
        "0",
        "-0",
        "\u{0}",
        "\u{feff}",
    ])
}

proptest! {
    /// The two agree on what is JSON: serde_json is the witness.
    #[test]
    fn what_is_json_is_what_others_call_json(pieces in prop::collection::vec(piece(), 0..12)) {
        let text = pieces.concat();
        // A mark at the beginning is taken off, as RFC 8259 permits.
        let bare = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(bare).is_ok();
        let codes = codes(&text, "a.json");
        let is_read = !codes.contains(&"E_POLICY_SYNTAX");
        let is_empty = bare.trim_matches([' ', '\t', '\n', '\r']).is_empty();
        prop_assert_eq!(is_json || is_empty, is_read, "{:?} {:?}", text, codes);
    }

    #[test]
    fn no_text_breaks_a_reader(text in "\\PC{0,80}", name in prop::sample::select(vec!["a.json", "a.toml", "a.yaml"])) {
        let error = compile(text.as_bytes(), name);
        prop_assert!(error.is_err());
    }

    #[test]
    fn pieces_of_toml_break_nothing(pieces in prop::collection::vec(prop::sample::select(vec![
        "version", " = ", "1", "\n", "[", "]", "{", "}", ".", ",", "\"", "'", "'''", "\"\"\"", "a", "fs", "read", "#", "1979-05-27",
        "\\u00e9", "\\", "é", "0x", "inf", "-nan", "true", " ", "\t", "\r\n", "[[", "]]", "\u{0}",
    ]), 0..16)) {
        for problem in compile(pieces.concat().as_bytes(), "a.toml").err().iter().flat_map(PolicyError::problems) {
            prop_assert!(!problem.message.is_empty() && !problem.message.contains('\n'), "{problem:?}");
        }
    }
}
