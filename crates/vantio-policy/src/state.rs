//! A program on one host, for one run.

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String, vec::Vec};
use core::net::IpAddr;

use vantio_core::{Hash, Section};

use crate::{
    PolicyProgram, Rule, address,
    guard::Bound,
    net::{EndpointPattern, NetPattern},
    path::{CanonicalPath, Kind, Matcher, Reach, absolute, is_within},
    rule::{self, LISTS, Pattern, SECTIONS},
};

/// What a host and a run give the variables and names of a policy. Paths are
/// absolute and canonical.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    /// `${workspace}`
    pub workspace: Vec<u8>,
    /// `${home}` and `~/`
    pub home: Vec<u8>,
    /// `${tmp}`: the run's `/tmp`.
    pub tmp: Vec<u8>,
    /// Literal beginnings of patterns that a symbolic link stands in, and where they
    /// lead; see [`PolicyProgram::literal_prefixes`].
    pub aliases: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bare program names, and the canonical paths that the run's `PATH` has for
    /// them; see [`PolicyProgram::bare_programs`].
    pub programs: Vec<(String, Vec<Vec<u8>>)>,
    /// Addresses of the host's own interfaces.
    pub host_addresses: Vec<IpAddr>,
}

/// A program with its variables' values, the names resolved so far, and the kill
/// switch. A rule whose variable has no absolute value matches nothing.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) program: Hash,
    pub(crate) is_killed: bool,
    pub(crate) host_addresses: Vec<IpAddr>,
    pub(crate) guards: Bound,
    matchers: [Vec<Matcher>; LISTS],
    names: BTreeMap<IpAddr, Vec<Answer>>,
}

/// A name that an address was an answer for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    name: String,
    expires_unix_ms: u64,
}

impl State {
    /// The state at a run's start.
    pub fn new(program: &PolicyProgram, bindings: Bindings) -> Self {
        Self {
            program: program.hash(),
            is_killed: false,
            matchers: SECTIONS.map(|section| matchers(program, section, &bindings)),
            guards: Bound::new(program, &bindings),
            host_addresses: bindings.host_addresses,
            names: BTreeMap::new(),
        }
    }

    /// Sets or clears the kill switch.
    pub fn set_killed(&mut self, is_killed: bool) {
        self.is_killed = is_killed;
    }

    /// Whether the kill switch is set.
    pub const fn is_killed(&self) -> bool {
        self.is_killed
    }

    /// Remembers that `address` was an answer for `name` (lower-case A-labels, no
    /// trailing dot), until forgotten.
    pub fn learn_name(&mut self, name: &str, address: IpAddr, expires_unix_ms: u64) {
        let answers = self.names.entry(address::forms(address).0).or_default();
        match answers.iter_mut().find(|answer| answer.name == name) {
            Some(answer) => answer.expires_unix_ms = answer.expires_unix_ms.max(expires_unix_ms),
            None => answers.push(Answer { name: name.to_owned(), expires_unix_ms }),
        }
    }

    /// Forgets every answer for `name`.
    pub fn forget(&mut self, name: &str) {
        self.names.retain(|_, answers| {
            answers.retain(|answer| answer.name != name);
            !answers.is_empty()
        });
    }

    /// The names that `address` was an answer for.
    pub fn names_of(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        self.answers(address).map(|answer| answer.name.as_str())
    }

    /// Those of [`State::names_of`] whose answer has expired at `now_unix_ms`: the
    /// caller asks for them again before it decides, and forgets what is gone.
    pub fn stale_names(&self, address: IpAddr, now_unix_ms: u64) -> impl Iterator<Item = &str> {
        let answers = self.answers(address).filter(move |answer| answer.expires_unix_ms <= now_unix_ms);
        answers.map(|answer| answer.name.as_str())
    }

    /// The paths at or below which a program may be executable: `/` where a pattern
    /// begins with `**`. None lies below another.
    pub fn exec_roots(&self) -> Vec<Vec<u8>> {
        let mut roots: Vec<Vec<u8>> =
            self.of(Section::ExecAllow).iter().map(|matcher| matcher.prefix().to_vec()).collect();
        roots.sort_unstable();
        let mut kept: Vec<Vec<u8>> = Vec::new();
        for root in roots {
            if !kept.iter().any(|outer| is_within(&root, outer)) {
                kept.push(root);
            }
        }
        kept.into_iter().map(or_root).collect()
    }

    /// The paths that a rule of `fs.deny` without wildcards names: what a plane can
    /// mask.
    pub fn denied_literals(&self) -> Vec<Vec<u8>> {
        let literal = self.of(Section::FsDeny).iter().filter(|matcher| matcher.is_literal());
        let mut paths: Vec<Vec<u8>> = literal.map(|matcher| or_root(matcher.prefix().to_vec())).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// Whether a rule of `fs.deny` could hide a name in the directory `path` or below
    /// it: where none could, `fs.stat` need not be asked.
    pub fn may_hide_below(&self, path: &[u8]) -> bool {
        let Some(path) = absolute(path) else { return true };
        self.of(Section::FsDeny).iter().any(|matcher| matcher.reach(&path) != Reach::Apart)
    }

    /// Whether a rule of `fs.write` covers the path.
    pub(crate) fn has_write_rule(&self, path: &[u8], subtree: bool) -> bool {
        CanonicalPath::new(path).is_some_and(|path| {
            let mut matchers = self.of(Section::FsWrite).iter();
            matchers
                .any(|matcher| if subtree { matcher.covers_subtree(&path) } else { matcher.covers(&path) })
        })
    }

    /// Whether only a rule for the address itself can open it.
    pub(crate) fn is_reserved(&self, address: IpAddr) -> bool {
        let (first, carried) = address::forms(address);
        let is_reserved = |form| address::reserved(form, &self.host_addresses).is_some();
        is_reserved(first) || carried.is_some_and(is_reserved)
    }

    pub(crate) fn of(&self, section: Section) -> &[Matcher] {
        &self.matchers[section as usize]
    }

    fn answers(&self, address: IpAddr) -> impl Iterator<Item = &Answer> {
        self.names.get(&address::forms(address).0).into_iter().flatten()
    }
}

impl PolicyProgram {
    /// The ranges of UDP ports that some `udp://` rule opens.
    pub fn udp_ports(&self) -> Vec<(u16, u16)> {
        self.allowed_endpoints()
            .filter(|pattern| pattern.is_udp)
            .flat_map(|pattern| pattern.ports.ranges().to_vec())
            .collect()
    }

    /// Whether some rule opens a Unix socket of the host.
    pub fn opens_unix_sockets(&self) -> bool {
        self.rules(Section::NetAllow)
            .iter()
            .any(|rule| matches!(rule.pattern, Pattern::Net(NetPattern::Unix(_))))
    }

    /// Whether some rule opens a network address or name.
    pub fn opens_network(&self) -> bool {
        self.allowed_endpoints().next().is_some()
    }

    fn allowed_endpoints(&self) -> impl Iterator<Item = &EndpointPattern> {
        self.rules(Section::NetAllow).iter().filter_map(|rule| match &rule.pattern {
            Pattern::Net(NetPattern::Endpoint(pattern)) => Some(pattern),
            _ => None,
        })
    }
}

fn matchers(program: &PolicyProgram, section: Section, bindings: &Bindings) -> Vec<Matcher> {
    let rules = program.rules(section).iter().enumerate();
    rules.flat_map(|(index, rule)| rule_matchers(rule, rule::kind(section), bindings, index as u32)).collect()
}

fn rule_matchers(rule: &Rule, kind: Kind, bindings: &Bindings, index: u32) -> Vec<Matcher> {
    match &rule.pattern {
        Pattern::Path(pattern) | Pattern::Net(NetPattern::Unix(pattern)) => {
            pattern.matchers(bindings, kind, index)
        }
        Pattern::Program(name) => {
            let found = bindings.programs.iter().filter(|(bound, _)| bound == name);
            let paths = found.flat_map(|(_, paths)| paths).filter_map(|path| absolute(path));
            paths.map(|path| Matcher::literal(path, index)).collect()
        }
        Pattern::Net(NetPattern::Endpoint(_)) | Pattern::Named(_) => Vec::new(),
    }
}

fn or_root(path: Vec<u8>) -> Vec<u8> {
    if path.is_empty() { b"/".to_vec() } else { path }
}
