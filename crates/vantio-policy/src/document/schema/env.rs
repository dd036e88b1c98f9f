//! Variables of the environment.

use std::collections::BTreeMap;

use super::{
    Compiler, Error, codes,
    keys::{self, MAX_RULES},
};
use crate::{
    EnvRules,
    document::tree::Node,
    env::{NamePattern, is_variable_name},
};

impl Compiler<'_> {
    pub(super) fn env(&mut self, node: &Node) -> EnvRules {
        let mut env = EnvRules::default();
        for (key, _, node) in self.known_entries(node, &keys::ENV).unwrap_or_default() {
            match key {
                "allow" => env.allow = self.name_patterns(node, "env.allow"),
                "deny" => env.deny = self.name_patterns(node, "env.deny"),
                _ => env.set = self.variables(node),
            }
        }
        env
    }

    fn name_patterns(&mut self, node: &Node, key: &str) -> Vec<NamePattern> {
        let mut patterns = Vec::new();
        for element in self.list(node, key, MAX_RULES) {
            let Some(text) = self.string(element, "a variable's name") else { continue };
            if let Some(pattern) = NamePattern::parse(text) {
                patterns.push(pattern);
                continue;
            }
            let error = Error::new(codes::ENV, format!("`{text}` is not the name of a variable"));
            let help =
                "a name is letters, digits and `_`; `*` stands for any characters, values go under `set`";
            self.report(&element.span, error.help(help));
        }
        patterns.sort_unstable();
        patterns.dedup();
        patterns
    }

    fn variables(&mut self, node: &Node) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        for (name, span, node) in self.entries(node, "`env.set`").unwrap_or_default() {
            let Some(value) = self.string(node, "a variable's value") else { continue };
            if !is_variable_name(name) {
                let error = Error::new(codes::ENV, format!("`{name}` is not the name of a variable"));
                self.report(span, error.help("a name is letters, digits and `_`"));
            } else if value.contains('\0') {
                let error = Error::new(codes::ENV, "a variable's value has a NUL in it");
                self.report(&node.span, error.help("remove it"));
            } else {
                variables.insert(name.to_owned(), value.to_owned());
            }
        }
        variables
    }
}
