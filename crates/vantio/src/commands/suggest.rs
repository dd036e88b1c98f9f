//! `vantio policy suggest`

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use serde_json::json;
use vantio_ledger::Reader;
use vantio_policy::{
    PolicyProgram, compile,
    layers::LayerKind,
    suggest::{self, Lesson, Suggestion},
};

use super::changes::must_be_recorded;
use crate::{
    account::{self, Learned, Refusal, learned_from},
    arguments::Suggest,
    failure::Failure,
    output,
    present::{self, note, plural, shown_path},
    run::{host, policy::relative},
    store::{PolicySource, Record, State, Store},
};

/// Writes the smallest policy under which the runs could do again what they did.
pub fn suggest(store: &Store, arguments: &Suggest, json: bool) -> Result<u8, Failure> {
    let records: Vec<Record> = arguments
        .runs
        .iter()
        .map(|reference| Ok(store.read(store.resolve(reference)?)?))
        .collect::<Result<_, Failure>>()?;
    records.iter().try_for_each(|record| must_be_recorded(store, record))?;
    let reader = Reader::open_at(&store.ledger())?;
    let mut runs = Vec::new();
    for record in records {
        let program = store.program(&record).ok_or_else(|| {
            Failure::new(
                "E_POLICY_LOST",
                format!("the policy of run {} was not kept", store.short(record.id)),
            )
            .help("run the agent again; this version keeps the policy of every run")
        })?;
        let learned = learned_from(&reader, record.id)?;
        let refusals = account::of_run(&reader, record.id, record.observes())?;
        let refused = refusals.into_iter().filter(|refusal| !refusal.observed).collect();
        runs.push(Watched { record, program, learned, refused });
    }
    if let Some((first, rest)) = runs.split_first()
        && !rest.iter().all(|run| first.program.guards_alike(&run.program))
    {
        return Err(Failure::misuse("E_POLICY_MIXED", "these runs were under policies with different guards, budgets or environment")
            .help("suggest from runs under the same policy: the guards of one do not fit what was learned under another"));
    }
    let dropped: u64 = runs.iter().map(|run| run.learned.dropped).sum();
    let lessons: Vec<Lesson<'_>> = runs.iter().map(Watched::lesson).collect();
    let host = ThisHost { output: arguments.output.as_deref().and_then(canonical) };
    let suggestion = suggest::suggest(&lessons, &host, &heading(store, &runs, dropped));
    // What people are given compiles.
    let compiled = compile(suggestion.document.as_bytes(), "suggestion")?;
    if let Some(file) = &arguments.output {
        write(file, &suggestion.document, arguments.force)?;
    }
    if json {
        present::print_json(to_json(&suggestion, &compiled.program, &runs, dropped))?;
    } else {
        report(&suggestion, &runs, arguments.output.as_deref())?;
    }
    for Watched { record, .. } in &runs {
        if record.state == State::Running && store.is_held(record.id)? {
            note(format!("vantio: run {} still lives: this is what it did so far\n", store.short(record.id)));
        }
    }
    let mut status = 0;
    if !suggestion.left_out.is_empty() {
        note(format!(
            "vantio: not suggested, so that it would be refused: {}; the comments at its top say what and why\n",
            suggestion.left_out.len()
        ));
        status = LEFT_UNDONE;
    }
    for run in runs.iter().filter(|run| run.is_cut_short()) {
        note(format!(
            "vantio: run {} was enforced, not watched: it had {}, and what was refused is not suggested\n",
            store.short(run.record.id),
            plural(run.refused.len(), "refusal")
        ));
        status = LEFT_UNDONE;
    }
    if dropped > 0 {
        note(format!(
            "vantio: {dropped} entries of these runs are not in the ledger: the policy may be too narrow\n"
        ));
        status = LEFT_UNDONE;
    }
    Ok(status)
}

/// A run, and what there is to learn from it.
struct Watched {
    record: Record,
    program: PolicyProgram,
    learned: Learned,
    /// What was refused to it, and did not happen.
    refused: Vec<Refusal>,
}

impl Watched {
    fn lesson(&self) -> Lesson<'_> {
        let Learned { bindings, observations, .. } = &self.learned;
        Lesson { program: &self.program, bindings: bindings.clone(), observations: observations.clone() }
    }

    /// What no rule permitted, so that it did not happen, in a line each.
    fn closed(&self) -> impl Iterator<Item = String> {
        let word = if self.record.observes() { "refused while watched" } else { "refused" };
        self.unmatched().map(move |(refusal, section)| {
            let times = if refusal.count > 1 { format!(" ({} times)", refusal.count) } else { String::new() };
            let (effect, target) = (&refusal.effect, &refusal.target);
            format!("{word}: {effect} {target}{times}; add it to {section} if the agent needs it")
        })
    }

    /// Refusals for the lack of a rule, and the list that lacks it.
    fn unmatched(&self) -> impl Iterator<Item = (&Refusal, &str)> {
        let unmatched = self.refused.iter().filter(|refusal| refusal.rule.is_none());
        unmatched.filter_map(|refusal| Some((refusal, refusal.section.as_deref()?)))
    }

    /// Whether it was held back where a watched run would have gone on.
    fn is_cut_short(&self) -> bool {
        !self.record.observes() && !self.refused.is_empty()
    }
}

fn report(suggestion: &Suggestion, runs: &[Watched], output: Option<&Path>) -> Result<(), Failure> {
    let Some(file) = output else { return present::print(&suggestion.document) };
    let rules = suggestion.rules.iter().filter(|rule| rule.section.name() != "fs.deny").count();
    let (path, file) = (file, shown_path(file));
    note(format!("wrote {file}: {rules} rules\n"));
    if !suggestion.opened.is_empty() {
        note(format!("opened, because the run wrote there: {}\n", suggestion.opened.join(", ")));
    }
    let closed = runs.iter().flat_map(Watched::unmatched).count();
    if closed > 0 {
        note(format!("refused to these runs, and not suggested: {closed}; the comments say what\n"));
    }
    note(match project_policy(runs) {
        // It is found by itself.
        Some(own) if path.canonicalize().is_ok_and(|path| path == own) => {
            "next: read it, then run the agent under it: vantio run -- CMD\n".into()
        }
        // A policy that learns permits little of what it watches, and narrows any other.
        Some(own) => format!(
            "next: read it, then put it in the place of the policy that learnt: mv {file} {}\n",
            shown_path(&relative(&own))
        ),
        None => format!("next: read it, then run the agent under it: vantio run --policy {file} -- CMD\n"),
    });
    Ok(())
}

/// The policy of the project that the runs were under while they were watched, which still narrows what runs there.
fn project_policy(runs: &[Watched]) -> Option<PathBuf> {
    let record = &runs.iter().find(|run| run.record.mode == "learn")?.record;
    let own = record.layers.iter().find(|layer| layer.kind == LayerKind::Project.name())?;
    match &own.source {
        PolicySource::File { path, .. } => Some(PathBuf::from(OsStr::from_bytes(path.as_bytes()))),
        PolicySource::Preset(_) => None,
    }
}

fn heading(store: &Store, runs: &[Watched], dropped: u64) -> Vec<String> {
    let mut lines =
        vec!["What these runs did, as a policy; the comments say what each rule rests on:".to_owned()];
    for Watched { record, program, .. } in runs {
        let mode = program.mode().name();
        lines.push(format!("  {}  mode {mode}  {}", store.short(record.id), record.command_line()));
    }
    lines.push(
        "Read it before you use it: an agent that misbehaved taught this policy to permit that.".to_owned(),
    );
    for run in runs.iter().filter(|run| run.is_cut_short()) {
        lines.push(format!(
            "INCOMPLETE: run {} was enforced, not watched: what was refused is not suggested.",
            store.short(run.record.id)
        ));
    }
    if dropped > 0 {
        lines.push(format!("INCOMPLETE: the ledger had no room for {dropped} entries of these runs."));
    }
    let closed: Vec<String> = runs.iter().flat_map(Watched::closed).collect();
    if !closed.is_empty() {
        lines.push(String::new());
    }
    let rest = closed.len().saturating_sub(CLOSED_LINES);
    lines.extend(closed.into_iter().take(CLOSED_LINES));
    if rest > 0 {
        lines.push(format!("… {rest} more were refused: vantio why RUN"));
    }
    lines
}

fn to_json(
    suggestion: &Suggestion,
    program: &PolicyProgram,
    runs: &[Watched],
    dropped: u64,
) -> serde_json::Value {
    let rules: serde_json::Value = suggestion
        .rules
        .iter()
        .map(|rule| json!({ "section": rule.section.name(), "rule": rule.text, "evidence": rule.evidence }))
        .collect();
    let left_out: serde_json::Value =
        suggestion.left_out.iter().map(|out| json!({ "what": out.what, "why": out.why })).collect();
    let refused: serde_json::Value = runs
        .iter()
        .flat_map(Watched::unmatched)
        .map(|(refusal, section)| {
            json!({ "effect": refusal.effect, "target": refusal.target, "section": section, "count": refusal.count })
        })
        .collect();
    json!({
        "policy_hash": program.hash().to_string(),
        "document": suggestion.document,
        "rules": rules,
        "not_suggested": left_out,
        "opened": suggestion.opened,
        "refused": refused,
        "dropped": dropped,
    })
}

fn write(path: &Path, document: &str, force: bool) -> Result<(), Failure> {
    if path.is_dir() {
        let inside = shown_path(&path.join("vantio.yaml"));
        return Err(Failure::misuse("E_OUTPUT", format!("`{}` is a folder", shown_path(path)))
            .help(format!("name a file in it: --output {inside}")));
    }
    output::must_lead_somewhere(path)?;
    if path.exists() && !force {
        return Err(Failure::misuse("E_POLICY_EXISTS", format!("`{}` exists", shown_path(path)))
            .help("name another file, or overwrite it with --force"));
    }
    output::document(path, document, force)
}

/// The path of a file that need not be there yet, without links.
fn canonical(path: &Path) -> Option<PathBuf> {
    let absent = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(folder.canonicalize().ok()?.join(path.file_name()?))
    };
    path.canonicalize().ok().or_else(absent)
}

/// The host that this command runs on, which is the one that the runs had.
struct ThisHost {
    /// Where the suggestion is written to.
    output: Option<PathBuf>,
}

impl suggest::Host for ThisHost {
    fn is_directory(&self, path: &[u8]) -> bool {
        host::is_directory(path)
    }

    fn is_file(&self, path: &[u8]) -> bool {
        fs::symlink_metadata(OsStr::from_bytes(path)).is_ok_and(|metadata| !metadata.is_dir())
    }

    fn bare_name(&self, path: &[u8]) -> Option<String> {
        let name = path.rsplit(|byte| *byte == b'/').next()?;
        let name = str::from_utf8(name).ok()?;
        let found = host::find_in(name, env::var_os("PATH").as_deref());
        found.iter().any(|found| found == path).then(|| name.to_owned())
    }

    fn own_file(&self) -> Option<Vec<u8>> {
        self.output.as_ref().map(|path| path.as_os_str().as_bytes().to_vec())
    }
}

/// Refusals that a suggestion names.
const CLOSED_LINES: usize = 20;

/// Something was left undone.
const LEFT_UNDONE: u8 = 4;
