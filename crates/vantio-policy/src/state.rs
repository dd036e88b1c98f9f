//! A program on one host, for one run.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    string::String,
    sync::Arc,
    vec::Vec,
};
use core::net::IpAddr;

use vantio_core::{Hash, Section};

use crate::{
    PolicyProgram, address,
    entries::Entries,
    guard::Bound,
    known::{Answer, KnownAddress, KnownNames},
    lists,
    net::{EndpointPattern, NetPattern},
    path::{PathPattern, absolute},
    rule::Pattern,
    trie::{NONE, Trie, walk::Reached},
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
    pub(crate) bindings: Arc<Bindings>,
    pub(crate) facts: Facts,
    pub(crate) guards: Bound,
    trie: Arc<Trie>,
    denied_literals: Vec<Vec<u8>>,
    denied_programs: Vec<Vec<u8>>,
    exec_roots: Vec<Vec<u8>>,
}

/// What the lists are judged by, besides the program.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) entries: Entries,
    pub(crate) host_addresses: Vec<IpAddr>,
    pub(crate) known: KnownNames,
    /// Names of sources and sinks that were forgotten: a connection to them may still be there.
    former: BTreeMap<IpAddr, BTreeSet<String>>,
}

impl State {
    /// The state at a run's start.
    pub fn new(program: &PolicyProgram, bindings: Bindings) -> Self {
        let entries = Entries::new(&*program.trie, &bindings, &|_| true).indexed(&program.trie);
        Self {
            program: program.hash(),
            is_killed: false,
            facts: Facts::new(entries, &bindings),
            trie: Arc::clone(&program.trie),
            denied_literals: or_roots(literals(program, &bindings, Section::FsDeny)),
            denied_programs: denied_programs(program, &bindings),
            exec_roots: exec_roots(program, &bindings),
            guards: Bound::new(program, &bindings),
            bindings: Arc::new(bindings),
        }
    }

    /// What the host and the run gave the variables and names of the program.
    pub fn bindings(&self) -> &Bindings {
        &self.bindings
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
        let known = self.facts.learn_name(name, address, expires_unix_ms);
        known.rules = lists::rules_of_names(&*self.trie, known.names());
    }

    /// Forgets every answer for `name`; but an address that was one stays a source or a sink of that name.
    pub fn forget(&mut self, name: &str) {
        let mut tainted = self.guards.sources.iter().chain(&self.guards.sinks);
        let is_kept = tainted.any(|entry| entry.scope.may_name(name));
        let Facts { known, former, .. } = &mut self.facts;
        known.forget(name, |known| {
            if is_kept {
                former.entry(known.address()).or_default().insert(name.to_owned());
            }
            known.rules = lists::rules_of_names(&*self.trie, known.names());
        });
    }

    /// The names that `address` was an answer for.
    pub fn names_of(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        self.facts.names_of(address::forms(address).0)
    }

    /// The names that an address, in the first of its forms, ever was an answer for, as far as sources and sinks name them.
    pub(crate) fn former_names_of(&self, first: IpAddr) -> impl Iterator<Item = &str> {
        self.facts.former.get(&first).into_iter().flatten().map(String::as_str)
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
        self.exec_roots.clone()
    }

    /// The paths that a rule of `fs.deny` without wildcards names: what a plane can
    /// mask.
    pub fn denied_literals(&self) -> Vec<Vec<u8>> {
        self.denied_literals.clone()
    }

    /// The paths that a rule of `exec.deny` without wildcards names, and what its bare names
    /// stand for: what a plane can close to the kernel's own execution.
    pub fn denied_programs(&self) -> Vec<Vec<u8>> {
        self.denied_programs.clone()
    }

    /// Whether a rule of `fs.deny` could hide a name in the directory `path` or below
    /// it: where none could, `fs.stat` need not be asked.
    pub fn may_hide_below(&self, path: &[u8]) -> bool {
        let Some(path) = absolute(path).map(or_root) else { return true };
        self.reach(&path).is_none_or(|reached| {
            reached.denies_below(&*self.trie) != NONE || self.facts.entries.denies_below(&path) != NONE
        })
    }

    /// Whether a rule of `fs.write` covers the path.
    pub(crate) fn has_write_rule(&self, path: &[u8], subtree: bool) -> bool {
        self.reach(path).is_some_and(|Reached { passed, .. }| {
            let section = Section::FsWrite;
            NONE != if subtree { passed.covers_subtree(section) } else { passed.covers(section) }
        })
    }

    /// Whether only a rule for the address itself can open it.
    pub(crate) fn is_reserved(&self, address: IpAddr) -> bool {
        let (first, carried) = address::forms(address);
        let is_reserved = |form| address::reserved(form, &self.facts.host_addresses).is_some();
        is_reserved(first) || carried.is_some_and(is_reserved)
    }

    fn reach(&self, path: &[u8]) -> Option<Reached> {
        let mut reached = Reached::nothing();
        reached.walk(&*self.trie, &self.facts.entries, path).ok().map(|()| reached)
    }

    fn answers(&self, address: IpAddr) -> impl Iterator<Item = &Answer> {
        let known = self.facts.known.of(address::forms(address).0);
        known.into_iter().flat_map(KnownAddress::answers)
    }
}

impl Facts {
    pub(crate) fn new(entries: Entries, bindings: &Bindings) -> Self {
        Self {
            entries,
            host_addresses: bindings.host_addresses.clone(),
            known: KnownNames::new(),
            former: BTreeMap::new(),
        }
    }

    pub(crate) fn learn_name(
        &mut self,
        name: &str,
        address: IpAddr,
        expires_unix_ms: u64,
    ) -> &mut KnownAddress {
        self.known.learn(address::forms(address).0, name, expires_unix_ms)
    }

    /// The names that an address, in the first of its forms, was an answer for.
    pub(crate) fn names_of(&self, first: IpAddr) -> impl Iterator<Item = &str> {
        self.known.of(first).into_iter().flat_map(KnownAddress::names)
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

/// The paths that rules of `section` without wildcards name.
fn literals(program: &PolicyProgram, bindings: &Bindings, section: Section) -> BTreeSet<Vec<u8>> {
    let patterns = path_patterns(program, section).filter(|pattern| pattern.is_literal());
    patterns.flat_map(|pattern| pattern.literal_prefixes(bindings)).collect()
}

fn denied_programs(program: &PolicyProgram, bindings: &Bindings) -> Vec<Vec<u8>> {
    let mut paths = literals(program, bindings, Section::ExecDeny);
    paths.extend(bound_programs(program, bindings, Section::ExecDeny));
    or_roots(paths)
}

fn exec_roots(program: &PolicyProgram, bindings: &Bindings) -> Vec<Vec<u8>> {
    let patterns = path_patterns(program, Section::ExecAllow);
    let mut roots: BTreeSet<Vec<u8>> =
        patterns.flat_map(|pattern| pattern.literal_prefixes(bindings)).collect();
    roots.extend(bound_programs(program, bindings, Section::ExecAllow));
    let is_below_another = |root: &[u8]| {
        let ends = root.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        ends.into_iter().any(|end| roots.contains(&root[..end]))
    };
    roots.iter().filter(|root| !is_below_another(root)).cloned().map(or_root).collect()
}

/// What the bare names of programs in `section` stand for.
fn bound_programs(program: &PolicyProgram, bindings: &Bindings, section: Section) -> BTreeSet<Vec<u8>> {
    let names: BTreeSet<&str> = program.rules(section).iter().filter_map(program_name).collect();
    let bound = bindings.programs.iter().filter(|(name, _)| names.contains(name.as_str()));
    bound.flat_map(|(_, paths)| paths).filter_map(|path| absolute(path)).collect()
}

fn program_name(rule: &crate::Rule) -> Option<&str> {
    if let Pattern::Program(name) = &rule.pattern { Some(name) } else { None }
}

fn path_patterns(program: &PolicyProgram, section: Section) -> impl Iterator<Item = &PathPattern> {
    program.rules(section).iter().filter_map(|rule| match &rule.pattern {
        Pattern::Path(pattern) => Some(pattern),
        _ => None,
    })
}

fn or_roots(paths: BTreeSet<Vec<u8>>) -> Vec<Vec<u8>> {
    paths.into_iter().map(or_root).collect()
}

fn or_root(path: Vec<u8>) -> Vec<u8> {
    if path.is_empty() { b"/".to_vec() } else { path }
}
