//! What a host does for a peer, so that the peer need not look at every rule: it splits a request into
//! keys, and rules into the keys under which a request finds them.

use crate::{
    requests::{Action, Request},
    rules::{Pattern, Rule, masked},
};

/// A part of a request that rules are found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// The path or a directory above it.
    Path(&'a str),
    /// A component of the path.
    Component(&'a str),
    /// The ending of a component, from its last dot on.
    Ending(&'a str),
    /// The directory of the path and the ending of its last component.
    Entry(&'a str, &'a str),
    /// The name.
    Name(&'a str),
    /// A domain above the name.
    Above(&'a str),
    /// A block of addresses.
    Block([u8; 4], u8),
    /// The tool.
    Tool(&'a str),
    /// The tool's server, with the slash.
    Server(&'a str),
}

/// The keys of a request. `name` is what an address was an answer for, `prefixes` are the lengths of all
/// blocks.
pub fn keys<'a>(request: &'a Request, name: Option<&'a str>, prefixes: &[u8], mut take: impl FnMut(Key<'a>)) {
    match request.action {
        Action::Read | Action::Write | Action::Exec => path_keys(request.text(), take),
        Action::Resolve => name_keys(request.text(), take),
        Action::Connect => {
            if let Some(name) = name {
                name_keys(name, &mut take);
            }
            for prefix in prefixes {
                take(Key::Block(masked(request.address().octets(), *prefix), *prefix));
            }
        }
        Action::Call => {
            let tool = request.text();
            take(Key::Tool(tool));
            if let Some(slash) = tool.find('/') {
                take(Key::Server(&tool[..=slash]));
            }
        }
    }
}

fn path_keys<'a>(path: &'a str, mut take: impl FnMut(Key<'a>)) {
    let mut rest = path;
    while let Some(slash) = rest.rfind('/') {
        take(Key::Path(rest));
        let component = &rest[slash + 1..];
        take(Key::Component(component));
        if let Some(dot) = component.rfind('.') {
            take(Key::Ending(&component[dot..]));
            if rest.len() == path.len() {
                take(Key::Entry(&rest[..slash], &component[dot..]));
            }
        }
        rest = &rest[..slash];
    }
}

fn name_keys<'a>(name: &'a str, mut take: impl FnMut(Key<'a>)) {
    take(Key::Name(name));
    let mut rest = name;
    while let Some((_, above)) = rest.split_once('.') {
        take(Key::Above(above));
        rest = above;
    }
}

/// The keys that a rule is found by.
pub fn rule_keys(rule: &Rule) -> Vec<Key<'_>> {
    match &rule.pattern {
        Pattern::Path(path) => vec![Key::Path(path)],
        Pattern::Named(name) => vec![Key::Component(name)],
        Pattern::Ending(ending) => vec![Key::Ending(ending)],
        Pattern::Entries { directory, ending } => vec![Key::Entry(directory, ending)],
        Pattern::Domain { name, .. } if rule.list.denies() => vec![Key::Name(name), Key::Above(name)],
        Pattern::Domain { name, .. } => vec![Key::Name(name)],
        Pattern::Below { name, .. } => vec![Key::Above(name)],
        Pattern::Block { address, prefix, .. } => vec![Key::Block(*address, *prefix)],
        Pattern::Tool(name) => vec![Key::Tool(name)],
        Pattern::ToolsOf(server) => vec![Key::Server(server)],
    }
}

/// The lengths of all blocks of a rule set, each once.
pub fn prefixes(rules: &[Rule]) -> Vec<u8> {
    let blocks = rules.iter().filter_map(|rule| match rule.pattern {
        Pattern::Block { prefix, .. } => Some(prefix),
        _ => None,
    });
    let mut prefixes: Vec<u8> = blocks.collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}
