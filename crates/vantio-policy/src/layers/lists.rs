//! The lists of patterns of several layers.

use std::collections::{BTreeMap, BTreeSet};

use vantio_core::Section;

use super::{Dropped, Layer, LayersError, base, rules};
use crate::{
    Bindings, Rule,
    algebra::{Cover, Element, Sense},
    codec::MAX_RULES,
    path::Kind,
    rule::{self, LISTS, Pattern, Rules, SECTIONS},
};

/// What is left of the lists.
pub(super) struct Narrowed {
    pub(super) rules: Rules,
    /// Which layer each is from.
    pub(super) origins: BTreeMap<(Section, String), usize>,
    pub(super) dropped: Vec<Dropped>,
}

/// Of one layer there is nothing to narrow: its program is the one that there is, and nothing is left of the lists here.
pub(super) fn merge(layers: &[&Layer], bindings: &Bindings) -> Result<Narrowed, LayersError> {
    if layers.len() == 1 {
        return Ok(Narrowed { rules: Rules::default(), origins: BTreeMap::new(), dropped: Vec::new() });
    }
    let mut narrowing = Narrowing::new(layers, bindings);
    for section in SECTIONS {
        match (rule::kind(section), section) {
            (Kind::Deny, _) => narrowing.unite(section),
            // It looks at what is left of the two lists that permit to read as well.
            (Kind::Allow, Section::FsRead) => {}
            (Kind::Allow, _) => narrowing.intersect(section),
        }
    }
    narrowing.read();
    if narrowing.lists.iter().any(|list| list.len() > MAX_RULES) {
        return Err(LayersError::TooMany { what: "rules in one list", limit: MAX_RULES });
    }
    let Narrowing { lists, origins, dropped, .. } = narrowing;
    Ok(Narrowed { rules: Rules::new(lists), origins, dropped })
}

struct Narrowing<'l> {
    layers: &'l [&'l Layer],
    bindings: &'l Bindings,
    /// What each layer lets be read, where it speaks of that.
    reading: Vec<Option<Cover<'l>>>,
    lists: [Vec<Rule>; LISTS],
    known: BTreeSet<(Section, &'l Pattern)>,
    origins: BTreeMap<(Section, String), usize>,
    dropped: Vec<Dropped>,
}

impl<'l> Narrowing<'l> {
    fn new(layers: &'l [&'l Layer], bindings: &'l Bindings) -> Self {
        let reading = |layer: &&'l Layer| {
            let has = has(layer, Section::FsRead);
            has.then(|| Cover::new(READING.into_iter().flat_map(|list| elements(layer, list)), bindings))
        };
        Self {
            layers,
            bindings,
            reading: layers.iter().map(reading).collect(),
            lists: Default::default(),
            known: BTreeSet::new(),
            origins: BTreeMap::new(),
            dropped: Vec::new(),
        }
    }

    fn unite(&mut self, section: Section) {
        for (layer, rule) in of_layers(self.layers, section) {
            self.keep(section, rule, layer);
        }
    }

    /// Keeps the rules that every layer covers which speaks of the list, or of reading what
    /// it lets be read.
    fn intersect(&mut self, section: Section) {
        let layers = self.layers;
        let cover = |layer: &&'l Layer| {
            let elements = || elements(layer, (section, Sense::Allow));
            has(layer, section).then(|| Cover::new(elements(), self.bindings))
        };
        let covers: Vec<Option<Cover>> = layers.iter().map(cover).collect();
        for (layer, rule) in self.candidates(section) {
            let refused = self.refused(section, &covers, rule);
            self.settle(section, rule, layer, refused);
        }
        if implies_reading(section) && is_set(layers, section) {
            self.borrow(section, &covers);
        }
    }

    /// The first layer that does not permit what a rule covers, and its list that would have to.
    fn refused(&self, section: Section, covers: &[Option<Cover>], rule: &Rule) -> Option<(usize, Section)> {
        covers.iter().enumerate().find_map(|(index, cover)| match (cover, section) {
            (Some(cover), _) => (!cover.covers((&rule.pattern, Sense::Allow))).then_some((index, section)),
            (None, Section::FsWrite) => self.unread(index, rule, Sense::Listing),
            (None, Section::ExecAllow) => self.unread(index, rule, Sense::Allow),
            (None, _) => None,
        })
    }

    /// Keeps of what a layer lets be read, and says no more of, what the others let be written
    /// or executed: a part of a rule of theirs that goes further.
    fn borrow(&mut self, section: Section, covers: &[Option<Cover>]) {
        let own = self.lists[section as usize].clone();
        let kept = own.iter().map(|rule| (&rule.pattern, Sense::Allow));
        let kept = Cover::new(kept, self.bindings);
        for (layer, rule) in of_layers(self.layers, Section::FsRead) {
            let is_needed = covers[layer].is_none() && !kept.covers((&rule.pattern, Sense::Allow));
            if is_needed && self.refused(section, covers, rule).is_none() {
                self.keep(section, rule, layer);
            }
        }
    }

    /// Keeps the rules of reading that every layer lets be read which has the list; what may be
    /// written in one layer, and only read in another, is read.
    fn read(&mut self) {
        let section = Section::FsRead;
        for (layer, rule) in self.candidates(section) {
            let refused = self.unread_anywhere(rule);
            self.settle(section, rule, layer, refused);
        }
        if !is_set(self.layers, section) {
            return;
        }
        let lists = [Section::FsRead, Section::FsWrite].map(|section| self.lists[section as usize].clone());
        let kept = lists.iter().flatten().map(|rule| (&rule.pattern, Sense::Listing));
        let kept = Cover::new(kept, self.bindings);
        for (layer, rule) in of_layers(self.layers, Section::FsWrite) {
            let is_needed = self.reading[layer].is_some() && !kept.covers((&rule.pattern, Sense::Listing));
            if is_needed && self.unread_anywhere(rule).is_none() {
                self.keep(section, rule, layer);
            }
        }
    }

    fn unread_anywhere(&self, rule: &Rule) -> Option<(usize, Section)> {
        (0..self.layers.len()).find_map(|index| self.unread(index, rule, Sense::Listing))
    }

    /// The layer, where it speaks of reading and does not let be read what the rule covers.
    fn unread(&self, layer: usize, rule: &Rule, sense: Sense) -> Option<(usize, Section)> {
        let reading = self.reading[layer].as_ref()?;
        (!reading.covers((&rule.pattern, sense))).then_some((layer, Section::FsRead))
    }

    /// The rules of the layers that may be kept; where no layer sets the list, none is.
    fn candidates(&mut self, section: Section) -> Vec<(usize, &'l Rule)> {
        let found: Vec<(usize, &Rule)> = of_layers(self.layers, section).collect();
        if is_set(self.layers, section) {
            return found;
        }
        let by = base(self.layers);
        for (layer, rule) in found {
            self.settle(section, rule, layer, Some((by, section)));
        }
        Vec::new()
    }

    fn settle(&mut self, section: Section, rule: &'l Rule, layer: usize, refused: Option<(usize, Section)>) {
        let Some((by, by_section)) = refused else { return self.keep(section, rule, layer) };
        let text = rule.text().to_owned();
        self.dropped.push(Dropped { section, text, layer, by, by_section });
    }

    fn keep(&mut self, section: Section, rule: &'l Rule, layer: usize) {
        if self.known.insert((section, &rule.pattern)) {
            self.lists[section as usize].push(rule.clone());
            self.origins.insert((section, rule.text().to_owned()), layer);
        }
    }
}

/// The lists that let something be read.
const READING: [(Section, Sense); 3] = [
    (Section::FsRead, Sense::Listing),
    (Section::FsWrite, Sense::Listing),
    (Section::ExecAllow, Sense::Allow),
];

fn elements(layer: &Layer, list: (Section, Sense)) -> impl Iterator<Item = Element<'_>> {
    let (section, sense) = list;
    rules(layer, section).iter().map(move |rule| (&rule.pattern, sense))
}

fn of_layers<'l>(layers: &'l [&'l Layer], section: Section) -> impl Iterator<Item = (usize, &'l Rule)> {
    let layers = layers.iter().enumerate();
    layers.flat_map(move |(index, layer)| rules(layer, section).iter().map(move |rule| (index, rule)))
}

const fn implies_reading(section: Section) -> bool {
    matches!(section, Section::FsWrite | Section::ExecAllow)
}

fn has(layer: &Layer, section: Section) -> bool {
    layer.compiled.present.has_list(section)
}

/// Whether a managed layer or the base has the list.
fn is_set(layers: &[&Layer], section: Section) -> bool {
    layers[..=base(layers)].iter().any(|layer| has(layer, section))
}
