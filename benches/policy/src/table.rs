//! Results, for people and for programs.

use std::fmt::Display;

use serde_json::{Value, json};

use crate::{
    goals::Goal,
    measure::Reading,
    stage::{Entrant, Stage},
    subjects::ALL,
};

/// The bench's name in every object.
const BENCH: &str = "policy";

/// One size, all subjects.
pub struct Sheet<'s> {
    /// What was measured.
    pub stage: &'s Stage,
    /// One reading a subject; ours is the first.
    pub readings: &'s [Option<Reading>],
}

impl Sheet<'_> {
    /// Prints the rows for people.
    pub fn print_table(&self) {
        let case = format!("{} rules", self.stage.rules);
        println!(
            "\n{case:<16} {:>12} {:>12} {:>9} {:>8} {:>9} {:>11} {:>11}",
            "median ns", "p99 ns", "ratio", "allocs", "bytes", "compile ms", "memory KiB"
        );
        for (entrant, reading) in self.rows() {
            match (&entrant.subject, reading) {
                (Ok(_), Some(reading)) => self.print_row(entrant, reading),
                (Err(reason), _) => println!("{:<16} refused: {reason}", entrant.kind.name),
                (Ok(_), None) => println!("{:<16} not measured", entrant.kind.name),
            }
        }
        let asked = self.stage.scene.requests.len();
        println!(
            "{:<16} {asked} requests, {} permitted, all answers equal; ratio: median to that of vantio",
            "", self.stage.permitted
        );
        if let Some(bytes) = self.canonical_bytes() {
            println!("{:<16} vantio's program is {bytes} bytes in canonical form", "");
        }
    }

    fn print_row(&self, entrant: &Entrant, reading: &Reading) {
        println!(
            "{:<16} {:>12.1} {:>12.1} {:>9.1} {:>8.1} {:>9.0} {:>11.3} {:>11.1}",
            entrant.kind.name,
            reading.median,
            reading.p99,
            self.ratio(reading),
            reading.allocations,
            reading.allocated,
            entrant.compile.as_secs_f64() * 1e3,
            entrant.memory as f64 / 1024.0
        );
    }

    /// Prints the rows for programs, one object a line.
    pub fn print_json(&self) {
        for (entrant, reading) in self.rows() {
            let mut members = vec![
                ("bench", json!(BENCH)),
                ("case", json!(self.stage.rules.to_string())),
                ("subject", json!(entrant.kind.name)),
                ("unit", json!("ns")),
            ];
            match (&entrant.subject, reading) {
                (Ok(_), Some(reading)) => members.extend(self.members(entrant, reading)),
                (Err(reason), _) => members.push(("refused", json!(reason))),
                (Ok(_), None) => {}
            }
            println!("{}", object(&members));
        }
    }

    fn members(&self, entrant: &Entrant, reading: &Reading) -> Vec<(&'static str, Value)> {
        let mut members = vec![
            ("median", json!(rounded(reading.median))),
            ("p99", json!(rounded(reading.p99))),
            ("ratio", json!(rounded(self.ratio(reading)))),
            ("mean", json!(rounded(reading.mean))),
            ("allocations", json!(rounded(reading.allocations))),
            ("allocated_bytes", json!(rounded(reading.allocated))),
            ("compile_ms", json!(rounded(entrant.compile.as_secs_f64() * 1e3))),
            ("memory_bytes", json!(entrant.memory)),
            ("document_bytes", json!(entrant.document)),
        ];
        let canonical = entrant.subject.as_ref().ok().and_then(|subject| subject.canonical_bytes());
        members.extend(canonical.map(|bytes| ("canonical_bytes", json!(bytes))));
        members
    }

    fn rows(&self) -> impl Iterator<Item = (&Entrant, Option<&Reading>)> {
        self.stage.entrants.iter().zip(self.readings.iter().map(Option::as_ref))
    }

    fn canonical_bytes(&self) -> Option<usize> {
        self.stage.entrants.first()?.subject.as_ref().ok()?.canonical_bytes()
    }

    fn ratio(&self, reading: &Reading) -> f64 {
        let ours = self.readings.first().and_then(Option::as_ref).map_or(f64::NAN, |reading| reading.median);
        reading.median / ours
    }
}

/// Prints the goals for people, and what the names in the tables mean.
pub fn print_goals(goals: &[Goal]) {
    println!("\ngoals:");
    for goal in goals {
        println!("  {:<8} {}: {}", goal.verdict(), goal.text, shown(goal.measured.as_ref()));
    }
    println!();
    for kind in ALL {
        println!("{:<16} {}", kind.name, kind.note);
    }
    println!(
        "times are from a request's bytes to the answer: median and 99th percentile of the quietest round;"
    );
    println!("a sample is one decision, of vantio the mean of 64 different ones");
}

/// Prints the goals for programs.
pub fn print_goals_json(goals: &[Goal]) {
    for goal in goals {
        let members = [
            ("bench", json!(BENCH)),
            ("goal", json!(goal.text)),
            ("measured", json!(goal.measured.map(|measured| rounded(measured.value)))),
            ("met", json!(goal.is_met())),
        ];
        println!("{}", object(&members));
    }
}

fn shown(measured: Option<&impl Display>) -> String {
    measured.map_or_else(|| "the sizes were not measured".to_owned(), ToString::to_string)
}

/// An object with its members in this order, which an object of the library does not keep.
fn object(members: &[(&str, Value)]) -> String {
    let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
