//! `vantio why`

use std::{ffi::OsStr, fmt::Write as _, io, os::unix::ffi::OsStrExt as _, path::Path};

use vantio_core::Section;
use vantio_ledger::{Entry, Filter, LedgerError, Reader};
use vantio_phantom::Speculated;
use vantio_policy::{Bindings, layers::LayerKind};

use super::{
    changes::{first_entry, must_be_recorded},
    narrowing::Narrowing,
    near::{Near, Past},
    places::Places,
    summary::watched,
};
use crate::{
    account::{self, Refusal},
    approvals,
    failure::Failure,
    oracle::{FORK_END, FORK_NONE},
    present::{self, Paint, clock, for_shell, note, now_ms, shown, shown_rule},
    run::{host, policy::relative},
    store::{LayerSource, PolicySource, Record, State, Store},
};

/// Explains everything that was refused to a run.
pub fn why(store: &Store, reference: &str, json: bool) -> Result<u8, Failure> {
    let record = store.read(store.resolve(reference)?)?;
    // One that failed to start was refused nothing, and one that is only starting nothing yet.
    if !matches!(record.state, State::Failed | State::Running) {
        must_be_recorded(store, &record)?;
    }
    let refusals = refusals(store, &record)?;
    let bindings = bindings(store, &record);
    let past_run = Story {
        places: Places::of(&record),
        narrowing: bindings.clone().and_then(|bindings| Narrowing::of(&record, bindings)),
        past: bindings.and_then(|bindings| Some(Past::new(store.program(&record)?, bindings))),
    };
    if json {
        let list: serde_json::Value = refusals.iter().map(|refusal| past_run.to_json(refusal)).collect();
        let run = record.id.to_string();
        let waits: Vec<_> = waits(store, &record)?.iter().map(Wait::to_json).collect();
        let withdrawn = withdrawn(store, &record)?;
        present::print_json(serde_json::json!({
            "run": run, "refusals": list, "waits": waits, "withdrawn": withdrawn, "withheld": record.withheld,
        }))?;
        return Ok(0);
    }
    let short = store.short(record.id);
    let (observed, refused): (Vec<_>, Vec<_>) =
        refusals.into_iter().partition(|refusal| refusal.observed && record.mode == "learn");
    if refused.is_empty() {
        note(format!("run {short}: nothing was refused\n"));
    } else {
        present::print(past_run.render(&refused, Paint::for_stream(&io::stdout())))?;
        if record.layers.len() > 1 {
            note(format!("the run was under several policies: `{}` tells them apart\n", effective(&record)));
        }
    }
    for wait in waits(store, &record)? {
        note(wait.line());
    }
    for question in withdrawn(store, &record)? {
        note(format!("question {question} was not answered while anybody waited for it\n"));
    }
    if let Some(text) = withheld(&record) {
        note(format!("{text}; the policy names in env.allow what it gets\n"));
    }
    if !observed.is_empty() {
        let watched = watched(observed.len());
        note(format!("{watched}: `vantio policy suggest {short}` writes a policy from what it did\n"));
    }
    Ok(0)
}

/// What of its caller's environment the run did not get.
pub fn withheld(record: &Record) -> Option<String> {
    let names: Vec<_> = record.withheld.iter().map(|name| shown(name)).collect();
    let rest = names.len().saturating_sub(WITHHELD_SHOWN);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let shown = &names[..names.len() - rest];
    (!names.is_empty()).then(|| format!("not passed to it: {}{more}", shown.join(", ")))
}

/// So many variables are named.
const WITHHELD_SHOWN: usize = 8;

/// The command that shows the policies of a run as one.
fn effective(record: &Record) -> String {
    let named = record.layers.iter().find(|layer| layer.kind == LayerKind::CommandLine.name());
    let named = named.map_or_else(String::new, |LayerSource { source, .. }| match source {
        PolicySource::Preset(name) => format!(" {}", for_shell(format!("preset:{name}").as_bytes())),
        PolicySource::File { path, .. } => {
            let path = relative(Path::new(OsStr::from_bytes(path.as_bytes())));
            format!(" {}", for_shell(path.as_os_str().as_bytes()))
        }
    });
    format!("vantio policy show --effective{named}")
}

/// Why the run did not go on, or not for long, while it waited for an answer.
struct Wait {
    question: String,
    why: String,
    /// It went on for a while, and what it did was taken back.
    went_on: bool,
}

impl Wait {
    fn line(&self) -> String {
        let Self { question, why, went_on } = self;
        let what = if *went_on {
            "had the run wait, and what went on meanwhile was taken back"
        } else {
            "had the run wait, and nothing went on meanwhile"
        };
        format!("question {question} {what}: {why}\n")
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "question": self.question, "why": self.why, "went_on": self.went_on })
    }
}

fn waits(store: &Store, record: &Record) -> Result<Vec<Wait>, Failure> {
    let mut found = Vec::new();
    for op in [FORK_NONE, FORK_END] {
        for entry in entries(store, record, op)? {
            let text = |key| entry.request().text(key);
            if let (Some(question), Some(why)) = (text("question"), text("why"))
                && why != Speculated::ANSWERED
            {
                found.push(Wait { question: shown(question), why: shown(why), went_on: op == FORK_END });
            }
        }
    }
    Ok(found)
}

/// The questions for which nobody waited any more before there was an answer.
fn withdrawn(store: &Store, record: &Record) -> Result<Vec<String>, Failure> {
    let answers = entries(store, record, approvals::HOLD_ANSWER)?;
    let unanswered =
        answers.iter().filter(|entry| entry.request().text("answer") == Some(approvals::WITHDRAWN));
    Ok(unanswered.filter_map(|entry| entry.request().text("question").map(shown)).collect())
}

/// The entries of a run with one operation.
fn entries(store: &Store, record: &Record, op: &str) -> Result<Vec<Entry>, Failure> {
    let Ok(reader) = Reader::open_at(&store.ledger()) else { return Ok(Vec::new()) };
    let filter = Filter { run_id: Some(record.id), op: Some(op.into()), ..Filter::default() };
    Ok(reader.entries(&filter).collect::<Result<_, _>>()?)
}

/// What was refused to a run, as the ledger has it.
pub fn refusals(store: &Store, record: &Record) -> Result<Vec<Refusal>, Failure> {
    match Reader::open_at(&store.ledger()) {
        Err(LedgerError::NotFound { .. }) => Ok(Vec::new()),
        reader => {
            let mut refusals = account::of_run(&reader?, record.id, record.observes())?;
            if let Some(bindings) = bindings(store, record) {
                for refusal in &mut refusals {
                    refusal.write_advice(&bindings, host::is_directory);
                }
            }
            Ok(refusals)
        }
    }
}

/// What is known beside the ledger.
struct Story {
    places: Places,
    narrowing: Option<Narrowing>,
    past: Option<Past>,
}

impl Story {
    fn render(&self, refusals: &[Refusal], paint: Paint) -> String {
        let now = now_ms();
        let mut text = String::new();
        for refusal in refusals {
            let times = if refusal.count > 1 { format!(", {} times", refusal.count) } else { String::new() };
            let verdict = if refusal.observed { "  (would have been refused)" } else { "" };
            let heading = paint.bold(&what(refusal));
            let when = paint.dim(&format!("{}{times}", clock(refusal.time_ms, now)));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{heading}  {when}{verdict}");
            let place = place(refusal, &self.places).map_or_else(String::new, |place| format!("  ({place})"));
            let _ = writeln!(text, "  why:    {}{place}", shown_rule(&refusal.reason));
            for near in self.near(refusal) {
                let _ = writeln!(text, "  near:   {}", paint.dim(&near.line(&self.places)));
            }
            if !refusal.names.is_empty() {
                let _ = writeln!(text, "  name:   {}", shown(&refusal.names.join(", ")));
            }
            if let Some(trail) = &refusal.trail {
                let _ = writeln!(text, "  flow:   {}", shown(trail));
            }
            let advice = self.narrowing.as_ref().and_then(|narrowing| narrowing.advice(refusal));
            let advice = advice.or_else(|| refusal.advice.as_ref().map(ToString::to_string));
            let remedy = match refusal.nested {
                Some(_) => "a rule of the policy that this nested run was started with".into(),
                None if refusal.reason == account::NO_DETAILS => {
                    "not known: the ledger has no details of this run".into()
                }
                None if refusal.reason.starts_with(NAME_NEVER) => {
                    "only a rule for the address itself can".into()
                }
                None => remedy(advice.as_deref(), refusal.section.as_deref()),
            };
            let _ = writeln!(text, "  permit: {}", paint.cyan(&remedy));
            text.push('\n');
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }

    fn near(&self, refusal: &Refusal) -> Vec<Near> {
        self.past.as_ref().map(|past| past.near(refusal)).unwrap_or_default()
    }

    fn to_json(&self, refusal: &Refusal) -> serde_json::Value {
        let mut value = serde_json::to_value(refusal).unwrap_or_default();
        value["place"] = place(refusal, &self.places).into();
        value["near"] = self.near(refusal).iter().map(|near| near.to_json(&self.places)).collect();
        value
    }
}

/// What the variables and names of a run's policy stood for.
fn bindings(store: &Store, record: &Record) -> Option<Bindings> {
    let start = first_entry(store, record, "run.start")?.ok()?;
    Some(account::bindings(start.request()))
}

/// The effect and its target, in one line.
pub fn what(refusal: &Refusal) -> String {
    let access = refusal.access.as_deref().filter(|_| refusal.effect == "fs.open");
    let access = access.map_or_else(String::new, |access| format!(" ({})", shown(access)));
    // The target comes escaped from the ledger's reader, or is not there.
    format!("{}{access}  {}", shown(&refusal.effect), refusal.target).trim_end().to_owned()
}

/// How the reason begins where a name led to an address that names do not open.
const NAME_NEVER: &str = "always: a name never opens ";

/// The smallest change that would permit what a list of the policy, `section`, refused.
pub fn remedy(advice: Option<&str>, section: Option<&str>) -> String {
    match (advice, section) {
        (_, Some("hold")) => {
            "approve it while it waits (`vantio approvals`), or change the rule of `hold` that asks".into()
        }
        (Some(advice), _) => shown_rule(advice),
        (None, Some("fs.deny")) => {
            "a credential store: no rule should; give the agent a token of its own through env.allow".into()
        }
        // There may be one for more than that.
        (None, Some("fs.read" | "fs.write")) => "no rule names just this".into(),
        (None, _) => "no rule can".into(),
    }
}

/// Where the rule that refused stands.
fn place(refusal: &Refusal, places: &Places) -> Option<String> {
    places.of_rule(section(refusal.section.as_deref()?)?, refusal.rule.as_deref()?)
}

fn section(name: &str) -> Option<Section> {
    Section::ALL.into_iter().find(|section| section.name() == name)
}
