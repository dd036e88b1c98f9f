//! The labels of one process or channel, and how each came there.

use alloc::{sync::Arc, vec::Vec};

use vantio_core::Labels;

use super::trail::Step;

/// Steps that a way keeps; what follows is left out.
const MAX_STEPS: u32 = 32;

/// The way of a label: its last step, and the way before.
#[derive(Clone, Debug)]
pub(super) struct Way(Arc<Link>);

#[derive(Debug)]
struct Link {
    step: Step,
    before: Option<Way>,
    length: u32,
}

impl Way {
    pub(super) fn new(step: Step) -> Self {
        Self(Arc::new(Link { step, before: None, length: 1 }))
    }

    pub(super) fn then(&self, step: Step) -> Self {
        if self.0.length >= MAX_STEPS {
            return self.clone();
        }
        Self(Arc::new(Link { step, before: Some(self.clone()), length: self.0.length + 1 }))
    }

    /// The steps, from the source on.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut way = Some(self);
        while let Some(Way(link)) = way {
            steps.push(link.step.clone());
            way = link.before.as_ref();
        }
        steps.reverse();
        steps
    }
}

/// Labels with their ways.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    labels: Labels,
    /// Disjoint. Labels without a way are their bearer's by a source that covers it.
    ways: Vec<(Labels, Way)>,
}

impl Marks {
    pub(super) const fn labels(&self) -> Labels {
        self.labels
    }

    /// Labels that are there by a source that covers the bearer.
    pub(super) fn add_bare(&mut self, labels: Labels) {
        self.labels = self.labels.union(labels);
    }

    /// Adds labels that came one way; those that were there keep theirs.
    pub(super) fn add(&mut self, labels: Labels, way: &Way) {
        let new = labels.without(self.labels);
        if !new.is_empty() {
            self.labels = self.labels.union(new);
            self.ways.push((new, way.clone()));
        }
    }

    /// Adds those of `labels` that `other` has, each with its way and one step more; `bare` gives the way
    /// of those that have none.
    pub(super) fn add_from(
        &mut self,
        other: &Self,
        labels: Labels,
        step: impl Fn() -> Step,
        bare: impl Fn() -> Option<Way>,
    ) {
        for (set, way) in &other.ways {
            let new = set.intersection(labels).without(self.labels);
            if !new.is_empty() {
                self.add(new, &way.then(step()));
            }
        }
        let rest = other.labels.intersection(labels).without(self.labels);
        if !rest.is_empty() {
            match bare() {
                Some(way) => self.add(rest, &way),
                None => self.add_bare(rest),
            }
        }
    }

    /// Adds all of `other`, as it came there.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.absorb_only(other, other.labels);
    }

    /// Adds those of `labels` that `other` has, as they came there.
    pub(super) fn absorb_only(&mut self, other: &Self, labels: Labels) {
        for (set, way) in &other.ways {
            self.add(set.intersection(labels), way);
        }
        self.add_bare(other.labels.intersection(labels));
    }

    pub(super) fn way(&self, label: u8) -> Option<&Way> {
        let label = Labels::single(label);
        self.ways.iter().find(|(set, _)| !set.intersection(label).is_empty()).map(|(_, way)| way)
    }
}
