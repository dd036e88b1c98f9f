//! Requests: what every subject is asked, as bytes.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
};

use crate::{
    random::Random,
    rules::{List, Pattern, Rule},
    words,
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To read a path.
    Read,
    /// To write a path.
    Write,
    /// To execute a path.
    Exec,
    /// To resolve a name.
    Resolve,
    /// To connect to an address.
    Connect,
    /// To call a tool.
    Call,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Write, Self::Exec, Self::Resolve, Self::Connect, Self::Call];

    /// The name that policies of the peers use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Exec => "exec",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Call => "call",
        }
    }

    /// Whether the rules of `list` speak of it.
    pub const fn concerns(self, list: List) -> bool {
        match list {
            List::Read => matches!(self, Self::Read),
            List::Write => matches!(self, Self::Read | Self::Write),
            List::Exec => matches!(self, Self::Read | Self::Exec),
            List::Deny => matches!(self, Self::Read | Self::Write | Self::Exec),
            List::ExecDeny => matches!(self, Self::Exec),
            List::Net | List::NetDeny => matches!(self, Self::Resolve | Self::Connect),
            List::Tools | List::ToolsDeny => matches!(self, Self::Call),
        }
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What for.
    pub action: Action,
    /// The path, the name, or the tool; of a connection, the four bytes of its address.
    pub target: Vec<u8>,
    /// The port of a connection.
    pub port: u16,
}

impl Request {
    /// The address of a connection.
    pub fn address(&self) -> Ipv4Addr {
        <[u8; 4]>::try_from(self.target.as_slice()).map_or(Ipv4Addr::UNSPECIFIED, Ipv4Addr::from)
    }

    /// The target as text; addresses have none.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.target).unwrap_or_default()
    }
}

/// Requests, and the names that were resolved before the first of them.
pub struct Scene {
    /// The requests, different from each other.
    pub requests: Vec<Request>,
    /// What was resolved.
    pub names: Names,
}

/// Addresses and the names that they were answers for.
#[derive(Clone, Default)]
pub struct Names(HashMap<Ipv4Addr, String>);

impl Names {
    /// The name that a request has or whose address it has.
    pub fn of<'a>(&'a self, request: &'a Request) -> Option<&'a str> {
        match request.action {
            Action::Resolve => Some(request.text()),
            Action::Connect => self.0.get(&request.address()).map(String::as_str),
            _ => None,
        }
    }

    /// Every address with its name.
    pub fn iter(&self) -> impl Iterator<Item = (Ipv4Addr, &str)> {
        self.0.iter().map(|(address, name)| (*address, name.as_str()))
    }
}

/// Requests of a rule set.
pub const COUNT: usize = 512;
const SEED: u64 = 0xa5ce;

/// [`COUNT`] requests for `rules`: half are made from an allow, a quarter from a deny, and a quarter from
/// nothing that a rule says.
pub fn generate(rules: &[Rule]) -> Scene {
    let mut maker = Maker { random: Random::new(SEED), rules, names: Names::default() };
    let mut requests = Vec::with_capacity(COUNT);
    let mut seen = HashSet::new();
    while requests.len() < COUNT {
        let request = maker.request();
        if seen.insert((request.action.name(), request.target.clone(), request.port)) {
            requests.push(request);
        }
    }
    Scene { requests, names: maker.names }
}

struct Maker<'r> {
    random: Random,
    rules: &'r [Rule],
    names: Names,
}

impl Maker<'_> {
    fn request(&mut self) -> Request {
        let action = match self.random.below(20) {
            0..8 => Action::Read,
            8..12 => Action::Write,
            12..14 => Action::Exec,
            14..16 => Action::Resolve,
            16..18 => Action::Connect,
            _ => Action::Call,
        };
        let aim = self.random.below(4);
        let rule = match aim {
            0 | 1 => self.some_rule(action, false),
            2 => self.some_rule(action, true),
            _ => None,
        };
        match action {
            Action::Read | Action::Write | Action::Exec => {
                let path = self.path(action, rule);
                Request { action, target: path.into_bytes(), port: 0 }
            }
            Action::Resolve => {
                Request { action, target: self.name(rule.map(|rule| rule.pattern)).into_bytes(), port: 0 }
            }
            Action::Connect => self.connect(rule.map(|rule| rule.pattern)),
            Action::Call => {
                let tool = match rule.map(|rule| rule.pattern) {
                    Some(Pattern::Tool(name)) => name,
                    Some(Pattern::ToolsOf(server)) => format!("{server}read{}", self.random.below(100)),
                    _ => words::tool(&mut self.random),
                };
                Request { action, target: tool.into_bytes(), port: 0 }
            }
        }
    }

    /// A rule that speaks of `action`, where there is one.
    fn some_rule(&mut self, action: Action, denies: bool) -> Option<Rule> {
        let concerned: Vec<&Rule> = self
            .rules
            .iter()
            .filter(|rule| action.concerns(rule.list) && rule.list.denies() == denies)
            .collect();
        concerned.get(self.random.below(concerned.len())).map(|rule| (*rule).clone())
    }

    fn path(&mut self, action: Action, rule: Option<Rule>) -> String {
        let random = &mut self.random;
        match rule.map(|rule| rule.pattern) {
            Some(Pattern::Path(path)) if action == Action::Exec || random.happens(20) => path,
            Some(Pattern::Path(path)) => deeper(random, path),
            Some(Pattern::Named(name)) => {
                let parent = self.opened();
                format!("{parent}/{name}")
            }
            Some(Pattern::Ending(ending)) => {
                let parent = self.opened();
                format!("{parent}/server{ending}")
            }
            Some(Pattern::Entries { directory, ending }) => {
                format!("{directory}/{}{ending}", random.of(&["today", "total", "all"]))
            }
            _ if action == Action::Exec => words::program(random),
            _ => {
                let directory = words::directory(random);
                deeper(random, directory)
            }
        }
    }

    /// A directory below one that a rule opens, where there is one.
    fn opened(&mut self) -> String {
        match self.some_rule(Action::Write, false).map(|rule| rule.pattern) {
            Some(Pattern::Path(path)) => format!("{path}/{}", words::part(&mut self.random)),
            _ => words::directory(&mut self.random),
        }
    }

    fn name(&mut self, pattern: Option<Pattern>) -> String {
        match pattern {
            Some(Pattern::Domain { name, ports }) => {
                // A deny has no ports, and covers what is below.
                if ports.is_empty() && self.random.happens(50) { format!("www.{name}") } else { name }
            }
            Some(Pattern::Below { name, .. }) => format!("{}.{name}", self.random.of(&["a", "files", "x.y"])),
            _ => words::domain(&mut self.random),
        }
    }

    fn connect(&mut self, pattern: Option<Pattern>) -> Request {
        let (address, port) = match pattern {
            Some(Pattern::Block { address, prefix, port }) => {
                let host = self.random.below(1 << (32 - u32::from(prefix)).min(16)) as u32;
                ((u32::from_be_bytes(address) | host).to_be_bytes(), if port == 0 { 443 } else { port })
            }
            pattern => {
                let name = self.name(pattern);
                let number = self.names.0.len() as u32;
                let address = (u32::from_be_bytes([45, 0, 0, 1]) + number * 259).to_be_bytes();
                self.names.0.insert(address.into(), name);
                (address, if self.random.happens(80) { 443 } else { 22 })
            }
        };
        Request { action: Action::Connect, target: address.to_vec(), port }
    }
}

/// A file up to eight components deep.
fn deeper(random: &mut Random, mut path: String) -> String {
    let room = 7_usize.saturating_sub(path.matches('/').count());
    for _ in 0..random.below(room + 1) {
        path = format!("{path}/{}", words::part(random));
    }
    format!("{path}/{}", words::file(random))
}
