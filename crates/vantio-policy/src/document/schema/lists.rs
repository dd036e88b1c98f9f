//! The lists of patterns.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use vantio_core::Section;

use super::{
    Compiler, Error, codes,
    keys::{self, MAX_RULES, Mapping},
};
use crate::{
    Rule, credentials,
    document::{help, source::Span, tree::Node},
};

impl Compiler<'_> {
    /// Reads the lists of a mapping, whose keys are in the order of `sections`.
    pub(super) fn sections(&mut self, node: &Node, mapping: &Mapping, sections: &[Section]) {
        for (key, _, node) in self.known_entries(node, mapping).unwrap_or_default() {
            let names = mapping.keys.iter().map(|known| known.name);
            let section = names.zip(sections).find(|(name, _)| *name == key).map(|(_, section)| *section);
            let Some(section) = section else { continue };
            let is_domains = mapping.name == keys::DOMAIN.name;
            let list = if is_domains { format!("domains.{key}") } else { section.name().to_owned() };
            for element in self.list(node, &list, MAX_RULES) {
                let Some(text) = self.string(element, "a rule") else { continue };
                if is_domains && let Some(error) = no_domain(key, text) {
                    self.report(&element.span, error);
                } else {
                    self.rule(section, text, &element.span);
                }
            }
        }
    }

    pub(super) fn infer(&mut self, node: &Node) {
        for (key, _, node) in self.known_entries(node, &keys::INFER).unwrap_or_default() {
            if key == "max_tokens" {
                let absent = "leave `max_tokens` out for no limit";
                self.parts.max_tokens =
                    self.integer(node, "max_tokens", 0..=u64::MAX, (codes::NUMBER, absent));
                continue;
            }
            for element in self.list(node, "infer.models", MAX_RULES) {
                let Some(text) = self.string(element, "a rule") else { continue };
                self.rule(Section::InferModels, text, &element.span);
            }
        }
    }

    /// Adds the rules that a text stands for.
    pub(super) fn rule(&mut self, section: Section, text: &str, span: &Span) {
        let position = self.position(span);
        for rule in self.parsed(section, text, span) {
            self.source_map.insert(section, rule.text(), position);
            self.lists[section as usize].push(rule);
        }
    }

    /// The rules that a text stands for in a list of the section's kind.
    pub(super) fn parsed(&mut self, section: Section, text: &str, span: &Span) -> Vec<Rule> {
        let is_credentials = section == Section::FsDeny && text == credentials::ELEMENT;
        let texts: Vec<&str> = if is_credentials {
            credentials::STORES.iter().map(|store| store.pattern).collect()
        } else {
            vec![text]
        };
        let mut rules = Vec::new();
        if let Some(error) = with_arguments(section, text) {
            self.report(span, error);
            return rules;
        }
        for text in texts {
            match Rule::parse(section, text, to_a_labels) {
                Ok(rule) => rules.push(rule),
                Err(error) => self.report(span, help::rule_error(section, text, &error)),
            }
        }
        rules
    }
}

/// Why a command line is no program.
fn with_arguments(section: Section, text: &str) -> Option<Error> {
    let is_bare = !text.contains(['/', '$', '~', '*']) && text.trim() == text;
    let is_program = matches!(section, Section::ExecAllow | Section::ExecDeny) && is_bare;
    let (program, _) = text.split_once(char::is_whitespace).filter(|_| is_program)?;
    let error = Error::new(codes::EXEC, "a program has no arguments here");
    Some(error.help(format!("write `{program}`; a name with a space in it is written as a path")))
}

/// Why a text that `net` may have is nothing for `domains`.
fn no_domain(key: &str, text: &str) -> Option<Error> {
    let what = if text.starts_with("unix:") {
        "a Unix socket"
    } else if text.starts_with("udp://") {
        "a UDP rule"
    } else {
        return None;
    };
    let error = Error::new(codes::NET, format!("`domains` has no place for {what}"));
    Some(error.help(format!("write it under `net.{key}`")))
}

/// Maps a name to A-labels (UTS 46, non-transitional); `None` where it is invalid.
fn to_a_labels(name: &str) -> Option<String> {
    let mapped =
        Uts46::new().to_ascii(name.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore);
    mapped.ok().map(std::borrow::Cow::into_owned)
}
