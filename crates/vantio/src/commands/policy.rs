//! `vantio policy`

use std::path::Path;

use vantio_policy::{Compiled, json_schema, render};

use super::{
    difference::difference, effective::effective, examples::test, explain::explain, suggest::suggest,
};
use crate::{
    arguments::Policy,
    failure::Failure,
    present::{self, shown_path},
    run::policy::{load, load_preset},
    store::Store,
};

/// Performs a command on a policy.
pub fn policy(place: Option<&str>, command: &Policy, json: bool) -> Result<u8, Failure> {
    match command {
        Policy::Check { file } => check(file, json)?,
        Policy::Show { file, effective: true } => effective(file.as_deref(), json)?,
        Policy::Show { file, effective: false } => file.as_deref().map_or(Ok(()), |file| show(file, json))?,
        Policy::Hash { file } => hash(file, json)?,
        Policy::Diff(arguments) => return difference(arguments, json),
        Policy::Explain(arguments) => return explain(arguments, json),
        Policy::Test { file } => return test(file, json),
        Policy::Suggest(arguments) => return suggest(&Store::open(place)?, arguments, json),
        Policy::Schema => present::print(json_schema().to_json_lines())?,
    }
    Ok(0)
}

fn check(file: &Path, json: bool) -> Result<(), Failure> {
    let compiled = open(file)?;
    let hash = compiled.program.hash().to_string();
    if json {
        return present::print_json(serde_json::json!({
            "file": shown_path(file), "valid": true, "mode": compiled.program.mode().name(), "policy_hash": hash,
        }));
    }
    present::print(format!("{}: valid, mode {}\n", shown_path(file), compiled.program.mode().name()))
}

fn hash(file: &Path, json: bool) -> Result<(), Failure> {
    let hash = open(file)?.program.hash().to_string();
    if json {
        return present::print_json(serde_json::json!({ "file": shown_path(file), "policy_hash": hash }));
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
    // What it includes is in it already.
    let document = render(&Compiled { includes: Vec::new(), ..open(file)? });
    present::print(if json { document.to_json() + "\n" } else { document.to_yaml() })
}
