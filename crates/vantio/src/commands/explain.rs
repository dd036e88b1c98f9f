//! `vantio policy explain`

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fmt::Write as _,
    io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use vantio_core::{Access, Cause, Effect, Labels, Section, Verdict};
use vantio_policy::{
    Bindings, Compiled, PolicyProgram, SourceMap, State,
    explain::{Considered, Explanation, Outcome, Question, Side, Wish, labels, nearest_name, to_a_labels},
};

use super::{policy::open, why::remedy};
use crate::{
    account::advice_json,
    arguments::Explain,
    failure::Failure,
    present::{self, Paint, shown, shown_path, shown_rule},
    run::{
        host,
        policy::{self, current_directory},
    },
    store::{LayerSource, PolicySource},
};

/// Explains what a policy would answer.
pub fn explain(arguments: &Explain, json: bool) -> Result<u8, Failure> {
    let Compiled { program, source_map, .. } = open(&arguments.file)?;
    let bindings = bindings_in(&program, &workspace(&arguments.file)?, arguments.resolve)?;
    let mut state = State::new(&program, bindings.clone());
    let question = question(arguments, &program, &bindings, &mut state)?;
    let mut explanation = vantio_policy::explain(&program, &state, &question.intent());
    let (effect, subject) = (question.effect(), question.subject());
    let advice = explanation.advice.take();
    explanation.advice =
        advice.and_then(|advice| advice.written(effect, subject, &bindings, host::is_directory));
    let told = Told {
        arguments,
        program: &program,
        places: Places { file: shown_path(&arguments.file), map: &source_map },
        question: &question,
        explanation: &explanation,
    };
    if json {
        present::print_json(told.to_json())?;
    } else {
        present::print(told.to_text(Paint::for_stream(&io::stdout())))?;
    }
    Ok(if arguments.exit_code && !explanation.verdict.is_permit() { REFUSED } else { 0 })
}

/// What the variables stand for in this folder.
pub fn bindings(program: &PolicyProgram, is_resolved: bool) -> Result<Bindings, Failure> {
    bindings_in(program, &current_directory()?, is_resolved)
}

fn bindings_in(program: &PolicyProgram, workspace: &Path, is_resolved: bool) -> Result<Bindings, Failure> {
    let (home, path) = (host::home()?, env::var_os("PATH"));
    let make = if is_resolved { host::bindings } else { host::bindings_by_text };
    make(program, workspace, &home, path.as_deref())
}

/// The workspace that a run here would have under this policy: the folder of the policy, where
/// a run would find it without being told.
fn workspace(file: &Path) -> Result<PathBuf, Failure> {
    let file = file.canonicalize().unwrap_or_default();
    let is_project = |source: &LayerSource| match &source.source {
        PolicySource::File { path, .. } => {
            source.kind == "project" && path.as_bytes() == file.as_os_str().as_bytes()
        }
        PolicySource::Preset(_) => false,
    };
    let here = policy::find(None, None).ok().filter(|policy| policy.sources.iter().any(is_project));
    here.map_or_else(current_directory, |policy| Ok(policy.workspace))
}

fn question(
    arguments: &Explain,
    program: &PolicyProgram,
    bindings: &Bindings,
    state: &mut State,
) -> Result<Question, Failure> {
    let effect = effect(&arguments.effect)?;
    refuse_what_means_nothing(arguments, effect)?;
    let access = if arguments.write { Access::Write } else { Access::Read };
    let wish = Wish {
        effect,
        target: &arguments.target,
        to: arguments.to.as_deref(),
        access,
        subtree: arguments.subtree,
        is_udp: arguments.udp,
        labels: label_set(program, &arguments.labels)?,
    };
    let question = Question::new(&wish, program, bindings, state, host::find_in_path, to_a_labels);
    let mut question = question
        .map_err(|error| Failure::misuse("E_TARGET", shown(&error.to_string())).help(error.help()))?;
    if arguments.resolve {
        question.paths_mut().for_each(resolve);
    }
    Ok(question)
}

/// Refuses options that are about another kind of action.
fn refuse_what_means_nothing(arguments: &Explain, effect: Effect) -> Result<(), Failure> {
    let is_connection = matches!(effect, Effect::NetConnect | Effect::NetBind | Effect::NetListen);
    let options = [
        ("--write", arguments.write, effect == Effect::FsOpen, "fs.open"),
        (
            "--to",
            arguments.to.is_some(),
            matches!(effect, Effect::FsRename | Effect::FsLink),
            "fs.rename and fs.link",
        ),
        (
            "--udp",
            arguments.udp,
            is_connection && !arguments.target.starts_with("unix:"),
            "connections to HOST:PORT",
        ),
    ];
    match options.into_iter().find(|(_, is_given, is_meant, _)| *is_given && !is_meant) {
        Some((option, _, _, about)) => {
            let message = format!("{option} means nothing here: it is about {about}");
            Err(Failure::misuse("E_TARGET", message).help(format!("leave {option} out")))
        }
        None => Ok(()),
    }
}

/// The effect of this name.
pub fn effect(name: &str) -> Result<Effect, Failure> {
    Effect::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Effect::ALL.iter().map(|effect| effect.name()).collect();
        Failure::misuse("E_EFFECT", format!("there is no effect `{}`", shown(name))).help(
            nearest_name(name, &names).map_or_else(
                || format!("the effects are {}", names.join(", ")),
                |effect| format!("did you mean `{effect}`?"),
            ),
        )
    })
}

fn label_set(program: &PolicyProgram, names: &[String]) -> Result<Labels, Failure> {
    labels(program, names).map_err(|name| {
        Failure::misuse("E_LABEL", format!("the policy has no label `{}`", shown(name)))
            .help("labels are those that its taint rules name")
    })
}

/// Follows symbolic links, as far as the path exists.
fn resolve(path: &mut Vec<u8>) {
    let whole = OsString::from_vec(path.clone());
    let found =
        Path::new(&whole).ancestors().find_map(|ancestor| Some((ancestor, ancestor.canonicalize().ok()?)));
    if let Some((ancestor, canonical)) = found {
        let rest = Path::new(&whole).strip_prefix(ancestor).unwrap_or(Path::new(""));
        let joined = if rest.as_os_str().is_empty() { canonical } else { canonical.join(rest) };
        *path = joined.into_os_string().into_vec();
    }
}

/// Where rules stand.
struct Places<'a> {
    file: String,
    map: &'a SourceMap,
}

impl Places<'_> {
    fn of(&self, section: Section, rule: &str) -> Option<String> {
        self.map.origin(section, rule).map(|origin| origin.to_string())
    }

    fn of_cause(&self, cause: &Cause<'_>) -> Option<String> {
        match cause {
            Cause::Rule { section, text } => self.of(*section, text),
            Cause::Tainted { sink, .. } => self.of(Section::TaintSinks, sink),
            _ => None,
        }
    }
}

struct Told<'a> {
    arguments: &'a Explain,
    program: &'a PolicyProgram,
    places: Places<'a>,
    question: &'a Question,
    explanation: &'a Explanation<'a>,
}

impl Told<'_> {
    fn to_text(&self, paint: Paint) -> String {
        let mut text = String::new();
        let Explanation { verdict, judged, advice, .. } = self.explanation;
        let decision = verdict.decision.name();
        let decision = if verdict.is_permit() { paint.green(decision) } else { paint.red(decision) };
        let access = match (self.is_open(), self.arguments.write) {
            (true, true) => " (write)",
            (true, false) => " (read)",
            _ => "",
        };
        let effect = &self.arguments.effect;
        say(&mut text, &format!("{decision}  {effect}{access}  {}", shown(&self.question.target())));
        say(&mut text, &format!("  why:    {}", self.reason(verdict)));
        if judged != verdict {
            let mode = self.program.mode().name();
            say(&mut text, &format!("  mode:   {mode}; enforced, it would be {}", judged.decision));
            say(&mut text, &format!("          {}", self.reason(judged)));
        }
        if let Some(name) = self.question.assumed_name() {
            say(&mut text, &format!("  note:   judged as if {} had given a public address", shown(name)));
        }
        if self.question.has_path() && !self.arguments.resolve && !judged.is_permit() {
            say(&mut text, "  note:   links are not followed; --resolve does");
        }
        if self.question.is_about_localhost() && !judged.is_permit() {
            say(
                &mut text,
                "  note:   a connection to 127.0.0.1 needs no name: it needs a rule for the address",
            );
        }
        if !judged.is_permit() {
            let section = match judged.cause {
                Cause::Rule { section, .. } | Cause::Unmatched(section) => Some(section.name()),
                _ => None,
            };
            let remedy = remedy(advice.as_ref().map(ToString::to_string).as_deref(), section);
            say(&mut text, &format!("  permit: {}", paint.cyan(&remedy)));
        }
        self.write_lists(&mut text, paint);
        text
    }

    fn is_open(&self) -> bool {
        self.arguments.effect == Effect::FsOpen.name()
    }

    fn reason(&self, verdict: &Verdict<'_>) -> String {
        let place =
            self.places.of_cause(&verdict.cause).map_or_else(String::new, |place| format!("  ({place})"));
        let mode = match verdict.cause {
            Cause::Observed(_) => format!("mode {}: ", self.program.mode().name()),
            _ => String::new(),
        };
        format!("{mode}{}{place}", shown_rule(&verdict.cause.to_string()))
    }

    fn write_lists(&self, text: &mut String, paint: Paint) {
        let considered = &self.explanation.considered;
        let lists: Vec<&[Considered<'_>]> =
            considered.chunk_by(|left, right| left.section == right.section).collect();
        for list in &lists {
            if let Some(first) = list.first() {
                say(text, &format!("\n{}", paint.bold(first.section.name())));
                self.write_list(list, text, paint);
            }
        }
        if let Cause::Unmatched(section) = self.explanation.judged.cause
            && !considered.iter().any(|it| it.section == section)
        {
            say(text, &format!("\n{}\n  {}", paint.bold(section.name()), paint.dim("it has no rule")));
        }
    }

    fn write_list(&self, list: &[Considered<'_>], text: &mut String, paint: Paint) {
        let kept: Vec<&Considered<'_>> = if self.arguments.all {
            list.iter().collect()
        } else {
            folded(list, matches!(self.explanation.judged.cause, Cause::Unmatched(_)))
        };
        let width =
            kept.iter().map(|it| shown_rule(it.rule).chars().count()).max().unwrap_or(0).min(RULE_WIDTH);
        for it in &kept {
            let rule = shown_rule(it.rule);
            let gap = " ".repeat(width.saturating_sub(rule.chars().count()));
            let side = match it.side {
                Some(Side::From) => "old name: ",
                Some(Side::To) => "new name: ",
                None => "",
            };
            let place =
                self.places.of(it.section, it.rule).map_or_else(String::new, |place| format!("  ({place})"));
            let line = format!("  {rule}{gap}  {side}{}{place}", shown_rule(&it.to_string()));
            say(text, &if it.outcome == Outcome::Decided { line } else { paint.dim(&line) });
        }
        let count = |rules: &mut dyn Iterator<Item = &str>| rules.collect::<BTreeSet<_>>().len();
        let rest = count(&mut list.iter().map(|it| it.rule)) - count(&mut kept.iter().map(|it| it.rule));
        let what = match (kept.is_empty(), rest) {
            (_, 0) => return,
            (true, 1) => "its one rule is about something else".to_owned(),
            (true, _) => format!("its {rest} rules are about something else"),
            (false, _) => format!("… {rest} more about something else: --all"),
        };
        say(text, &format!("  {}", paint.dim(&what)));
    }

    fn to_json(&self) -> Value {
        let Explanation { verdict, judged, considered, advice } = self.explanation;
        let considered: Value = considered
            .iter()
            .map(|it| {
                json!({
                    "section": it.section.name(),
                    "rule": it.rule,
                    "place": self.places.of(it.section, it.rule),
                    "side": it.side.map(|side| match side { Side::From => "from", Side::To => "to" }),
                    "outcome": it.outcome.name(),
                    "reason": it.to_string(),
                })
            })
            .collect();
        json!({
            "file": self.places.file,
            "policy_hash": self.program.hash().to_string(),
            "mode": self.program.mode().name(),
            "effect": self.arguments.effect,
            "access": self.is_open().then_some(if self.arguments.write { "write" } else { "read" }),
            "target": self.question.target(),
            "assumed_name": self.question.assumed_name(),
            "verdict": self.verdict_json(verdict),
            "enforced": self.verdict_json(judged),
            "advice": advice.as_ref().map(advice_json),
            "considered": considered,
        })
    }

    fn verdict_json(&self, verdict: &Verdict<'_>) -> Value {
        let (section, rule) = match verdict.cause {
            Cause::Rule { section, text } => (Some(section), Some(text)),
            Cause::Unmatched(section) | Cause::Observed(section) => (Some(section), None),
            Cause::Tainted { sink, .. } => (Some(Section::TaintSinks), Some(sink)),
            _ => (None, None),
        };
        json!({
            "decision": verdict.decision.name(),
            "reason": verdict.cause.to_string(),
            "section": section.map(Section::name),
            "rule": rule,
            "place": self.places.of_cause(&verdict.cause),
        })
    }
}

/// The rules that are worth reading: those that match; and where something was missing, the
/// nearest of the others.
fn folded<'a, 'p>(list: &'a [Considered<'p>], is_unmatched: bool) -> Vec<&'a Considered<'p>> {
    let matching = list.iter().filter(|it| it.outcome.is_match()).take(MATCHES_SHOWN);
    let is_settled = |side| list.iter().any(|it| it.side == side && it.outcome.is_match());
    let missed = |it: &&'a Considered<'p>| match &it.outcome {
        Outcome::Missed(miss) if is_unmatched && !it.section.is_deny() && !is_settled(it.side) => {
            miss.nearness
        }
        _ => 0,
    };
    let nearest = list.iter().map(|it| missed(&it)).max().unwrap_or(0);
    let near = list.iter().filter(|it| nearest > 0 && missed(it) == nearest).take(MISSES_SHOWN);
    matching.chain(near).collect()
}

fn say(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

/// What `--exit-code` gives for a refusal.
const REFUSED: u8 = 3;
/// Columns that a rule may take before its reason is no longer lined up.
const RULE_WIDTH: usize = 40;
/// Matching rules that are shown of one list.
const MATCHES_SHOWN: usize = 5;
/// Rules of one list that nearly match and are shown.
const MISSES_SHOWN: usize = 3;
