//! Rego in regorus: its engine, its virtual machine, and the virtual machine over indexed data.

use std::{collections::BTreeMap, fmt::Write, net::Ipv4Addr};

use regorus::{Engine, Rc, Value, languages::rego::compiler::Compiler, rvm::vm::RegoVM};
use serde_json::json;

use super::Subject;
use crate::{
    host::{self, Key},
    requests::{Action, Names, Request, Scene},
    rules::{Pattern, Rule},
};

const ENTRY: &str = "data.policy.allow";
const FILE: &str = "policy.rego";
const HEAD: &str = "package policy

default allow := false

default permitted := false

default refused := false

allow if {
    permitted
    not refused
}

";
/// The whole policy, when what it knows is data.
const INDEXED: &str = "package policy

default allow := false

allow if {
    permitted
    not refused
}

permitted if {
    index := data.permitted[input.action]
    some key in input.keys
    index[key]
}

refused if {
    index := data.refused[input.action]
    some key in input.keys
    index[key]
}

refused if {
    index := data.refused[input.action]
    some key in input.parts
    index[key]
}
";

/// One rule a line.
pub fn write(rules: &[Rule]) -> String {
    let mut text = HEAD.to_owned();
    for rule in rules {
        let head = if rule.list.denies() { "refused" } else { "permitted" };
        let _ = writeln!(text, "{head} if {{ {} }}", condition(rule));
    }
    text
}

/// Keys by effect and action, as JSON.
pub fn write_index(rules: &[Rule]) -> String {
    let mut index: BTreeMap<&str, BTreeMap<&str, BTreeMap<String, bool>>> = BTreeMap::new();
    for rule in rules {
        let effect = if rule.list.denies() { "refused" } else { "permitted" };
        for action in Action::ALL.into_iter().filter(|action| action.concerns(rule.list)) {
            let keys = index.entry(effect).or_default().entry(action.name()).or_default();
            for key in host::rule_keys(rule) {
                keys.extend(texts(key, action, rule).into_iter().map(|text| (text, true)));
            }
        }
    }
    json!(index).to_string()
}

/// The engine, as most use it.
pub fn prepare_engine(document: &str, _: &[Rule], scene: &Scene) -> Result<Box<dyn Subject>, String> {
    let engine = engine(document)?;
    Ok(Box::new(Interpreted { engine, inputs: Inputs { names: scene.names.clone() } }))
}

/// The virtual machine.
pub fn prepare_machine(document: &str, _: &[Rule], scene: &Scene) -> Result<Box<dyn Subject>, String> {
    let machine = machine(document)?;
    Ok(Box::new(Machine { machine, inputs: Inputs { names: scene.names.clone() } }))
}

/// The virtual machine over an index.
pub fn prepare_indexed(document: &str, rules: &[Rule], scene: &Scene) -> Result<Box<dyn Subject>, String> {
    let mut machine = machine(INDEXED)?;
    let data = Value::from_json_str(document).map_err(|error| error.to_string())?;
    machine.set_data(data).map_err(|error| error.to_string())?;
    Ok(Box::new(Indexed {
        machine,
        prefixes: host::prefixes(rules),
        names: scene.names.clone(),
        fields: Fields::new(),
        text: String::new(),
    }))
}

fn engine(document: &str) -> Result<Engine, String> {
    let mut engine = Engine::new();
    engine.add_policy(FILE.to_owned(), document.to_owned()).map_err(|error| error.to_string())?;
    // The first evaluation prepares the engine: part of getting ready.
    engine.set_input(Value::new_object());
    engine.eval_rule(ENTRY.to_owned()).map_err(|error| error.to_string())?;
    Ok(engine)
}

fn machine(document: &str) -> Result<RegoVM, String> {
    let mut engine = Engine::new();
    engine.add_policy(FILE.to_owned(), document.to_owned()).map_err(|error| error.to_string())?;
    let compiled = engine.compile_with_entrypoint(&Rc::from(ENTRY)).map_err(|error| error.to_string())?;
    let program = Compiler::compile_from_policy(&compiled, &[ENTRY]).map_err(|error| error.to_string())?;
    // What a stored program would be refused for.
    program.validate_limits()?;
    let mut machine = RegoVM::new();
    machine.set_max_instructions(usize::MAX);
    machine.load_program(program);
    Ok(machine)
}

struct Interpreted {
    engine: Engine,
    inputs: Inputs,
}

impl Subject for Interpreted {
    fn permits(&mut self, request: &Request) -> bool {
        self.engine.set_input(self.inputs.of(request));
        self.engine.eval_rule(ENTRY.to_owned()).is_ok_and(|value| value == Value::Bool(true))
    }
}

struct Machine {
    machine: RegoVM,
    inputs: Inputs,
}

impl Subject for Machine {
    fn permits(&mut self, request: &Request) -> bool {
        self.machine.set_input(self.inputs.of(request));
        self.machine.execute_entry_point_by_index(0).is_ok_and(|value| value == Value::Bool(true))
    }
}

struct Indexed {
    machine: RegoVM,
    prefixes: Vec<u8>,
    names: Names,
    fields: Fields,
    /// A key while it is put together.
    text: String,
}

/// Values that every input has.
struct Fields {
    action: Value,
    keys: Value,
    parts: Value,
    actions: Vec<Value>,
}

impl Fields {
    fn new() -> Self {
        Self {
            action: "action".into(),
            keys: "keys".into(),
            parts: "parts".into(),
            actions: Action::ALL.into_iter().map(|action| action.name().into()).collect(),
        }
    }
}

impl Subject for Indexed {
    fn permits(&mut self, request: &Request) -> bool {
        let input = self.input(request);
        self.machine.set_input(input);
        self.machine.execute_entry_point_by_index(0).is_ok_and(|value| value == Value::Bool(true))
    }
}

impl Indexed {
    /// `keys` finds permits and refusals, `parts` only what is refused in every directory.
    fn input(&mut self, request: &Request) -> Value {
        let (mut keys, mut parts) = (Vec::with_capacity(12), Vec::with_capacity(12));
        let name = self.names.of(request);
        let text = &mut self.text;
        host::keys(request, name, &self.prefixes, |key| match key {
            Key::Path(text) => keys.push(text.into()),
            Key::Component(text) => parts.push(text.into()),
            Key::Ending(_) => {
                put(text, key, 0);
                parts.push(text.as_str().into());
            }
            _ => {
                put(text, key, request.port);
                keys.push(text.as_str().into());
            }
        });
        let action = self.fields.actions.get(request.action as usize).cloned().unwrap_or(Value::Undefined);
        Value::from(BTreeMap::from([
            (self.fields.action.clone(), action),
            (self.fields.keys.clone(), keys.into()),
            (self.fields.parts.clone(), parts.into()),
        ]))
    }
}

/// A key as text. Paths begin with a slash; components have none.
fn put(text: &mut String, key: Key<'_>, port: u16) {
    text.clear();
    let _ = match key {
        Key::Path(key) | Key::Component(key) | Key::Tool(key) => write!(text, "{key}"),
        Key::Ending(ending) => write!(text, "*{ending}"),
        Key::Entry(directory, ending) => write!(text, "{directory}/*{ending}"),
        Key::Name(name) => write!(text, "{name}:{port}"),
        Key::Above(name) => write!(text, "*.{name}:{port}"),
        Key::Block([a, b, c, d], prefix) => write!(text, "{a}.{b}.{c}.{d}/{prefix}:{port}"),
        Key::Server(server) => write!(text, "{server}*"),
    };
}

/// The texts of a rule's key: one for each port. A request to resolve has port 0.
fn texts(key: Key<'_>, action: Action, rule: &Rule) -> Vec<String> {
    let ports: &[u16] = match (&rule.pattern, action) {
        (Pattern::Block { .. }, Action::Resolve) => &[],
        (Pattern::Domain { .. } | Pattern::Below { .. }, Action::Resolve) => &[0],
        (Pattern::Block { port, .. }, _) if *port != 0 => std::slice::from_ref(port),
        (Pattern::Domain { ports, .. } | Pattern::Below { ports, .. }, _) if !ports.is_empty() => ports,
        (Pattern::Block { .. } | Pattern::Domain { .. } | Pattern::Below { .. }, _) => PORTS,
        _ => &[0],
    };
    let text = |port: &u16| {
        let mut text = String::new();
        put(&mut text, key, *port);
        text
    };
    ports.iter().map(text).collect()
}

/// Every port that a request can have: an index cannot say "all".
const PORTS: &[u16] = &[22, 443, 5432, 6379, 8080];

struct Inputs {
    names: Names,
}

impl Inputs {
    /// The input of rules as they are written.
    fn of(&self, request: &Request) -> Value {
        let mut members: BTreeMap<Value, Value> = BTreeMap::new();
        let mut put = |key: &str, value: Value| {
            members.insert(key.into(), value);
        };
        put("action", request.action.name().into());
        match request.action {
            Action::Read | Action::Write | Action::Exec => {
                put("path", request.text().into());
                put("below", format!("{}/", request.text()).into());
            }
            Action::Resolve | Action::Connect => {
                put("port", u64::from(request.port).into());
                if let Some(name) = self.names.of(request) {
                    put("host", name.into());
                    put("dotted", format!(".{name}").into());
                }
                if request.action == Action::Connect {
                    put("address", request.address().to_string().into());
                }
            }
            Action::Call => put("tool", request.text().into()),
        }
        members.into()
    }
}

/// `input.below` is the path with a slash at its end, `input.dotted` the name with a dot before it, and the
/// port of a request to resolve is 0.
fn condition(rule: &Rule) -> String {
    let actions: Vec<String> = Action::ALL
        .into_iter()
        .filter(|action| action.concerns(rule.list))
        .map(|action| format!("\"{}\"", action.name()))
        .collect();
    let action = match actions.as_slice() {
        [action] => format!("input.action == {action}"),
        actions => format!("input.action in {{{}}}", actions.join(", ")),
    };
    match &rule.pattern {
        Pattern::Path(path) => format!("{action}; startswith(input.below, \"{path}/\")"),
        Pattern::Named(name) => format!("{action}; contains(input.below, \"/{name}/\")"),
        Pattern::Ending(ending) => format!("{action}; contains(input.below, \"{ending}/\")"),
        Pattern::Entries { directory, ending } => {
            format!("{action}; glob.match(\"{directory}/*{ending}\", [\"/\"], input.path)")
        }
        Pattern::Domain { name, .. } if rule.list.denies() => format!("endswith(input.dotted, \".{name}\")"),
        Pattern::Domain { name, ports } => format!("input.host == \"{name}\"; {}", at(ports)),
        Pattern::Below { name, ports } => format!("endswith(input.host, \".{name}\"); {}", at(ports)),
        Pattern::Block { address, prefix, port } => {
            let inside =
                format!("net.cidr_contains(\"{}/{prefix}\", input.address)", Ipv4Addr::from(*address));
            if *port == 0 { inside } else { format!("input.port == {port}; {inside}") }
        }
        Pattern::Tool(name) => format!("input.tool == \"{name}\""),
        Pattern::ToolsOf(server) => format!("startswith(input.tool, \"{server}\")"),
    }
}

fn at(ports: &[u16]) -> String {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    format!("input.port in {{0, {}}}", ports.join(", "))
}
