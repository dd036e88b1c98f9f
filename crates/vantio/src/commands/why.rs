//! `vantio why`

use std::{fmt::Write as _, io};

use vantio_core::Section;
use vantio_ledger::{LedgerError, Reader};
use vantio_policy::SourceMap;

use crate::{
    account::{self, Refusal},
    failure::Failure,
    present::{self, Paint, clock, note, now_ms, shown},
    run::policy::read_again,
    store::{LayerSource, Record, Store},
};

/// Explains everything that was refused to a run.
pub fn why(store: &Store, reference: &str, json: bool) -> Result<u8, Failure> {
    let record = store.read(store.resolve(reference)?)?;
    let refusals = refusals(store, &record)?;
    let places = Places::of(&record);
    if json {
        let list: serde_json::Value = refusals.iter().map(|refusal| to_json(refusal, &places)).collect();
        present::print_json(&serde_json::json!({ "run": record.id.to_string(), "refusals": list }))?;
    } else if refusals.is_empty() {
        note(format!("run {}: nothing was refused\n", store.short(record.id)));
    } else {
        present::print(render(&refusals, &places, Paint::for_stream(&io::stdout())))?;
        if record.layers.len() > 1 {
            note("the run was under several policies: `vantio policy show --effective` tells them apart\n");
        }
    }
    Ok(0)
}

/// What was refused to a run, as the ledger has it.
pub fn refusals(store: &Store, record: &Record) -> Result<Vec<Refusal>, Failure> {
    match Reader::open(&store.ledger()) {
        Err(LedgerError::NotFound { .. }) => Ok(Vec::new()),
        reader => Ok(account::of_run(&reader?, record.id, record.observes())?),
    }
}

fn render(refusals: &[Refusal], places: &Places, paint: Paint) -> String {
    let now = now_ms();
    let mut text = String::new();
    for refusal in refusals {
        let times = if refusal.count > 1 { format!(", {} times", refusal.count) } else { String::new() };
        let verdict = if refusal.observed { "  (observed, not refused)" } else { "" };
        let heading = paint.bold(&what(refusal));
        let when = paint.dim(&format!("{}{times}", clock(refusal.time_ms, now)));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{heading}  {when}{verdict}");
        let _ = writeln!(text, "  why:    {}{}", shown(&refusal.reason), places.suffix(refusal));
        if !refusal.names.is_empty() {
            let _ = writeln!(text, "  name:   {}", shown(&refusal.names.join(", ")));
        }
        let advice = refusal.advice.as_ref().map(ToString::to_string);
        let _ = writeln!(
            text,
            "  permit: {}",
            paint.cyan(&remedy(advice.as_deref(), refusal.section.as_deref()))
        );
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// The effect and its target, in one line.
pub fn what(refusal: &Refusal) -> String {
    let access = refusal.access.as_deref().filter(|_| refusal.effect == "fs.open");
    let access = access.map_or_else(String::new, |access| format!(" ({})", shown(access)));
    // The target comes escaped from the ledger's reader.
    format!("{}{access}  {}", shown(&refusal.effect), refusal.target)
}

/// The smallest change that would permit what a list of the policy, `section`, refused.
pub fn remedy(advice: Option<&str>, section: Option<&str>) -> String {
    match (advice, section) {
        (Some(advice), _) => shown(advice),
        (None, Some("fs.deny")) => {
            "a credential store: no rule should; give the agent a token of its own through env.allow".into()
        }
        (None, _) => "no rule can".into(),
    }
}

fn to_json(refusal: &Refusal, places: &Places) -> serde_json::Value {
    let mut value = serde_json::to_value(refusal).unwrap_or_default();
    value["place"] = places.of_rule(refusal).into();
    value
}

/// Where the rules of a run's policies stand, of those whose documents are still what they were.
struct Places {
    maps: Vec<SourceMap>,
}

impl Places {
    fn of(record: &Record) -> Self {
        let alone = [LayerSource::new(record.policy.clone())];
        let sources = if record.layers.is_empty() { &alone } else { record.layers.as_slice() };
        let compiled = sources.iter().filter_map(read_again);
        Self { maps: compiled.map(|compiled| compiled.source_map).collect() }
    }

    fn of_rule(&self, refusal: &Refusal) -> Option<String> {
        let section = section(refusal.section.as_deref()?)?;
        let rule = refusal.rule.as_deref()?;
        self.maps.iter().find_map(|map| map.origin(section, rule)).map(|origin| origin.to_string())
    }

    fn suffix(&self, refusal: &Refusal) -> String {
        self.of_rule(refusal).map_or_else(String::new, |place| format!("  ({place})"))
    }
}

fn section(name: &str) -> Option<Section> {
    Section::ALL.into_iter().find(|section| section.name() == name)
}
