//! Rule sets: what every subject is given, before it is written in a subject's language.

use std::collections::HashSet;

use crate::{random::Random, words};

/// A list of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum List {
    /// May be read.
    Read,
    /// May be written, and read.
    Write,
    /// May be neither read, written nor executed.
    Deny,
    /// May be executed, and read.
    Exec,
    /// May not be executed.
    ExecDeny,
    /// May be resolved and connected to.
    Net,
    /// May be neither resolved nor connected to.
    NetDeny,
    /// May be called.
    Tools,
    /// May not be called.
    ToolsDeny,
}

impl List {
    /// Every list.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Write,
        Self::Deny,
        Self::Exec,
        Self::ExecDeny,
        Self::Net,
        Self::NetDeny,
        Self::Tools,
        Self::ToolsDeny,
    ];

    /// Whether its rules refuse.
    pub const fn denies(self) -> bool {
        matches!(self, Self::Deny | Self::ExecDeny | Self::NetDeny | Self::ToolsDeny)
    }
}

/// What a rule covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// A path and all below it.
    Path(String),
    /// Every path of this name, and all below it.
    Named(String),
    /// Every path whose name ends so, and all below it.
    Ending(String),
    /// The entries of a directory whose names end so.
    Entries {
        /// The directory.
        directory: String,
        /// The end of the names, from its last dot on.
        ending: String,
    },
    /// A domain name; in a deny, and all below it.
    Domain {
        /// The name.
        name: String,
        /// The ports that it may be connected at; without meaning in a deny.
        ports: &'static [u16],
    },
    /// Everything below a domain.
    Below {
        /// The domain.
        name: String,
        /// The ports that it may be connected at.
        ports: &'static [u16],
    },
    /// A block of IPv4 addresses at one port; in a deny, at every port.
    Block {
        /// The first address.
        address: [u8; 4],
        /// The bits that all of its addresses share.
        prefix: u8,
        /// The port.
        port: u16,
    },
    /// A tool.
    Tool(String),
    /// Every tool whose name begins so.
    ToolsOf(String),
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Where it stands.
    pub list: List,
    /// What it covers.
    pub pattern: Pattern,
}

/// The ports of a name without a port: the web's.
pub const WEB: &[u16] = &[80, 443];
const HTTPS: &[u16] = &[443];
const SSH: &[u16] = &[22];
const SEED: u64 = 0x5eed;

/// The first `count` of one endless sequence of different rules.
pub fn generate(count: usize) -> Vec<Rule> {
    let mut random = Random::new(SEED);
    let mut seen = HashSet::new();
    let mut rules: Vec<Rule> = Vec::with_capacity(count);
    while rules.len() < count {
        let rule = rule(&mut random, rules.len(), &rules);
        if seen.insert(rule.clone()) {
            rules.push(rule);
        }
    }
    rules
}

/// The rule at `index`: of every twenty, eleven are for paths, two for programs, five for the network, two for
/// tools. Denies that hold in every directory stay few, as they do in policies that people write.
fn rule(random: &mut Random, index: usize, before: &[Rule]) -> Rule {
    let (round, slot) = (index / 20, index % 20);
    let is_everywhere = round < 10 || round.is_multiple_of(10);
    let everywhere = if round < 10 { round } else { 9 + round / 10 };
    let (list, pattern) = match slot {
        0 | 10 | 16 => (List::Read, Pattern::Path(words::directory(random))),
        1 if is_everywhere => (List::Deny, Pattern::Named(words::secret(everywhere))),
        12 if is_everywhere => (List::Deny, Pattern::Ending(words::secret_suffix(everywhere))),
        2 | 15 => (List::Net, Pattern::Domain { name: words::domain(random), ports: ports(random) }),
        3 => (List::Exec, Pattern::Path(words::program(random))),
        4 | 11 => (List::Write, Pattern::Path(words::directory(random))),
        1 | 5 | 12 => (List::Deny, Pattern::Path(inside(random, before))),
        6 | 18 => {
            (List::Read, Pattern::Path(format!("{}/{}", words::directory(random), words::file(random))))
        }
        7 => (List::Net, Pattern::Below { name: words::zone(random), ports: ports(random) }),
        8 if round.is_multiple_of(3) => (List::Tools, Pattern::ToolsOf(words::tool_server(random))),
        8 => (List::Tools, Pattern::Tool(words::tool(random))),
        9 => (List::Net, block(random)),
        13 => (
            List::Read,
            Pattern::Entries {
                directory: words::directory(random),
                ending: random.of(&[".log", ".csv", ".md"]).to_owned(),
            },
        ),
        14 => (List::ExecDeny, Pattern::Path(words::program(random))),
        17 => (List::NetDeny, Pattern::Domain { name: words::zone(random), ports: &[] }),
        _ if round.is_multiple_of(4) => {
            (List::NetDeny, Pattern::Block { address: private(random, 32), prefix: 32, port: 0 })
        }
        _ => (List::ToolsDeny, Pattern::Tool(words::tool(random))),
    };
    Rule { list, pattern }
}

/// Something below a directory that an earlier rule opens.
fn inside(random: &mut Random, before: &[Rule]) -> String {
    let opened: Vec<&str> = before
        .iter()
        .filter_map(|rule| match (&rule.list, &rule.pattern) {
            (List::Read | List::Write, Pattern::Path(path)) => Some(path.as_str()),
            _ => None,
        })
        .collect();
    format!("{}/{}", random.of(&opened), words::part(random))
}

fn ports(random: &mut Random) -> &'static [u16] {
    match random.below(10) {
        0..6 => WEB,
        6..9 => HTTPS,
        _ => SSH,
    }
}

fn block(random: &mut Random) -> Pattern {
    let prefix = [16, 24, 24, 28, 32].get(random.below(5)).copied().unwrap_or(24);
    let port = [443, 5432, 6379, 8080].get(random.below(4)).copied().unwrap_or(443);
    Pattern::Block { address: private(random, prefix), prefix, port }
}

/// The first address of a private block.
fn private(random: &mut Random, prefix: u8) -> [u8; 4] {
    let address =
        u32::from_be_bytes([10, random.below(256) as u8, random.below(256) as u8, random.below(256) as u8]);
    masked(address.to_be_bytes(), prefix)
}

/// `address` without the bits after the first `prefix`.
pub fn masked(address: [u8; 4], prefix: u8) -> [u8; 4] {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    (u32::from_be_bytes(address) & mask).to_be_bytes()
}
