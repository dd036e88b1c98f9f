//! Documents that were written for the Authority Kernel are read as they are.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use vantio_core::Section;
use vantio_policy::{
    ApiModels, Budgets, Compiled, Llm, LlmMode, LocalModels, PolicyProgram, Rule, compile, manifest,
};

const POLICY: &str = include_str!("documents_of_others/policy.yaml");
const AGENT: &str = include_str!("documents_of_others/agent.yaml");
const MANIFEST: &str = include_str!("documents_of_others/manifest.json");

fn compiled(source: &str, name: &str) -> Compiled {
    match compile(source.as_bytes(), name) {
        Ok(compiled) => compiled,
        Err(error) => panic!("{error:?}"),
    }
}

fn texts(program: &PolicyProgram, section: Section) -> Vec<&str> {
    program.rules(section).iter().map(Rule::text).collect()
}

#[test]
fn a_policy_with_domains_and_taint() {
    let compiled = compiled(POLICY, "policy.yaml");
    let program = &compiled.program;
    let budgets = Budgets {
        tokens: Some(100_000),
        calls: Some(50),
        inference_ms: Some(300_000),
        file_bytes: Some(104_857_600),
        network_bytes: Some(104_857_600),
        ..Budgets::default()
    };
    assert_eq!(program.budgets(), &budgets);
    assert_eq!(texts(program, Section::ToolsAllow), ["file_read", "http_get", "web_search"]);
    assert_eq!(texts(program, Section::ToolsDeny), ["file_write", "shell_exec"]);
    assert_eq!(texts(program, Section::NetAllow), ["*.github.com", "*.wikipedia.org"]);
    assert_eq!(texts(program, Section::NetDeny), ["localhost", "*.internal"]);
    let guards: Vec<_> =
        compiled.source_map.iter().filter(|(section, ..)| *section >= Section::TaintSources).collect();
    let texts: Vec<&str> = guards.iter().map(|(_, text, _)| *text).collect();
    let expected = [
        "untrusted: tools external_api, user_input",
        "every label: tools file_write, shell_exec",
        "untrusted: tools html_escape, json_encode",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn an_agents_configuration() {
    let compiled = compiled(AGENT, "agent.yaml");
    assert_eq!(
        texts(&compiled.program, Section::InferModels),
        ["claude-3-5-sonnet-20241022", "llama3.1:70b"]
    );
    let local = LocalModels {
        device: Some("/dev/vport0p1".to_owned()),
        default_model: Some("llama3.1:70b".to_owned()),
        timeout_ms: None,
    };
    let api = ApiModels {
        provider: Some("anthropic".to_owned()),
        model: Some("claude-3-5-sonnet-20241022".to_owned()),
        ..ApiModels::default()
    };
    assert_eq!(compiled.llm, Some(Llm { mode: LlmMode::Hybrid, local: Some(local), api: Some(api) }));
}

#[test]
fn a_manifest_names_a_policy() {
    let found = manifest(MANIFEST.as_bytes(), "manifest.json").unwrap().unwrap();
    assert_eq!(found.policy_path, "/policy.yaml");
    assert_eq!(found.audit_log_path.as_deref(), Some("/var/log/authority/audit.log"));
    assert_eq!((found.place.line, found.place.column), (3, 20));
    let llm = found.llm.unwrap();
    assert_eq!((llm.mode, llm.local.unwrap().timeout_ms), (LlmMode::Hybrid, Some(30_000)));
    assert_eq!(llm.api.unwrap().endpoint.as_deref(), Some("https://api.anthropic.com/v1"));

    assert_eq!(manifest(POLICY.as_bytes(), "policy.yaml").unwrap(), None);
    assert_eq!(manifest(AGENT.as_bytes(), "agent.yaml").unwrap(), None);
    let mixed = manifest(b"version: 1\nauthority: {policy_path: /p}", "a.yaml").unwrap_err();
    assert_eq!(mixed.problems()[0].code, "E_POLICY_UNKNOWN_KEY");
    let without = manifest(b"authority: {}", "a.yaml").unwrap_err();
    assert_eq!(without.problems()[0].code, "E_POLICY_MISSING_KEY");
}

#[test]
fn a_manifest_is_no_policy() {
    let error = compile(MANIFEST.as_bytes(), "manifest.json").unwrap_err();
    assert_eq!(
        error.problems().iter().map(|problem| problem.code).collect::<Vec<_>>(),
        ["E_POLICY_MANIFEST"]
    );
}
