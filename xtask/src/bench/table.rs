//! Results, for people and for programs.

use std::time::Duration;

use serde_json::json;

/// What times are printed in.
#[derive(Clone, Copy)]
pub enum Unit {
    /// Thousandths of a second.
    Milliseconds,
    /// Millionths of a second.
    Microseconds,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
        }
    }

    fn of(self, time: Duration) -> f64 {
        let scale = match self {
            Self::Milliseconds => 1e3,
            Self::Microseconds => 1e6,
        };
        (time.as_secs_f64() * scale * 1e3).round() / 1e3
    }
}

/// One subject's times, in order.
pub struct Row {
    subject: &'static str,
    times: Vec<Duration>,
}

impl Row {
    /// The row of `subject`.
    pub fn new(subject: &'static str, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { subject, times }
    }

    /// The time that `percent` of the samples do not exceed.
    fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.times.len() * percent).div_ceil(100).saturating_sub(1);
        self.times.get(rank).copied().unwrap_or_default()
    }
}

/// One case, all subjects.
pub struct Sheet {
    /// The bench.
    pub bench: &'static str,
    /// The case.
    pub case: &'static str,
    /// What times are printed in.
    pub unit: Unit,
    /// The subject that ratios refer to.
    pub baseline: String,
    /// One row a subject.
    pub rows: Vec<Row>,
}

impl Sheet {
    /// Prints the rows for people.
    pub fn print_table(&self) {
        let (case, unit) = (self.case, self.unit.name());
        println!(
            "\n{case:<10} {:>12} {:>12} {:>9}",
            format!("median {unit}"),
            format!("p99 {unit}"),
            "ratio"
        );
        for row in &self.rows {
            let [median, p99] = [50, 99].map(|percent| self.unit.of(row.percentile(percent)));
            let ratio = self.ratio(row).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
            println!("{:<10} {median:>12.3} {p99:>12.3} {ratio:>9}", row.subject);
        }
        println!("{:<10} ratio: median to that of {}", "", self.baseline);
    }

    /// Prints the rows for programs, one object a line.
    pub fn print_json(&self) {
        for row in &self.rows {
            let [median, p99] = [50, 99].map(|percent| self.unit.of(row.percentile(percent)));
            let members = [
                ("bench", json!(self.bench)),
                ("case", json!(self.case)),
                ("subject", json!(row.subject)),
                ("unit", json!(self.unit.name())),
                ("median", json!(median)),
                ("p99", json!(p99)),
                ("ratio", json!(self.ratio(row))),
            ];
            // In this order, which an object of the library does not keep.
            let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            println!("{{{}}}", members.join(","));
        }
    }

    fn ratio(&self, row: &Row) -> Option<f64> {
        let baseline = self.rows.iter().find(|candidate| candidate.subject == self.baseline)?;
        let [row, baseline] = [row, baseline].map(|row| row.percentile(50).as_secs_f64());
        (baseline > 0.0).then(|| (row / baseline * 1e3).round() / 1e3)
    }
}
