//! Several policies as one, in which a lower layer only narrows.
//!
//! What the merged program permits, every layer permits that speaks of it. The managed layers
//! and the highest other one, the base, may set a list; those below the base narrow it, and
//! what the base leaves out permits nothing, as when it stands alone. A rule that another
//! layer does not wholly cover is dropped, and told.

mod env;
mod guards;
mod include;
mod lists;
mod settings;

pub use include::{Included, compile_whole};

use std::{collections::BTreeMap, sync::Arc};

use vantio_core::Section;

use crate::{Bindings, Compiled, EnvRules, Origin, PolicyProgram, Rule, SourceMap, program::Parts};

/// Who a policy is from, from the highest to the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerKind {
    /// Whoever administers the host.
    Managed,
    /// Whoever starts the run.
    CommandLine,
    /// The folder that the agent works in.
    Project,
    /// The user, for every run.
    User,
}

impl LayerKind {
    /// What a message calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::CommandLine => "command line",
            Self::Project => "project",
            Self::User => "user",
        }
    }
}

/// A policy and who it is from.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Who it is from.
    pub kind: LayerKind,
    /// Its document, as messages call it.
    pub name: String,
    /// What it says.
    pub compiled: Arc<Compiled>,
}

/// Layers as one policy.
#[derive(Clone, Debug)]
pub struct Merged {
    /// What they permit together.
    pub program: PolicyProgram,
    /// Rules that did not get into it.
    pub dropped: Vec<Dropped>,
    /// The layers, from the highest to the lowest.
    pub layers: Vec<Layer>,
    settings: BTreeMap<String, usize>,
    /// Which layer each rule is from, where there are several.
    rules: BTreeMap<(Section, String), usize>,
}

/// A rule that another layer does not wholly cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The list it stood in.
    pub section: Section,
    /// Its text.
    pub text: String,
    /// Its layer, in [`Merged::layers`].
    pub layer: usize,
    /// The layer that does not permit it.
    pub by: usize,
    /// The list of that layer which would have to.
    pub by_section: Section,
}

/// Policies that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayersError {
    /// There is none.
    #[error("there is no policy")]
    None,
    /// More than one policy may have.
    #[error("the layers have more than {limit} {what} together")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
}

impl LayersError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::None => "E_POLICY_NONE",
            Self::TooMany { .. } => "E_POLICY_LAYERS",
        }
    }

    /// What to say where one document includes too much.
    fn of_includes(self) -> String {
        match self {
            Self::None => self.to_string(),
            Self::TooMany { what, limit } => format!("the policy has more than {limit} {what}"),
        }
    }
}

/// The variables that a run under these layers gets, in any order of layers.
pub fn environment(layers: &[Layer]) -> EnvRules {
    env::merge(&ranked(layers)).0
}

/// One policy of `layers`, in any order, on the host of `bindings`: what variables, programs'
/// names and symbolic links stand for decides which rules lie within which.
///
/// # Errors
///
/// No layer, or more labels or guards than one policy may have.
pub fn merge(layers: &[Layer], bindings: &Bindings) -> Result<Merged, LayersError> {
    let layers = ranked(layers);
    let Some(first) = layers.first() else { return Err(LayersError::None) };
    let settings = settings::merge(&layers);
    let guards = guards::merge(&layers)?;
    let (env, env_origins) = env::merge(&layers);
    let narrowed = lists::merge(&layers, bindings)?;
    let mut origins = settings.origins;
    for (effect, value) in &guards.reversibility {
        let found = layers
            .iter()
            .position(|layer| layer.compiled.program.parts.guards.reversibility.get(effect) == Some(value));
        origins.extend(found.map(|index| (format!("reversibility.{effect}"), index)));
    }
    let program = if layers.len() == 1 {
        first.compiled.program.clone()
    } else {
        PolicyProgram::new(Parts {
            name: settings.name,
            mode: settings.mode,
            commit_mode: settings.commit_mode,
            viewing: settings.viewing,
            details: settings.details,
            export: settings.export,
            checkpointing: settings.checkpointing,
            speculation: settings.speculation,
            budgets: settings.budgets,
            env,
            rules: narrowed.rules,
            max_tokens: settings.max_tokens,
            guards,
            limits: settings.limits,
        })
    };
    origins.extend(env_origins);
    Ok(Merged {
        program,
        dropped: narrowed.dropped,
        layers: layers.into_iter().cloned().collect(),
        settings: origins,
        rules: narrowed.origins,
    })
}

impl Merged {
    /// The layer that a rule of the program is from: its index in [`Merged::layers`], and its
    /// place where that is known.
    pub fn rule_origin(&self, section: Section, text: &str) -> Option<(usize, Option<Origin>)> {
        let index = match self.layers[..] {
            [_] => 0,
            _ => *self.rules.get(&(section, text.to_owned()))?,
        };
        Some((index, self.place(index, section, text)))
    }

    /// The same for the element of this index in a list, of rules or of guards.
    pub fn element_origin(&self, section: Section, index: usize) -> Option<(usize, Option<Origin>)> {
        let guards = &self.program.parts.guards;
        let text = match section {
            Section::TaintSources => guards.sources.get(index)?.text(&guards.labels),
            Section::TaintSinks => guards.sinks.get(index)?.text(&guards.labels),
            Section::TaintSanitizers => guards.sanitizers.get(index)?.text(&guards.labels),
            Section::Order => guards.order.get(index)?.text(),
            Section::Thresholds => guards.thresholds.get(index)?.text(),
            Section::Hold => guards.hold.get(index)?.text(),
            _ => return self.rule_origin(section, self.program.rules(section).get(index)?.text()),
        };
        self.layers.iter().enumerate().find_map(|(index, layer)| {
            let origin = layer.compiled.source_map.origin(section, &text)?;
            Some((index, Some(origin)))
        })
    }

    /// The same for a value that is no rule, by its dotted key.
    pub fn setting_origin(&self, key: &str) -> Option<(usize, Option<Origin>)> {
        let index = *self.settings.get(key)?;
        Some((index, self.layers[index].compiled.present.origin(key).cloned()))
    }

    /// Where a rule that was dropped stands.
    pub fn dropped_origin(&self, dropped: &Dropped) -> Option<Origin> {
        self.layers[dropped.layer].compiled.source_map.origin(dropped.section, &dropped.text)
    }

    fn place(&self, layer: usize, section: Section, text: &str) -> Option<Origin> {
        let map = &self.layers[layer].compiled.source_map;
        // What two layers permit together may stand in another list of its own layer.
        let other = match section {
            Section::FsRead => Section::FsWrite,
            Section::FsWrite | Section::ExecAllow => Section::FsRead,
            other => other,
        };
        map.origin(section, text).or_else(|| map.origin(other, text))
    }

    /// Where the program's rules stand.
    pub fn source_map(&self) -> SourceMap {
        if let [only] = &self.layers[..] {
            return only.compiled.source_map.clone();
        }
        let mut places = SourceMap::default();
        for ((section, text), index) in &self.rules {
            if let Some(origin) = self.place(*index, *section, text) {
                places.adopt(*section, text, origin);
            }
        }
        // Guards stand in the order of the layers; what was left out has no guard to be found by.
        for layer in &self.layers {
            let map = &layer.compiled.source_map;
            for (section, text, _) in map.iter().filter(|(section, ..)| section.is_guard()) {
                if let Some(origin) = map.origin(section, text) {
                    places.adopt(section, text, origin);
                }
            }
        }
        places
    }
}

/// The layers from the highest to the lowest.
fn ranked(layers: &[Layer]) -> Vec<&Layer> {
    let mut ranked: Vec<&Layer> = layers.iter().collect();
    ranked.sort_by_key(|layer| layer.kind);
    ranked
}

/// The highest layer that is not managed; without one, the lowest of those.
fn base(layers: &[&Layer]) -> usize {
    layers.iter().position(|layer| layer.kind != LayerKind::Managed).unwrap_or(layers.len() - 1)
}

fn rules(layer: &Layer, section: Section) -> &[Rule] {
    layer.compiled.program.rules(section)
}
