//! Vantio's decision.

use std::{collections::BTreeMap, fmt::Write, hint::black_box, net::SocketAddr};

use vantio_core::{Access, Effect, Endpoint, Intent, Target, Transport};
use vantio_policy::{Bindings, PolicyProgram, State, compile, decide};

use super::Subject;
use crate::{
    requests::{Action, Request, Scene},
    rules::{List, Pattern, Rule, WEB},
};

/// Decisions that are timed together.
const BATCH: usize = 64;

/// The policy document.
pub fn write(rules: &[Rule]) -> String {
    let mut lists: BTreeMap<List, Vec<String>> = BTreeMap::new();
    for rule in rules {
        lists.entry(rule.list).or_default().push(text(rule));
    }
    let mut document = "version: 1\n".to_owned();
    let sections: [(&str, &[(&str, List)]); 4] = [
        ("fs", &[("read", List::Read), ("write", List::Write), ("deny", List::Deny)]),
        ("exec", &[("allow", List::Exec), ("deny", List::ExecDeny)]),
        ("net", &[("allow", List::Net), ("deny", List::NetDeny)]),
        ("tools", &[("allow", List::Tools), ("deny", List::ToolsDeny)]),
    ];
    for (section, keys) in sections {
        if !keys.iter().any(|(_, list)| lists.contains_key(list)) {
            continue;
        }
        let _ = writeln!(document, "{section}:");
        for (key, list) in keys {
            let Some(texts) = lists.get(list) else { continue };
            let _ = writeln!(document, "  {key}:");
            for text in texts {
                let _ = writeln!(document, "    - \"{text}\"");
            }
        }
    }
    document
}

/// Compiles the document and binds it to a run.
pub fn prepare(document: &str, _: &[Rule], scene: &Scene) -> Result<Box<dyn Subject>, String> {
    let compiled = compile(document.as_bytes(), "policy.yaml").map_err(|error| error.to_string())?;
    let program = compiled.program;
    let bindings = Bindings {
        workspace: b"/home/dev/app".to_vec(),
        home: b"/home/dev".to_vec(),
        tmp: b"/tmp".to_vec(),
        ..Bindings::default()
    };
    let mut state = State::new(&program, bindings);
    for (address, name) in scene.names.iter() {
        state.learn_name(name, address.into(), u64::MAX);
    }
    Ok(Box::new(Vantio { program, state }))
}

struct Vantio {
    program: PolicyProgram,
    state: State,
}

impl Subject for Vantio {
    fn permits(&mut self, request: &Request) -> bool {
        let path = |access| Target::Path { path: &request.target, access, subtree: false };
        let (effect, target) = match request.action {
            Action::Read => (Effect::FsOpen, path(Access::Read)),
            Action::Write => (Effect::FsOpen, path(Access::Write)),
            Action::Exec => (Effect::ProcExec, path(Access::Read)),
            Action::Resolve => (Effect::NetDns, Target::Name(request.text())),
            Action::Connect => {
                let address = SocketAddr::from((request.address(), request.port));
                let endpoint = Endpoint { transport: Transport::Tcp, address, in_run: false };
                (Effect::NetConnect, Target::Endpoint(endpoint))
            }
            Action::Call => (Effect::ToolCall, Target::Named(request.text())),
        };
        let verdict = decide(&self.program, &self.state, &Intent::new(effect, target));
        // The whole verdict, with its cause; by reference, for nobody who asks copies it.
        black_box(&verdict).is_permit()
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn canonical_bytes(&self) -> Option<usize> {
        Some(self.program.encode().len())
    }
}

/// A rule as a policy document has it.
fn text(rule: &Rule) -> String {
    match &rule.pattern {
        Pattern::Path(path) => path.clone(),
        Pattern::Named(name) => format!("**/{name}"),
        Pattern::Ending(ending) => format!("**/*{ending}"),
        Pattern::Entries { directory, ending } => format!("{directory}/*{ending}"),
        Pattern::Domain { name, ports } => format!("{name}{}", suffix(ports)),
        Pattern::Below { name, ports } => format!("*.{name}{}", suffix(ports)),
        Pattern::Block { address: [a, b, c, d], prefix, port } => {
            let port = if *port == 0 { String::new() } else { format!(":{port}") };
            format!("{a}.{b}.{c}.{d}/{prefix}{port}")
        }
        Pattern::Tool(name) => name.clone(),
        Pattern::ToolsOf(server) => format!("{server}*"),
    }
}

/// The web's ports are what a name without a port has.
fn suffix(ports: &[u16]) -> String {
    if ports.is_empty() || ports == WEB {
        return String::new();
    }
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    format!(":{}", ports.join(","))
}
