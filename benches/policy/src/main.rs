//! Measures the decision beside its peers; started by `cargo xtask bench policy`.

use std::process::ExitCode;

use bench_policy::{
    counter::Counter,
    failure::Failure,
    goals::{Size, goals},
    measure::{ROUNDS, measure},
    stage::Stage,
    table::{self, Sheet},
};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: Counter = Counter;

/// Measures Vantio's decision beside its peers.
#[derive(Parser)]
struct Arguments {
    /// Sizes of the rule sets
    #[arg(long, value_name = "N", num_args = 1.., default_values_t = [1, 10, 100, 1_000, 10_000])]
    rules: Vec<usize>,
    /// Rounds of each size
    #[arg(long, value_name = "N", default_value_t = ROUNDS)]
    rounds: usize,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Sizes at which all must agree before anything is timed.
const CHECKED: [usize; 3] = [1, 10, 100];

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    for rules in CHECKED {
        Stage::set(rules)?;
    }
    let mut sizes = Vec::new();
    for rules in arguments.rules.iter().copied() {
        eprintln!("\n==> {rules} rules");
        let mut stage = Stage::set(rules)?;
        let readings = measure(&mut stage, arguments.rounds);
        let sheet = Sheet { stage: &stage, readings: &readings };
        if arguments.json {
            sheet.print_json();
        } else {
            sheet.print_table();
        }
        sizes.push(Size::new(&stage, &readings));
    }
    let goals = goals(&sizes);
    if arguments.json {
        table::print_goals_json(&goals);
    } else {
        table::print_goals(&goals);
    }
    Ok(())
}
