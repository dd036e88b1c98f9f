//! `taint`: what gives a label, what a label must not reach, what takes it away.

use std::collections::{BTreeMap, BTreeSet};

use vantio_core::{Access, Effect, Labels, Section};

use super::{
    Compiler, Error, Position, codes,
    keys::{self, MAX_GUARDS, MAX_RULES, Mapping},
    read::{Entry, IDENTIFIER, find, is_identifier},
};
use crate::{
    document::tree::{Content, Node},
    guard::model::{Labelled, Scope},
};

/// The label of what has none of its own.
const UNTRUSTED: &str = "untrusted";

/// One of the lists of `taint`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Sources,
    Sinks,
    Sanitizers,
}

/// Entries of a list before labels have numbers: label, effects and access, to the targets.
/// Entries that differ only in their targets are one.
type Entries = BTreeMap<(Option<String>, Vec<Effect>, Option<Access>), (Scope, Position)>;

impl List {
    const ALL: [Self; 3] = [Self::Sources, Self::Sinks, Self::Sanitizers];

    const fn key(self) -> &'static str {
        match self {
            Self::Sources => "sources",
            Self::Sinks => "sinks",
            Self::Sanitizers => "sanitizers",
        }
    }

    const fn section(self) -> Section {
        match self {
            Self::Sources => Section::TaintSources,
            Self::Sinks => Section::TaintSinks,
            Self::Sanitizers => Section::TaintSanitizers,
        }
    }

    fn mapping(self) -> &'static Mapping {
        match self {
            Self::Sources => &keys::SOURCE,
            Self::Sinks => &keys::SINK,
            Self::Sanitizers => &keys::SANITIZER,
        }
    }

    /// What a key of an entry stands for: the kind of its patterns, effects, an access.
    fn meaning(self, key: &str) -> Option<(Section, Vec<Effect>, Option<Access>)> {
        let is_sink = self == Self::Sinks;
        let meaning = match key {
            "fs" if is_sink => (Section::FsDeny, changes(), Some(Access::Write)),
            "fs" => (Section::FsDeny, vec![Effect::FsOpen], Some(Access::Read)),
            "net" if is_sink => (Section::NetDeny, vec![Effect::NetConnect, Effect::NetDns], None),
            "net" => (Section::NetDeny, vec![Effect::NetConnect], None),
            "exec" => (Section::ExecDeny, vec![Effect::ProcExec], None),
            "tools" => (Section::ToolsDeny, vec![Effect::ToolCall], None),
            "infer" => (Section::ToolsDeny, vec![Effect::Infer], None),
            "heap" if is_sink => (Section::ToolsDeny, vec![Effect::HeapWrite], None),
            "heap" => (Section::ToolsDeny, vec![Effect::HeapRead], None),
            _ => return None,
        };
        Some(meaning)
    }
}

/// Opening a file, which is then asked for writing, and all else that changes one.
fn changes() -> Vec<Effect> {
    let is_change = |effect: &&Effect| effect.name().starts_with("fs.") && **effect != Effect::FsStat;
    Effect::ALL.iter().filter(is_change).copied().collect()
}

impl Compiler<'_> {
    pub(super) fn taint(&mut self, node: &Node) {
        let mut read: [Entries; 3] = Default::default();
        for (key, _, node) in self.known_entries(node, &keys::TAINT).unwrap_or_default() {
            for (list, entries) in List::ALL.into_iter().zip(&mut read) {
                if list.key() == key {
                    self.taint_list(list, node, entries);
                }
            }
        }
        let labels: BTreeSet<&String> =
            read.iter().flat_map(BTreeMap::keys).filter_map(|(label, ..)| label.as_ref()).collect();
        if labels.len() > Labels::MAX {
            let message = format!("a policy has {} labels; {} are supported", labels.len(), Labels::MAX);
            let error = Error::new(codes::TOO_LARGE, message);
            self.report(&node.span, error.help("let one label stand for what is kept from the same places"));
            return;
        }
        self.parts.guards.labels = labels.into_iter().cloned().collect();
        for (list, entries) in List::ALL.into_iter().zip(read) {
            let labelled = self.numbered(list, entries);
            let guards = &mut self.parts.guards;
            match list {
                List::Sources => guards.sources = labelled,
                List::Sinks => guards.sinks = labelled,
                List::Sanitizers => guards.sanitizers = labelled,
            }
        }
    }

    fn taint_list(&mut self, list: List, node: &Node, entries: &mut Entries) {
        for element in self.list(node, list.section().name(), MAX_GUARDS) {
            match &*element.content {
                Content::Map(_) => {
                    let Some(found) = self.known_entries(element, list.mapping()) else { continue };
                    self.taint_entry(list, element, &found, entries);
                }
                _ => self.taint_key(list, None, "tools", element, std::slice::from_ref(element), entries),
            }
        }
        if entries.len() > MAX_GUARDS {
            let message =
                format!("`{}` has {} entries; {MAX_GUARDS} are supported", list.section(), entries.len());
            let error = Error::new(codes::TOO_LARGE, message);
            self.report(&node.span, error.help("let one label stand for what is kept from the same places"));
        }
    }

    fn taint_entry(&mut self, list: List, element: &Node, found: &[Entry], entries: &mut Entries) {
        let label = match find(found, "label") {
            Some(node) => match self.label(node) {
                Some(label) => Some(label),
                None => return,
            },
            None => None,
        };
        for (key, _, node) in found.iter().filter(|(key, ..)| *key != "label") {
            let what = format!("{}.{key}", list.section());
            let elements = self.list(node, &what, MAX_RULES);
            self.taint_key(list, label.as_deref(), key, element, elements, entries);
        }
    }

    /// Adds what one key of an entry says.
    fn taint_key(
        &mut self,
        list: List,
        label: Option<&str>,
        key: &str,
        element: &Node,
        elements: &[Node],
        entries: &mut Entries,
    ) {
        let Some((section, effects, access)) = list.meaning(key) else { return };
        let patterns = self.patterns(section, elements);
        // An empty list names nothing; a scope without targets would mean everything.
        if patterns.is_empty() {
            return;
        }
        let label = match label {
            None if list != List::Sinks => Some(UNTRUSTED.to_owned()),
            label => label.map(str::to_owned),
        };
        let position = self.position(&element.span);
        let empty = || (Scope { effects: effects.clone(), access, targets: Vec::new() }, position);
        let (scope, _) = entries.entry((label, effects.clone(), access)).or_insert_with(empty);
        scope.targets.extend(patterns);
        scope.targets.sort_unstable();
        scope.targets.dedup();
    }

    fn label(&mut self, node: &Node) -> Option<String> {
        let text = self.string(node, "`label`")?;
        if is_identifier(text) {
            return Some(text.to_owned());
        }
        let error = Error::new(codes::LABEL, format!("`{text}` is not the name of a label"));
        self.report(&node.span, error.help(IDENTIFIER));
        None
    }

    /// The entries with numbers for their labels, ascending.
    fn numbered(&mut self, list: List, entries: Entries) -> Vec<Labelled> {
        let mut numbered = Vec::new();
        for ((label, ..), (scope, position)) in entries {
            let labels = &self.parts.guards.labels;
            let number = label.and_then(|label| labels.binary_search(&label).ok());
            let labelled = Labelled { label: number.map(|number| number as u8), scope };
            let text = labelled.text(labels);
            self.source_map.insert(list.section(), &text, position);
            numbered.push(labelled);
        }
        numbered.sort_unstable();
        numbered
    }
}
