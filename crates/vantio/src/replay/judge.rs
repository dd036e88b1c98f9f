//! Each verdict of a run, decided once more with the state that it was decided with.
//!
//! The names of an address stand in each entry. What thresholds, order rules and budgets remember
//! is built up again from the permits that count, in the order in which they were decided: an
//! entry says how many came before it, because a refusal is written down after its decision.

use std::{collections::BTreeMap, sync::Arc};

use vantio_core::{Context, Decision, Effect, Hash, Intent, Target, json::Value};
use vantio_ledger::{Detail, Entry};
use vantio_policy::{PolicyProgram, State};

use super::{
    Past, Report,
    report::{Difference, Undecided, essence},
};
use crate::{
    account::{bindings, names, target},
    approvals::{Answer, HOLD_ANSWER, answers_of, intent_hash, is_too_many},
    failure::Failure,
    oracle::{Judged, Moment, ORDER_PROGRESS, PERMIT_REPEATED, REFUSAL_REPEATED, RESOURCE_EXHAUST, Restated},
};

/// Decides again what was decided in a run.
pub fn replay(past: Past<'_>) -> Result<Report, Failure> {
    let Past { run_id, program, mut entries } = past;
    let start = entries.next().transpose()?.filter(|entry| entry.op == "run.start");
    let detail = start.as_ref().and_then(|start| start.detail.as_ref()).ok_or_else(|| {
        Failure::new("E_REPLAY_START", format!("the ledger does not have how run {run_id} started"))
            .help("without what its policy's variables stood for, nothing can be decided again")
    })?;
    let state = State::new(&program, bindings(&detail.request));
    let mut last = start.as_ref().map_or(0, |start| start.seq);
    let mut between = 0;
    let mut entries = entries.inspect(|entry| {
        if let Ok(entry) = entry {
            between += entry.seq.saturating_sub(last).saturating_sub(1);
            last = entry.seq;
        }
    });
    let mut judge =
        Judge { report: Report::new(run_id, program.hash()), program, state, answers: BTreeMap::new() };
    if judge.program.remembers() {
        let mut all = entries.by_ref().collect::<Result<Vec<_>, _>>()?;
        all.sort_by_key(|entry| judge.place(entry));
        all.iter().try_for_each(|entry| judge.step(entry))?;
    } else {
        entries.try_for_each(|entry| judge.step(&entry?))?;
    }
    drop(entries);
    judge.report.between = between;
    judge.report.sort();
    Ok(judge.report)
}

struct Judge {
    program: PolicyProgram,
    state: State,
    report: Report,
    /// What people have answered, by question.
    answers: BTreeMap<String, Arc<Answer>>,
}

/// An intent as it was, and the names that its address had.
struct Asked {
    effect: Effect,
    request: Value,
    target: Restated,
    context: Context,
    names: Vec<String>,
}

impl Judge {
    /// Where an entry stands among the decisions: refusals change nothing, and are written down
    /// later than what changed something after them.
    fn place(&self, entry: &Entry) -> (u64, bool, u64) {
        if entry.op == HOLD_ANSWER {
            // It changes nothing by itself: whatever rests on it names it, and was written down after it.
            return (0, false, entry.seq);
        }
        let changes = if entry.op == ORDER_PROGRESS {
            entry.request().count("changes")
        } else {
            Moment::of(&self.program, entry.response()).and_then(|moment| moment.changes)
        };
        let changes_nothing = entry.decision.is_some_and(|decision| decision != Decision::Permit);
        (changes.unwrap_or(0), !changes_nothing, entry.seq)
    }

    fn step(&mut self, entry: &Entry) -> Result<(), Failure> {
        if entry.policy_hash != self.program.hash() && entry.decision.is_some() {
            return Err(other_policy(entry, self.program.hash()));
        }
        match (entry.op.as_str(), entry.decision) {
            (PERMIT_REPEATED | REFUSAL_REPEATED, _) => {
                self.report.repeated += entry.response().count("repeated").unwrap_or(0);
            }
            ("ledger.dropped", _) => self.report.dropped += entry.request().count("count").unwrap_or(0),
            // The kernel's own answer: there is nothing to decide.
            (RESOURCE_EXHAUST, _) => {}
            ("run.end", _) => self.report.has_ended = true,
            (ORDER_PROGRESS, _) => self.progress(entry),
            (HOLD_ANSWER, _) => {
                let answer = Answer::of(entry.request(), self.state.bindings());
                self.answers.extend(answer.map(|answer| (answer.question.clone(), answer.into())));
            }
            (_, Some(recorded)) => {
                if let Err(why) = self.judge(entry, recorded) {
                    self.report.add_undecided(why, entry.seq);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What the end of a process made of the order rules.
    fn progress(&mut self, entry: &Entry) {
        let satisfied = match entry.request().member("satisfied") {
            Some(Value::Array(numbers)) => numbers.iter().map(as_u32).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        // Without it the count of what happened is wrong, and what comes later says so.
        if let Some(satisfied) =
            satisfied.filter(|_| entry.request().count("changes").unwrap_or(0) == self.state.changes())
        {
            self.state.set_satisfied(&satisfied);
        }
    }

    fn judge(&mut self, entry: &Entry, recorded: Decision) -> Result<(), Undecided> {
        let detail = entry.detail.as_ref().ok_or(Undecided::NoDetail)?;
        if detail.response.member("nested").is_some() {
            return Err(Undecided::Nested);
        }
        let moment = Moment::of(&self.program, &detail.response).ok_or(Undecided::Unreadable)?;
        let asked = Asked::of(entry, detail, moment).ok_or(Undecided::Unreadable)?;
        let is_settled = recorded == Decision::Permit && moment.changes.is_some();
        match moment.changes {
            Some(changes) if changes != self.state.changes() => return Err(Undecided::Gap),
            None if self.program.remembers() && !moment.is_about_flow => return Err(Undecided::Unreadable),
            _ => {}
        }
        self.learn(&asked);
        self.state.set_killed(moment.is_killed);
        let intent = asked.intent();
        let outcome = self.answers(&detail.response).and_then(|answers| {
            let (decision, response) = self.decide(&asked, &intent, &answers);
            self.compare(entry, detail, (recorded, decision), &response, moment.is_about_flow)
        });
        // What happened is what was recorded, whatever is decided now.
        if is_settled && self.program.remembers() && self.state.counts(&self.program, &intent) {
            self.state.settle(&self.program, &intent);
        }
        for name in &asked.names {
            self.state.forget(name);
        }
        outcome
    }

    /// The answers that a response rests on, as the ledger has them; `None` for that nobody was asked.
    fn answers(&self, response: &Value) -> Result<Vec<Option<Arc<Answer>>>, Undecided> {
        let names = answers_of(response).ok_or(Undecided::Unreadable)?;
        let found = names.into_iter().map(|name| match self.answers.get(name) {
            Some(answer) => Ok(Some(Arc::clone(answer))),
            None if is_too_many(name) => Ok(None),
            None => Err(Undecided::NoAnswer),
        });
        found.collect()
    }

    /// The decision with these answers, as far as they are about this intent.
    fn decide(
        &self,
        asked: &Asked,
        intent: &Intent<'_>,
        answers: &[Option<Arc<Answer>>],
    ) -> (Decision, Value) {
        let hash = intent_hash(intent.effect, &asked.request, &asked.names);
        let denial = answers.iter().flatten().find(|answer| answer.denies(hash)).map(Arc::clone);
        let judged = Judged::new(&self.program, &self.state, intent, denial, |held| {
            answers.iter().find_map(|answer| match answer {
                Some(answer) => answer.settles(held, intent, hash, &asked.names).then(|| Arc::clone(answer)),
                None => Some(Answer::too_many(held, intent).into()),
            })
        });
        (judged.decision(), judged.response(&self.program, &self.state, intent))
    }

    fn learn(&mut self, asked: &Asked) {
        if let Target::Endpoint(endpoint) = asked.target.target() {
            for name in &asked.names {
                self.state.learn_name(name, endpoint.address.ip(), u64::MAX);
            }
        }
    }

    /// What the open ends of others decided may differ without being wrong.
    fn compare(
        &mut self,
        entry: &Entry,
        detail: &Detail,
        decisions: (Decision, Decision),
        response: &Value,
        may_differ: bool,
    ) -> Result<(), Undecided> {
        let (recorded, decided) = (essence(decisions.0, &detail.response), essence(decisions.1, response));
        if recorded != decided && may_differ {
            return Err(Undecided::Flow);
        }
        self.report.decided += 1;
        if recorded != decided {
            self.report.differences.push(Difference {
                seq: entry.seq,
                op: entry.op.clone(),
                target: target(&detail.request),
                recorded,
                decided,
            });
        }
        Ok(())
    }
}

impl Asked {
    fn of(entry: &Entry, detail: &Detail, moment: Moment) -> Option<Self> {
        Some(Self {
            effect: Effect::from_name(&entry.op)?,
            target: Restated::of(&detail.request)?,
            request: detail.request.clone(),
            context: moment.context,
            names: names(&detail.response)?,
        })
    }

    fn intent(&self) -> Intent<'_> {
        Intent { context: self.context, ..Intent::new(self.effect, self.target.target()) }
    }
}

fn other_policy(entry: &Entry, hash: Hash) -> Failure {
    Failure::unverified(
        "E_REPLAY_POLICY",
        format!("entry {} was decided under policy {}, and not {hash}", entry.seq, entry.policy_hash),
    )
    .help("a run has one policy from its start to its end: the program or the entries are not its own")
}

fn as_u32(value: &Value) -> Option<u32> {
    match value {
        Value::Integer(number) => u32::try_from(*number).ok(),
        _ => None,
    }
}
