//! Rules about paths.

use alloc::{string::String, vec::Vec};

use vantio_core::{Access, Effect, Section};

use super::{Miss, Reason, Side, Weighed};
use crate::{
    Bindings,
    net::{EndpointPattern, Host, NetPattern},
    path::{CanonicalPath, Kind, Matcher, PathPattern, Reach},
    rule::{self, Pattern},
};

impl Weighed<'_, '_> {
    pub(super) fn path(&mut self, effect: Effect, path: &[u8], access: Access, subtree: bool) {
        let Some(path) = CanonicalPath::new(path) else { return };
        if effect == Effect::FsStat {
            let parent = path.parent();
            return self.list(Section::FsDeny, None, &parent, Matcher::covers);
        }
        if effect == Effect::ProcExec {
            for section in [Section::FsDeny, Section::ExecDeny, Section::ExecAllow] {
                self.list(section, None, &path, Matcher::covers);
            }
            return;
        }
        let removes_directory = effect == Effect::FsRmdir;
        if subtree || removes_directory {
            self.list(Section::FsDeny, None, &path, |matcher, path| {
                let is_root = path.bytes.is_empty();
                matcher.covers(path)
                    || matcher.depends_on_name(path)
                    || is_root && matcher.reach(path.bytes) != Reach::Apart
            });
        } else {
            self.list(Section::FsDeny, None, &path, Matcher::covers);
        }
        if access == Access::Read && effect == Effect::FsOpen && !subtree {
            self.list(Section::FsRead, None, &path, Matcher::covers_or_lists);
            self.list(Section::FsWrite, None, &path, Matcher::covers_or_lists);
            self.list(Section::ExecAllow, None, &path, Matcher::covers);
        } else {
            self.writable(None, &path, subtree && !removes_directory);
        }
    }

    pub(super) fn paths(&mut self, from: &[u8], to: &[u8], subtree: bool) {
        let (Some(from), Some(to)) = (CanonicalPath::new(from), CanonicalPath::new(to)) else { return };
        let moves = |matcher: &Matcher| subtree && matcher.reach(from.bytes) != matcher.reach(to.bytes);
        self.list(Section::FsDeny, Some(Side::From), &from, |matcher, path| {
            matcher.covers(path) || moves(matcher)
        });
        self.list(Section::FsDeny, Some(Side::To), &to, Matcher::covers);
        self.writable(Some(Side::From), &from, subtree);
        self.writable(Some(Side::To), &to, subtree);
    }

    pub(super) fn unix(&mut self, path: &[u8]) {
        let Some(path) = CanonicalPath::new(path) else { return };
        self.list(Section::FsDeny, None, &path, Matcher::covers);
        let bindings = self.bindings;
        for section in [Section::NetDeny, Section::NetAllow] {
            self.each(section, None, |pattern| match pattern {
                Pattern::Net(NetPattern::Endpoint(pattern)) => every_connection(pattern, section),
                _ => matches_path(pattern, rule::kind(section), bindings, &path, &Matcher::covers),
            });
        }
    }

    fn writable(&mut self, side: Option<Side>, path: &CanonicalPath<'_>, subtree: bool) {
        let test = if subtree { Matcher::covers_subtree } else { Matcher::covers };
        self.list(Section::FsWrite, side, path, test);
    }

    fn list(
        &mut self,
        section: Section,
        side: Option<Side>,
        path: &CanonicalPath<'_>,
        test: impl Fn(&Matcher, &CanonicalPath<'_>) -> bool,
    ) {
        let bindings = self.bindings;
        self.each(section, side, |pattern| matches_path(pattern, rule::kind(section), bindings, path, &test));
    }
}

/// A rule of `net.deny` for everything is about Unix sockets too.
fn every_connection(pattern: &EndpointPattern, section: Section) -> Result<(), Miss> {
    let is_everything = pattern.host == Host::Any && pattern.ports.is_all() && !pattern.is_udp;
    if section == Section::NetDeny && is_everything { Ok(()) } else { Err(Miss::new(Reason::OtherKind, 0)) }
}

/// Whether a pattern, on this host, passes `test` for the path.
pub(super) fn matches_path(
    pattern: &Pattern,
    kind: Kind,
    bindings: &Bindings,
    path: &CanonicalPath<'_>,
    test: &dyn Fn(&Matcher, &CanonicalPath<'_>) -> bool,
) -> Result<(), Miss> {
    let matchers = match pattern {
        Pattern::Path(pattern) | Pattern::Net(NetPattern::Unix(pattern)) => {
            let matchers = pattern.matchers(bindings, kind);
            if matchers.is_empty() {
                return Err(Miss::new(Reason::Unbound(variable(pattern)), 0));
            }
            matchers
        }
        Pattern::Program(name) => programs(name, bindings)?,
        Pattern::Net(NetPattern::Endpoint(_)) | Pattern::Named(_) => {
            return Err(Miss::new(Reason::OtherKind, 0));
        }
    };
    if matchers.iter().any(|matcher| test(matcher, path)) {
        return Ok(());
    }
    let nearest = matchers.iter().map(|matcher| matcher.miss(path.bytes)).reduce(Miss::nearer);
    let mut nearest = nearest.unwrap_or(Miss::new(Reason::OtherKind, 0));
    if let Pattern::Program(_) = pattern {
        let stands_for =
            matchers.first().map(|matcher| String::from_utf8_lossy(matcher.prefix()).into_owned());
        nearest.reason = stands_for.map_or(Reason::NotInPath, Reason::OtherProgram);
    }
    Err(nearest)
}

fn programs(name: &str, bindings: &Bindings) -> Result<Vec<Matcher>, Miss> {
    let found = bindings.programs.iter().filter(|(bound, _)| bound == name);
    let paths = found.flat_map(|(_, paths)| paths).filter_map(|path| crate::path::absolute(path));
    let matchers: Vec<Matcher> = paths.map(Matcher::literal).collect();
    if matchers.is_empty() { Err(Miss::new(Reason::NotInPath, 0)) } else { Ok(matchers) }
}

fn variable(pattern: &PathPattern) -> &'static str {
    let canonical = pattern.canonical();
    if canonical.starts_with('~') {
        "${home}"
    } else if canonical.starts_with("${tmp}") {
        "${tmp}"
    } else {
        "${workspace}"
    }
}
