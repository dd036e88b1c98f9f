//! The steps of a task: a name, progress while it runs, and how long it took.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;

/// Runs a silent step, with a spinner on a terminal and plain lines elsewhere.
pub fn step<T>(name: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let start = Instant::now();
    let spinner = spinner(name);
    let result = work();
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    let mark = if result.is_ok() { "ok" } else { "failed" };
    eprintln!("  {mark:<7} {name} ({})", seconds(start.elapsed()));
    result
}

/// Announces a step whose own output follows.
pub fn headline(name: &str) {
    eprintln!("\n==> {name}");
}

/// A duration as people read it.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn spinner(name: &str) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        eprintln!("  ...     {name}");
        return None;
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("  {spinner}       {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.set_message(name.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    Some(bar)
}
