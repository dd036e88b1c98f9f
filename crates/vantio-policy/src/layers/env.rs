//! The rules for variables of several layers.

use std::collections::{BTreeMap, BTreeSet};

use super::{Layer, base};
use crate::{
    EnvRules,
    algebra::variable_covers,
    env::{NamePattern, covers},
};

/// The rules, and the layer that each is from, by the key that
/// [`crate::Present`] has for it.
pub(super) fn merge(layers: &[&Layer]) -> (EnvRules, BTreeMap<String, usize>) {
    let mut merged = EnvRules::default();
    let mut origins = BTreeMap::new();
    let mut deny = BTreeSet::new();
    let mut allow = BTreeSet::new();
    let last_setter = base(layers);
    let is_set = (0..=last_setter).any(|index| has_allow(layers[index]));
    for (index, layer) in layers.iter().enumerate() {
        let env = layer.compiled.program.env();
        for (name, value) in &env.set {
            let is_denied = layers[..index].iter().any(|higher| covers(&rules(higher).deny, name.as_bytes()));
            let is_kept = index == 0 || !leads_programs(name);
            if is_kept && !is_denied && !merged.set.contains_key(name) {
                merged.set.insert(name.clone(), value.clone());
                origins.insert(format!("env.set.{name}"), index);
            }
        }
        for pattern in &env.deny {
            origins.entry(format!("env.deny[{}]", pattern.text)).or_insert(index);
            deny.insert(pattern.clone());
        }
        for pattern in env.allow.iter().filter(|pattern| is_set && is_allowed(layers, pattern)) {
            origins.entry(format!("env.allow[{}]", pattern.text)).or_insert(index);
            allow.insert(pattern.clone());
        }
    }
    merged.allow = allow.into_iter().collect();
    merged.deny = deny.into_iter().collect();
    (merged, origins)
}

/// Whether every layer that has the list covers the pattern.
fn is_allowed(layers: &[&Layer], pattern: &NamePattern) -> bool {
    let mut speaking = layers.iter().filter(|layer| has_allow(layer));
    speaking.all(|layer| rules(layer).allow.iter().any(|own| variable_covers(own, pattern)))
}

/// Whether the variable says which program a name means, or what is loaded into every program:
/// only the highest layer sets such a one, or its names would mean what a lower one likes.
fn leads_programs(name: &str) -> bool {
    name == "PATH" || name.starts_with("LD_")
}

fn has_allow(layer: &Layer) -> bool {
    layer.compiled.present.has("env.allow")
}

fn rules(layer: &Layer) -> &EnvRules {
    layer.compiled.program.env()
}
