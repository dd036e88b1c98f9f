//! `vantio why`

use std::{
    fmt::Write as _,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use vantio_core::{Hash, Section};
use vantio_ledger::{LedgerError, Reader};
use vantio_policy::{PolicyProgram, SourceMap, compile, preset};

use crate::{
    account::{self, Refusal},
    failure::Failure,
    present::{self, Paint, clock, note, now_ms, shown, shown_path},
    store::{PolicySource, Record, Store},
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

/// Where the rules of a run's policy stand, if its document is still what it was.
struct Places {
    document: String,
    map: Option<SourceMap>,
}

impl Places {
    fn of(record: &Record) -> Self {
        let (document, source) = match &record.policy {
            PolicySource::Preset(name) => {
                (format!("preset:{name}"), preset(name).map(|text| text.as_bytes().to_vec()))
            }
            PolicySource::File { path, digest } => {
                let path = PathBuf::from(std::ffi::OsStr::from_bytes(path.as_bytes()));
                let source = fs::read(&path).ok().filter(|bytes| Hash::of(bytes).to_string() == *digest);
                (shown_path(relative(&path)), source)
            }
        };
        let compiled = source.and_then(|source| compile(&source, &document).ok());
        Self { map: compiled.map(|compiled| compiled.source_map), document }
    }

    fn of_rule(&self, refusal: &Refusal) -> Option<String> {
        let section = section(refusal.section.as_deref()?)?;
        let position = self.map.as_ref()?.position(section, refusal.rule.as_deref()?)?;
        Some(format!("{}:{}:{}", self.document, position.line, position.column))
    }

    fn suffix(&self, refusal: &Refusal) -> String {
        self.of_rule(refusal).map_or_else(String::new, |place| format!("  ({place})"))
    }
}

/// `path` from the current folder, where it lies beneath.
fn relative(path: &Path) -> &Path {
    let directory = std::env::current_dir().and_then(|path| path.canonicalize());
    directory.ok().and_then(|directory| path.strip_prefix(directory).ok()).unwrap_or(path)
}

fn section(name: &str) -> Option<Section> {
    PolicyProgram::SECTIONS.into_iter().find(|section| section.name() == name)
}
