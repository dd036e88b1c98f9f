//! `cargo xtask test`: checks, builds and every suite, as root and as an ordinary user.

mod artifacts;
mod conformance;
mod posix;
mod report;
mod user;

use std::{path::Path, process::Command, time::Instant};

use crate::{
    failure::Failure,
    layout, setup, shell,
    step::{headline, step},
};

use artifacts::Artifact;
use report::{Outcome, Report};
use user::User;

/// Which suites to run.
#[derive(clap::Args)]
pub struct Arguments {
    /// Suites to run; all when none is named
    #[arg(value_name = "SUITE", value_parser = SUITES)]
    suites: Vec<String>,
    /// Suites to leave out
    #[arg(long, value_name = "SUITE", value_parser = SUITES)]
    skip: Vec<String>,
    /// Kill the supervisor at this many random moments instead of 20
    #[arg(long, value_name = "N")]
    kills: Option<u32>,
}

const SUITES: [&str; 21] = [
    "format",
    "lint",
    "no-std",
    "unit",
    "conformance",
    "programs",
    "posix",
    "escapes",
    "network",
    "flows",
    "holds",
    "speculation",
    "lifecycle",
    "crash",
    "checkpoints",
    "view",
    "nested",
    "learning",
    "terminal",
    "detached",
    "user",
];

/// The bare-metal target whose build proves that `std` is not linked: it has none.
const NO_STD_TARGET: &str = "x86_64-unknown-none";

impl Arguments {
    fn wants(&self, suite: &str) -> bool {
        let named = self.suites.is_empty() || self.suites.iter().any(|name| name == suite);
        named && !self.skip.iter().any(|name| name == suite)
    }

    fn wants_end_to_end(&self, suite: &str) -> bool {
        let only_user = self.suites.iter().all(|name| name == "user");
        (only_user && !self.skip.iter().any(|name| name == suite)) || self.wants(suite)
    }
}

/// Runs the suites and prints what ran.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    headline("setup");
    setup::packages("test")?;
    let mut report = Report::default();
    let here = if layout::is_root() { "root" } else { "user" };

    check(arguments, &mut report, "format", || {
        shell::loud(layout::cargo().args(["fmt", "--all", "--check"]))
    });
    check(arguments, &mut report, "lint", || {
        let lint = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
        shell::loud(layout::cargo().args(lint))
    });
    match arguments.wants("no-std").then(no_std_target) {
        Some(Err(reason)) => report.skip("no-std", "-", &reason),
        _ => check(arguments, &mut report, "no-std", no_std),
    }
    if arguments.wants("unit") {
        headline("unit: unit and property tests of every crate");
        let start = Instant::now();
        let (passed, output) = unit()?;
        report.add("unit", here, Outcome::of_tests(passed, &output), start);
    } else {
        report.skip("unit", here, "not asked for");
    }
    conformance(arguments, &mut report);
    end_to_end(arguments, &mut report, here)?;
    report.finish()
}

fn check(
    arguments: &Arguments,
    report: &mut Report,
    suite: &'static str,
    work: impl FnOnce() -> Result<(), Failure>,
) {
    if !arguments.wants(suite) {
        report.skip(suite, "-", "not asked for");
        return;
    }
    let start = Instant::now();
    let result = step(suite, work);
    if let Err(failure) = &result {
        eprintln!("{failure}");
    }
    report.add(suite, "-", Outcome::of_check(result.is_ok()), start);
}

/// Installs the target without `std`, or says why there is none.
fn no_std_target() -> Result<(), String> {
    if shell::which("rustup").is_none() {
        return Err(format!("without rustup, the target {NO_STD_TARGET} cannot be installed"));
    }
    let mut rustup = Command::new("rustup");
    let added = shell::quiet(rustup.current_dir(layout::root()).args(["target", "add", NO_STD_TARGET]));
    added.map(drop).map_err(|failure| {
        eprintln!("{failure}");
        format!("rustup could not install the target {NO_STD_TARGET}")
    })
}

/// Builds the crates that promise to work without `std` for a target that has no `std`.
fn no_std() -> Result<(), Failure> {
    let build = ["build", "--quiet", "--package", "vantio-core", "--package", "vantio-policy"];
    shell::loud(layout::cargo().args(build).args(["--no-default-features", "--target", NO_STD_TARGET]))
}

/// Everything except the suites that run on the release binary.
fn unit() -> Result<(bool, String), Failure> {
    let mut libraries = layout::cargo();
    libraries.args(["test", "--workspace", "--exclude", "vantio", "--no-fail-fast"]);
    let mut command = layout::cargo();
    command.args(["test", "--package", "vantio", "--bins"]);
    for test in
        ["cli_explain", "cli_export", "cli_ledger", "cli_messages", "cli_policies", "cli_replay", "cli_runs"]
    {
        command.args(["--test", test]);
    }
    command.arg("--no-fail-fast");
    let (libraries_passed, libraries) = shell::tee(&mut libraries)?;
    let (command_passed, command) = shell::tee(&mut command)?;
    Ok((libraries_passed && command_passed, libraries + &command))
}

/// What others wrote reads what Vantio publishes.
fn conformance(arguments: &Arguments, report: &mut Report) {
    if !arguments.wants("conformance") {
        report.skip("conformance", "-", "not asked for");
        return;
    }
    headline("conformance: published logs, read by tools of others");
    let start = Instant::now();
    let outcome = match conformance::run() {
        Ok((passed, output)) => Outcome::of_tests(passed, &output),
        Err(failure) => {
            eprintln!("{failure}");
            Outcome::of_check(false)
        }
    };
    report.add("conformance", "-", outcome, start);
}

fn end_to_end(arguments: &Arguments, report: &mut Report, here: &'static str) -> Result<(), Failure> {
    let suites: Vec<_> = artifacts::END_TO_END
        .into_iter()
        .filter(|suite| {
            let wanted = arguments.wants_end_to_end(suite);
            if !wanted {
                report.skip(suite, here, "not asked for");
            }
            wanted
        })
        .collect();
    if suites.is_empty() {
        return Ok(());
    }
    headline("end to end");
    let vantio = setup::release_binary()?;
    let built = step("build the suites", || artifacts::build(&suites))?;
    if suites.contains(&"posix") {
        posix::install()?;
    }
    if arguments.suites.is_empty() || suites.iter().any(|suite| arguments.wants(suite)) {
        for artifact in &built {
            let mut command = artifact.command();
            command.current_dir(layout::root().join("crates/vantio")).env("VANTIO_BIN", &vantio);
            command.env("VANTIO_TEST_TOOLS", posix::folder());
            run_suite(arguments, report, artifact, here, command)?;
        }
    }
    as_user(arguments, report, &built, &vantio)
}

/// Runs the same executables as an ordinary user, when this one is root.
fn as_user(
    arguments: &Arguments,
    report: &mut Report,
    built: &[Artifact],
    vantio: &Path,
) -> Result<(), Failure> {
    if !layout::is_root() {
        report.skip_all(built, "root", "not run by root");
        return Ok(());
    }
    let named = arguments.suites.is_empty() || arguments.suites.iter().any(|suite| suite == "user");
    if !named || !arguments.wants("user") {
        report.skip_all(built, "user", "not asked for");
        return Ok(());
    }
    let user = step("make the user vantio-test and stage the binaries", || User::prepare(vantio, built))?;
    if let Some(reason) = user.cannot_sandbox() {
        report.skip_all(built, "user", &reason);
        return Ok(());
    }
    for artifact in built {
        run_suite(arguments, report, artifact, "user", user.command(artifact))?;
    }
    Ok(())
}

fn run_suite(
    arguments: &Arguments,
    report: &mut Report,
    artifact: &Artifact,
    who: &'static str,
    mut command: Command,
) -> Result<(), Failure> {
    headline(&format!("{} as {who}", artifact.suite));
    let start = Instant::now();
    if let Some(kills) = arguments.kills {
        command.env("VANTIO_TEST_KILLS", kills.to_string());
    }
    let (passed, output) = shell::tee(&mut command)?;
    report.add(artifact.suite, who, Outcome::of_tests(passed, &output), start);
    Ok(())
}
