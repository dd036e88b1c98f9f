//! Advice in the words of a policy.

use alloc::{
    format,
    string::{String, ToString},
};

use vantio_core::{Effect, Section};

use super::{draft::without_slash, places::Places};
use crate::{Advice, Bindings, Rule, advise, explain::Subject};

impl Advice {
    /// The advice as a suggestion would write it: with the variables of policies, and of a folder that was only listed,
    /// the rule for that folder alone. `None` where no rule names just this.
    pub fn written(
        self,
        effect: Effect,
        subject: &Subject,
        bindings: &Bindings,
        is_directory: impl Fn(&[u8]) -> bool,
    ) -> Option<Self> {
        let Self::Add { section, rule } = &self else { return Some(self) };
        let section = *section;
        let is_it = |path: &&[u8]| advise::path_rule(path).as_ref() == Some(rule);
        let (path, scheme) = match subject {
            Subject::Path { path, .. } => (Some(path.as_slice()).filter(is_it), ""),
            Subject::Paths { from, to, .. } => ([from.as_slice(), to].into_iter().find(is_it), ""),
            Subject::Unix(path) => (Some(path.as_slice()), "unix:"),
            _ => (None, ""),
        };
        let Some(path) = path else { return Some(self) };
        let is_listed = section == Section::FsRead
            && effect == Effect::FsOpen
            && matches!(subject, Subject::Path { subtree: false, .. })
            && is_directory(path);
        let (path, places) = (without_slash(path), Places::new(bindings));
        // The root has no name, so that a rule for it is one for all that there is.
        if path.is_empty() {
            return None;
        }
        if is_listed {
            return places.entry(&path).map(|rule| Self::Add { section, rule });
        }
        let is_rule = |rule: &String| Rule::parse(section, rule, |name| Some(name.to_string())).is_ok();
        let written = places.whole(&path).map(|text| format!("{scheme}{text}")).filter(is_rule);
        Some(written.map_or(self, |rule| Self::Add { section, rule }))
    }
}
