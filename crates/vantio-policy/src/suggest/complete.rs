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
    names::base_name,
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
        if let Some(list) = denied.get_mut(&Section::FsDeny) {
            let touched: BTreeSet<&[u8]> = self.seen.iter().flat_map(|seen| paths(&seen.subject)).collect();
            let is_free = |closed: &&&str| !touched.iter().any(|path| is_like(path, closed));
            for closed in ALWAYS_CLOSED.iter().filter(is_free) {
                if !list.iter().any(|text| text == closed) {
                    list.push((*closed).to_string());
                }
            }
        }
        denied
    }

    /// Judges everything that was seen by the draft, and adds what is missing.
    pub(super) fn complete(&mut self, mut denied: Denied) -> Denied {
        for _ in 0..ROUNDS {
            let refused = self.refused(&denied);
            if refused.is_empty() {
                break;
            }
            for (index, section, deny) in refused {
                let Some(seen) = self.seen.get(index).cloned() else { continue };
                match deny {
                    // A deny that was only meant to be safe gives way to what was needed.
                    Some(text) if ALWAYS_CLOSED.contains(&text.as_str()) => {
                        denied.entry(section).or_default().retain(|own| *own != text);
                    }
                    Some(_) => self.leave_out(&seen, DENIED),
                    None => self.add_missing(section, &seen),
                }
            }
        }
        for (index, ..) in self.refused(&denied) {
            if let Some(seen) = self.seen.get(index).cloned() {
                self.leave_out(&seen, UNWRITABLE);
            }
        }
        denied
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
    fn program(&self, denied: &Denied) -> PolicyProgram {
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

/// Whether the path is, or lies below, one that a rule of [`ALWAYS_CLOSED`] is about.
fn is_like(path: &[u8], closed: &str) -> bool {
    match closed.strip_prefix("**/") {
        Some(".git/hooks/*") => path.windows(HOOKS.len()).any(|part| part == HOOKS),
        Some(name) => path.split(|byte| *byte == b'/').any(|part| part == name.as_bytes()),
        None => base_name(path) == closed,
    }
}

const HOOKS: &[u8] = b"/.git/hooks/";

/// What stays closed in every folder unless a run needed it: secrets, and what would run
/// outside of the phantom after a commit.
const ALWAYS_CLOSED: &[&str] = &["**/.env", "**/id_rsa", "**/id_ecdsa", "**/id_ed25519", "**/.git/hooks/*"];

/// How often what is missing is added.
const ROUNDS: usize = 4;

const DENIED: &str = "a deny of the learning policy covers it";
