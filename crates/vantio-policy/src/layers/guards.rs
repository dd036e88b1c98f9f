//! The guards of several layers: all of them hold.

use std::collections::BTreeSet;

use super::{Layer, LayersError};
use crate::guard::{Guards, KillSwitch, Labelled};

pub(super) fn merge(layers: &[&Layer]) -> Result<Guards, LayersError> {
    let guards: Vec<&Guards> = layers.iter().map(|layer| &layer.compiled.program.parts.guards).collect();
    let mut merged = join(&guards, |index| {
        // What takes a label away that a higher layer gives, or keeps from somewhere, widens.
        guards[..index].iter().all(|higher| higher.sources.is_empty() && higher.sinks.is_empty())
    })?;
    for (index, own) in guards.iter().enumerate() {
        for (effect, reversibility) in &own.reversibility {
            let known = merged.reversibility.get(effect).copied();
            let known = known.or_else(|| (index > 0).then(|| effect.reversibility()));
            if known.is_none_or(|known| known < *reversibility) {
                merged.reversibility.insert(*effect, *reversibility);
            }
        }
    }
    merged.require = guards.iter().filter_map(|own| own.require).max();
    merged.kill_switch = kill_switch(guards.iter().map(|own| &own.kill_switch));
    Ok(merged)
}

/// Every source, sink, order rule, threshold and hold; sanitizers of those whose index
/// `keeps_sanitizers`.
pub(super) fn join(
    guards: &[&Guards],
    keeps_sanitizers: impl Fn(usize) -> bool,
) -> Result<Guards, LayersError> {
    let kept: Vec<[&[Labelled]; 3]> = guards
        .iter()
        .enumerate()
        .map(|(index, own)| {
            let sanitizers: &[Labelled] = if keeps_sanitizers(index) { &own.sanitizers } else { &[] };
            [own.sources.as_slice(), &own.sinks, sanitizers]
        })
        .collect();
    let used = guards
        .iter()
        .zip(&kept)
        .flat_map(|(own, lists)| lists.iter().copied().flatten().filter_map(|entry| name(own, entry)));
    let labels: Vec<String> = used.cloned().collect::<BTreeSet<_>>().into_iter().collect();
    limit("labels", MAX_LABELS, labels.len())?;
    let renumber = |own: &Guards, entries: &[Labelled]| -> Vec<Labelled> {
        let number = |entry| {
            let number = labels.binary_search(name(own, entry)?).ok()?;
            u8::try_from(number).ok()
        };
        let renumbered = entries.iter();
        renumbered.map(|entry| Labelled { label: number(entry), scope: entry.scope.clone() }).collect()
    };
    let mut joined = Guards::default();
    for (own, [sources, sinks, sanitizers]) in guards.iter().zip(kept) {
        joined.sources.extend(renumber(own, sources));
        joined.sinks.extend(renumber(own, sinks));
        joined.sanitizers.extend(renumber(own, sanitizers));
        joined.order.extend(own.order.iter().cloned());
        joined.thresholds.extend(own.thresholds.iter().cloned());
        joined.hold.extend(own.hold.iter().cloned());
    }
    joined.labels = labels;
    limit("taint sources", MAX_GUARDS, canonical(&mut joined.sources))?;
    limit("taint sinks", MAX_GUARDS, canonical(&mut joined.sinks))?;
    limit("taint sanitizers", MAX_GUARDS, canonical(&mut joined.sanitizers))?;
    limit("order rules", MAX_GUARDS, canonical(&mut joined.order))?;
    limit("thresholds", MAX_GUARDS, canonical(&mut joined.thresholds))?;
    limit("hold rules", MAX_GUARDS, canonical(&mut joined.hold))?;
    Ok(joined)
}

fn name<'g>(guards: &'g Guards, entry: &Labelled) -> Option<&'g String> {
    guards.labels.get(usize::from(entry.label?))
}

/// Set if any is; by whoever the highest names that names somebody, as many of them and in as
/// short a time as the strictest wants.
fn kill_switch<'g>(switches: impl Iterator<Item = &'g KillSwitch> + Clone) -> KillSwitch {
    KillSwitch {
        is_active: switches.clone().any(|switch| switch.is_active),
        approvers: switches
            .clone()
            .find(|switch| !switch.approvers.is_empty())
            .map(|switch| switch.approvers.clone())
            .unwrap_or_default(),
        quorum: switches.clone().map(|switch| switch.quorum).max().unwrap_or_default(),
        window_ms: switches
            .map(|switch| switch.window_ms)
            .filter(|window| *window > 0)
            .min()
            .unwrap_or_default(),
    }
}

/// Sorts a list, drops what is there twice, and counts the rest.
fn canonical<T: Ord>(list: &mut Vec<T>) -> usize {
    list.sort_unstable();
    list.dedup();
    list.len()
}

fn limit(what: &'static str, limit: usize, found: usize) -> Result<(), LayersError> {
    if found > limit { Err(LayersError::TooMany { what, limit }) } else { Ok(()) }
}

/// Labels are the bits of one word.
const MAX_LABELS: usize = 64;
/// Entries of one list.
const MAX_GUARDS: usize = 256;
