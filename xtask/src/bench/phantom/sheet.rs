//! What is printed of a case.

use serde_json::json;

/// What values are printed in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Thousandths of a second.
    Milliseconds,
    /// Millionths of a second.
    Microseconds,
    /// Of 1,048,576 bytes.
    Mebibytes,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
            Self::Mebibytes => "MiB",
        }
    }

    /// A duration in this unit.
    pub fn of_seconds(self, seconds: f64) -> f64 {
        seconds * if self == Self::Milliseconds { 1e3 } else { 1e6 }
    }
}

/// What Vantio is to reach.
#[derive(Clone, Copy)]
pub enum Goal {
    /// At most so many times the baseline.
    Times(f64),
    /// At most so much, in the case's unit.
    Value(f64),
    /// Nothing is promised.
    None,
}

/// One subject's values, in order.
pub struct Row {
    subject: &'static str,
    values: Vec<f64>,
    is_own: bool,
    /// Whose values the ratio is to.
    baseline: &'static str,
}

impl Row {
    /// The row of `subject`.
    pub fn new(subject: &'static str, is_own: bool, baseline: &'static str, mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        Self { subject, values, is_own, baseline }
    }

    /// The value that `percent` of the samples do not exceed.
    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.values.len() * percent).div_ceil(100).saturating_sub(1);
        self.values.get(rank).copied().unwrap_or_default()
    }
}

/// One case, all subjects.
pub struct Sheet {
    /// The case.
    pub case: &'static str,
    /// What is measured, in a few words.
    pub what: String,
    /// What values are printed in.
    pub unit: Unit,
    /// What Vantio is to reach.
    pub goal: Goal,
    /// One row a subject that was measured.
    pub rows: Vec<Row>,
    /// Who was not, and why.
    pub missing: Vec<(&'static str, String)>,
}

impl Sheet {
    /// Prints the rows for people.
    pub fn print_table(&self) {
        let unit = self.unit.name();
        println!("\n{}: {}", self.case, self.what);
        println!("{:<22} {:>12} {:>12} {:>8}", "", format!("median {unit}"), format!("p90 {unit}"), "ratio");
        for row in &self.rows {
            let [median, p90] = [50, 90].map(|percent| row.percentile(percent));
            let ratio = self.ratio(row);
            let ratio_text =
                ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2} of {}", row.baseline));
            let met =
                self.is_met(row).map_or("", |is_met| if is_met { "  goal met" } else { "  goal MISSED" });
            println!("{:<22} {median:>12.3} {p90:>12.3}     {ratio_text}{met}", row.subject);
        }
        for (subject, why) in &self.missing {
            println!("{subject:<22} {:>12}  {why}", "-");
        }
        match self.goal {
            Goal::Times(times) => println!("{:<22} goal: at most {times:.2} times the baseline", ""),
            Goal::Value(value) => println!("{:<22} goal: at most {value} {unit}", ""),
            Goal::None => {}
        }
    }

    /// Prints the rows for programs, one object a line.
    pub fn print_json(&self) {
        for row in &self.rows {
            let [median, p90] = [50, 90].map(|percent| json!(round(row.percentile(percent))));
            let goal = match self.goal {
                Goal::Times(times) if row.is_own => json!({ "times": times }),
                Goal::Value(value) if row.is_own => json!({ "value": value }),
                _ => json!(null),
            };
            print_members(&[
                ("bench", json!("phantom")),
                ("case", json!(self.case)),
                ("subject", json!(row.subject)),
                ("unit", json!(self.unit.name())),
                ("median", median),
                ("p90", p90),
                ("samples", json!(row.values.len())),
                ("baseline", json!(row.baseline)),
                ("ratio", json!(self.ratio(row).map(round))),
                ("goal", goal),
                ("met", json!(self.is_met(row))),
            ]);
        }
        for (subject, why) in &self.missing {
            print_members(&[
                ("bench", json!("phantom")),
                ("case", json!(self.case)),
                ("subject", json!(subject)),
                ("missing", json!(why)),
            ]);
        }
    }

    fn ratio(&self, row: &Row) -> Option<f64> {
        let baseline = self.rows.iter().find(|candidate| candidate.subject == row.baseline)?;
        let [row, baseline] = [row, baseline].map(|row| row.percentile(50));
        (baseline > 0.0).then(|| row / baseline)
    }

    fn is_met(&self, row: &Row) -> Option<bool> {
        if !row.is_own {
            return None;
        }
        match self.goal {
            Goal::Times(times) => self.ratio(row).map(|ratio| ratio <= times),
            Goal::Value(value) => Some(row.percentile(50) <= value),
            Goal::None => None,
        }
    }
}

/// In this order, which an object of the library does not keep.
fn print_members(members: &[(&str, serde_json::Value)]) {
    let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    println!("{{{}}}", members.join(","));
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
