//! Which intents a guard is about: effects, an access, targets.

use vantio_core::{Access, Effect, Section};

use super::{
    Compiler, Error, codes,
    keys::{MAX_GUARDS, MAX_RULES, Mapping},
    read::{Entry, find},
};
use crate::{
    document::{tree::Node, values::nearest},
    guard::{model::Scope, scope::family},
    rule::{Family, Pattern},
};

impl Compiler<'_> {
    /// A mapping that is a scope and nothing else.
    pub(super) fn whole_scope(&mut self, node: &Node, mapping: &Mapping) -> Option<Scope> {
        let entries = self.known_entries(node, mapping)?;
        self.scope(&entries)
    }

    /// The scope among the entries of a guard; `None` when something is wrong with it.
    pub(super) fn scope(&mut self, entries: &[Entry]) -> Option<Scope> {
        let effects = find(entries, "effect").map(|node| self.effects(node))?;
        let access = find(entries, "access").and_then(|node| self.access(node, &effects));
        let targets = match find(entries, "target") {
            Some(node) => self.targets(node, &effects)?,
            None => Vec::new(),
        };
        (!effects.is_empty()).then_some(Scope { effects, access, targets })
    }

    /// Effects, ascending.
    fn effects(&mut self, node: &Node) -> Vec<Effect> {
        let elements = self.one_or_several(node, "effect", MAX_GUARDS);
        if elements.is_empty() {
            self.empty(node, "effect", "name an effect, such as `fs.unlink`");
        }
        let mut effects: Vec<Effect> = elements.iter().filter_map(|element| self.effect(element)).collect();
        effects.sort_unstable();
        effects.dedup();
        effects
    }

    pub(super) fn effect(&mut self, node: &Node) -> Option<Effect> {
        let text = self.string(node, "an effect")?;
        let effect = Effect::from_name(text);
        if effect.is_none() {
            self.report(&node.span, unknown_effect(text));
        }
        effect
    }

    fn access(&mut self, node: &Node, effects: &[Effect]) -> Option<Access> {
        let access = self.choice(node, "access", &[("read", Access::Read), ("write", Access::Write)]);
        if !effects.is_empty() && !effects.contains(&Effect::FsOpen) {
            let error = Error::new(codes::CONFLICT, "`access` is about `fs.open`, which is not meant here");
            self.report(&node.span, error.help("remove it, or add `fs.open` to the effects"));
        }
        access
    }

    /// Patterns of the effects' kind, ascending; `None` when something is wrong with them.
    fn targets(&mut self, node: &Node, effects: &[Effect]) -> Option<Vec<Pattern>> {
        let known = self.problems.len();
        let elements = self.one_or_several(node, "target", MAX_RULES);
        if elements.is_empty() {
            self.empty(node, "target", "name a target, or remove the key for every target");
            return None;
        }
        let (first, others) = effects.split_first()?;
        let section = patterns_of(*first);
        if let Some(other) = others.iter().find(|other| patterns_of(**other) != section) {
            let message = format!("`{first}` and `{other}` have no targets in common");
            let error = Error::new(codes::TARGET, message);
            self.report(&node.span, error.help("write one rule for each, or remove `target`"));
            return None;
        }
        let Some(section) = section else {
            let error =
                Error::new(codes::TARGET, format!("`{first}` has no targets that a pattern could name"));
            self.report(&node.span, error.help("remove `target`"));
            return None;
        };
        let targets = self.patterns(section, elements);
        (self.problems.len() == known).then_some(targets)
    }

    /// The patterns of a list, ascending.
    pub(super) fn patterns(&mut self, section: Section, elements: &[Node]) -> Vec<Pattern> {
        let mut patterns = Vec::new();
        for element in elements {
            let Some(text) = self.string(element, "a target") else { continue };
            patterns.extend(self.parsed(section, text, &element.span).into_iter().map(|rule| rule.pattern));
        }
        patterns.sort_unstable();
        patterns.dedup();
        patterns
    }

    fn empty(&mut self, node: &Node, key: &str, help: &str) {
        if matches!(&*node.content, crate::document::tree::Content::List(elements) if elements.is_empty()) {
            self.report(
                &node.span,
                Error::new(codes::EMPTY_LIST, format!("`{key}` lists nothing")).help(help),
            );
        }
    }
}

/// The list of a policy whose patterns an effect's targets have; guards reach as far as
/// a deny.
fn patterns_of(effect: Effect) -> Option<Section> {
    Some(match family(effect)? {
        Family::Path => Section::FsDeny,
        Family::Program => Section::ExecDeny,
        Family::Net => Section::NetDeny,
        Family::Named => Section::ToolsDeny,
    })
}

pub(super) fn unknown_effect(text: &str) -> Error {
    let names: Vec<&str> = Effect::ALL.iter().map(|effect| effect.name()).collect();
    let help = nearest(text, &names).map_or_else(
        || format!("the effects are {}", names.join(", ")),
        |name| format!("did you mean `{name}`?"),
    );
    Error::new(codes::EFFECT, format!("there is no effect `{text}`")).help(help)
}
