//! Which of a run's policies would have to change.

use vantio_core::{Decision, Effect, Intent};
use vantio_policy::{Advice, Bindings, PolicyProgram, State, explain::Subject, judge};

use crate::{
    account::Refusal,
    present::shown,
    run::policy::{read_again, shown_name},
    store::{LayerSource, PolicySource, Record},
};

/// The policies of a run of several, as far as their documents are what they were.
pub struct Narrowing {
    layers: Vec<(String, PolicyProgram)>,
    bindings: Bindings,
}

impl Narrowing {
    /// Reads the documents again; `None` where one alone decides, or one has changed since.
    pub fn of(record: &Record, bindings: Bindings) -> Option<Self> {
        if record.layers.len() < 2 {
            return None;
        }
        let layers = record.layers.iter();
        let layers = layers.map(|layer| Some((called(layer), read_again(layer)?.program)));
        Some(Self { layers: layers.collect::<Option<_>>()?, bindings })
    }

    /// What would permit it, with the documents that have to say so.
    pub fn advice(&self, refusal: &Refusal) -> Option<String> {
        let Some(advice @ Advice::Add { section, .. }) = &refusal.advice else { return None };
        let (effect, subject) = (Effect::from_name(&refusal.effect)?, refusal.subject.as_ref()?);
        let refusing: Vec<&str> = self
            .layers
            .iter()
            .filter(|(_, program)| self.refuses(program, effect, subject, &refusal.names))
            .map(|(name, _)| name.as_str())
            .collect();
        let whole = advice.to_string();
        let rule = whole.strip_prefix(&format!("add to {section}: "))?;
        (!refusing.is_empty()).then(|| format!("add to {section} of {}: {rule}", refusing.join(" and of ")))
    }

    fn refuses(&self, program: &PolicyProgram, effect: Effect, subject: &Subject, names: &[String]) -> bool {
        let mut state = State::new(program, self.bindings.clone());
        if let Subject::Endpoint { endpoint, .. } = subject {
            for name in names {
                state.learn_name(name, endpoint.address.ip(), u64::MAX);
            }
        }
        judge(program, &state, &Intent::new(effect, subject.target())).decision != Decision::Permit
    }
}

/// The document and who it is from.
fn called(layer: &LayerSource) -> String {
    let name = match &layer.source {
        PolicySource::Preset(name) => format!("preset:{}", shown(name)),
        PolicySource::File { path, .. } => shown_name(path.as_bytes()),
    };
    format!("{name} ({})", layer.kind)
}
