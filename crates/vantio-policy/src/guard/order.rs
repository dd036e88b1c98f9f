//! How far the order rules are.
//!
//! What `since` says of opens is said of files, and a file may get another name, or stay open: a
//! link to what `since` covers is remembered, and so is where that is renamed to; and a program's
//! end satisfies nothing while what `since` covers is, or may be, open for writing.

use alloc::{collections::BTreeSet, vec::Vec};

use vantio_core::{Access, Channel, Effect, Intent, Target};

use crate::{
    State,
    flow::{Census, Ended},
    guard::{bound::BoundOrder, model::OrderRule},
    path::is_within,
};

/// Other names that one rule keeps apart; where there are more, it is never satisfied again.
const MAX_NAMES: usize = 4_096;

/// How far one order rule is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// Whether `unless_after` has happened since `since` last did.
    pub(crate) is_satisfied: bool,
    /// The moment at which `since` last happened.
    since: u64,
    /// Other names of files that `since` covers.
    names: BTreeSet<Vec<u8>>,
}

impl Progress {
    /// What the rule makes of an intent that happens at `moment`.
    pub(crate) fn after(
        &self,
        rule: &OrderRule,
        bound: &BoundOrder,
        state: &State,
        intent: &Intent<'_>,
        moment: u64,
    ) -> Option<Self> {
        let has_happened = rule.unless_after.exit.is_none() && bound.unless_after.covers(state, intent);
        let begins_again = bound.since.covers(state, intent) || self.is_by_another_name(bound, intent);
        let names = self.new_names(bound, state, intent);
        if !(has_happened || begins_again || !names.is_empty()) {
            return None;
        }
        let mut next = self.clone();
        next.names.extend(names);
        next.is_satisfied = (self.is_satisfied || has_happened) && next.names.len() <= MAX_NAMES;
        // One intent that is both has not happened since.
        if begins_again {
            (next.is_satisfied, next.since) = (false, moment);
        }
        Some(next)
    }

    /// Whether the end of a process satisfies the rule.
    pub(crate) fn is_satisfied_by(
        &self,
        rule: &OrderRule,
        bound: &BoundOrder,
        state: &State,
        ended: &Ended,
        census: &mut Census<'_>,
    ) -> bool {
        let is_it = rule.unless_after.exit.is_some()
            && rule.unless_after.exit == ended.status
            && self.since <= ended.executed
            && self.names.len() <= MAX_NAMES
            && ended.programs.iter().any(|path| {
                let target = Target::Path { path, access: Access::Read, subtree: false };
                bound.unless_after.covers(state, &Intent::new(Effect::ProcExec, target))
            });
        is_it
            && !(bound.since.is_about(Effect::FsOpen)
                && census().iter().any(|end| match &end.channel {
                    Channel::Path(path) => end.writes && self.is_meant(bound, state, path),
                    // Of what, nobody sees.
                    Channel::InFlight => true,
                    _ => false,
                }))
    }

    /// Whether `since` covers the file when it is opened for writing, by this name or another.
    fn is_meant(&self, bound: &BoundOrder, state: &State, path: &[u8]) -> bool {
        let target = Target::Path { path, access: Access::Write, subtree: false };
        self.names.contains(path) || bound.since.covers(state, &Intent::new(Effect::FsOpen, target))
    }

    fn is_by_another_name(&self, bound: &BoundOrder, intent: &Intent<'_>) -> bool {
        match intent.target {
            Target::Path { path, access: Access::Write, .. } => {
                bound.since.is_about(intent.effect) && self.names.contains(path)
            }
            _ => false,
        }
    }

    fn new_names(&self, bound: &BoundOrder, state: &State, intent: &Intent<'_>) -> Vec<Vec<u8>> {
        let Target::Paths { from, to, .. } = intent.target else { return Vec::new() };
        let mut names = Vec::new();
        if intent.effect == Effect::FsLink {
            for (own, other) in [(from, to), (to, from)] {
                if self.is_meant(bound, state, own) && !self.is_meant(bound, state, other) {
                    names.push(other.to_vec());
                }
            }
        } else if intent.effect == Effect::FsRename {
            // It may be an exchange; and what lies below comes along.
            for (old, new) in [(from, to), (to, from)] {
                let moved = self.names.iter().filter(|name| is_within(name, old));
                let moved = moved.map(|name| [new, name.strip_prefix(old).unwrap_or_default()].concat());
                names.extend(moved.filter(|name| !self.names.contains(name)));
            }
        }
        names
    }
}
