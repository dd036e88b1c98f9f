//! What a document has beside its program: `include`, `tests`, `llm`.

use vantio_core::{Access, Decision, Effect, Labels, Section};

use super::{
    Compiler, Error, codes,
    keys::{self, MAX_GUARDS, MAX_RULES},
    read::find,
};
use crate::{
    Bindings, PRESETS, PolicyProgram, State,
    document::{ApiModels, Example, Include, Llm, LlmMode, LocalModels, tree::Node, values::nearest},
    explain::{Question, Wish, to_a_labels},
    program::Parts,
};

impl Compiler<'_> {
    pub(super) fn includes(&mut self, node: &Node) {
        for element in self.list(node, "include", MAX_GUARDS) {
            let Some(text) = self.plain(element, "include") else { continue };
            if let Some(error) = text.strip_prefix("preset:").and_then(unknown_preset) {
                self.report(&element.span, error);
            } else if text.contains("://") || text.trim() != text {
                let error = Error::new(codes::INCLUDE, format!("`{text}` is not a file or a preset"));
                self.report(
                    &element.span,
                    error.help("write `./more.yaml`, relative to this file, or `preset:workspace`"),
                );
            } else {
                let place = self.place(element);
                self.includes.push(Include { text, place });
            }
        }
    }

    pub(super) fn tests(&mut self, node: &Node) {
        for element in self.list(node, "tests", MAX_RULES) {
            let example = self.example(element);
            self.tests.extend(example);
        }
    }

    fn example(&mut self, node: &Node) -> Option<Example> {
        let entries = self.known_entries(node, &keys::TEST)?;
        let effect = find(&entries, "effect").and_then(|node| self.effect(node));
        let access = find(&entries, "access").and_then(|node| {
            self.choice(node, "access", &[("read", Access::Read), ("write", Access::Write)])
        });
        let target = find(&entries, "target").and_then(|node| self.plain(node, "target"));
        let decisions = [Decision::Permit, Decision::Collapse, Decision::KillSwitch, Decision::Hold]
            .map(|decision| (decision.name(), decision));
        let expect = find(&entries, "expect").and_then(|node| self.choice(node, "expect", &decisions));
        if let (Some(effect), Some(target)) = (effect, &target) {
            self.example_target(find(&entries, "target").unwrap_or(node), effect, target);
        }
        let place = self.place(node);
        Some(Example { effect: effect?, access, target: target?, expect: expect?, place })
    }

    /// Refuses what `policy test` could not judge, whatever the variables stand for.
    fn example_target(&mut self, node: &Node, effect: Effect, target: &str) {
        let folder = || b"/folder".to_vec();
        let bindings = Bindings { workspace: folder(), home: folder(), tmp: folder(), ..Bindings::default() };
        let program = PolicyProgram::new(Parts::default());
        let mut state = State::new(&program, bindings.clone());
        let wish = Wish {
            effect,
            target,
            to: Some(target),
            access: Access::Read,
            subtree: false,
            is_udp: false,
            labels: Labels::NONE,
        };
        let asked = Question::new(&wish, &program, &bindings, &mut state, |_| Some(folder()), to_a_labels);
        if let Err(error) = asked {
            self.report(&node.span, Error::new(codes::TARGET, error.to_string()).help(error.help()));
        }
    }

    pub(super) fn llm(&mut self, node: &Node) -> Option<Llm> {
        let entries = self.known_entries(node, &keys::LLM)?;
        let modes = [("local", LlmMode::Local), ("api", LlmMode::Api), ("hybrid", LlmMode::Hybrid)];
        let mode = find(&entries, "mode").and_then(|node| self.choice(node, "llm.mode", &modes));
        let local = find(&entries, "local").map(|node| self.local(node));
        let api = find(&entries, "api").map(|node| self.api(node));
        Some(Llm { mode: mode?, local, api })
    }

    fn local(&mut self, node: &Node) -> LocalModels {
        let mut local = LocalModels::default();
        for (key, span, node) in self.known_entries(node, &keys::LOCAL).unwrap_or_default() {
            match key {
                "default_model" => local.default_model = self.model(node, "default_model"),
                "timeout_ms" => {
                    let absent = "leave `timeout_ms` out for the default";
                    local.timeout_ms = self.integer(node, key, 1..=u64::MAX, (codes::NUMBER, absent));
                }
                _ if local.device.is_some() => {
                    let error = Error::new(codes::CONFLICT, "`device` and `device_path` are the same");
                    self.report(span, error.help("remove one"));
                }
                _ => local.device = self.plain(node, key),
            }
        }
        local
    }

    fn api(&mut self, node: &Node) -> ApiModels {
        let mut api = ApiModels::default();
        for (key, _, node) in self.known_entries(node, &keys::API).unwrap_or_default() {
            match key {
                "provider" => api.provider = self.plain(node, key),
                "endpoint" => api.endpoint = self.plain(node, key),
                "model" => api.model = self.model(node, key),
                _ => api.secret_name = self.plain(node, key),
            }
        }
        api
    }

    /// The name of one model, which may then be asked.
    fn model(&mut self, node: &Node, key: &str) -> Option<String> {
        let text = self.plain(node, key)?;
        if text.contains('*') {
            let error = Error::new(codes::NAMED, format!("`{key}` is one model, and `*` stands for many"));
            self.report(&node.span, error.help("name one; patterns go under `infer.models`"));
            return None;
        }
        self.rule(Section::InferModels, &text, &node.span);
        Some(text)
    }
}

fn unknown_preset(name: &str) -> Option<Error> {
    if PRESETS.contains(&name) {
        return None;
    }
    let help = nearest(name, PRESETS).map_or_else(
        || format!("the presets are {}", PRESETS.join(", ")),
        |preset| format!("did you mean `preset:{preset}`?"),
    );
    Some(Error::new(codes::INCLUDE, format!("no preset is called `{name}`")).help(help))
}
