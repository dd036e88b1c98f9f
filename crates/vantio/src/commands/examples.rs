//! `vantio policy test`

use std::{fmt::Write as _, io, path::Path};

use serde_json::{Value, json};
use vantio_core::{Access, Cause, Decision, Effect, Labels};
use vantio_policy::{
    Bindings, Compiled, Example, PolicyProgram, SourceMap, State,
    explain::{Question, Wish, to_a_labels},
    judge,
};

use super::{explain::bindings, policy::open};
use crate::{
    failure::Failure,
    present::{self, Paint, note, shown, shown_path},
    run::host,
};

/// Runs the examples that stand in a document.
pub fn test(file: &Path, json: bool) -> Result<u8, Failure> {
    let Compiled { program, source_map, tests, .. } = open(file)?;
    let bindings = bindings(&program, false)?;
    let results: Vec<Outcome> =
        tests.iter().map(|example| outcome(example, &program, &bindings, &source_map)).collect();
    let failed = results.iter().filter(|result| !result.passes()).count();
    let file = shown_path(file);
    if json {
        let list: Value = results.iter().map(|result| result.to_json(&file)).collect();
        let passed = results.len() - failed;
        present::print_json(json!({ "file": file, "passed": passed, "failed": failed, "tests": list }))?;
    } else if results.is_empty() {
        note(format!("{file}: it has no examples; write some under `tests:`\n"));
    } else {
        present::print(render(&results, &file, failed, Paint::for_stream(&io::stdout())))?;
    }
    Ok(if failed > 0 { FAILED } else { 0 })
}

/// What came of an example.
struct Outcome<'e> {
    example: &'e Example,
    /// The target as it was judged; as written where it could not be.
    target: String,
    /// What the policy says, or why the target is none.
    got: Result<Decision, String>,
    reason: String,
    /// Where the rule that decided stands.
    rule: Option<String>,
}

fn outcome<'e>(
    example: &'e Example,
    program: &PolicyProgram,
    bindings: &Bindings,
    source_map: &SourceMap,
) -> Outcome<'e> {
    let mut state = State::new(program, bindings.clone());
    let wish = Wish {
        effect: example.effect,
        target: &example.target,
        // An example has one target: it is both of the names.
        to: Some(&example.target),
        access: example.access.unwrap_or(Access::Read),
        subtree: false,
        is_udp: false,
        labels: Labels::NONE,
    };
    let question = Question::new(&wish, program, bindings, &mut state, host::find_in_path, to_a_labels);
    let question = match question {
        Ok(question) => question,
        Err(error) => {
            let (target, reason) = (example.target.clone(), error.help().to_owned());
            return Outcome { example, target, got: Err(error.to_string()), reason, rule: None };
        }
    };
    let verdict = judge(program, &state, &question.intent());
    let place = match verdict.cause {
        Cause::Rule { section, text } => source_map.origin(section, text),
        _ => None,
    };
    Outcome {
        example,
        target: question.target(),
        got: Ok(verdict.decision),
        reason: verdict.cause.to_string(),
        rule: place.map(|origin| origin.to_string()),
    }
}

impl Outcome<'_> {
    fn passes(&self) -> bool {
        self.got.as_ref() == Ok(&self.example.expect)
    }

    fn what(&self) -> String {
        let access = match (self.example.effect, self.example.access) {
            (Effect::FsOpen, Some(Access::Write)) => " (write)",
            (Effect::FsOpen, _) => " (read)",
            _ => "",
        };
        // Both names of a rename are the same here.
        let target = self.target.split(" → ").next().unwrap_or_default();
        format!("{}{access}  {}", self.example.effect, shown(target))
    }

    fn to_json(&self, file: &str) -> Value {
        json!({
            "effect": self.example.effect.name(),
            "target": self.target,
            "expected": self.example.expect.name(),
            "got": self.got.as_ref().ok().map(|decision| decision.name()),
            "error": self.got.as_ref().err(),
            "passed": self.passes(),
            "reason": self.reason,
            "place": format!("{file}:{}:{}", self.example.place.line, self.example.place.column),
            "rule_place": self.rule,
        })
    }
}

fn render(results: &[Outcome<'_>], file: &str, failed: usize, paint: Paint) -> String {
    let mut text = String::new();
    for result in results {
        let expected = result.example.expect;
        // Writing to a String cannot fail.
        if result.passes() {
            let _ = writeln!(text, "{}      {}  {expected}", paint.green("ok"), result.what());
            continue;
        }
        let place = format!("{file}:{}:{}", result.example.place.line, result.example.place.column);
        let _ = writeln!(text, "{}  {}  ({place})", paint.red("FAILED"), result.what());
        match &result.got {
            Ok(got) => {
                let rule = result.rule.as_ref().map_or_else(String::new, |place| format!("  ({place})"));
                let _ = writeln!(text, "        expected {expected}, got {got}");
                let _ = writeln!(text, "        {}{rule}", shown(&result.reason));
            }
            Err(error) => {
                let _ = writeln!(text, "        {}; {}", shown(error), shown(&result.reason));
            }
        }
    }
    let passed = results.len() - failed;
    let _ = writeln!(text, "{passed} passed, {failed} failed");
    text
}

/// An example does not hold.
const FAILED: u8 = 3;
