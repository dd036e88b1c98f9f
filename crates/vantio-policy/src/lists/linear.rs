//! The lists judged rule by rule: what the compiled form is compared with.

use alloc::vec::Vec;

use vantio_core::{Access, Cause, Decision, Effect, Endpoint, Intent, Section, Target, Transport, Verdict};

use crate::{
    PolicyProgram, Rule, State,
    address::{self, Reserved},
    names,
    net::{EndpointPattern, Host, NetPattern},
    path::{CanonicalPath, Kind, Matcher, absolute},
    rule::{self, Pattern},
    state::Bindings,
};

/// Answers an intent by the lists alone.
pub(super) fn judge<'p>(program: &'p PolicyProgram, state: &'p State, intent: &Intent<'_>) -> Verdict<'p> {
    let judge = Judge { program, state };
    match intent.effect {
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
        Effect::FsRename | Effect::FsLink => judge.paths(intent),
        Effect::ProcExec => judge.exec(intent.target),
        Effect::ProcSignal => match intent.target {
            Target::Process(0 | 1) => {
                collapse(Cause::Always("neither the run's init nor anything outside takes signals from it"))
            }
            Target::Process(_) => permit(Cause::Always("a process of the run")),
            _ => mismatch(),
        },
        Effect::ProcSyscall => collapse(Cause::Always("this system call is closed to agents")),
        Effect::NetConnect => match intent.target {
            Target::Endpoint(endpoint) => judge.endpoint(&endpoint),
            Target::Unix(path) => judge.unix(path),
            _ => mismatch(),
        },
        Effect::NetDns => match intent.target {
            Target::Name(name) => judge.name(name),
            _ => mismatch(),
        },
        Effect::NetBind | Effect::NetListen => permit(Cause::Always("reaches nothing outside the run")),
        Effect::ToolCall | Effect::Infer => judge.named(intent),
        Effect::HeapRead | Effect::HeapWrite | Effect::IpcSend => {
            collapse(Cause::Always("no section of the policy governs this effect"))
        }
    }
}

const fn permit(cause: Cause<'_>) -> Verdict<'_> {
    Verdict { decision: Decision::Permit, cause }
}

const fn collapse(cause: Cause<'_>) -> Verdict<'_> {
    Verdict { decision: Decision::Collapse, cause }
}

const fn mismatch() -> Verdict<'static> {
    collapse(Cause::Always("the target is not one that the effect can have"))
}

const fn not_canonical() -> Verdict<'static> {
    collapse(Cause::Always("the path names nothing in the run"))
}

struct Judge<'p> {
    program: &'p PolicyProgram,
    state: &'p State,
}

impl<'p> Judge<'p> {
    fn path(&self, intent: &Intent<'_>) -> Verdict<'p> {
        let Target::Path { path, access, subtree } = intent.target else { return mismatch() };
        let Some(path) = CanonicalPath::new(path) else { return not_canonical() };
        if let Some(cause) = self.denied(&path) {
            return collapse(cause);
        }
        let removes_directory = intent.effect == Effect::FsRmdir;
        if subtree || removes_directory {
            let cause = self.first(Section::FsDeny, |matcher| matcher.depends_on_name(&path));
            if let Some(cause) = cause {
                return collapse(cause);
            }
        }
        // Only an open can be for reading; what changes an entry is a write,
        // whatever the plane says.
        if access == Access::Read && intent.effect == Effect::FsOpen && !subtree {
            return self.readable(&path);
        }
        // A directory that is removed is empty.
        self.writable(&path, subtree && !removes_directory).map_or_else(collapse, permit)
    }

    fn paths(&self, intent: &Intent<'_>) -> Verdict<'p> {
        let Target::Paths { from, to, subtree } = intent.target else { return mismatch() };
        let (Some(from), Some(to)) = (CanonicalPath::new(from), CanonicalPath::new(to)) else {
            return not_canonical();
        };
        if let Some(cause) = self.denied(&from).or_else(|| self.denied(&to)) {
            return collapse(cause);
        }
        if subtree && let Some(cause) = self.moves_denied(&from, &to) {
            return collapse(cause);
        }
        match self.writable(&from, subtree).and_then(|_| self.writable(&to, subtree)) {
            Ok(cause) => permit(cause),
            Err(cause) => collapse(cause),
        }
    }

    /// Metadata is hidden only below what is denied; what is denied may itself be seen.
    fn stat(&self, target: Target<'_>) -> Verdict<'p> {
        let Target::Path { path, .. } = target else { return mismatch() };
        let Some(path) = CanonicalPath::new(path) else { return not_canonical() };
        match self.denied(&path.parent()) {
            Some(cause) => collapse(cause),
            None => permit(Cause::Always("names are visible")),
        }
    }

    fn exec(&self, target: Target<'_>) -> Verdict<'p> {
        let Target::Path { path, .. } = target else { return mismatch() };
        let Some(path) = CanonicalPath::new(path) else { return not_canonical() };
        let denied =
            self.denied(&path).or_else(|| self.first(Section::ExecDeny, |matcher| matcher.covers(&path)));
        if let Some(cause) = denied {
            return collapse(cause);
        }
        match self.first(Section::ExecAllow, |matcher| matcher.covers(&path)) {
            Some(cause) => permit(cause),
            None => collapse(Cause::Unmatched(Section::ExecAllow)),
        }
    }

    fn readable(&self, path: &CanonicalPath<'_>) -> Verdict<'p> {
        let cause = self
            .first(Section::FsRead, |matcher| matcher.covers_or_lists(path))
            .or_else(|| self.first(Section::FsWrite, |matcher| matcher.covers_or_lists(path)))
            .or_else(|| self.first(Section::ExecAllow, |matcher| matcher.covers(path)));
        cause.map_or(collapse(Cause::Unmatched(Section::FsRead)), permit)
    }

    fn writable(&self, path: &CanonicalPath<'_>, subtree: bool) -> Result<Cause<'p>, Cause<'p>> {
        let covers =
            |matcher: &Matcher| if subtree { matcher.covers_subtree(path) } else { matcher.covers(path) };
        self.first(Section::FsWrite, covers).ok_or(Cause::Unmatched(Section::FsWrite))
    }

    fn denied(&self, path: &CanonicalPath<'_>) -> Option<Cause<'p>> {
        self.first(Section::FsDeny, |matcher| matcher.covers(path))
    }

    /// The deny that holds for other names below `from` than below `to`.
    fn moves_denied(&self, from: &CanonicalPath<'_>, to: &CanonicalPath<'_>) -> Option<Cause<'p>> {
        self.first(Section::FsDeny, |matcher| matcher.reach(from.bytes) != matcher.reach(to.bytes))
    }

    fn first(&self, section: Section, test: impl Fn(&Matcher) -> bool) -> Option<Cause<'p>> {
        let rules = self.program.rules(section).iter().enumerate();
        let mut matching = rules.filter(|(_, rule)| {
            rule_matchers(rule, rule::kind(section), &self.state.bindings).iter().any(&test)
        });
        let (index, _) = matching.next()?;
        Some(self.cause(section, index))
    }

    fn cause(&self, section: Section, rule: usize) -> Cause<'p> {
        let text = self.program.rules(section).get(rule).map_or("", |rule| rule.text());
        Cause::Rule { section, text }
    }

    fn unix(&self, path: &[u8]) -> Verdict<'p> {
        let Some(path) = CanonicalPath::new(path) else { return not_canonical() };
        let denied = self
            .denied(&path)
            .or_else(|| self.first(Section::NetDeny, |matcher| matcher.covers(&path)))
            .or_else(|| {
                self.first_endpoint(Section::NetDeny, |pattern| {
                    pattern.host == Host::Any && pattern.ports.is_all() && !pattern.is_udp
                })
            });
        if let Some(cause) = denied {
            return collapse(cause);
        }
        match self.first(Section::NetAllow, |matcher| matcher.covers(&path)) {
            Some(cause) => permit(cause),
            None => collapse(Cause::Unmatched(Section::NetAllow)),
        }
    }

    fn name(&self, name: &str) -> Verdict<'p> {
        if !names::is_canonical(name) {
            return collapse(Cause::Always("not a domain name"));
        }
        let denied = self.first_endpoint(Section::NetDeny, |pattern| {
            !pattern.is_udp && pattern.ports.is_all() && pattern.host.covers_name(name, Kind::Deny)
        });
        if let Some(cause) = denied {
            return collapse(cause);
        }
        match self.first_endpoint(Section::NetAllow, |pattern| pattern.host.covers_name(name, Kind::Allow)) {
            Some(cause) => permit(cause),
            None => collapse(Cause::Unmatched(Section::NetAllow)),
        }
    }

    fn endpoint(&self, endpoint: &Endpoint) -> Verdict<'p> {
        if endpoint.in_run {
            return permit(Cause::Always("inside the run"));
        }
        let question = Question::new(endpoint);
        if let Some(cause) = self.first_endpoint(Section::NetDeny, |pattern| self.denies(pattern, &question))
        {
            return collapse(cause);
        }
        let first = self.allowed(question.first, &question);
        let verdict = match (first, question.carried) {
            (Ok(cause), Some(carried)) => self.allowed(carried, &question).map(|_| cause),
            (verdict, _) => verdict,
        };
        verdict.map_or_else(collapse, permit)
    }

    fn denies(&self, pattern: &EndpointPattern, question: &Question) -> bool {
        (!pattern.is_udp || question.is_udp)
            && pattern.ports.contains(question.port)
            && match &pattern.host {
                Host::Any => true,
                Host::Block(block) => {
                    block.contains(question.first)
                        || question.carried.is_some_and(|carried| block.contains(carried))
                }
                name => {
                    self.state.facts.names_of(question.first).any(|known| name.covers_name(known, Kind::Deny))
                }
            }
    }

    /// Whether `form`, one of the forms of the destination, is permitted.
    fn allowed(&self, form: core::net::IpAddr, question: &Question) -> Result<Cause<'p>, Cause<'p>> {
        let applies = |pattern: &EndpointPattern| {
            pattern.is_udp == question.is_udp && pattern.ports.contains(question.port)
        };
        let by_address = self.first_endpoint(Section::NetAllow, |pattern| {
            applies(pattern) && matches!(&pattern.host, Host::Block(block) if block.contains(form))
        });
        if let Some(cause) = by_address {
            return Ok(cause);
        }
        let mut known = self.state.facts.names_of(question.first).peekable();
        let is_by_number = known.peek().is_none();
        let by_name = self.first_endpoint(Section::NetAllow, |pattern| {
            applies(pattern)
                && (pattern.host == Host::Any
                    || self
                        .state
                        .names_of(question.first)
                        .any(|known| pattern.host.covers_name(known, Kind::Allow)))
        });
        let Some(cause) = by_name else { return Err(Cause::Unmatched(Section::NetAllow)) };
        match address::reserved(form, &self.state.facts.host_addresses) {
            None => Ok(cause),
            // Somebody asked for an address: a rule for it would open it.
            Some(_) if is_by_number => Err(Cause::Unmatched(Section::NetAllow)),
            Some(Reserved::Private) => Err(Cause::Unmatched(Section::NetAllow)),
            Some(Reserved::Loopback) => Err(Cause::Always("a name never opens loopback")),
            Some(Reserved::LinkLocal) => Err(Cause::Always("a name never opens link-local addresses")),
            Some(Reserved::Multicast) => Err(Cause::Always("a name never opens multicast addresses")),
            Some(Reserved::OwnOfHost) => Err(Cause::Always("a name never opens the host's own addresses")),
        }
    }

    fn named(&self, intent: &Intent<'_>) -> Verdict<'p> {
        let Target::Named(name) = intent.target else { return mismatch() };
        let first = |section| {
            let mut rules = self.program.rules(section).iter();
            let index = rules.position(|rule| match &rule.pattern {
                Pattern::Named(pattern) => pattern.matches(name),
                _ => false,
            })?;
            Some(self.cause(section, index))
        };
        let is_tool = intent.effect == Effect::ToolCall;
        if is_tool && let Some(cause) = first(Section::ToolsDeny) {
            return collapse(cause);
        }
        let allow = if is_tool { Section::ToolsAllow } else { Section::InferModels };
        first(allow).map_or(collapse(Cause::Unmatched(allow)), permit)
    }

    fn first_endpoint(&self, section: Section, test: impl Fn(&EndpointPattern) -> bool) -> Option<Cause<'p>> {
        let rules = self.program.rules(section);
        let index = rules.iter().position(|rule| match &rule.pattern {
            Pattern::Net(NetPattern::Endpoint(pattern)) => test(pattern),
            _ => false,
        })?;
        Some(self.cause(section, index))
    }
}

/// A destination, in every form that it is judged in.
struct Question {
    first: core::net::IpAddr,
    carried: Option<core::net::IpAddr>,
    port: u16,
    is_udp: bool,
}

impl Question {
    fn new(endpoint: &Endpoint) -> Self {
        let (first, carried) = address::forms(endpoint.address.ip());
        Self { first, carried, port: endpoint.address.port(), is_udp: endpoint.transport == Transport::Udp }
    }
}

fn rule_matchers(rule: &Rule, kind: Kind, bindings: &Bindings) -> Vec<Matcher> {
    match &rule.pattern {
        Pattern::Path(pattern) | Pattern::Net(NetPattern::Unix(pattern)) => pattern.matchers(bindings, kind),
        Pattern::Program(name) => {
            let found = bindings.programs.iter().filter(|(bound, _)| bound == name);
            let paths = found.flat_map(|(_, paths)| paths).filter_map(|path| absolute(path));
            paths.map(Matcher::literal).collect()
        }
        Pattern::Net(NetPattern::Endpoint(_)) | Pattern::Named(_) => Vec::new(),
    }
}
