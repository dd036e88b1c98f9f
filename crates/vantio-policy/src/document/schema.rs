//! From nodes to a program: the keys that a policy has and what stands under them.

use std::collections::{BTreeMap, HashMap};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use vantio_core::Section;

use super::{
    Compiled, Position, Present, SourceMap,
    error::{PolicyError, Problem},
    help,
    source::{Source, Span},
    tree::{Content, Node},
    values::{Kind, nearest, to_millionths, to_u64},
};
use crate::{
    Budgets, CommitMode, EnvRules, Mode, PolicyProgram, Rule, credentials,
    env::{NamePattern, is_variable_name},
    program::Parts,
    rule::{LISTS, Rules},
};

/// Problems that one error reports.
const MAX_PROBLEMS: usize = 20;

const KEYS: &[&str] = &["version", "name", "mode", "fs", "exec", "net", "env", "budgets", "phantom"];
/// Keys of the policy language that this version does not read yet.
const LATER_KEYS: &[&str] = &["include", "tools", "infer", "taint", "thresholds", "hold", "require", "tests"];
const BUDGET_KEYS: &[&str] =
    &["tokens", "calls", "inference_ms", "file_bytes", "network_bytes", "wall_ms", "processes", "cost_usd"];

pub(super) fn compile(source: &Source, root: Option<&Node>) -> Result<Compiled, PolicyError> {
    let mut compiler = Compiler { source, problems: Vec::new(), source_map: SourceMap::default() };
    let program = match root {
        Some(root) if !is_null(root) => compiler.policy(root),
        _ => {
            compiler.report(
                &(0..0),
                Error::new("E_POLICY_EMPTY", "a policy is empty").help("`vantio init` writes one"),
            );
            None
        }
    };
    match program {
        Some(program) if compiler.problems.is_empty() => {
            Ok(Compiled { program, source_map: compiler.source_map, present: Present::default() })
        }
        _ => {
            compiler.problems.sort_by_key(|problem| problem.place.as_ref().map(|place| place.bytes.start));
            compiler.problems.truncate(MAX_PROBLEMS);
            Err(source.error(compiler.problems))
        }
    }
}

/// A problem before it has a place.
pub(super) struct Error {
    code: &'static str,
    message: String,
    help: Option<String>,
    label: String,
}

impl Error {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, label: "here".to_owned() }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    pub(super) fn label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }
}

struct Compiler<'s> {
    source: &'s Source<'s>,
    problems: Vec<Problem>,
    source_map: SourceMap,
}

/// A key, its place, and what stands under it.
type Entry<'n> = (&'n str, &'n Span, &'n Node);

impl Compiler<'_> {
    fn policy(&mut self, root: &Node) -> Option<PolicyProgram> {
        let entries = self.known_entries(root, "a policy", KEYS)?;
        let mut name = None;
        let mut mode = Mode::default();
        let mut commit_mode = CommitMode::default();
        let mut budgets = Budgets::default();
        let mut env = EnvRules::default();
        let mut lists: [Vec<Rule>; LISTS] = Default::default();
        let mut has_version = false;
        for (key, _, node) in entries {
            match key {
                "version" => {
                    has_version = true;
                    self.version(node);
                }
                "name" => name = self.name(node),
                "mode" => {
                    let modes = [Mode::Enforce, Mode::Monitor, Mode::Learn].map(|mode| (mode.name(), mode));
                    mode = self.choice(node, "mode", &modes).unwrap_or_default();
                }
                "fs" => {
                    let sections = [Section::FsRead, Section::FsWrite, Section::FsDeny];
                    self.sections(node, "fs", &["read", "write", "deny"], &sections, &mut lists);
                }
                "exec" => {
                    let sections = [Section::ExecAllow, Section::ExecDeny];
                    self.sections(node, "exec", &["allow", "deny"], &sections, &mut lists);
                }
                "net" => {
                    let sections = [Section::NetAllow, Section::NetDeny];
                    self.sections(node, "net", &["allow", "deny"], &sections, &mut lists);
                }
                "env" => env = self.env(node),
                "budgets" => budgets = self.budgets(node),
                _ => commit_mode = self.phantom(node),
            }
        }
        if !has_version {
            let error = Error::new("E_POLICY_VERSION", "a policy has no version");
            self.report(
                &(root.span.start..root.span.start),
                error.help("add `version: 1` as the first line"),
            );
        }
        let rules = Rules::new(lists);
        Some(PolicyProgram::new(Parts { name, mode, commit_mode, budgets, env, rules, ..Parts::default() }))
    }

    fn version(&mut self, node: &Node) {
        let supported = "this build reads version 1";
        match &*node.content {
            Content::Scalar { text, .. } if matches!(text.as_str(), "1" | "1.0") => {}
            Content::Scalar { text, .. } => {
                let error = Error::new("E_POLICY_VERSION", format!("version `{text}` is not supported"));
                self.report(&node.span, error.help(supported));
            }
            _ => self
                .report(&node.span, Error::new("E_POLICY_VERSION", "a version is a number").help(supported)),
        }
    }

    fn name(&mut self, node: &Node) -> Option<String> {
        let text = self.string(node, "`name`")?;
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            let error = Error::new("E_POLICY_NAME", "a name has 1 to 256 bytes and no control characters");
            self.report(&node.span, error.help("choose a short name, or remove the key"));
            return None;
        }
        Some(text.to_owned())
    }

    fn sections(
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

    fn rules(&mut self, section: Section, node: &Node) -> Vec<Rule> {
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

    fn env(&mut self, node: &Node) -> EnvRules {
        let mut env = EnvRules::default();
        for (key, _, node) in self.known_entries(node, "`env`", &["allow", "deny", "set"]).unwrap_or_default()
        {
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
        for element in self.list(node, key) {
            let Some(text) = self.string(element, "a variable's name") else { continue };
            if let Some(pattern) = NamePattern::parse(text) {
                patterns.push(pattern);
                continue;
            }
            let error = Error::new("E_POLICY_ENV", format!("`{text}` is not the name of a variable"));
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
                let error = Error::new("E_POLICY_ENV", format!("`{name}` is not the name of a variable"));
                self.report(span, error.help("a name is letters, digits and `_`"));
            } else if value.contains('\0') {
                let error = Error::new("E_POLICY_ENV", "a variable's value has a NUL in it");
                self.report(&node.span, error.help("remove it"));
            } else {
                variables.insert(name.to_owned(), value.to_owned());
            }
        }
        variables
    }

    fn budgets(&mut self, node: &Node) -> Budgets {
        let mut budgets = Budgets::default();
        for (key, _, node) in self.known_entries(node, "`budgets`", BUDGET_KEYS).unwrap_or_default() {
            let limit = match key {
                "cost_usd" => self.cost(node),
                _ => self.integer(node, key),
            };
            *match key {
                "tokens" => &mut budgets.tokens,
                "calls" => &mut budgets.calls,
                "inference_ms" => &mut budgets.inference_ms,
                "file_bytes" => &mut budgets.file_bytes,
                "network_bytes" => &mut budgets.network_bytes,
                "wall_ms" => &mut budgets.wall_ms,
                "processes" => &mut budgets.processes,
                _ => &mut budgets.cost_micro_usd,
            } = limit;
        }
        budgets
    }

    fn integer(&mut self, node: &Node, key: &str) -> Option<u64> {
        let Content::Scalar { text, is_plain } = &*node.content else {
            self.report(&node.span, Error::new("E_POLICY_BUDGET", format!("`{key}` is a whole number")));
            return None;
        };
        let kind = Kind::of(text, *is_plain);
        let limit = if kind == Kind::Integer { to_u64(text) } else { None };
        if limit.is_none() {
            let message = format!("`{key}` is a whole number from 0 to {}", u64::MAX);
            let help = match kind {
                Kind::String if to_u64(text).is_some() => "remove the quotes".to_owned(),
                _ => format!("leave `{key}` out for no limit"),
            };
            self.report(&node.span, Error::new("E_POLICY_BUDGET", message).help(help));
        }
        limit
    }

    fn cost(&mut self, node: &Node) -> Option<u64> {
        let limit = match &*node.content {
            Content::Scalar { text, .. } => to_millionths(text),
            _ => None,
        };
        if limit.is_none() {
            let message = "`cost_usd` is an amount in dollars with at most six decimal places";
            self.report(&node.span, Error::new("E_POLICY_BUDGET", message).help("write it as `\"2.50\"`"));
        }
        limit
    }

    fn phantom(&mut self, node: &Node) -> CommitMode {
        let mut commit_mode = CommitMode::default();
        for (_, _, node) in self.known_entries(node, "`phantom`", &["commit"]).unwrap_or_default() {
            let modes =
                [CommitMode::Review, CommitMode::Auto, CommitMode::Never].map(|mode| (mode.name(), mode));
            commit_mode = self.choice(node, "phantom.commit", &modes).unwrap_or_default();
        }
        commit_mode
    }

    fn choice<T: Copy>(&mut self, node: &Node, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.string(node, &format!("`{key}`"))?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let help = nearest(text, &names).map_or_else(
            || format!("it is one of {}", names.join(", ")),
            |name| format!("did you mean `{name}`?"),
        );
        self.report(
            &node.span,
            Error::new("E_POLICY_VALUE", format!("`{key}` cannot be `{text}`")).help(help),
        );
        None
    }

    fn string<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        let (kind, help) = match &*node.content {
            Content::Scalar { text, is_plain } => match Kind::of(text, *is_plain) {
                Kind::String => return Some(text),
                Kind::Null => ("nothing", "write a value, or remove the line".to_owned()),
                kind => (kind.name(), format!("write it in quotes: \"{text}\"")),
            },
            Content::List(_) => ("a list", "write one value".to_owned()),
            Content::Map(_) => ("a mapping", "write it in quotes if it contains `: ` or `{`".to_owned()),
        };
        self.report(
            &node.span,
            Error::new("E_POLICY_TYPE", format!("{what} is a string, not {kind}")).help(help),
        );
        None
    }

    fn list<'n>(&mut self, node: &'n Node, key: &str) -> &'n [Node] {
        let help = match &*node.content {
            Content::List(elements) => return elements,
            Content::Scalar { .. } if is_null(node) => format!("write `[]` for none, or remove `{key}`"),
            Content::Scalar { text, .. } => format!("write it in brackets: [\"{text}\"]"),
            Content::Map(_) => "begin each element with `- `".to_owned(),
        };
        self.report(&node.span, Error::new("E_POLICY_TYPE", format!("`{key}` is a list")).help(help));
        &[]
    }

    /// The entries under keys that are known; the others are reported.
    fn known_entries<'n>(&mut self, node: &'n Node, what: &str, keys: &[&str]) -> Option<Vec<Entry<'n>>> {
        let mut entries = self.entries(node, what)?;
        entries.retain(|(key, span, _)| {
            let is_known = keys.contains(key);
            if !is_known {
                self.report(span, unknown_key(what, key, keys));
            }
            is_known
        });
        Some(entries)
    }

    /// The entries of a mapping, each key once.
    fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Option<Vec<Entry<'n>>> {
        let Content::Map(pairs) = &*node.content else {
            let error = Error::new("E_POLICY_TYPE", format!("{what} is a mapping of keys to values"));
            self.report(&node.span, error.help("write `key: value` lines, indented"));
            return None;
        };
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut entries = Vec::new();
        for (key, value) in pairs {
            let Content::Scalar { text, is_plain } = &*key.content else {
                self.report(
                    &key.span,
                    Error::new("E_POLICY_TYPE", "a key is a string").help("write it in quotes"),
                );
                continue;
            };
            if text == "<<" && *is_plain {
                let error = Error::new("E_POLICY_MERGE_KEY", "merge keys are not supported");
                self.report(
                    &key.span,
                    error.help("write the keys out; an anchor may stand for a whole list"),
                );
            } else if let Some(line) = seen.get(text.as_str()) {
                let error = Error::new("E_POLICY_DUPLICATE_KEY", format!("the key `{text}` stands twice"));
                self.report(&key.span, error.help(format!("the first is in line {line}; join the two")));
            } else {
                seen.insert(text, self.source.place(&key.span).line);
                entries.push((text.as_str(), &key.span, value));
            }
        }
        Some(entries)
    }

    fn report(&mut self, span: &Span, error: Error) {
        // One more than is shown is enough, and a document may have thousands.
        if self.problems.len() <= 4 * MAX_PROBLEMS {
            let Error { code, message, help, label } = error;
            let place = Some(self.source.place(span));
            self.problems.push(Problem { code, message, help, label, place });
        }
    }
}

fn unknown_key(what: &str, key: &str, keys: &[&str]) -> Error {
    if what == "a policy" && LATER_KEYS.contains(&key) {
        let error = Error::new("E_POLICY_UNSUPPORTED", format!("`{key}` is not supported by this version"));
        return error.help("remove it: a rule that nothing enforces would be a false promise");
    }
    let help = nearest(key, keys).map_or_else(
        || format!("its keys are {}", keys.join(", ")),
        |name| format!("did you mean `{name}`?"),
    );
    Error::new("E_POLICY_UNKNOWN_KEY", format!("{what} has no key `{key}`")).help(help).label("unknown key")
}

fn is_null(node: &Node) -> bool {
    matches!(&*node.content, Content::Scalar { text, is_plain } if Kind::of(text, *is_plain) == Kind::Null)
}

/// Maps a name to A-labels (UTS 46, non-transitional); `None` where it is invalid.
fn to_a_labels(name: &str) -> Option<String> {
    let mapped =
        Uts46::new().to_ascii(name.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore);
    mapped.ok().map(std::borrow::Cow::into_owned)
}
