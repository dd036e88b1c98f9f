//! The questions that a run left open which ended without a word.

use std::collections::BTreeMap;

use vantio_core::{Decision, RunId, json::Value};
use vantio_ledger::{Filter, LedgerError, Reader};

use super::HOLD_ANSWER;

/// The questions of a run that the ledger has no answer to, with the hash of the intent that each is about.
pub fn orphans(reader: &Reader, run: RunId) -> Result<BTreeMap<String, String>, LedgerError> {
    let of_run = Filter { run_id: Some(run), ..Filter::default() };
    let mut open = BTreeMap::new();
    for entry in reader.entries(&Filter { decision: Some(Decision::Hold), ..of_run.clone() }) {
        let entry = entry?;
        if let (Some(question), Some(intent)) =
            (entry.response().text("question"), entry.response().text("intent_hash"))
        {
            open.insert(question.to_owned(), intent.to_owned());
        }
    }
    for entry in reader.entries(&Filter { op: Some(HOLD_ANSWER.into()), ..of_run }) {
        if let Some(question) = entry?.request().text("question") {
            open.remove(question);
        }
    }
    Ok(open)
}

/// What the ledger keeps of a question for which nobody waits any more.
pub fn withdrawn(question: &str, intent_hash: &str) -> Value {
    Value::object([
        ("answer", Value::from(WITHDRAWN)),
        ("intent_hash", intent_hash.into()),
        ("question", question.into()),
    ])
}

/// That a question was not answered while somebody waited.
pub const WITHDRAWN: &str = "withdrawn";
