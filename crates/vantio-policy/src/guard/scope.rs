//! Whether an intent is one that a guard is about.
//!
//! A scope covers as a deny does: a name covers its subdomains, a pattern that ends in a wildcard what
//! lies below its matches, a pattern without port every port. A directory that is moved or removed is
//! covered where the scope holds for other names below it than it would elsewhere. An open for
//! writing includes reading, so a scope for reading covers it.

use alloc::vec::Vec;
use core::net::IpAddr;

use vantio_core::{Access, Effect, Endpoint, Intent, Target, Transport};

use crate::{
    Bindings, State, address,
    guard::model::Scope,
    named::NamedPattern,
    net::{EndpointPattern, Host, NetPattern},
    path::{CanonicalPath, Kind, Matcher, Reach, absolute},
    rule::{Family, Pattern},
};

/// What the patterns of a scope for this effect are over; `None` where it can have none.
pub(crate) const fn family(effect: Effect) -> Option<Family> {
    match effect {
        Effect::FsOpen
        | Effect::FsUnlink
        | Effect::FsRmdir
        | Effect::FsMkdir
        | Effect::FsMknod
        | Effect::FsRename
        | Effect::FsLink
        | Effect::FsSymlink
        | Effect::FsTruncate
        | Effect::FsChmod
        | Effect::FsChown
        | Effect::FsUtime
        | Effect::FsXattr
        | Effect::FsStat => Some(Family::Path),
        Effect::ProcExec => Some(Family::Program),
        Effect::NetConnect | Effect::NetBind | Effect::NetListen | Effect::NetDns => Some(Family::Net),
        Effect::ToolCall | Effect::Infer | Effect::HeapRead | Effect::HeapWrite | Effect::IpcSend => {
            Some(Family::Named)
        }
        Effect::ProcSignal | Effect::ProcSyscall => None,
    }
}

/// A scope whose variables have values.
#[derive(Clone, Debug)]
pub(crate) struct BoundScope {
    /// One bit an effect.
    effects: u64,
    access: Option<Access>,
    is_for_all: bool,
    paths: Vec<Matcher>,
    sockets: Vec<Matcher>,
    endpoints: Vec<EndpointPattern>,
    names: Vec<NamedPattern>,
    /// Whether an address goes on having a name that was forgotten.
    remembers: bool,
}

impl BoundScope {
    pub(crate) fn new(scope: &Scope, bindings: &Bindings, kind: Kind) -> Self {
        let mut bound = Self {
            effects: scope.effects.iter().fold(0, |effects, effect| effects | bit(*effect)),
            access: scope.access,
            is_for_all: scope.targets.is_empty(),
            paths: Vec::new(),
            sockets: Vec::new(),
            endpoints: Vec::new(),
            names: Vec::new(),
            remembers: false,
        };
        for target in &scope.targets {
            match target {
                Pattern::Path(pattern) => bound.paths.extend(pattern.matchers(bindings, kind)),
                Pattern::Program(name) => bound.paths.extend(programs(name, bindings)),
                Pattern::Net(NetPattern::Unix(pattern)) => {
                    bound.sockets.extend(pattern.matchers(bindings, kind));
                }
                Pattern::Net(NetPattern::Endpoint(pattern)) => bound.endpoints.push(pattern.clone()),
                Pattern::Named(pattern) => bound.names.push(pattern.clone()),
            }
        }
        bound
    }

    /// The same, also of addresses whose name leads elsewhere by now: a connection to them may still be there.
    pub(crate) fn remembering(self) -> Self {
        Self { remembers: true, ..self }
    }

    /// Whether a target is a host of this name.
    pub(crate) fn may_name(&self, name: &str) -> bool {
        self.endpoints
            .iter()
            .any(|pattern| pattern.host != Host::Any && pattern.host.covers_name(name, Kind::Deny))
    }

    pub(crate) fn covers(&self, state: &State, intent: &Intent<'_>) -> bool {
        if self.effects & bit(intent.effect) == 0 || !self.covers_access(intent) {
            return false;
        }
        if self.is_for_all {
            return true;
        }
        match intent.target {
            Target::Path { path, subtree, .. } => CanonicalPath::new(path).is_some_and(|path| {
                let is_tree = subtree || intent.effect == Effect::FsRmdir;
                self.paths
                    .iter()
                    .any(|matcher| matcher.covers(&path) || is_tree && matcher.depends_on_name(&path))
            }),
            Target::Paths { from, to, subtree } => self.covers_either(from, to, subtree),
            Target::Endpoint(endpoint) => !endpoint.in_run && self.covers_endpoint(state, &endpoint),
            Target::Name(name) => self.endpoints.iter().any(|pattern| {
                !pattern.is_udp && pattern.ports.is_all() && pattern.host.covers_name(name, Kind::Deny)
            }),
            Target::Unix(path) => self.covers_socket(path),
            Target::Named(name) => self.names.iter().any(|pattern| pattern.matches(name)),
            Target::Process(_) | Target::Syscall(_) => false,
        }
    }

    /// Whether what lies below `from` may be covered, and would no longer be below `to`, or
    /// otherwise than there.
    pub(crate) fn tells_apart(&self, from: &[u8], to: &[u8]) -> bool {
        let (Some(from), Some(to)) = (CanonicalPath::new(from), CanonicalPath::new(to)) else { return true };
        self.paths.iter().any(|matcher| {
            let reach = matcher.reach(from.bytes);
            reach != Reach::Apart && reach != matcher.reach(to.bytes)
        })
    }

    pub(crate) const fn is_about(&self, effect: Effect) -> bool {
        self.effects & bit(effect) != 0
    }

    fn covers_access(&self, intent: &Intent<'_>) -> bool {
        match (intent.effect, self.access, intent.target) {
            (Effect::FsOpen, Some(Access::Write), Target::Path { access, .. }) => access == Access::Write,
            _ => true,
        }
    }

    fn covers_either(&self, from: &[u8], to: &[u8], subtree: bool) -> bool {
        let (Some(from), Some(to)) = (CanonicalPath::new(from), CanonicalPath::new(to)) else { return false };
        self.paths.iter().any(|matcher| {
            matcher.covers(&from)
                || matcher.covers(&to)
                || subtree && matcher.reach(from.bytes) != matcher.reach(to.bytes)
        })
    }

    fn covers_endpoint(&self, state: &State, endpoint: &Endpoint) -> bool {
        let (first, carried) = address::forms(endpoint.address.ip());
        self.endpoints.iter().any(|pattern| {
            (!pattern.is_udp || endpoint.transport == Transport::Udp)
                && pattern.ports.contains(endpoint.address.port())
                && covers_host(&pattern.host, state, (first, carried), self.remembers)
        })
    }

    fn covers_socket(&self, path: &[u8]) -> bool {
        let every = |pattern: &EndpointPattern| {
            pattern.host == Host::Any && pattern.ports.is_all() && !pattern.is_udp
        };
        self.endpoints.iter().any(every)
            || CanonicalPath::new(path)
                .is_some_and(|path| self.sockets.iter().any(|matcher| matcher.covers(&path)))
    }
}

fn covers_host(
    host: &Host,
    state: &State,
    (first, carried): (IpAddr, Option<IpAddr>),
    remembers: bool,
) -> bool {
    match host {
        Host::Any => true,
        Host::Block(block) => block.contains(first) || carried.is_some_and(|carried| block.contains(carried)),
        name => {
            let former = state.former_names_of(first).filter(|_| remembers);
            state.names_of(first).chain(former).any(|known| name.covers_name(known, Kind::Deny))
        }
    }
}

/// What a bare name means on this host.
pub(crate) fn programs(name: &str, bindings: &Bindings) -> impl Iterator<Item = Matcher> {
    let found = bindings.programs.iter().filter(move |(bound, _)| bound == name);
    let paths = found.flat_map(|(_, paths)| paths).filter_map(|path| absolute(path));
    paths.map(Matcher::literal)
}

const fn bit(effect: Effect) -> u64 {
    1 << effect as u32
}
