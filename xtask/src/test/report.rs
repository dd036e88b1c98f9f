//! What ran, what did not, and why.

use std::time::{Duration, Instant};

use super::artifacts::Artifact;
use crate::{failure::Failure, step::seconds};

/// Rows of the closing summary.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

struct Row {
    suite: String,
    who: &'static str,
    outcome: Outcome,
    time: Duration,
}

/// How a suite ended.
pub enum Outcome {
    /// A check without tests of its own.
    Check {
        /// Whether it passed.
        passed: bool,
    },
    /// Tests were run.
    Tests {
        /// Whether the executable succeeded.
        passed: bool,
        /// Tests that passed, failed and were skipped.
        counts: [u32; 3],
        /// Tests that skipped themselves, with the reason.
        skips: Vec<String>,
    },
    /// Nothing was run.
    Skipped(String),
}

impl Outcome {
    /// The outcome of a check.
    pub const fn of_check(passed: bool) -> Self {
        Self::Check { passed }
    }

    /// The outcome of test executables, by the closing lines of their output.
    pub fn of_tests(passed: bool, output: &str) -> Self {
        let mut counts = [0_u32; 3];
        for line in output.lines().filter(|line| line.starts_with("test result:")) {
            for (count, word) in counts.iter_mut().zip([" passed", " failed", " ignored"]) {
                *count += number_before(line, word);
            }
        }
        let skips = output.lines().filter_map(|line| line.split_once("SKIP "));
        let skips: Vec<_> = skips.map(|(_, skip)| skip.to_owned()).collect();
        // The harness counts them as passed.
        let own = u32::try_from(skips.len()).unwrap_or(u32::MAX).min(counts[0]);
        let counts = [counts[0] - own, counts[1], counts[2] + own];
        Self::Tests { passed, counts, skips }
    }

    fn failed(&self) -> bool {
        matches!(self, Self::Check { passed: false } | Self::Tests { passed: false, .. })
            || matches!(self, Self::Tests { counts: [0, 0, _], .. })
    }
}

impl Report {
    /// Adds a suite that ran since `start`.
    pub fn add(&mut self, suite: &str, who: &'static str, outcome: Outcome, start: Instant) {
        self.rows.push(Row { suite: suite.to_owned(), who, outcome, time: start.elapsed() });
    }

    /// Adds a suite that did not run.
    pub fn skip(&mut self, suite: &str, who: &'static str, reason: &str) {
        let outcome = Outcome::Skipped(reason.to_owned());
        self.rows.push(Row { suite: suite.to_owned(), who, outcome, time: Duration::ZERO });
    }

    /// Adds suites that did not run.
    pub fn skip_all(&mut self, suites: &[Artifact], who: &'static str, reason: &str) {
        for artifact in suites {
            self.skip(artifact.suite, who, reason);
        }
    }

    /// Prints the summary; fails when a suite did, or ran no test.
    pub fn finish(self) -> Result<(), Failure> {
        println!(
            "\n{:<11} {:<5} {:<8} {:>7} {:>7} {:>8} {:>9}",
            "suite", "as", "", "passed", "failed", "skipped", "time"
        );
        let mut total = [0; 3];
        for Row { suite, who, outcome, time } in &self.rows {
            let time = seconds(*time);
            match outcome {
                Outcome::Skipped(reason) => println!("{suite:<11} {who:<5} skipped: {reason}"),
                Outcome::Check { .. } => {
                    println!(
                        "{suite:<11} {who:<5} {:<8} {:>7} {:>7} {:>8} {time:>9}",
                        word(outcome),
                        "",
                        "",
                        ""
                    );
                }
                Outcome::Tests { counts: [passed, failed, skipped], skips, .. } => {
                    println!(
                        "{suite:<11} {who:<5} {:<8} {passed:>7} {failed:>7} {skipped:>8} {time:>9}",
                        word(outcome)
                    );
                    for skip in skips {
                        println!("{:18}skipped {skip}", "");
                    }
                    total = [total[0] + passed, total[1] + failed, total[2] + skipped];
                }
            }
        }
        println!("\n{} passed, {} failed, {} skipped", total[0], total[1], total[2]);
        let failed: Vec<_> = self.rows.iter().filter(|row| row.outcome.failed()).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = failed.iter().map(|row| format!("{} ({})", row.suite, row.who)).collect();
        Err(Failure::Check(format!("failed: {}", names.join(", "))))
    }
}

fn word(outcome: &Outcome) -> &'static str {
    if outcome.failed() { "FAILED" } else { "ok" }
}

fn number_before(line: &str, word: &str) -> u32 {
    let before = line.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}
