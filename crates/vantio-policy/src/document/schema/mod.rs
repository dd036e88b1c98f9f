//! From nodes to a program: the keys that a policy has and what stands under them.

mod beside;
mod budgets;
mod env;
mod guards;
pub(super) mod keys;
mod limits;
mod lists;
mod manifest;
mod read;
mod scope;
mod taint;

use std::mem;

use vantio_core::Section;

use super::{
    Compiled, Example, Include, Llm, Place, Position, Present, SourceMap, codes,
    error::{PolicyError, Problem},
    source::{Source, Span},
    tree::{Content, Node},
};
use crate::{
    Checkpointing, CommitMode, Details, Export, Mode, PolicyProgram, Rule, Speculation, Viewing,
    program::Parts,
    rule::{LISTS, Rules},
};
use read::is_null;

pub(super) use manifest::manifest;

/// Problems that one error reports.
const MAX_PROBLEMS: usize = 20;

pub(super) fn compile(source: &Source, root: Option<&Node>) -> Result<Compiled, PolicyError> {
    let mut compiler = Compiler::new(source);
    match root {
        Some(root) if !is_null(root) => compiler.policy(root),
        _ => {
            let error = Error::new(codes::EMPTY, "a policy is empty").help("`vantio init` writes one");
            compiler.report(&(0..0), error);
        }
    }
    compiler.finish()
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

/// What has been read so far.
struct Compiler<'s> {
    source: &'s Source<'s>,
    problems: Vec<Problem>,
    source_map: SourceMap,
    lists: [Vec<Rule>; LISTS],
    parts: Parts,
    tests: Vec<Example>,
    includes: Vec<Include>,
    llm: Option<Llm>,
}

impl<'s> Compiler<'s> {
    fn new(source: &'s Source<'s>) -> Self {
        Self {
            source,
            problems: Vec::new(),
            source_map: SourceMap::default(),
            lists: Default::default(),
            parts: Parts::default(),
            tests: Vec::new(),
            includes: Vec::new(),
            llm: None,
        }
    }

    fn finish(mut self) -> Result<Compiled, PolicyError> {
        self.fail_on_problems()?;
        let rules = Rules::new(self.lists);
        Ok(Compiled {
            program: PolicyProgram::new(Parts { rules, ..self.parts }),
            source_map: self.source_map,
            tests: self.tests,
            includes: self.includes,
            llm: self.llm,
            present: Present::default(),
        })
    }

    /// The problems found, in the order of the document.
    fn fail_on_problems(&mut self) -> Result<(), PolicyError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let mut problems = mem::take(&mut self.problems);
        problems.sort_by_key(|problem| problem.place.as_ref().map(|place| place.bytes.start));
        let is_cut = problems.len() > MAX_PROBLEMS;
        problems.truncate(MAX_PROBLEMS);
        let error = self.source.error(problems);
        Err(if is_cut { error.cut() } else { error })
    }

    fn policy(&mut self, root: &Node) {
        if manifest::is_manifest(root) {
            let error = Error::new(codes::MANIFEST, "a manifest stands where a policy is expected");
            let help = "name the policy that its `policy_path` names";
            self.report(&(root.span.start..root.span.start), error.help(help));
            return;
        }
        let Some(entries) = self.known_entries(root, &keys::POLICY) else { return };
        for (key, _, node) in entries {
            self.policy_key(key, node);
        }
    }

    fn policy_key(&mut self, key: &str, node: &Node) {
        match key {
            "version" => self.version(node),
            "name" => self.parts.name = self.name(node),
            "mode" => {
                let modes = [Mode::Enforce, Mode::Monitor, Mode::Learn].map(|mode| (mode.name(), mode));
                self.parts.mode = self.choice(node, "mode", &modes).unwrap_or_default();
            }
            "include" => self.includes(node),
            "fs" => self.sections(node, &keys::FS, &[Section::FsRead, Section::FsWrite, Section::FsDeny]),
            "exec" => self.sections(node, &keys::EXEC, &[Section::ExecAllow, Section::ExecDeny]),
            "net" => self.sections(node, &keys::NET, &[Section::NetAllow, Section::NetDeny]),
            "domains" => self.sections(node, &keys::DOMAIN, &[Section::NetAllow, Section::NetDeny]),
            "tools" => self.sections(node, &keys::TOOLS, &[Section::ToolsAllow, Section::ToolsDeny]),
            "infer" => self.infer(node),
            "env" => self.parts.env = self.env(node),
            "budgets" => self.parts.budgets = self.budgets(node),
            "limits" => self.parts.limits = self.limits(node),
            "taint" => self.taint(node),
            "order" => self.order(node),
            "thresholds" => self.thresholds(node),
            "hold" => self.hold(node),
            "kill_switch" => self.parts.guards.kill_switch = self.kill_switch(node),
            "require" => self.parts.guards.require = self.backend(node),
            "reversibility" => self.reversibility(node),
            "phantom" => self.phantom(node),
            "ledger" => self.ledger(node),
            "tests" => self.tests(node),
            // INVARIANT: the keys are those of `keys::POLICY`.
            _ => self.llm = self.llm(node),
        }
    }

    fn version(&mut self, node: &Node) {
        let supported = "this build reads version 1";
        match &*node.content {
            Content::Scalar { text, .. } if matches!(text.as_str(), "1" | "1.0") => {}
            Content::Scalar { text, .. } => {
                let error = Error::new(codes::VERSION, format!("version `{text}` is not supported"));
                self.report(&node.span, error.help(supported));
            }
            _ => self
                .report(&node.span, Error::new(codes::VERSION, "a version must be a number").help(supported)),
        }
    }

    fn name(&mut self, node: &Node) -> Option<String> {
        let text = self.string(node, "`name`")?;
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            let error = Error::new(codes::NAME, "a name has 1 to 256 bytes and no control characters");
            self.report(&node.span, error.help("choose a short name, or remove the key"));
            return None;
        }
        Some(text.to_owned())
    }

    fn phantom(&mut self, node: &Node) {
        for (key, _, node) in self.known_entries(node, &keys::PHANTOM).unwrap_or_default() {
            match key {
                "checkpoint" => self.parts.checkpointing = self.checkpointing(node),
                "view" => {
                    let views = [Viewing::Live, Viewing::Snapshot].map(|view| (view.name(), view));
                    self.parts.viewing = self.choice(node, "phantom.view", &views).unwrap_or_default();
                }
                "speculate" => {
                    let choices = [Speculation::Off, Speculation::Auto].map(|choice| (choice.name(), choice));
                    self.parts.speculation =
                        self.choice(node, "phantom.speculate", &choices).unwrap_or_default();
                }
                _ => {
                    let modes = [CommitMode::Review, CommitMode::Auto, CommitMode::Never];
                    let modes = modes.map(|mode| (mode.name(), mode));
                    self.parts.commit_mode = self.choice(node, "phantom.commit", &modes).unwrap_or_default();
                }
            }
        }
    }

    fn checkpointing(&mut self, node: &Node) -> Checkpointing {
        let mut checkpointing = Checkpointing::default();
        for (key, _, node) in self.known_entries(node, &keys::CHECKPOINT).unwrap_or_default() {
            match key {
                "exec" => {
                    checkpointing.exec = self.boolean(node, "phantom.checkpoint.exec").unwrap_or_default();
                }
                "approval" => {
                    let name = "phantom.checkpoint.approval";
                    checkpointing.approval = self.boolean(node, name).unwrap_or_default();
                }
                _ => {
                    let absent = "leave `writes` out to count none";
                    let range = 1..=keys::WRITES_MAX;
                    checkpointing.writes = self.integer(node, "writes", range, (codes::NUMBER, absent));
                }
            }
        }
        checkpointing
    }

    fn ledger(&mut self, node: &Node) {
        for (key, _, node) in self.known_entries(node, &keys::LEDGER).unwrap_or_default() {
            if key == "details" {
                let choices = [Details::Keep, Details::Drop].map(|details| (details.name(), details));
                self.parts.details = self.choice(node, "ledger.details", &choices).unwrap_or_default();
            } else {
                let choices = [Export::Shape, Export::Full].map(|export| (export.name(), export));
                self.parts.export = self.choice(node, "ledger.export", &choices).unwrap_or_default();
            }
        }
    }

    fn place(&self, node: &Node) -> Place {
        self.source.place(&node.span)
    }

    fn position(&self, span: &Span) -> Position {
        let place = self.source.place(span);
        Position { line: place.line, column: place.column }
    }
}
