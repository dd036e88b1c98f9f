//! From nodes to a program: the keys that a policy has and what stands under them.

mod budgets;
mod env;
mod lists;
mod read;

use vantio_core::Section;

use super::{
    Compiled, Position, SourceMap,
    error::{PolicyError, Problem},
    source::Source,
    tree::{Content, Node},
};
use crate::{
    Budgets, CommitMode, EnvRules, Mode, PolicyProgram, Rule,
    program::Parts,
    rule::{LISTS, Rules},
};
use read::is_null;

/// Problems that one error reports.
const MAX_PROBLEMS: usize = 20;

const KEYS: &[&str] = &["version", "name", "mode", "fs", "exec", "net", "env", "budgets", "phantom"];
/// Keys of the policy language that this version does not read yet.
const LATER_KEYS: &[&str] = &["include", "tools", "infer", "taint", "thresholds", "hold", "require", "tests"];

pub(in crate::document) fn compile(source: &Source, root: Option<&Node>) -> Result<Compiled, PolicyError> {
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
            Ok(Compiled { program, source_map: compiler.source_map })
        }
        _ => {
            compiler.problems.sort_by_key(|problem| problem.place.as_ref().map(|place| place.bytes.start));
            compiler.problems.truncate(MAX_PROBLEMS);
            Err(source.error(compiler.problems))
        }
    }
}

/// A problem before it has a place.
pub(in crate::document) struct Error {
    code: &'static str,
    message: String,
    help: Option<String>,
    label: String,
}

impl Error {
    pub(in crate::document) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, label: "here".to_owned() }
    }

    pub(in crate::document) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    pub(in crate::document) fn label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }
}

struct Compiler<'s> {
    source: &'s Source<'s>,
    problems: Vec<Problem>,
    source_map: SourceMap,
}

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

    fn phantom(&mut self, node: &Node) -> CommitMode {
        let mut commit_mode = CommitMode::default();
        for (_, _, node) in self.known_entries(node, "`phantom`", &["commit"]).unwrap_or_default() {
            let modes =
                [CommitMode::Review, CommitMode::Auto, CommitMode::Never].map(|mode| (mode.name(), mode));
            commit_mode = self.choice(node, "phantom.commit", &modes).unwrap_or_default();
        }
        commit_mode
    }
}
