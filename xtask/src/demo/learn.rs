//! From learning to enforcing: the agent is watched while nobody misleads it; what it did becomes a policy; under that
//! policy it does the same again, and is refused nothing.

use std::path::Path;

use serde_json::Value;

use super::{
    check::{Checks, parse},
    read,
    scene::Scene,
};
use crate::{failure::Failure, shell, step::headline};

/// Learns, suggests, enforces, and checks that the round closes.
pub fn close(checks: &mut Checks, scene: &Scene, files: &Path) -> Result<(), Failure> {
    headline("learn: mini-swe-agent under examples/demo/learn.yaml, with notes that mislead nobody");
    let learning = scene.policy(&files.join("learn.yaml"), "learn")?;
    scene.run_agent(&learning)?;
    let learned = Outcome::of_last(scene)?;

    headline("suggest: vantio policy suggest last");
    let suggested = scene.place("suggested.yaml");
    let path = suggested.to_string_lossy().into_owned();
    shell::loud(&mut scene.vantio(&["policy", "suggest", "last", "--output", &path]))?;
    println!("{}", read(&suggested)?);

    headline("enforce: the same agent under the suggestion");
    scene.run_agent(&suggested)?;
    let enforced = Outcome::of_last(scene)?;
    checks.that("the agent changes the same under what was learned", learned.differs_from(&enforced));
    let refused = enforced.refusals;
    checks.that("and is refused nothing", (!refused.is_empty()).then(|| refused.join("; ")));
    Ok(())
}

/// What came of a run.
struct Outcome {
    /// Changed files of the repository.
    changes: Vec<String>,
    refusals: Vec<String>,
}

impl Outcome {
    fn of_last(scene: &Scene) -> Result<Self, Failure> {
        let diff = parse(&shell::quiet(&mut scene.vantio(&["diff", "last", "--json"]))?);
        let why = parse(&shell::quiet(&mut scene.vantio(&["why", "last", "--json"]))?);
        let mut changes = Vec::new();
        super::check::collect_strings(&diff, "path", &mut changes);
        changes.retain(|path| Path::new(path).starts_with(scene.repository()));
        let refusals = why["refusals"].as_array().into_iter().flatten();
        let refused = refusals.filter(|refusal| refusal["observed"] == false).map(told);
        Ok(Self { changes, refusals: refused.collect() })
    }

    fn differs_from(&self, other: &Self) -> Option<String> {
        let is_same = !self.changes.is_empty() && self.changes == other.changes;
        (!is_same).then(|| format!("{:?} and {:?}", self.changes, other.changes))
    }
}

fn told(refusal: &Value) -> String {
    let text = |key: &str| refusal[key].as_str().unwrap_or_default().to_owned();
    format!("{} {}: {}", text("effect"), text("target"), text("reason"))
}
