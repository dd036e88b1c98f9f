//! A harness for test binaries that start themselves again as other processes.

use std::{env, time::Instant};

/// A test: its name, and what it does. What it returns says what it saw.
pub type Test = (&'static str, fn() -> Outcome);

/// How a test ended that did not fail.
pub enum Outcome {
    /// It passed; with what it counted.
    Passed(String),
    /// It could not run, for this reason.
    Skipped(String),
}

/// Runs the tests that the command line asks for, with the options of the usual harness that say
/// which tests to run. A test fails by panicking, which ends the process.
pub fn run(tests: &[Test]) {
    let (options, filters): (Vec<_>, Vec<_>) = env::args().skip(1).partition(|word| word.starts_with('-'));
    let has = |option: &str| options.iter().any(|found| found == option);
    if has("--ignored") {
        return;
    }
    if has("--list") {
        return tests.iter().for_each(|(name, _)| println!("{name}: test"));
    }
    let is_wanted = |name: &str| {
        let is_named =
            |part: &String| if has("--exact") { name == part.as_str() } else { name.contains(part.as_str()) };
        filters.is_empty() || filters.iter().any(is_named)
    };
    let mut counts = (0, 0);
    for (name, test) in tests.iter().filter(|(name, _)| is_wanted(name)) {
        let start = Instant::now();
        match test() {
            Outcome::Passed(seen) => println!("test {name} ... ok: {seen} ({:.1?})", start.elapsed()),
            Outcome::Skipped(reason) => {
                println!("SKIP {name}: {reason}");
                counts.1 += 1;
            }
        }
        counts.0 += 1;
    }
    // As the usual harness says it, which counts what skipped itself as passed.
    println!("test result: ok. {} passed; 0 failed; 0 ignored; {} skipped", counts.0, counts.1);
}
