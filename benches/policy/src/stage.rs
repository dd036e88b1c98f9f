//! One rule set, its requests, and the subjects that were given it.

use std::time::{Duration, Instant};

use crate::{
    counter,
    failure::Failure,
    requests::{self, Scene},
    rules,
    subjects::{ALL, Form, Kind, Subject},
};

/// One rule set, its requests, and who takes part.
pub struct Stage {
    /// The number of rules.
    pub rules: usize,
    /// The requests.
    pub scene: Scene,
    /// Every subject.
    pub entrants: Vec<Entrant>,
    /// Requests that are permitted.
    pub permitted: usize,
}

/// A subject at one size.
pub struct Entrant {
    /// Who it is.
    pub kind: Kind,
    /// What decides, or why nothing does.
    pub subject: Result<Box<dyn Subject>, String>,
    /// What getting ready took, the fastest of a few.
    pub compile: Duration,
    /// The bytes that stay in use of what compiling gave.
    pub memory: i64,
    /// The bytes of its documents.
    pub document: usize,
}

/// What a peer may take to answer every request once.
const PATIENCE: Duration = Duration::from_mins(1);
/// As long as this, compiling is repeated for its fastest.
const COMPILE_AGAIN: Duration = Duration::from_millis(300);

impl Stage {
    /// Prepares every subject for the first `count` rules, and has all of them answer every request.
    pub fn set(count: usize) -> Result<Self, Failure> {
        let rules = rules::generate(count);
        let scene = requests::generate(&rules);
        let entrants = ALL.map(|kind| {
            let document = (kind.write)(&rules);
            let prepare = || (kind.prepare)(&document, &rules, &scene);
            let (subject, allocated) = counter::count(prepare);
            let compile = if subject.is_ok() { fastest(prepare) } else { Duration::ZERO };
            Entrant { kind, subject, compile, memory: allocated.live, document: document.len() }
        });
        if let [Entrant { kind, subject: Err(reason), .. }, ..] = &entrants
            && kind.form == Form::Ours
        {
            return Err(Failure::Refused { rules: count, reason: reason.clone() });
        }
        let mut stage = Self { rules: count, scene, entrants: entrants.into(), permitted: 0 };
        stage.permitted = stage.agree()?;
        Ok(stage)
    }

    /// The number of requests that are permitted, if all subjects say the same of each. A peer that takes too
    /// long to say it takes no part.
    fn agree(&mut self) -> Result<usize, Failure> {
        let mut agreed: Option<(&str, Vec<bool>)> = None;
        for entrant in &mut self.entrants {
            let Ok(subject) = &mut entrant.subject else { continue };
            let Some(answers) = answers(subject.as_mut(), &self.scene) else {
                let seconds = PATIENCE.as_secs();
                entrant.subject = Err(format!("{seconds} s are too short for one answer to each request"));
                continue;
            };
            let Some((first, expected)) = &agreed else {
                agreed = Some((entrant.kind.name, answers));
                continue;
            };
            let differs = expected.iter().zip(&answers).position(|(expected, answer)| expected != answer);
            if let Some(index) = differs {
                return Err(Failure::Disagreement {
                    rules: self.rules,
                    request: describe(&self.scene.requests[index]),
                    subjects: [first, entrant.kind.name],
                    permits: expected[index],
                });
            }
        }
        Ok(agreed.map_or(0, |(_, answers)| answers.into_iter().filter(|answer| *answer).count()))
    }
}

/// What a subject answers to every request, within [`PATIENCE`].
fn answers(subject: &mut dyn Subject, scene: &Scene) -> Option<Vec<bool>> {
    let start = Instant::now();
    let mut answers = Vec::with_capacity(scene.requests.len());
    for request in &scene.requests {
        answers.push(subject.permits(request));
        if start.elapsed() > PATIENCE {
            return None;
        }
    }
    Some(answers)
}

/// The shortest of a few times that `prepare` takes: one where it takes long.
fn fastest<T>(prepare: impl Fn() -> T) -> Duration {
    let mut shortest = Duration::MAX;
    let start = Instant::now();
    for _ in 0..5 {
        let begin = Instant::now();
        let prepared = prepare();
        shortest = shortest.min(begin.elapsed());
        drop(prepared);
        if start.elapsed() > COMPILE_AGAIN {
            break;
        }
    }
    shortest
}

fn describe(request: &requests::Request) -> String {
    let action = request.action.name();
    match request.action {
        requests::Action::Connect => format!("{action} {}:{}", request.address(), request.port),
        _ => format!("{action} {}", request.text()),
    }
}
