//! `vantio approvals`, `vantio approve` and `vantio deny`

use std::{collections::BTreeSet, fmt::Write as _, io, thread, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vantio_core::{RunId, Section};

use super::places::Places;
use crate::{
    approvals::{self, Question, Reach, Reply, Waiting, how_to_answer, in_words},
    arguments::{Answering, Approvals},
    failure::Failure,
    present::{self, Paint, note, plural, shown, span},
    store::Store,
};

/// Lists what waits for an answer.
pub fn list(store: &Store, arguments: &Approvals, json: bool) -> Result<u8, Failure> {
    let run = arguments.run.as_deref().map(|run| store.resolve(run)).transpose()?;
    let Waiting { questions, mut unheard } = approvals::waiting(store, run)?;
    if questions.is_empty()
        && !arguments.follow
        && let Some(failure) = unheard.pop()
    {
        return Err(told(unheard, failure, json));
    }
    for failure in &unheard {
        failure.print(json);
    }
    if json && !arguments.follow {
        let list: Vec<_> = questions.iter().map(|question| to_json(store, question)).collect();
        present::print_json(serde_json::json!({ "approvals": list }))?;
    } else {
        if questions.is_empty() {
            note("nothing waits for an answer\n");
        }
        print(store, &questions, json)?;
    }
    if arguments.follow {
        return follow(store, run, questions, json);
    }
    Ok(if unheard.is_empty() { 0 } else { PART })
}

/// The last of several failures, when the others are told.
fn told(others: Vec<Failure>, last: Failure, json: bool) -> Failure {
    for failure in others {
        failure.print(json);
    }
    last
}

/// Prints what comes to wait, until the run has ended, nobody reads it any more, or the process is interrupted.
fn follow(store: &Store, run: Option<RunId>, questions: Vec<Question>, json: bool) -> Result<u8, Failure> {
    let mut seen: BTreeSet<String> = questions.into_iter().map(|question| question.id).collect();
    let lives = || run.map_or(Ok(true), |run| super::attach::lives(store, run));
    while lives()? && !is_closed(&io::stdout()) {
        thread::sleep(POLL);
        let Waiting { questions, .. } = approvals::waiting(store, run)?;
        let new: Vec<Question> =
            questions.iter().filter(|question| !seen.contains(&question.id)).cloned().collect();
        seen = questions.into_iter().map(|question| question.id).collect();
        print(store, &new, json)?;
    }
    Ok(0)
}

/// Whether nobody reads any more what is written to a pipe.
fn is_closed(output: &io::Stdout) -> bool {
    let mut asked = [PollFd::new(output, PollFlags::empty())];
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0)
        && asked[0].revents().contains(PollFlags::ERR)
}

/// Answers questions.
pub fn answer(store: &Store, arguments: &Answering, approves: bool, json: bool) -> Result<u8, Failure> {
    let run = arguments.run.as_deref().map(|run| store.resolve(run)).transpose()?;
    let Waiting { questions, mut unheard } = approvals::waiting(store, run)?;
    let mut chosen: Vec<_> = if arguments.all {
        questions.into_iter().map(Ok).collect()
    } else {
        arguments.ids.iter().map(|id| find(&questions, id, unheard.is_empty())).collect()
    };
    if !approves {
        // With a denial a fork is gone, and with it what it asks: that is denied before.
        chosen.reverse();
    }
    // One question may have been named twice.
    let mut seen = BTreeSet::new();
    chosen.retain(|question| question.as_ref().map_or(true, |question| seen.insert(question.id.clone())));
    // What is not found may wait where nobody says so.
    if arguments.all || chosen.iter().any(Result::is_err) {
        chosen.extend(unheard.drain(..).map(Err));
    }
    if chosen.is_empty() {
        note("nothing waits for an answer\n");
    }
    let (count, mut failures, mut answered) = (chosen.len(), Vec::new(), Vec::new());
    for question in chosen {
        let told = question.and_then(|question| {
            let waited = approvals::answer(store, &question, reply(arguments, approves, &question))?;
            Ok((question, waited))
        });
        match told {
            Ok((question, waited)) => {
                if !json {
                    note(outcome(store, &question, approves, waited));
                }
                answered
                    .push(serde_json::json!({ "id": question.id, "run": question.run, "waited": waited }));
            }
            Err(failure) => failures.push(failure),
        }
    }
    if json && failures.len() < count.max(1) {
        let verb = if approves { "approved" } else { "denied" };
        present::print_json(serde_json::json!({ verb: answered }))?;
    }
    if failures.len() == count
        && let Some(failure) = failures.pop()
    {
        return Err(told(failures, failure, json));
    }
    for failure in &failures {
        failure.print(json);
    }
    Ok(if failures.is_empty() { 0 } else { PART })
}

fn reply(arguments: &Answering, approves: bool, question: &Question) -> Reply {
    let reach = match &arguments.pattern {
        Some(pattern) => Reach::Pattern(pattern.clone()),
        None if arguments.session => Reach::Session,
        None => Reach::Once,
    };
    Reply {
        question: question.id.clone(),
        intent_hash: question.intent_hash.clone(),
        policy_hash: question.policy_hash.clone(),
        approves,
        reach,
        who: arguments.who.clone(),
        reason: arguments.reason.clone(),
    }
}

/// The question that an id, or the beginning of one, names. `are_all` where every run said what waits.
fn find(waiting: &[Question], id: &str, are_all: bool) -> Result<Question, Failure> {
    let mut found = waiting.iter().filter(|question| !id.is_empty() && question.id.starts_with(id));
    let unknown = |what: &str| {
        Failure::new("E_APPROVAL_UNKNOWN", format!("{what} `{}` waits for an answer", shown(id)))
            .help("`vantio approvals` lists what waits")
    };
    match (found.next(), found.next()) {
        (Some(question), None) => Ok(question.clone()),
        (None, _) if are_all => Err(unknown("no question")),
        (None, _) => Err(unknown("in the runs that answer no question")),
        (Some(_), Some(_)) => Err(unknown("more than one question that begins with")),
    }
}

fn outcome(store: &Store, question: &Question, approves: bool, waited: u64) -> String {
    let verb = if approves { "approved" } else { "denied" };
    let calls = plural(usize::try_from(waited).unwrap_or(usize::MAX), "call");
    format!("{verb}: {} of run {}; {calls} waited\n", what(question), short(store, question))
}

fn print(store: &Store, questions: &[Question], json: bool) -> Result<(), Failure> {
    let paint = Paint::for_stream(&io::stdout());
    for question in questions {
        if json {
            present::print_json(to_json(store, question))?;
        } else {
            present::print(text(store, question, paint))?;
        }
    }
    Ok(())
}

fn text(store: &Store, question: &Question, paint: Paint) -> String {
    let mut text = String::new();
    let calls = plural(usize::try_from(question.waiting).unwrap_or(usize::MAX), "call");
    let left = span(question.left_ms.div_ceil(1000) * 1000);
    let (id, when) = (shown(&question.id), paint.dim(&format!("{calls} waiting, denied in {left}")));
    let place = place(store, question).map_or_else(String::new, |place| format!("  ({place})"));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}  {}  {when}", paint.bold(&id), paint.bold(&what(question)));
    let _ = writeln!(text, "  rule:   {}: {}{place}", shown(&question.section), shown(&question.rule));
    let pid = question.pids.first().map_or_else(|| "nobody who waits".to_owned(), |pid| format!("pid {pid}"));
    let command = question.command.as_deref().map(|command| format!("  {}", shown(command)));
    let _ = writeln!(text, "  asks:   run {}, {pid}{}", short(store, question), command.unwrap_or_default());
    if let Some(meanwhile) = &question.meanwhile {
        let _ = writeln!(text, "  so far: {}", shown(meanwhile));
    }
    let _ = writeln!(text, "  intent: {}", paint.dim(&shown(&question.intent_hash)));
    let _ = writeln!(text, "  answer: {}", paint.cyan(&how_to_answer(&id, &question.approvers)));
    text
}

/// The effect and its target, in a few words.
fn what(question: &Question) -> String {
    let Question { effect, target, subject, names, bytes, .. } = question;
    in_words(effect, target["access"].as_str(), subject, names, *bytes)
}

/// Where the rule stands.
fn place(store: &Store, question: &Question) -> Option<String> {
    let record = store.read(question.run.parse().ok()?).ok()?;
    let section = Section::ALL.into_iter().find(|section| section.name() == question.section)?;
    Places::of(&record).of_rule(section, &question.rule)
}

fn short(store: &Store, question: &Question) -> String {
    question.run.parse().map_or_else(|_| shown(&question.run), |run| store.short(run))
}

fn to_json(store: &Store, question: &Question) -> serde_json::Value {
    let mut value = serde_json::to_value(question).unwrap_or_default();
    value["place"] = place(store, question).into();
    value
}

/// The exit status where some of it failed.
const PART: u8 = 4;
/// How often runs are asked for more.
const POLL: Duration = Duration::from_millis(200);
