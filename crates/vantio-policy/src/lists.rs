//! What the lists of patterns say of an intent.
//!
//! A deny reaches further than an allow, and what is unclear is refused. Moving or
//! removing a directory is judged for what lies below it: it is refused where a
//! deny would hold for other names below the one path than below the other (for
//! a removal: than below a name that no rule mentions). So nothing denied is ever
//! uncovered, and nothing is ever put in the place of it; while a deny that holds
//! in every directory (`**/.env`) does not nail every directory down.

use alloc::vec::Vec;
use core::net::IpAddr;

use vantio_core::{Access, Cause, Decision, Effect, Endpoint, Intent, Section, Target, Transport, Verdict};

use crate::{
    PolicyProgram, State,
    address::{self, Reserved},
    known::KnownAddress,
    names::{self, Labels},
    state::Facts,
    trie::{
        Aspect, Extent, NONE, Nodes, Root, Terminal,
        walk::{Passed, Reached, Stray, pick, walk_address, walk_name, walk_named},
    },
};

/// Answers an intent by the lists alone.
pub(crate) fn judge<'p>(program: &'p PolicyProgram, state: &State, intent: &Intent<'_>) -> Verdict<'p> {
    let answer = answer(&*program.trie, &state.facts, intent);
    let cause = match answer.reason {
        Reason::Rule(section, rule) => {
            let text = program.rules(section).get(rule as usize).map_or("", |rule| rule.text());
            Cause::Rule { section, text }
        }
        Reason::Unmatched(section) => Cause::Unmatched(section),
        Reason::Always(always) => Cause::Always(always.text()),
    };
    Verdict { decision: if answer.is_permit { Decision::Permit } else { Decision::Collapse }, cause }
}

/// A verdict of the lists, its rule by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) is_permit: bool,
    pub(crate) reason: Reason,
}

/// Why an answer is what it is: small, so that it is handed on in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A rule, by its place in the canonical order of its list.
    Rule(Section, u32),
    Unmatched(Section),
    Always(Always),
}

/// What holds under every policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Always {
    NotASignal,
    OwnProcess,
    ClosedSystemCall,
    StaysInRun,
    Ungoverned,
    Mismatch,
    NoPath,
    TooManyWildcards,
    VisibleName,
    NoDomainName,
    InsideRun,
    NameForLoopback,
    NameForLinkLocal,
    NameForMulticast,
    NameForHost,
}

impl Always {
    /// The same in words.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::NotASignal => "neither the run's init nor anything outside takes signals from it",
            Self::OwnProcess => "a process of the run",
            Self::ClosedSystemCall => "this system call is closed to agents",
            Self::StaysInRun => "reaches nothing outside the run",
            Self::Ungoverned => "no section of the policy governs this effect",
            Self::Mismatch => "the target is not one that the effect can have",
            Self::NoPath => "the path names nothing in the run",
            Self::TooManyWildcards => "more wildcards meet in this path than are followed at once",
            Self::VisibleName => "names are visible",
            Self::NoDomainName => "not a domain name",
            Self::InsideRun => "inside the run",
            Self::NameForLoopback => "a name never opens loopback",
            Self::NameForLinkLocal => "a name never opens link-local addresses",
            Self::NameForMulticast => "a name never opens multicast addresses",
            Self::NameForHost => "a name never opens the host's own addresses",
        }
    }
}

/// Answers an intent by the nodes of a program.
#[expect(clippy::inline_always, reason = "an answer that a call gives stands in memory")]
#[inline(always)]
pub(crate) fn answer<N: Nodes>(nodes: &N, facts: &Facts, intent: &Intent<'_>) -> Answer {
    let judge = Judge { nodes, facts };
    let result = match intent.effect {
        Effect::FsOpen
        | Effect::FsUnlink
        | Effect::FsRmdir
        | Effect::FsMkdir
        | Effect::FsMknod
        | Effect::FsSymlink
        | Effect::FsTruncate
        | Effect::FsChmod
        | Effect::FsChown
        | Effect::FsUtime
        | Effect::FsXattr => judge.path(intent),
        Effect::FsStat => judge.stat(intent.target),
        Effect::FsRename | Effect::FsLink => judge.paths(intent.target),
        Effect::ProcExec => judge.exec(intent.target),
        Effect::ProcSignal => match intent.target {
            Target::Process(0 | 1) => Err(Reason::Always(Always::NotASignal)),
            Target::Process(_) => Ok(Reason::Always(Always::OwnProcess)),
            _ => MISMATCH,
        },
        Effect::ProcSyscall => Err(Reason::Always(Always::ClosedSystemCall)),
        Effect::NetConnect => match intent.target {
            Target::Endpoint(endpoint) => judge.endpoint(&endpoint),
            Target::Unix(path) => judge.unix(path),
            _ => MISMATCH,
        },
        Effect::NetDns => match intent.target {
            Target::Name(name) => judge.name(name),
            _ => MISMATCH,
        },
        Effect::NetBind | Effect::NetListen => Ok(Reason::Always(Always::StaysInRun)),
        Effect::ToolCall => judge.tool(intent.target),
        Effect::Infer => judge.model(intent.target),
        Effect::HeapRead | Effect::HeapWrite | Effect::IpcSend => Err(Reason::Always(Always::Ungoverned)),
    };
    match result {
        Ok(reason) => Answer { is_permit: true, reason },
        Err(reason) => Answer { is_permit: false, reason },
    }
}

/// What permits, or what refuses.
type Ruling = Result<Reason, Reason>;

const MISMATCH: Ruling = Err(Reason::Always(Always::Mismatch));

impl From<Stray> for Reason {
    fn from(stray: Stray) -> Self {
        match stray {
            Stray::NotCanonical => Self::Always(Always::NoPath),
            Stray::TooMany => Self::Always(Always::TooManyWildcards),
        }
    }
}

/// The rule of this number, if there is one.
fn rule(section: Section, rule: u32) -> Option<Reason> {
    (rule != NONE).then_some(Reason::Rule(section, rule))
}

fn refuse(section: Section, number: u32) -> Result<(), Reason> {
    rule(section, number).map_or(Ok(()), Err)
}

fn allow(section: Section, number: u32) -> Ruling {
    rule(section, number).ok_or(Reason::Unmatched(section))
}

struct Judge<'s, N> {
    nodes: &'s N,
    facts: &'s Facts,
}

impl<N: Nodes> Judge<'_, N> {
    fn path(&self, intent: &Intent<'_>) -> Ruling {
        let Target::Path { path, access, subtree } = intent.target else { return MISMATCH };
        let removes_directory = intent.effect == Effect::FsRmdir;
        if subtree || removes_directory {
            return self.directory(path, removes_directory);
        }
        let mut passed = Passed::nothing();
        self.pass(path, &mut passed)?;
        refuse(Section::FsDeny, passed.covers(Section::FsDeny))?;
        // Only an open can be for reading; what changes an entry is a write,
        // whatever the plane says.
        if access == Access::Read && intent.effect == Effect::FsOpen {
            readable(&passed)
        } else {
            writable(&passed, false)
        }
    }

    /// A directory with all below it, or one that is removed and so empty.
    fn directory(&self, path: &[u8], is_empty: bool) -> Ruling {
        let reached = self.walk(path)?;
        refuse(Section::FsDeny, reached.passed.covers(Section::FsDeny))?;
        let below = self.facts.entries.denies_below(path);
        refuse(Section::FsDeny, reached.depends_on_name(self.nodes).min(below))?;
        writable(&reached.passed, !is_empty)
    }

    fn paths(&self, target: Target<'_>) -> Ruling {
        let Target::Paths { from, to, subtree } = target else { return MISMATCH };
        let (old, new) = (self.walk(from)?, self.walk(to)?);
        refuse(Section::FsDeny, old.passed.covers(Section::FsDeny))?;
        refuse(Section::FsDeny, new.passed.covers(Section::FsDeny))?;
        if subtree && from != to {
            let below = |path| self.facts.entries.denies_below(path);
            let differs = old.differs(&new, self.nodes);
            refuse(Section::FsDeny, differs.min(below(from)).min(below(to)))?;
        }
        writable(&old.passed, subtree)?;
        writable(&new.passed, subtree)
    }

    /// Metadata is hidden only below what is denied; what is denied may itself be seen.
    fn stat(&self, target: Target<'_>) -> Ruling {
        let Target::Path { path, .. } = target else { return MISMATCH };
        let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else {
            return Err(Stray::NotCanonical.into());
        };
        let (parent, name) = (if slash == 0 { b"/" } else { &path[..slash] }, &path[slash + 1..]);
        let is_name = !name.is_empty() && name != b"." && name != b".." && !name.contains(&0);
        if path.starts_with(b"//") || !is_name && path != b"/" {
            return Err(Stray::NotCanonical.into());
        }
        let mut passed = Passed::nothing();
        self.pass(parent, &mut passed)?;
        refuse(Section::FsDeny, passed.covers(Section::FsDeny))?;
        Ok(Reason::Always(Always::VisibleName))
    }

    fn exec(&self, target: Target<'_>) -> Ruling {
        let Target::Path { path, .. } = target else { return MISMATCH };
        let mut passed = Passed::nothing();
        self.pass(path, &mut passed)?;
        refuse(Section::FsDeny, passed.covers(Section::FsDeny))?;
        refuse(Section::ExecDeny, passed.covers(Section::ExecDeny))?;
        allow(Section::ExecAllow, passed.covers(Section::ExecAllow))
    }

    fn unix(&self, path: &[u8]) -> Ruling {
        let mut passed = Passed::nothing();
        self.pass(path, &mut passed)?;
        refuse(Section::FsDeny, passed.covers(Section::FsDeny))?;
        refuse(Section::NetDeny, passed.covers(Section::NetDeny))?;
        let everything = self.nodes.view(self.nodes.root(Root::Domains)).terminals;
        refuse(Section::NetDeny, pick(everything, Section::NetDeny, Extent::Whole, Aspect::Resolve, 0))?;
        allow(Section::NetAllow, passed.covers(Section::NetAllow))
    }

    #[inline]
    fn pass(&self, path: &[u8], passed: &mut Passed) -> Result<(), Stray> {
        self.nodes.pass(&self.facts.entries, path, passed)
    }

    fn walk(&self, path: &[u8]) -> Result<Reached, Stray> {
        let mut reached = Reached::nothing();
        reached.walk(self.nodes, &self.facts.entries, path)?;
        Ok(reached)
    }

    fn tool(&self, target: Target<'_>) -> Ruling {
        let Target::Named(name) = target else { return MISMATCH };
        let [denied, allowed] =
            walk_named(self.nodes, Root::Tools, [Section::ToolsDeny, Section::ToolsAllow], name);
        refuse(Section::ToolsDeny, denied)?;
        allow(Section::ToolsAllow, allowed)
    }

    fn model(&self, target: Target<'_>) -> Ruling {
        let Target::Named(name) = target else { return MISMATCH };
        let [allowed] = walk_named(self.nodes, Root::Models, [Section::InferModels], name);
        allow(Section::InferModels, allowed)
    }

    fn name(&self, name: &str) -> Ruling {
        let Some(labels) = names::canonical(name) else {
            return Err(Reason::Always(Always::NoDomainName));
        };
        let mut found = Endpoints::new(0, Aspect::Resolve);
        found.by_everything(self.nodes);
        found.by_name(self.nodes, labels);
        refuse(Section::NetDeny, found.denied)?;
        allow(Section::NetAllow, found.allowed)
    }

    fn endpoint(&self, endpoint: &Endpoint) -> Ruling {
        if endpoint.in_run {
            return Ok(Reason::Always(Always::InsideRun));
        }
        let (first, carried) = address::forms(endpoint.address.ip());
        let aspect = if endpoint.transport == Transport::Udp { Aspect::Udp } else { Aspect::Tcp };
        let blank = Endpoints::new(endpoint.address.port(), aspect);
        let mut by_name = blank;
        by_name.by_everything(self.nodes);
        let known = self.facts.known.of(first);
        if let Some(known) = known {
            by_name.by_names(self.nodes, known);
        }
        let is_by_number = known.is_none();
        let blocks = |form| {
            let mut found = blank;
            found.by_address(self.nodes, form);
            found
        };
        let (by_first, by_carried) = (blocks(first), carried.map(|form| (form, blocks(form))));
        let denied = by_carried.map_or(NONE, |(_, found)| found.denied);
        refuse(Section::NetDeny, denied.min(by_first.denied).min(by_name.denied))?;
        let decided = self.allowed(first, by_first.allowed, by_name.allowed, is_by_number)?;
        match by_carried {
            None => Ok(decided),
            Some((form, found)) => {
                self.allowed(form, found.allowed, by_name.allowed, is_by_number).map(|_| decided)
            }
        }
    }

    /// Whether `form`, one of the forms of a destination, is permitted, by these rules for
    /// blocks that it lies in and for names that led there.
    fn allowed(&self, form: IpAddr, by_address: u32, by_name: u32, is_by_number: bool) -> Ruling {
        if let Some(reason) = rule(Section::NetAllow, by_address) {
            return Ok(reason);
        }
        let reason = allow(Section::NetAllow, by_name)?;
        match address::reserved(form, &self.facts.host_addresses) {
            None => Ok(reason),
            // Somebody asked for an address: a rule for it would open it.
            Some(_) if is_by_number => Err(Reason::Unmatched(Section::NetAllow)),
            Some(Reserved::Private) => Err(Reason::Unmatched(Section::NetAllow)),
            Some(Reserved::Loopback) => Err(Reason::Always(Always::NameForLoopback)),
            Some(Reserved::LinkLocal) => Err(Reason::Always(Always::NameForLinkLocal)),
            Some(Reserved::Multicast) => Err(Reason::Always(Always::NameForMulticast)),
            Some(Reserved::OwnOfHost) => Err(Reason::Always(Always::NameForHost)),
        }
    }
}

fn readable(passed: &Passed) -> Ruling {
    rule(Section::FsRead, passed.covers_or_lists(Section::FsRead))
        .or_else(|| rule(Section::FsWrite, passed.covers_or_lists(Section::FsWrite)))
        .or_else(|| rule(Section::ExecAllow, passed.covers(Section::ExecAllow)))
        .ok_or(Reason::Unmatched(Section::FsRead))
}

fn writable(passed: &Passed, subtree: bool) -> Ruling {
    let section = Section::FsWrite;
    allow(section, if subtree { passed.covers_subtree(section) } else { passed.covers(section) })
}

/// The first rules of `net.allow` and `net.deny` that cover a destination.
#[derive(Clone, Copy)]
struct Endpoints {
    port: u16,
    aspect: Aspect,
    allowed: u32,
    denied: u32,
}

/// Terminals that are looked at one after the other.
const FEW: usize = 8;

impl Endpoints {
    const fn new(port: u16, aspect: Aspect) -> Self {
        Self { port, aspect, allowed: NONE, denied: NONE }
    }

    /// Adds the rules for `*`.
    fn by_everything(&mut self, nodes: &impl Nodes) {
        self.add(nodes.view(nodes.root(Root::Domains)).terminals, [Extent::Whole; 2]);
    }

    fn by_name(&mut self, nodes: &impl Nodes, labels: Labels<'_>) {
        walk_name(nodes, labels, |terminals, is_last| self.add(terminals, extents_at(is_last)));
    }

    fn by_names(&mut self, nodes: &impl Nodes, known: &KnownAddress) {
        match &known.rules {
            Some(rules) => self.add_each(rules),
            None => known.names().for_each(|name| self.by_name(nodes, Labels::new(name))),
        }
    }

    fn by_address(&mut self, nodes: &impl Nodes, address: IpAddr) {
        walk_address(nodes, address, |terminals| self.add(terminals, [Extent::Only; 2]));
    }

    /// Adds the rules of these extents.
    #[inline]
    fn add(&mut self, terminals: &[Terminal], extents: [Extent; 2]) {
        if terminals.len() > FEW {
            return self.add_many(terminals, extents);
        }
        self.add_each(terminals.iter().filter(|terminal| extents.contains(&terminal.extent)));
    }

    /// Adds the rules of every extent.
    #[inline]
    fn add_each<'t>(&mut self, terminals: impl IntoIterator<Item = &'t Terminal>) {
        for terminal in terminals {
            let is_deny = terminal.section == Section::NetDeny;
            let has_aspect = terminal.aspect == self.aspect
                || is_deny && self.aspect == Aspect::Udp && terminal.aspect == Aspect::Tcp;
            if has_aspect && (terminal.first..=terminal.last).contains(&self.port) {
                let least = if is_deny { &mut self.denied } else { &mut self.allowed };
                *least = terminal.rule.min(*least);
            }
        }
    }

    /// [`Endpoints::add`] where there are many.
    #[inline(never)]
    fn add_many(&mut self, terminals: &[Terminal], extents: [Extent; 2]) {
        for extent in extents {
            let of = |section, aspect| pick(terminals, section, extent, aspect, self.port);
            let mut denied = of(Section::NetDeny, self.aspect);
            if self.aspect == Aspect::Udp {
                denied = denied.min(of(Section::NetDeny, Aspect::Tcp));
            }
            (self.allowed, self.denied) =
                (self.allowed.min(of(Section::NetAllow, self.aspect)), self.denied.min(denied));
        }
    }
}

/// How far rules reach that cover a name from the name itself, or from one above it.
const fn extents_at(is_last: bool) -> [Extent; 2] {
    [Extent::Whole, if is_last { Extent::Only } else { Extent::Inside }]
}

/// Rules that are kept for an address.
const KEPT: usize = 32;

/// The rules that cover one of the names, but for those of `*`; `None` where they are many.
pub(crate) fn rules_of_names<'n>(
    nodes: &impl Nodes,
    names: impl Iterator<Item = &'n str>,
) -> Option<Vec<Terminal>> {
    let mut rules = Vec::new();
    for name in names {
        walk_name(nodes, Labels::new(name), |terminals, is_last| {
            let covering = terminals.iter().filter(|rule| extents_at(is_last).contains(&rule.extent));
            rules.extend(covering.take(KEPT + 1));
        });
    }
    (rules.len() <= KEPT).then_some(rules)
}

#[cfg(test)]
mod linear;
#[cfg(test)]
pub(crate) mod tests;
