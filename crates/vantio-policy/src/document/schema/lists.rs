//! The lists of patterns.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use vantio_core::Section;

use super::{Compiler, Position};
use crate::{
    Rule, credentials,
    document::{help, tree::Node},
    rule::LISTS,
};

impl Compiler<'_> {
    pub(super) fn sections(
        &mut self,
        node: &Node,
        key: &str,
        keys: &[&str],
        sections: &[Section],
        lists: &mut [Vec<Rule>; LISTS],
    ) {
        let Some(entries) = self.known_entries(node, &format!("`{key}`"), keys) else { return };
        for (key, _, node) in entries {
            let section = keys.iter().position(|known| *known == key).map(|index| sections[index]);
            if let Some(section) = section {
                lists[section as usize] = self.rules(section, node);
            }
        }
    }

    pub(super) fn rules(&mut self, section: Section, node: &Node) -> Vec<Rule> {
        let mut rules = Vec::new();
        for element in self.list(node, section.name()) {
            let Some(text) = self.string(element, "a rule") else { continue };
            let is_credentials = section == Section::FsDeny && text == credentials::ELEMENT;
            let texts: Vec<&str> = if is_credentials {
                credentials::STORES.iter().map(|store| store.pattern).collect()
            } else {
                vec![text]
            };
            let place = self.source.place(&element.span);
            for text in texts {
                match Rule::parse(section, text, to_a_labels) {
                    Ok(rule) => {
                        let position = Position { line: place.line, column: place.column };
                        self.source_map.insert(section, rule.text(), position);
                        rules.push(rule);
                    }
                    Err(error) => self.report(&element.span, help::rule_error(section, text, &error)),
                }
            }
        }
        rules
    }
}

/// Maps a name to A-labels (UTS 46, non-transitional); `None` where it is invalid.
fn to_a_labels(name: &str) -> Option<String> {
    let mapped =
        Uts46::new().to_ascii(name.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore);
    mapped.ok().map(std::borrow::Cow::into_owned)
}
