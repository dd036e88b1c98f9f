//! `vantio policy`

use std::path::Path;

use serde_json::{Map, Value, json};
use vantio_core::Section;
use vantio_policy::{Budgets, Compiled, PolicyProgram};

use super::{examples::test, explain::explain, suggest::suggest};
use crate::{
    arguments::Policy,
    failure::Failure,
    present::{self, shown_path},
    run::policy::{load, load_preset},
    store::Store,
};

/// Performs a command on a policy.
pub fn policy(command: &Policy, json: bool) -> Result<u8, Failure> {
    match command {
        Policy::Check { file } => check(file, json)?,
        Policy::Show { file } => show(file, json)?,
        Policy::Hash { file } => hash(file, json)?,
        Policy::Explain(arguments) => return explain(arguments, json),
        Policy::Test { file } => return test(file, json),
        Policy::Suggest(arguments) => return suggest(&Store::open()?, arguments, json),
    }
    Ok(0)
}

fn check(file: &Path, json: bool) -> Result<(), Failure> {
    let compiled = open(file)?;
    let hash = compiled.program.hash().to_string();
    if json {
        return present::print_json(&serde_json::json!({
            "file": shown_path(file), "valid": true, "mode": compiled.program.mode().name(), "policy_hash": hash,
        }));
    }
    present::print(format!("{}: valid, mode {}\n", shown_path(file), compiled.program.mode().name()))
}

fn hash(file: &Path, json: bool) -> Result<(), Failure> {
    let hash = open(file)?.program.hash().to_string();
    if json {
        return present::print_json(&serde_json::json!({ "file": shown_path(file), "policy_hash": hash }));
    }
    present::print(format!("{hash}\n"))
}

/// A document, or a policy that comes with Vantio as `preset:NAME`.
pub(super) fn open(file: &Path) -> Result<Compiled, Failure> {
    let preset = file.to_str().and_then(|text| text.strip_prefix("preset:"));
    Ok(match preset {
        Some(name) => load_preset(name)?.0,
        None => load(file)?.0,
    })
}

/// Prints a policy as a document that means the same.
fn show(file: &Path, json: bool) -> Result<(), Failure> {
    let value = normalised(&open(file)?.program);
    if json { present::print_json(&value) } else { present::print(yaml(&value)) }
}

/// The policy with nothing left to a default, in the order of the documentation.
fn normalised(program: &PolicyProgram) -> Value {
    let rules =
        |section| -> Value { program.rules(section).iter().map(|rule| Value::from(rule.text())).collect() };
    let budgets = Budgets::NAMES.into_iter().zip(program.budgets().values());
    let budgets = budgets.filter_map(|(name, limit)| limit.map(|limit| budget(name, limit)));
    let env = program.env();
    let texts = |texts: &mut dyn Iterator<Item = &str>| texts.map(Value::from).collect::<Value>();
    let mut document = json!({
        "version": 1,
        "name": program.name(),
        "mode": program.mode().name(),
        "fs": {
            "read": rules(Section::FsRead), "write": rules(Section::FsWrite), "deny": rules(Section::FsDeny),
        },
        "exec": { "allow": rules(Section::ExecAllow), "deny": rules(Section::ExecDeny) },
        "net": { "allow": rules(Section::NetAllow), "deny": rules(Section::NetDeny) },
        "env": {
            "allow": texts(&mut env.allow()), "deny": texts(&mut env.deny()),
            "set": env.set().map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<_, _>>(),
        },
        "budgets": budgets.collect::<Map<_, _>>(),
        "phantom": { "commit": program.commit_mode().name() },
    });
    if program.name().is_none() {
        drop(document.as_object_mut().and_then(|document| document.remove("name")));
    }
    document
}

fn budget(name: &str, limit: u64) -> (String, Value) {
    if name != "cost_micro_usd" {
        return (name.to_owned(), limit.into());
    }
    ("cost_usd".to_owned(), format!("{}.{:06}", limit / 1_000_000, limit % 1_000_000).into())
}

/// A document of mappings, lists and scalars, in block style; scalars in JSON's quotes.
fn yaml(document: &Value) -> String {
    let mut lines = Vec::new();
    write_yaml(document, 0, &mut lines);
    lines.push(String::new());
    lines.join("\n")
}

fn write_yaml(value: &Value, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) => {
            let known = KEYS.iter().copied().filter(|key| members.contains_key(*key));
            let others = members.keys().map(String::as_str).filter(|key| !KEYS.contains(key));
            for key in known.chain(others) {
                write_member(&indent, key, &members[key], depth, lines);
            }
        }
        Value::Array(items) => lines.extend(items.iter().map(|item| format!("{indent}- {item}"))),
        scalar => lines.push(format!("{indent}{scalar}")),
    }
}

fn write_member(indent: &str, key: &str, member: &Value, depth: usize, lines: &mut Vec<String>) {
    let is_block = match member {
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => false,
    };
    let is_plain = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let key = if is_plain { key.to_owned() } else { Value::from(key).to_string() };
    if is_block {
        lines.push(format!("{indent}{key}:"));
        write_yaml(member, depth + 1, lines);
    } else {
        lines.push(format!("{indent}{key}: {member}"));
    }
}

/// The order of keys in a document.
const KEYS: &[&str] = &[
    "version", "name", "mode", "fs", "exec", "net", "env", "budgets", "phantom", "read", "write", "allow",
    "deny", "set", "commit",
];

#[cfg(test)]
mod tests {
    use vantio_policy::{PRESETS, compile, preset};

    use super::*;

    #[test]
    fn what_is_shown_means_the_same() {
        let full = "version: 1\nname: 'a: b'\nmode: monitor\nfs: {read: ['/a b', '/x\\*'], deny: ['**/.env']}\n\
            net: {allow: ['*.pypi.org:443', 'unix:/run/x']}\nenv: {allow: [CI], set: {'A-B': \"x\\ty\", YES: 'no'}}\n\
            budgets: {cost_usd: '2.5', calls: 7}\nphantom: {commit: auto}\n";
        let presets = PRESETS.iter().filter_map(|name| preset(name));
        for document in presets.chain([full]) {
            let program = compile(document.as_bytes(), "a.yaml").unwrap().program;
            for shown in [yaml(&normalised(&program)), normalised(&program).to_string()] {
                let again = compile(shown.as_bytes(), "b.yaml").unwrap().program;
                assert_eq!((again.hash(), again.name()), (program.hash(), program.name()), "{shown}");
            }
        }
    }
}
