//! What a draft leaves closed, and the proof that the rest suffices: everything that was seen is
//! judged by it, and what it would refuse is added.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

use vantio_core::{Cause, Intent, Section};

use super::{
    Evidence, LeftOut, Observation,
    draft::{Draft, UNWRITABLE, paths, without_slash},
    tree::Shape,
};
use crate::{
    PolicyProgram, Rule, State, credentials, decide,
    explain::Subject,
    names::lower_ascii,
    program::Parts,
    rule::{LISTS, Rules as ProgramRules},
};

/// Rules that refuse, by list.
pub(super) type Denied = BTreeMap<Section, Vec<String>>;

impl Draft<'_> {
    /// What stays closed: the learning policies' denies, and what nobody needed.
    pub(super) fn denied(&self) -> Denied {
        let mut denied: Denied = BTreeMap::new();
        for section in [Section::FsDeny, Section::ExecDeny, Section::NetDeny, Section::ToolsDeny] {
            let texts = self.lessons.iter().flat_map(|lesson| lesson.program.rules(section)).map(Rule::text);
            let own = texts.filter(|text| !credentials::STORES.iter().any(|store| store.pattern == *text));
            let list: BTreeSet<String> = own.map(ToString::to_string).collect();
            denied.insert(section, list.into_iter().collect());
        }
        let list = denied.entry(Section::FsDeny).or_default();
        for text in always_closed() {
            if !list.contains(&text) {
                list.push(text);
            }
        }
        denied
    }

    /// Judges everything that was seen by the draft, and adds what is missing.
    pub(super) fn complete(&mut self, mut denied: Denied) -> Denied {
        let mut rounds = 0;
        while rounds < ROUNDS {
            let refused = self.refused(&denied);
            if refused.is_empty() {
                break;
            }
            let closed = self.opened.len();
            for (index, section, deny) in refused {
                let Some(seen) = self.seen.get(index).cloned() else { continue };
                match deny {
                    // A deny that was only meant to be safe gives way to what was needed.
                    Some(text) if self.may_give_way(section, &text) => {
                        denied.entry(section).or_default().retain(|own| *own != text);
                        self.opened.insert(text);
                    }
                    Some(_) => self.leave_out(&seen, DENIED),
                    None => self.add_missing(section, &seen),
                }
            }
            // Of several denies, a judgement tells one.
            rounds += usize::from(self.opened.len() == closed);
        }
        for (index, ..) in self.refused(&denied) {
            if let Some(seen) = self.seen.get(index).cloned() {
                self.leave_out(&seen, UNWRITABLE);
            }
        }
        denied
    }

    /// Whether a deny is this draft's own idea, and not the learning policies'.
    fn may_give_way(&self, section: Section, text: &str) -> bool {
        let mut own = self.lessons.iter().flat_map(|lesson| lesson.program.rules(section));
        section == Section::FsDeny
            && always_closed().any(|closed| closed == text)
            && !own.any(|rule| rule.text() == text)
    }

    fn leave_out(&mut self, seen: &Observation, why: &'static str) {
        let targets: Vec<String> =
            paths(&seen.subject).into_iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
        let what = if targets.is_empty() {
            match &seen.subject {
                Subject::Endpoint { endpoint, .. } => endpoint.address.to_string(),
                Subject::Name(name) | Subject::Named(name) => name.clone(),
                _ => String::new(),
            }
        } else {
            targets.join(" → ")
        };
        self.left_out.insert(LeftOut { what: format!("{} {what}", seen.effect), why });
    }

    fn add_missing(&mut self, section: Section, seen: &Observation) {
        let evidence = Evidence::of(seen);
        let is_whole = section != Section::FsRead;
        for path in paths(&seen.subject) {
            let path = without_slash(path);
            let is_entry = !is_whole && self.is_folder(&path);
            let shape = if is_entry { Shape::Entry(path) } else { Shape::Whole(path) };
            if let Some(text) = self.text(&shape) {
                self.add(section, text, &evidence);
            }
        }
        if let Subject::Endpoint { endpoint, .. } = &seen.subject {
            self.add(section, super::network::address_rule(endpoint), &evidence);
        }
    }

    /// What the draft would refuse: the observation, the list, and the rule where one refused.
    fn refused(&self, denied: &Denied) -> Vec<(usize, Section, Option<String>)> {
        let program = self.program(denied);
        let mut state = State::new(&program, self.bindings.clone());
        for seen in &self.seen {
            if let Subject::Endpoint { endpoint, .. } = &seen.subject {
                seen.names.iter().for_each(|name| state.learn_name(name, endpoint.address.ip(), u64::MAX));
            }
        }
        let verdicts = self.seen.iter().enumerate().filter_map(|(index, seen)| {
            let verdict = decide(&program, &state, &Intent::new(seen.effect, seen.subject.target()));
            match verdict.cause {
                _ if verdict.is_permit() => None,
                Cause::Rule { section, text } => Some((index, section, Some(text.to_string()))),
                Cause::Unmatched(section) => Some((index, section, None)),
                _ => None,
            }
        });
        let left: Vec<(usize, Section, Option<String>)> = verdicts.collect();
        left.into_iter().filter(|(index, ..)| !self.is_left_out(*index)).collect()
    }

    fn is_left_out(&self, index: usize) -> bool {
        let Some(seen) = self.seen.get(index) else { return true };
        let named = |path: &[u8]| format!("{} {}", seen.effect, String::from_utf8_lossy(path));
        paths(&seen.subject).into_iter().any(|path| self.left_out.iter().any(|out| out.what == named(path)))
    }

    /// The draft as a program.
    pub(super) fn program(&self, denied: &Denied) -> PolicyProgram {
        let mut lists: [Vec<Rule>; LISTS] = Default::default();
        let mut put = |section: Section, text: &str| {
            // What is no rule is not written either, and so nothing that the document permits.
            if let Ok(rule) = Rule::parse(section, text, lower_ascii) {
                lists[section as usize].push(rule);
            }
        };
        for (section, rules) in &self.rules {
            for text in rules.keys() {
                put(*section, text);
            }
        }
        for (section, texts) in denied {
            for text in texts {
                put(*section, text);
            }
        }
        for store in credentials::STORES {
            put(Section::FsDeny, store.pattern);
        }
        PolicyProgram::new(Parts { rules: ProgramRules::new(lists), ..Parts::default() })
    }
}

/// What stays closed in every folder unless a run needed it: secrets, and what git would run
/// outside of the phantom after a commit.
fn always_closed() -> impl Iterator<Item = String> {
    let secrets = SECRETS.iter().map(|name| format!("**/{name}"));
    let hooks = |folder: &'static str| HOOKS.iter().map(move |name| format!("{folder}/{name}"));
    secrets.chain(HOOK_FOLDERS.iter().flat_map(move |folder| hooks(folder)))
}

const SECRETS: &[&str] = &[".env", "id_rsa", "id_ecdsa", "id_ed25519"];

/// The second is for submodules.
const HOOK_FOLDERS: [&str; 2] = ["**/.git/hooks", "**/.git/modules/**/hooks"];

/// The names of githooks(5); samples, which a clone writes, are none of them.
const HOOKS: &[&str] = &[
    "applypatch-msg",
    "pre-applypatch",
    "post-applypatch",
    "pre-commit",
    "pre-merge-commit",
    "prepare-commit-msg",
    "commit-msg",
    "post-commit",
    "pre-rebase",
    "post-checkout",
    "post-merge",
    "pre-push",
    "pre-receive",
    "update",
    "proc-receive",
    "post-receive",
    "post-update",
    "reference-transaction",
    "push-to-checkout",
    "pre-auto-gc",
    "post-rewrite",
    "sendemail-validate",
    "fsmonitor-watchman",
    "p4-changelist",
    "p4-prepare-changelist",
    "p4-post-changelist",
    "p4-pre-submit",
    "post-index-change",
];

/// How often what is missing is added.
const ROUNDS: usize = 4;

const DENIED: &str = "a deny of the learning policy covers it";
