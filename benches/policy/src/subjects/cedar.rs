//! Cedar, its policies whole and sliced.

use std::{collections::HashMap, fmt::Write, net::Ipv4Addr, str::FromStr};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, Policy, PolicyId, PolicySet, RestrictedExpression,
};

use super::Subject;
use crate::{
    host::{self, Key},
    requests::{Action, Names, Request, Scene},
    rules::{List, Pattern, Rule},
};

/// One policy a line.
pub fn write(rules: &[Rule]) -> String {
    let mut text = String::new();
    for rule in rules {
        let effect = if rule.list.denies() { "forbid" } else { "permit" };
        let actions: Vec<String> = Action::ALL
            .into_iter()
            .filter(|action| action.concerns(rule.list) && !(is_block(rule) && *action == Action::Resolve))
            .map(|action| format!("Action::\"{}\"", action.name()))
            .collect();
        let action = match actions.as_slice() {
            [action] => format!("== {action}"),
            actions => format!("in [{}]", actions.join(", ")),
        };
        let condition = condition(rule);
        let _ = writeln!(text, "{effect}(principal, action {action}, resource) when {{ {condition} }};");
    }
    text
}

/// All policies in one set, for every request.
pub fn prepare_whole(document: &str, _: &[Rule], scene: &Scene) -> Result<Box<dyn Subject>, String> {
    let policies = PolicySet::from_str(document).map_err(|error| error.to_string())?;
    Ok(Box::new(Whole { asker: Asker::new(scene)?, policies }))
}

/// For each request a set of the policies that it finds.
pub fn prepare_sliced(document: &str, rules: &[Rule], scene: &Scene) -> Result<Box<dyn Subject>, String> {
    Ok(Box::new(sliced(document, rules, scene)?))
}

/// The same, keeping the sets.
pub fn prepare_kept(document: &str, rules: &[Rule], scene: &Scene) -> Result<Box<dyn Subject>, String> {
    Ok(Box::new(Kept { sliced: sliced(document, rules, scene)?, sets: HashMap::new() }))
}

fn sliced(document: &str, rules: &[Rule], scene: &Scene) -> Result<Sliced, String> {
    let mut policies = Vec::with_capacity(rules.len());
    for (number, line) in document.lines().enumerate() {
        let id = PolicyId::new(format!("policy{number}"));
        policies.push(Policy::parse(Some(id), line).map_err(|error| error.to_string())?);
    }
    Ok(Sliced { asker: Asker::new(scene)?, slicer: Slicer::new(rules), policies, found: Vec::new() })
}

struct Whole {
    asker: Asker,
    policies: PolicySet,
}

impl Subject for Whole {
    fn permits(&mut self, request: &Request) -> bool {
        self.asker.permits(request, &self.policies)
    }
}

struct Sliced {
    asker: Asker,
    slicer: Slicer,
    policies: Vec<Policy>,
    /// The numbers of the policies that were found last.
    found: Vec<u32>,
}

impl Sliced {
    fn find(&mut self, request: &Request) {
        self.slicer.find(request, self.asker.names.of(request), &mut self.found);
    }

    fn set(&self) -> PolicySet {
        let policies = self.found.iter().filter_map(|number| self.policies.get(*number as usize)).cloned();
        PolicySet::from_policies(policies).unwrap_or_default()
    }
}

impl Subject for Sliced {
    fn permits(&mut self, request: &Request) -> bool {
        self.find(request);
        self.asker.permits(request, &self.set())
    }
}

struct Kept {
    sliced: Sliced,
    /// The sets built so far, by the numbers of their policies.
    sets: HashMap<Box<[u32]>, PolicySet>,
}

impl Subject for Kept {
    fn permits(&mut self, request: &Request) -> bool {
        self.sliced.find(request);
        let found = self.sliced.found.as_slice();
        if !self.sets.contains_key(found) {
            self.sets.insert(found.into(), self.sliced.set());
        }
        self.sets.get(found).is_some_and(|set| self.sliced.asker.permits(request, set))
    }
}

/// Finds the policies that can speak of a request.
struct Slicer {
    prefixes: Vec<u8>,
    lists: Vec<List>,
    paths: HashMap<String, Vec<u32>>,
    components: HashMap<String, Vec<u32>>,
    endings: HashMap<String, Vec<u32>>,
    entries: HashMap<String, HashMap<String, Vec<u32>>>,
    names: HashMap<String, Vec<u32>>,
    above: HashMap<String, Vec<u32>>,
    blocks: HashMap<([u8; 4], u8), Vec<u32>>,
    tools: HashMap<String, Vec<u32>>,
    servers: HashMap<String, Vec<u32>>,
}

impl Slicer {
    fn new(rules: &[Rule]) -> Self {
        let mut slicer = Self {
            prefixes: host::prefixes(rules),
            lists: rules.iter().map(|rule| rule.list).collect(),
            paths: HashMap::new(),
            components: HashMap::new(),
            endings: HashMap::new(),
            entries: HashMap::new(),
            names: HashMap::new(),
            above: HashMap::new(),
            blocks: HashMap::new(),
            tools: HashMap::new(),
            servers: HashMap::new(),
        };
        for (number, rule) in rules.iter().enumerate() {
            for key in host::rule_keys(rule) {
                slicer.of_mut(key).push(number as u32);
            }
        }
        slicer
    }

    fn find(&self, request: &Request, name: Option<&str>, found: &mut Vec<u32>) {
        found.clear();
        host::keys(request, name, &self.prefixes, |key| {
            let numbers = self.of(key).into_iter().flatten();
            found.extend(numbers.filter(|number| {
                self.lists.get(**number as usize).is_some_and(|list| request.action.concerns(*list))
            }));
        });
    }

    fn of(&self, key: Key<'_>) -> Option<&Vec<u32>> {
        match key {
            Key::Path(path) => self.paths.get(path),
            Key::Component(component) => self.components.get(component),
            Key::Ending(ending) => self.endings.get(ending),
            Key::Entry(directory, ending) => self.entries.get(directory)?.get(ending),
            Key::Name(name) => self.names.get(name),
            Key::Above(name) => self.above.get(name),
            Key::Block(address, prefix) => self.blocks.get(&(address, prefix)),
            Key::Tool(tool) => self.tools.get(tool),
            Key::Server(server) => self.servers.get(server),
        }
    }

    fn of_mut(&mut self, key: Key<'_>) -> &mut Vec<u32> {
        let (map, key) = match key {
            Key::Path(path) => (&mut self.paths, path),
            Key::Component(component) => (&mut self.components, component),
            Key::Ending(ending) => (&mut self.endings, ending),
            Key::Entry(directory, ending) => (self.entries.entry(directory.to_owned()).or_default(), ending),
            Key::Name(name) => (&mut self.names, name),
            Key::Above(name) => (&mut self.above, name),
            Key::Block(address, prefix) => return self.blocks.entry((address, prefix)).or_default(),
            Key::Tool(tool) => (&mut self.tools, tool),
            Key::Server(server) => (&mut self.servers, server),
        };
        map.entry(key.to_owned()).or_default()
    }
}

/// Turns requests into Cedar's and asks.
struct Asker {
    authorizer: Authorizer,
    entities: Entities,
    principal: EntityUid,
    resource: EntityUid,
    actions: Vec<EntityUid>,
    names: Names,
}

impl Asker {
    fn new(scene: &Scene) -> Result<Self, String> {
        let entity = |text: &str| EntityUid::from_str(text).map_err(|error| error.to_string());
        let actions = Action::ALL.into_iter().map(|action| entity(&format!("Action::\"{}\"", action.name())));
        Ok(Self {
            authorizer: Authorizer::new(),
            entities: Entities::empty(),
            principal: entity("Agent::\"agent\"")?,
            resource: entity("Host::\"host\"")?,
            actions: actions.collect::<Result<_, _>>()?,
            names: scene.names.clone(),
        })
    }

    fn permits(&self, request: &Request, policies: &PolicySet) -> bool {
        let Some(action) = self.actions.get(request.action as usize) else { return false };
        let Ok(context) = Context::from_pairs(self.context(request)) else { return false };
        let (principal, resource) = (self.principal.clone(), self.resource.clone());
        let Ok(request) = cedar_policy::Request::new(principal, action.clone(), resource, context, None)
        else {
            return false;
        };
        self.authorizer.is_authorized(&request, policies, &self.entities).decision() == Decision::Allow
    }

    fn context(&self, request: &Request) -> Vec<(String, RestrictedExpression)> {
        let text = |key: &str, text: String| (key.to_owned(), RestrictedExpression::new_string(text));
        match request.action {
            Action::Read | Action::Write | Action::Exec => {
                let path = request.text();
                vec![text("path", path.to_owned()), text("below", format!("{path}/"))]
            }
            Action::Resolve => vec![text("host", request.text().to_owned())],
            Action::Connect => {
                let address = RestrictedExpression::new_ip(request.address().to_string());
                vec![
                    ("address".to_owned(), address),
                    ("port".to_owned(), RestrictedExpression::new_long(i64::from(request.port))),
                    text("host", self.names.of(request).unwrap_or_default().to_owned()),
                ]
            }
            Action::Call => vec![text("tool", request.text().to_owned())],
        }
    }
}

fn is_block(rule: &Rule) -> bool {
    matches!(rule.pattern, Pattern::Block { .. })
}

/// `context.below` is the path with a slash at its end.
fn condition(rule: &Rule) -> String {
    match &rule.pattern {
        Pattern::Path(path) => format!("context.below like \"{path}/*\""),
        Pattern::Named(name) => format!("context.below like \"*/{name}/*\""),
        Pattern::Ending(ending) => format!("context.below like \"*{ending}/*\""),
        Pattern::Entries { directory, ending } => {
            format!("context.path like \"{directory}/*{ending}\" && !(context.path like \"{directory}/*/*\")")
        }
        Pattern::Domain { name, .. } if rule.list.denies() => {
            format!("context.host == \"{name}\" || context.host like \"*.{name}\"")
        }
        Pattern::Domain { name, ports } => format!("context.host == \"{name}\"{}", at(ports)),
        Pattern::Below { name, ports } => format!("context.host like \"*.{name}\"{}", at(ports)),
        Pattern::Block { address, prefix, port } => {
            let inside = format!("context.address.isInRange(ip(\"{}/{prefix}\"))", Ipv4Addr::from(*address));
            if *port == 0 { inside } else { format!("context.port == {port} && {inside}") }
        }
        Pattern::Tool(name) => format!("context.tool == \"{name}\""),
        Pattern::ToolsOf(server) => format!("context.tool like \"{server}*\""),
    }
}

fn at(ports: &[u16]) -> String {
    format!(" && (action == Action::\"resolve\" || {ports:?}.contains(context.port))")
}
