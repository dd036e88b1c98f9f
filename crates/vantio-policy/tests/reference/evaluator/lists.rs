//! What the lists of patterns say.

use std::net::IpAddr;

use vantio_core::{Access, Decision, Effect, Endpoint, Intent, Section, Target, Transport};

use super::{
    Evaluator, Reading, Reason, Reply, Rule, named,
    network::{self, Closed},
    paths::{self, Name, Part, Pattern},
};

impl Evaluator<'_> {
    pub(super) fn judge_lists(&self, intent: &Intent<'_>) -> Reply {
        let always = || Reply::refused(Reason::Always);
        match (intent.effect.name(), intent.target) {
            ("fs.stat", Target::Path { path, .. }) => self.stat(path),
            ("fs.rename" | "fs.link", Target::Paths { from, to, subtree }) => self.rename(from, to, subtree),
            ("fs.rename" | "fs.link", _) => always(),
            ("proc.exec", Target::Path { path, .. }) => self.exec(path),
            ("proc.signal", Target::Process(number)) if number > 1 => Reply::permitted(Reason::Always),
            ("net.connect", Target::Endpoint(endpoint)) => self.connect(&endpoint),
            ("net.connect", Target::Unix(path)) => self.unix(path),
            ("net.dns", Target::Name(name)) => self.resolve(name),
            ("net.bind" | "net.listen", _) => Reply::permitted(Reason::Always),
            ("tool.call", Target::Named(name)) => {
                self.named(name, Some(Section::ToolsDeny), Section::ToolsAllow)
            }
            ("infer", Target::Named(name)) => self.named(name, None, Section::InferModels),
            (name, Target::Path { path, access, subtree }) if name.starts_with("fs.") => {
                self.change(intent.effect, path, access, subtree)
            }
            _ => always(),
        }
    }

    fn change(&self, effect: Effect, path: &[u8], access: Access, subtree: bool) -> Reply {
        let Some(path) = paths::names(path) else { return Reply::refused(Reason::Always) };
        if let Some(denied) = self.denied(&path) {
            return denied;
        }
        let is_rmdir = effect.name() == "fs.rmdir";
        if (subtree || is_rmdir)
            && let Some(refused) = self.moved(|patterns| paths::is_left_by_name(patterns, &path))
        {
            return refused;
        }
        if effect.name() == "fs.open" && access == Access::Read && !subtree {
            return self
                .permission(Section::FsRead, |pattern| paths::covers_or_lists(pattern, &path))
                .or_else(|| {
                    self.permission(Section::FsWrite, |pattern| paths::covers_or_lists(pattern, &path))
                })
                .or_else(|| {
                    self.permission(Section::ExecAllow, |pattern| paths::covers(pattern, &path, false))
                })
                .unwrap_or(Reply::refused(Reason::Unmatched(Section::FsRead)));
        }
        // What is removed as a directory is empty.
        self.write(&path, subtree && !is_rmdir)
    }

    fn write(&self, path: &[Name<'_>], subtree: bool) -> Reply {
        let covers = |pattern: &[Part]| {
            if subtree {
                paths::covers_with_all_below(pattern, path)
            } else {
                paths::covers(pattern, path, false)
            }
        };
        self.permission(Section::FsWrite, covers)
            .unwrap_or(Reply::refused(Reason::Unmatched(Section::FsWrite)))
    }

    fn rename(&self, from: &[u8], to: &[u8], subtree: bool) -> Reply {
        let (Some(from), Some(to)) = (paths::names(from), paths::names(to)) else {
            return Reply::refused(Reason::Always);
        };
        if let Some(denied) = self.denied(&from).or_else(|| self.denied(&to)) {
            return denied;
        }
        if subtree
            && let Some(refused) =
                self.moved(|patterns| paths::left(patterns, &from) != paths::left(patterns, &to))
        {
            return refused;
        }
        let first = self.write(&from, subtree);
        if first.decision == Decision::Permit { self.write(&to, subtree) } else { first }
    }

    /// What is denied may itself be seen, and nothing below it.
    fn stat(&self, path: &[u8]) -> Reply {
        let Some(mut path) = paths::names(path) else { return Reply::refused(Reason::Always) };
        path.pop();
        self.denied(&path).unwrap_or(Reply::permitted(Reason::Always))
    }

    fn exec(&self, path: &[u8]) -> Reply {
        let Some(path) = paths::names(path) else { return Reply::refused(Reason::Always) };
        self.denied(&path)
            .or_else(|| self.refusal(Section::ExecDeny, |pattern| paths::covers(pattern, &path, true)))
            .or_else(|| self.permission(Section::ExecAllow, |pattern| paths::covers(pattern, &path, false)))
            .unwrap_or(Reply::refused(Reason::Unmatched(Section::ExecAllow)))
    }

    fn denied(&self, path: &[Name<'_>]) -> Option<Reply> {
        self.refusal(Section::FsDeny, |pattern| paths::covers(pattern, path, true))
    }

    fn unix(&self, path: &[u8]) -> Reply {
        let Some(path) = paths::names(path) else { return Reply::refused(Reason::Always) };
        let is_everything =
            |rule: &network::Rule| rule.host == "*" && !rule.is_udp && rule.has_every_port(true);
        self.denied(&path)
            .or_else(|| self.refusal(Section::NetDeny, |pattern| paths::covers(pattern, &path, true)))
            .or_else(|| {
                self.network(Section::NetDeny, is_everything).map(|rules| refused(Section::NetDeny, rules))
            })
            .or_else(|| self.permission(Section::NetAllow, |pattern| paths::covers(pattern, &path, false)))
            .unwrap_or(Reply::refused(Reason::Unmatched(Section::NetAllow)))
    }

    fn resolve(&self, name: &str) -> Reply {
        if !network::is_canonical(name) {
            return Reply::refused(Reason::Always);
        }
        let denied = self.network(Section::NetDeny, |rule| {
            !rule.is_udp && rule.has_every_port(true) && rule.has_name(name, true)
        });
        if let Some(rules) = denied {
            return refused(Section::NetDeny, rules);
        }
        match self.network(Section::NetAllow, |rule| rule.has_name(name, false)) {
            Some(rules) => permitted(Section::NetAllow, rules),
            None => Reply::refused(Reason::Unmatched(Section::NetAllow)),
        }
    }

    fn connect(&self, endpoint: &Endpoint) -> Reply {
        if endpoint.in_run {
            return Reply::permitted(Reason::Always);
        }
        let port = endpoint.address.port();
        let is_udp = endpoint.transport == Transport::Udp;
        let forms = network::forms(endpoint.address.ip());
        let answers = self.world.answers.iter();
        let names: Vec<&str> = answers
            .filter(|(_, address)| network::forms(*address)[0] == forms[0])
            .map(|(name, _)| name.as_str())
            .collect();
        let denied = self.network(Section::NetDeny, |rule| {
            let is_about_it = if rule.is_for_addresses() {
                forms.iter().any(|form| rule.has_address(*form))
            } else {
                rule.host == "*" || names.iter().any(|name| rule.has_name(name, true))
            };
            is_about_it && (is_udp || !rule.is_udp) && rule.has_port(port, true)
        });
        if let Some(rules) = denied {
            return refused(Section::NetDeny, rules);
        }
        let mut replies =
            forms.iter().map(|form| self.reach(*form, port, is_udp, &names)).collect::<Vec<_>>();
        let refused = replies.iter().position(|reply| reply.decision != Decision::Permit);
        replies.swap_remove(refused.unwrap_or(0))
    }

    /// Whether one form of a destination is permitted.
    fn reach(&self, form: IpAddr, port: u16, is_udp: bool, names: &[&str]) -> Reply {
        let applies = |rule: &network::Rule| rule.is_udp == is_udp && rule.has_port(port, false);
        let by_address =
            |rule: &network::Rule| applies(rule) && rule.is_for_addresses() && rule.has_address(form);
        if let Some(rules) = self.network(Section::NetAllow, by_address) {
            return permitted(Section::NetAllow, rules);
        }
        let by_name = |rule: &network::Rule| {
            applies(rule)
                && !rule.is_for_addresses()
                && (rule.host == "*" || names.iter().any(|name| rule.has_name(name, false)))
        };
        let unmatched = Reply::refused(Reason::Unmatched(Section::NetAllow));
        match self.network(Section::NetAllow, by_name) {
            None => unmatched,
            Some(rules) => match network::closed(form, &self.world.bindings.host_addresses) {
                None => permitted(Section::NetAllow, rules),
                Some(Closed::Always) if !names.is_empty() => Reply::refused(Reason::Always),
                Some(_) => unmatched,
            },
        }
    }

    fn named(&self, name: &str, deny: Option<Section>, allow: Section) -> Reply {
        let of = |section| {
            self.texts(
                section,
                |reading| matches!(reading, Reading::Named(text) if named::matches(text, name)),
            )
        };
        if let Some((section, rules)) = deny.and_then(|section| Some((section, of(section)?))) {
            return refused(section, rules);
        }
        match of(allow) {
            Some(rules) => permitted(allow, rules),
            None => Reply::refused(Reason::Unmatched(allow)),
        }
    }

    fn refusal(&self, section: Section, test: impl Fn(&[Part]) -> bool) -> Option<Reply> {
        self.paths(section, test).map(|rules| refused(section, rules))
    }

    /// The refusal by a deny that a test holds for with all of its readings.
    fn moved(&self, test: impl Fn(&[Pattern]) -> bool) -> Option<Reply> {
        let is_moved = |reading: &Reading<'_>| matches!(reading, Reading::Paths(own) if test(own));
        self.texts(Section::FsDeny, is_moved).map(|rules| refused(Section::FsDeny, rules))
    }

    fn permission(&self, section: Section, test: impl Fn(&[Part]) -> bool) -> Option<Reply> {
        self.paths(section, test).map(|rules| permitted(section, rules))
    }

    fn paths(&self, section: Section, test: impl Fn(&[Part]) -> bool) -> Option<Vec<String>> {
        self.texts(section, |reading| {
            matches!(reading, Reading::Paths(patterns) if patterns.iter().any(|pattern| test(&pattern.parts)))
        })
    }

    fn network(&self, section: Section, test: impl Fn(&network::Rule) -> bool) -> Option<Vec<String>> {
        self.texts(section, |reading| matches!(reading, Reading::Network(rule) if test(rule)))
    }

    fn texts(&self, section: Section, test: impl Fn(&Reading<'_>) -> bool) -> Option<Vec<String>> {
        let texts = self.of(section).filter(|rule| test(&rule.reading));
        let texts: Vec<String> = texts.map(|rule| rule.shown.clone()).collect();
        (!texts.is_empty()).then_some(texts)
    }

    fn of(&self, section: Section) -> impl Iterator<Item = &Rule<'_>> {
        self.rules.iter().filter(move |rule| rule.section == section)
    }
}

fn permitted(section: Section, rules: Vec<String>) -> Reply {
    Reply::permitted(Reason::Rules(section, rules))
}

fn refused(section: Section, rules: Vec<String>) -> Reply {
    Reply::refused(Reason::Rules(section, rules))
}
