//! What is promised of the decision, and whether it holds here.

use std::fmt;

use crate::{
    measure::Reading,
    stage::Stage,
    subjects::{ALL, Form},
};

/// The readings of one size, in the order of the subjects.
pub struct Size {
    rules: usize,
    readings: Vec<Option<Reading>>,
}

impl Size {
    /// What was measured on a stage.
    pub fn new(stage: &Stage, readings: &[Option<Reading>]) -> Self {
        Self { rules: stage.rules, readings: readings.to_vec() }
    }

    fn ours(&self) -> Option<Reading> {
        self.readings.first().copied().flatten()
    }

    /// The lowest median of the peers in one form.
    fn fastest(&self, form: Form) -> Option<f64> {
        let peers = ALL.iter().zip(&self.readings).filter(|(kind, _)| kind.form == form);
        peers.filter_map(|(_, reading)| reading.map(|reading| reading.median)).reduce(f64::min)
    }

    fn times(&self, form: Form) -> Option<f64> {
        Some(self.fastest(form)? / self.ours()?.median)
    }
}

/// A promise.
pub struct Goal {
    /// In words.
    pub text: &'static str,
    /// What was measured, where its sizes were.
    pub measured: Option<Measured>,
    holds: fn(f64) -> bool,
}

/// A figure and its unit.
#[derive(Clone, Copy)]
pub struct Measured {
    /// The figure.
    pub value: f64,
    unit: &'static str,
}

impl fmt::Display for Measured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.2}{}", self.value, self.unit)
    }
}

impl Goal {
    /// Whether it holds, where it was measured.
    pub fn is_met(&self) -> Option<bool> {
        self.measured.map(|measured| (self.holds)(measured.value))
    }

    /// The same in words.
    pub fn verdict(&self) -> &'static str {
        match self.is_met() {
            Some(true) => "met",
            Some(false) => "not met",
            None => "-",
        }
    }
}

/// Every goal, against what was measured.
pub fn goals(sizes: &[Size]) -> Vec<Goal> {
    let at = |rules: usize| sizes.iter().find(|size| size.rules == rules);
    let growth = || Some(at(10_000)?.ours()?.median / at(100)?.ours()?.median);
    let allocations =
        sizes.iter().filter_map(|size| size.ours().map(|ours| ours.allocations)).reduce(f64::max);
    let goal = |text, unit, value: Option<f64>, holds| Goal {
        text,
        measured: value.map(|value| Measured { value, unit }),
        holds,
    };
    let ours = at(100).and_then(Size::ours).map(|ours| ours.median);
    vec![
        goal("a decision at 100 rules takes less than 150 ns", " ns", ours, |value| value < 150.0),
        goal(
            "at 100 rules it is at least 40 times faster than the fastest form of a peer",
            " times",
            at(100).and_then(|size| size.times(Form::Fastest)),
            |value| value >= 40.0,
        ),
        goal(
            "at 100 rules it is at least 200 times faster than rules as written for a peer",
            " times",
            at(100).and_then(|size| size.times(Form::AsWritten)),
            |value| value >= 200.0,
        ),
        goal(
            "at 10,000 rules it takes at most 1.5 times what it takes at 100",
            " times",
            growth(),
            |value| value <= 1.5,
        ),
        goal("a decision allocates nothing", " allocations", allocations, |value| value == 0.0),
        goal(
            "the reference's figure for an evaluation, about 2 us with the policy cached, is undercut",
            " ns",
            ours,
            |value| value < 2_000.0,
        ),
    ]
}
