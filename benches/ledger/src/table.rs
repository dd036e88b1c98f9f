//! Results, for people and for programs.

use serde_json::{Value, json};

use crate::{
    append::{RAW, Reading, times},
    canonical::Canonical,
    goals::Goal,
    size::{Part, Size},
    stopwatch::Spent,
};

/// The bench's name in every object.
const BENCH: &str = "ledger";

/// Where results go: to people, or to programs.
#[derive(Clone, Copy)]
pub struct Sheet {
    /// One object a line.
    pub json: bool,
}

impl Sheet {
    /// Ways to append.
    pub fn appending(self, readings: &[Reading]) {
        if self.json {
            return readings.iter().for_each(|reading| print_way_json(readings, reading));
        }
        println!(
            "\n{:<16} {:>12} {:>12} {:>12} {:>9}",
            "appending", "entries /s", "us each", "cpu us each", "to raw"
        );
        for reading in readings {
            print_way(readings, reading);
        }
        println!("{:<16} median of the rounds; to raw: entries for one of raw in the same round", "");
        for reading in readings {
            println!("{:<16} {}", reading.kind.name, reading.kind.note);
        }
    }

    /// Ledgers of several sizes.
    pub fn sizes(self, sizes: &[Size]) {
        if self.json {
            return sizes.iter().for_each(print_size_json);
        }
        println!(
            "\n{:<16} {:>12} {:>12} {:>12} {:>12} {:>9}",
            "entries", "", "entries /s", "us each", "cpu us each", "peak MiB"
        );
        for size in sizes {
            for (name, part) in parts(size) {
                println!(
                    "{:<16} {name:>12} {:>12.0} {:>12.3} {:>12.3} {:>9.1}",
                    size.entries,
                    part.spent.rate(),
                    part.spent.micros(),
                    part.spent.cpu_micros(),
                    part.peak as f64 / MEBIBYTE
                );
            }
            println!("{:<16} {:.0} MiB of file", "", size.file as f64 / MEBIBYTE);
        }
        println!(
            "{:<16} written as in-flight, the process as a whole; verified on one core, the quietest of three",
            ""
        );
    }

    /// The form of an entry.
    pub fn canonical(self, canonical: &Canonical) {
        let rows = [("write", canonical.write), ("hash", canonical.hash), ("serde_jcs", canonical.generic)];
        if self.json {
            for (name, nanoseconds) in rows {
                print_object(&[
                    ("bench", json!(BENCH)),
                    ("case", json!("canonical")),
                    ("subject", json!(name)),
                    ("unit", json!("ns")),
                    ("quietest", json!(rounded(nanoseconds))),
                    ("bytes", json!(canonical.bytes)),
                ]);
            }
            return;
        }
        println!("\n{:<16} {:>12}", "canonical form", "ns each");
        for (name, nanoseconds) in rows {
            println!("{name:<16} {nanoseconds:>12.0}");
        }
        println!(
            "{:<16} {} bytes; serde_jcs writes the same from a `serde_json::Value`",
            "", canonical.bytes
        );
    }

    /// Whether the promises hold.
    pub fn goals(self, goals: &[Goal]) {
        if self.json {
            for goal in goals {
                print_object(&[
                    ("bench", json!(BENCH)),
                    ("goal", json!(goal.text)),
                    ("measured", json!(goal.measured.map(rounded))),
                    ("met", json!(goal.is_met())),
                ]);
            }
            return;
        }
        println!("\ngoals:");
        for goal in goals {
            let measured = goal.measured.map(|value| format!("{value:.2}{}", goal.unit));
            let measured = measured.unwrap_or_else(|| "not measured".to_owned());
            println!("  {:<8} {}: {measured}", goal.verdict(), goal.text);
        }
    }
}

const MEBIBYTE: f64 = 1024.0 * 1024.0;

fn print_way(readings: &[Reading], reading: &Reading) {
    let name = reading.kind.name;
    let of = |of: fn(&Spent) -> f64| reading.median(of).unwrap_or(f64::NAN);
    match &reading.rounds {
        Ok(_) => println!(
            "{name:<16} {:>12.0} {:>12.2} {:>12} {:>9}",
            of(Spent::rate),
            of(Spent::micros),
            known(of(Spent::cpu_micros)),
            times(readings, reading.kind, RAW).map_or_else(String::new, |times| format!("{times:.2}")),
        ),
        Err(reason) => println!("{name:<16} not measured: {reason}"),
    }
}

/// Time of the cores is not known of other processes.
fn known(micros: f64) -> String {
    if micros > 0.0 { format!("{micros:.2}") } else { "-".to_owned() }
}

fn print_way_json(readings: &[Reading], reading: &Reading) {
    let mut members =
        vec![("bench", json!(BENCH)), ("case", json!("append")), ("subject", json!(reading.kind.name))];
    match &reading.rounds {
        Ok(_) => {
            let of = |of: fn(&Spent) -> f64| json!(reading.median(of).map(rounded));
            members.extend([
                ("unit", json!("us")),
                ("median", of(Spent::micros)),
                ("cpu", of(Spent::cpu_micros)),
                ("entries_per_second", of(Spent::rate)),
                ("times_raw", json!(times(readings, reading.kind, RAW).map(rounded))),
            ]);
        }
        Err(reason) => members.push(("refused", json!(reason))),
    }
    print_object(&members);
}

fn print_size_json(size: &Size) {
    for (name, part) in parts(size) {
        print_object(&[
            ("bench", json!(BENCH)),
            ("case", json!(name)),
            ("entries", json!(size.entries)),
            ("unit", json!("us")),
            ("each", json!(rounded(part.spent.micros()))),
            ("cpu", json!(rounded(part.spent.cpu_micros()))),
            ("entries_per_second", json!(rounded(part.spent.rate()))),
            ("peak_bytes", json!(part.peak)),
            ("file_bytes", json!(size.file)),
        ]);
    }
}

fn parts(size: &Size) -> [(&'static str, &Part); 2] {
    [("write", &size.written), ("verify", &size.verified)]
}

/// Prints an object with its members in this order, which an object of the library does not keep.
fn print_object(members: &[(&str, Value)]) {
    let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    println!("{{{}}}", members.join(","));
}

fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
