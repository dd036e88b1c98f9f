//! `vantio policy diff`

use std::io;

use serde_json::{Value, json};
use vantio_policy::{Change, Compiled, Difference, differences};

use super::policy::open;
use crate::{
    arguments::PolicyDiff,
    failure::Failure,
    present::{self, Paint, note, shown, shown_path},
};

/// Tells what the second policy allows that the first does not.
pub fn difference(arguments: &PolicyDiff, json: bool) -> Result<u8, Failure> {
    let (first, second) = (open(&arguments.first)?, open(&arguments.second)?);
    let all = differences(&first.program, &second.program);
    let widens = all.iter().any(|difference| difference.change == Change::Widens);
    let told: Vec<&Difference> =
        all.iter().filter(|difference| arguments.both || difference.change == Change::Widens).collect();
    if json {
        let list: Vec<Value> = told.iter().map(|difference| to_json(difference, &first, &second)).collect();
        present::print_json(json!({
            "first": shown_path(&arguments.first), "second": shown_path(&arguments.second),
            "second_allows_more": widens, "differences": list,
        }))?;
    } else if told.is_empty() {
        note(format!(
            "{} allows nothing that {} does not\n",
            shown_path(&arguments.second),
            shown_path(&arguments.first)
        ));
    } else {
        present::print(render(&told, &first, &second, Paint::for_stream(&io::stdout())))?;
    }
    Ok(if arguments.exit_code && widens { ALLOWS_MORE } else { 0 })
}

fn render(told: &[&Difference], first: &Compiled, second: &Compiled, paint: Paint) -> String {
    let length = |text: &str| text.chars().count();
    let widest =
        |of: &dyn Fn(&Difference) -> usize| told.iter().map(|difference| of(difference)).max().unwrap_or(0);
    let keys = widest(&|difference| length(&difference.key));
    let texts = widest(&|difference| length(&words(difference))).min(TEXT_WIDTH);
    let mut lines = String::new();
    for difference in told {
        let text = words(difference);
        let gap = " ".repeat(texts.saturating_sub(length(&text)));
        let place = place(difference, first, second)
            .map_or_else(String::new, |place| format!("{gap}  {}", paint.dim(&format!("# {place}"))));
        let line = match difference.change {
            Change::Widens => paint.green(&format!("+ {:keys$}  {text}", difference.key)),
            Change::Narrows => paint.red(&format!("- {:keys$}  {text}", difference.key)),
        };
        lines.extend([line.as_str(), place.as_str(), "\n"]);
    }
    lines
}

/// The rule, and what became of it where that is not what its sign says.
fn words(difference: &Difference) -> String {
    let text = shown(&difference.text);
    // A rule that refuses, and is only in the policy that refuses more.
    match (difference.change, difference.is_in_second) {
        (Change::Widens, false) => format!("{text} (gone)"),
        (Change::Narrows, true) if difference.section.is_some() || difference.key == "env.deny" => {
            format!("{text} (new)")
        }
        _ => text,
    }
}

/// Where the rule stands, in the policy that has it.
fn place(difference: &Difference, first: &Compiled, second: &Compiled) -> Option<String> {
    let compiled = if difference.is_in_second { second } else { first };
    let origin = match difference.section {
        Some(section) => compiled.source_map.origin(section, &difference.text),
        None => compiled.present.origin(&difference.key).cloned(),
    };
    origin.map(|origin| shown(&origin.to_string()))
}

fn to_json(difference: &Difference, first: &Compiled, second: &Compiled) -> Value {
    json!({
        "change": if difference.change == Change::Widens { "allows" } else { "refuses" },
        "key": difference.key,
        "text": difference.text,
        "in": if difference.is_in_second { "second" } else { "first" },
        "place": place(difference, first, second),
    })
}

/// The second policy allows more, and the caller asked to be told so.
const ALLOWS_MORE: u8 = 3;

/// Columns of a rule before the place; longer ones push it to the right.
const TEXT_WIDTH: usize = 48;
