//! The suggestion as a document.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::Write as _;

use vantio_core::{Section, json};

use super::{Evidence, LeftOut, Rules};
use crate::{PolicyProgram, Value, credentials, render_program};

/// What is written.
pub(super) struct Document<'a> {
    pub(super) heading: &'a [String],
    pub(super) rules: &'a BTreeMap<Section, Rules>,
    pub(super) denied: &'a BTreeMap<Section, Vec<String>>,
    pub(super) left_out: &'a BTreeSet<LeftOut>,
    pub(super) opened: &'a BTreeSet<String>,
    /// What is kept of the learning policy: environment, budgets, commits.
    pub(super) program: Option<&'a PolicyProgram>,
}

/// What a rule rests on, in a few words.
pub(super) fn evidence(section: Section, evidence: &Evidence) -> String {
    let (one, several) = match section {
        Section::FsRead | Section::FsDeny => ("read", "reads"),
        Section::FsWrite => ("write", "writes"),
        Section::ExecAllow => ("start", "starts"),
        Section::NetAllow => ("connection", "connections"),
        _ => ("call", "calls"),
    };
    evidence.told(one, several)
}

/// The document.
pub(super) fn document(document: &Document<'_>) -> String {
    let mut text = String::new();
    for line in document.heading {
        comment(&mut text, line);
    }
    if !document.left_out.is_empty() {
        comment(&mut text, "");
        for LeftOut { what, why } in document.left_out {
            comment(&mut text, &format!("not suggested: {what}: {why}"));
        }
    }
    if !document.opened.is_empty() {
        comment(&mut text, "");
        for rule in document.opened {
            let why = if rule.contains("/.git/") { GIT_RUNS } else { HOLDS_SECRETS };
            comment(&mut text, &format!("opened, because the run wrote there: {rule} ({why})"));
        }
    }
    text.push_str("version: 1\nname: suggested\nmode: enforce\n");
    text.push_str("fs:\n");
    list(&mut text, document, "read", Section::FsRead);
    list(&mut text, document, "write", Section::FsWrite);
    deny(&mut text, document);
    text.push_str("exec:\n");
    list(&mut text, document, "allow", Section::ExecAllow);
    list_if_any(&mut text, document, "deny", Section::ExecDeny);
    text.push_str("net:\n");
    list(&mut text, document, "allow", Section::NetAllow);
    list_if_any(&mut text, document, "deny", Section::NetDeny);
    if has_any(document, Section::ToolsAllow) || has_any(document, Section::ToolsDeny) {
        text.push_str("tools:\n");
        list_if_any(&mut text, document, "allow", Section::ToolsAllow);
        list_if_any(&mut text, document, "deny", Section::ToolsDeny);
    }
    let limit = document.program.and_then(|program| program.parts.max_tokens);
    if has_any(document, Section::InferModels) || limit.is_some() {
        text.push_str("infer:\n");
        list(&mut text, document, "models", Section::InferModels);
        if let Some(limit) = limit {
            let _ = writeln!(text, "  max_tokens: {limit}");
        }
    }
    if let Some(program) = document.program {
        kept(&mut text, program);
    }
    text
}

fn has_any(document: &Document<'_>, section: Section) -> bool {
    document.rules.get(&section).is_some_and(|rules| !rules.is_empty())
        || document.denied.get(&section).is_some_and(|texts| !texts.is_empty())
}

fn list_if_any(text: &mut String, document: &Document<'_>, key: &str, section: Section) {
    if has_any(document, section) {
        list(text, document, key, section);
    }
}

fn list(text: &mut String, document: &Document<'_>, key: &str, section: Section) {
    let mut lines: Vec<(String, String)> = Vec::new();
    for (rule, own) in document.rules.get(&section).into_iter().flatten() {
        lines.push((scalar(rule), evidence(section, own)));
    }
    for rule in document.denied.get(&section).into_iter().flatten() {
        lines.push((scalar(rule), KEPT.to_string()));
    }
    lines_of(text, key, &lines);
}

/// `fs.deny`: the stores of credentials first.
fn deny(text: &mut String, document: &Document<'_>) {
    let mut lines = Vec::from([(scalar(credentials::ELEMENT), "always".to_string())]);
    for (rule, own) in document.rules.get(&Section::FsDeny).into_iter().flatten() {
        lines.push((scalar(rule), format!("called like a secret; {}", evidence(Section::FsDeny, own))));
    }
    for rule in document.denied.get(&Section::FsDeny).into_iter().flatten() {
        lines.push((scalar(rule), KEPT.to_string()));
    }
    lines_of(text, "deny", &lines);
}

fn lines_of(text: &mut String, key: &str, lines: &[(String, String)]) {
    if lines.is_empty() {
        let _ = writeln!(text, "  {key}: []");
        return;
    }
    let _ = writeln!(text, "  {key}:");
    let width = lines.iter().map(|(rule, _)| rule.chars().count()).max().unwrap_or(0).min(WIDTH);
    for (rule, why) in lines {
        let gap = " ".repeat(width.saturating_sub(rule.chars().count()));
        let _ = writeln!(text, "    - {rule}{gap}  # {}", plain(why));
    }
}

/// What is kept of the learning policy as it is: all that is no list of what is permitted.
fn kept(text: &mut String, program: &PolicyProgram) {
    let Value::Map(entries) = render_program(program) else { return };
    let has_content = |value: &Value| match value {
        Value::List(items) => !items.is_empty(),
        Value::Map(entries) => entries.iter().any(|(_, value)| {
            !matches!(value, Value::List(items) if items.is_empty())
                && !matches!(value, Value::Map(entries) if entries.is_empty())
        }),
        _ => true,
    };
    let own =
        entries.into_iter().filter(|(key, value)| KEPT_KEYS.contains(&key.as_str()) && has_content(value));
    let own: Vec<(String, Value)> = own.collect();
    if !own.is_empty() {
        text.push_str("# As the learning policy has it:\n");
        text.push_str(&Value::Map(own).to_yaml());
    }
}

fn comment(text: &mut String, line: &str) {
    let line = plain(line);
    let _ = writeln!(text, "{}", if line.is_empty() { "#".to_string() } else { format!("# {line}") });
}

/// Text that a comment may hold: of one line, and nothing that moves a cursor.
fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

/// A scalar of YAML: plain where that is safe.
fn scalar(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "/._-+@~${}".contains(character);
    let begins_well =
        text.starts_with(['/', '~', '$']) || text.starts_with(|first: char| first.is_ascii_lowercase());
    let is_word = matches!(text, "~" | "null" | "true" | "false");
    if begins_well && !is_word && text.chars().all(is_plain) { text.to_string() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    json::write_string(text, &mut quoted);
    quoted
}

/// The keys of a document that are kept.
const KEPT_KEYS: &[&str] = &[
    "env",
    "budgets",
    "limits",
    "taint",
    "order",
    "thresholds",
    "hold",
    "kill_switch",
    "require",
    "reversibility",
    "phantom",
];

const GIT_RUNS: &str = "git runs what lies there; close it again if you can";
const HOLDS_SECRETS: &str = "secrets lie in such files; close it again if you can";

const KEPT: &str = "stays closed";

/// Columns that rules may take before their comments are no longer lined up.
const WIDTH: usize = 48;
