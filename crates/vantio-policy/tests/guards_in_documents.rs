//! The sections of guards, and what a document has beside its program.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use vantio_core::{Access, Decision, Effect, Section};
use vantio_policy::{Compiled, LlmMode, PolicyProgram, Position, Rule, compile};

fn compiled(source: &str) -> Compiled {
    match compile(source.as_bytes(), "policy.yaml") {
        Ok(compiled) => compiled,
        Err(error) => panic!("{error:?}"),
    }
}

fn program(source: &str) -> PolicyProgram {
    compiled(&format!("version: 1\n{source}")).program
}

fn texts(program: &PolicyProgram, section: Section) -> Vec<&str> {
    program.rules(section).iter().map(Rule::text).collect()
}

const WHOLE: &str = r#"version: 1
name: web-team
include: [preset:workspace, ./more.yaml]
domains: {allow: [github.com], deny: [localhost]}
tools: {allow: [file_read, "github/*"], deny: [shell_exec]}
infer: {models: ["claude-*"], max_tokens: 4096}
taint:
  sources:    [user_input, {label: secret, fs: ["~/.aws/**"]}]
  sinks:
    - shell_exec
    - {label: secret, net: ["*"]}
  sanitizers: [html_escape, {label: secret, exec: ["/usr/bin/redact"]}]
thresholds: [{effect: fs.unlink, count: 100, within: 10s, then: hold}]
hold:       [{effect: net.connect, target: "*.corp.example", approvers: [security-engineer], timeout: 5m}]
order:
  - refuse:       {effect: net.connect, target: "git.example.com:443"}
    unless_after: {effect: proc.exec, target: "${workspace}/test.sh", exit: 0}
    since:        {effect: fs.open, access: write, target: "${workspace}/src/**"}
kill_switch: {active: false, approvers: [ciso, security-engineer], quorum: 2, window: 5m}
require: notify
reversibility: {net.connect: reversible}
tests: [{effect: fs.open, target: "${workspace}/.env", expect: Collapse, access: write}]
llm:
  mode: hybrid
  local: {device_path: /dev/vport0p1, default_model: "llama3.1:70b", timeout_ms: 30000}
  api: {provider: anthropic, model: claude-3-5-sonnet-20241022, secret_name: ANTHROPIC_API_KEY}
"#;

#[test]
fn guards_are_found_in_the_document_by_their_texts() {
    let map = compiled(WHOLE).source_map;
    let guards: Vec<(Section, &str, usize)> = map
        .iter()
        .filter(|(section, ..)| *section >= Section::TaintSources)
        .map(|(section, text, position)| (section, text, position.line))
        .collect();
    let expected = [
        (Section::TaintSources, "secret: fs ~/.aws/**", 8),
        (Section::TaintSources, "untrusted: tools user_input", 8),
        (Section::TaintSinks, "every label: tools shell_exec", 10),
        (Section::TaintSinks, "secret: net *", 11),
        (Section::TaintSanitizers, "secret: exec /usr/bin/redact", 12),
        (Section::TaintSanitizers, "untrusted: tools html_escape", 12),
        (
            Section::Order,
            "net.connect git.example.com:443: unless proc.exec ${workspace}/test.sh ended with 0 \
             since fs.open to write ${workspace}/src/**",
            16,
        ),
        (Section::Thresholds, "fs.unlink: 100 within 10s, then hold", 13),
        (Section::Hold, "net.connect *.corp.example: security-engineer approves within 5m", 14),
    ];
    assert_eq!(guards, expected);
    let position = map.position(Section::TaintSinks, "secret: net *");
    assert_eq!(position, Some(Position { line: 11, column: 7 }));
}

#[test]
fn tools_models_and_domains_are_lists_of_patterns() {
    let program = compiled(WHOLE).program;
    assert_eq!(texts(&program, Section::ToolsAllow), ["file_read", "github/*"]);
    assert_eq!(texts(&program, Section::ToolsDeny), ["shell_exec"]);
    // A policy permits the models that its `llm` names.
    let models = ["claude-*", "claude-3-5-sonnet-20241022", "llama3.1:70b"];
    assert_eq!(texts(&program, Section::InferModels), models);
    assert_eq!(texts(&program, Section::NetAllow), ["github.com"]);
    assert_eq!(texts(&program, Section::NetDeny), ["localhost"]);
}

#[test]
fn tests_includes_and_llm_are_kept_beside_the_program() {
    let compiled = compiled(WHOLE);
    let [test] = compiled.tests.as_slice() else { panic!("{:?}", compiled.tests) };
    assert_eq!(
        (test.effect, test.access, test.expect),
        (Effect::FsOpen, Some(Access::Write), Decision::Collapse)
    );
    assert_eq!((test.target.as_str(), test.place.line), ("${workspace}/.env", 22));
    let includes: Vec<(&str, usize)> =
        compiled.includes.iter().map(|include| (include.text.as_str(), include.place.column)).collect();
    assert_eq!(includes, [("preset:workspace", 11), ("./more.yaml", 29)]);
    let llm = compiled.llm.unwrap();
    assert_eq!(llm.mode, LlmMode::Hybrid);
    assert_eq!(llm.local.unwrap().timeout_ms, Some(30_000));
    assert_eq!(llm.api.unwrap().secret_name.as_deref(), Some("ANTHROPIC_API_KEY"));
    let other = WHOLE.replace("expect: Collapse", "expect: Permit").replace("./more.yaml", "./less.yaml");
    assert_eq!(compile(other.as_bytes(), "b.yaml").unwrap().program, compiled.program);
}

#[test]
fn documents_that_mean_the_same_are_the_same_program() {
    for (one, other) in [
        ("domains: {allow: [a.example]}", "net: {allow: [a.example]}"),
        ("taint: {sinks: [b, a]}", "taint: {sinks: [{tools: [a]}, {tools: [b, a]}]}"),
        ("taint: {sources: [a]}", "taint: {sources: [{label: untrusted, tools: [a]}]}"),
        (
            "taint: {sinks: [{label: s, fs: [/a, /b], net: [x]}]}",
            "taint: {sinks: [{label: s, net: [x]}, {label: s, fs: [/b]}, {label: s, fs: [/a/]}]}",
        ),
        ("taint: {sinks: [{fs: []}]}", ""),
        ("kill_switch: true", "kill_switch: {active: true}"),
        ("kill_switch: {window: 300s}", "kill_switch: {}"),
        ("hold: [{effect: infer}]", "hold: [{effect: [infer, infer], approvers: [], timeout: 300000ms}]"),
        (
            "thresholds: [{effect: fs.unlink, count: 1, within: 60s}, {effect: infer, bytes: 2, within: 1h}]",
            "thresholds: [{effect: infer, bytes: 2, within: 60m, then: collapse}, {effect: [fs.unlink], count: 1, within: 1m}]",
        ),
        (
            "hold: [{effect: [fs.unlink, fs.rmdir], target: [/b, /a/]}]",
            "hold: [{effect: [fs.rmdir, fs.unlink], target: [/a, /b, /b/]}]",
        ),
    ] {
        assert_eq!(program(one), program(other), "{one} | {other}");
    }
}

#[test]
fn documents_that_mean_something_else_are_other_programs() {
    let documents = [
        "",
        "taint: {sources: [a]}",
        "taint: {sinks: [a]}",
        "taint: {sinks: [{label: untrusted, tools: [a]}]}",
        "taint: {sanitizers: [a]}",
        "taint: {sinks: [{infer: [a]}]}",
        "taint: {sinks: [{heap: [a]}]}",
        "taint: {sources: [{fs: ['${credentials}']}]}",
        "hold: [{effect: infer}]",
        "hold: [{effect: infer, timeout: 6m}]",
        "hold: [{effect: infer, approvers: [ciso]}]",
        "hold: [{effect: infer, target: a}]",
        "thresholds: [{effect: infer, count: 1, within: 1s}]",
        "thresholds: [{effect: infer, bytes: 1, within: 1s}]",
        "thresholds: [{effect: infer, distinct: 1, within: 1s}]",
        "thresholds: [{effect: infer, count: 1, within: 1s, then: hold}]",
        "order: [{refuse: {effect: infer}, unless_after: {effect: proc.exec}, since: {effect: fs.open}}]",
        "order: [{refuse: {effect: infer}, unless_after: {effect: proc.exec, exit: 0}, since: {effect: fs.open}}]",
        "kill_switch: true",
        "kill_switch: {quorum: 2}",
        "kill_switch: {approvers: [ciso]}",
        "require: kernel",
        "reversibility: {infer: compensatable}",
        "infer: {max_tokens: 1}",
        "infer: {models: [a]}",
    ];
    let programs = documents.map(program);
    for (index, one) in programs.iter().enumerate() {
        for (other_index, other) in programs.iter().enumerate() {
            assert_eq!(
                one == other,
                index == other_index,
                "{} | {}",
                documents[index],
                documents[other_index]
            );
        }
    }
}
