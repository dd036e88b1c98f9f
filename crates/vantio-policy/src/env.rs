//! Which environment variables a run gets.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use crate::{
    credentials::CredentialNames,
    glob::{self, Glob, Parsed},
};

/// The rules of `env`. Ordinary variables pass; one whose name looks like a
/// credential passes only where `allow` covers its name; what `deny` covers does
/// not pass; what `set` names has that value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvRules {
    pub(crate) allow: Vec<NamePattern>,
    pub(crate) deny: Vec<NamePattern>,
    pub(crate) set: BTreeMap<String, String>,
}

/// Variables that a run gets: names and values.
pub type Variables = Vec<(Vec<u8>, Vec<u8>)>;

impl EnvRules {
    /// The variables of a run, from those of its caller, sorted by name.
    pub fn select<'a>(&self, variables: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Variables {
        let credentials = CredentialNames::new();
        let mut chosen: BTreeMap<Vec<u8>, Vec<u8>> = variables
            .into_iter()
            .filter(|(name, _)| self.lets_pass(name, &credentials))
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect();
        for (name, value) in &self.set {
            chosen.insert(name.clone().into_bytes(), value.clone().into_bytes());
        }
        chosen.into_iter().collect()
    }

    /// Whether the caller's variable of this name is passed on.
    pub fn passes(&self, name: &[u8]) -> bool {
        self.lets_pass(name, &CredentialNames::new())
    }

    fn lets_pass(&self, name: &[u8], credentials: &CredentialNames) -> bool {
        !covers(&self.deny, name) && (!credentials.have(name) || covers(&self.allow, name))
    }

    /// The name patterns of `allow`.
    pub fn allow(&self) -> impl Iterator<Item = &str> {
        self.allow.iter().map(|pattern| pattern.text.as_str())
    }

    /// The name patterns of `deny`.
    pub fn deny(&self) -> impl Iterator<Item = &str> {
        self.deny.iter().map(|pattern| pattern.text.as_str())
    }

    /// The variables of `set`.
    pub fn set(&self) -> impl Iterator<Item = (&str, &str)> {
        self.set.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

pub(crate) fn covers(patterns: &[NamePattern], name: &[u8]) -> bool {
    patterns.iter().any(|pattern| pattern.covers(name))
}

/// A variable's name, in which `*` and `?` are wildcards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamePattern {
    pub(crate) text: String,
    pub(crate) glob: Option<Glob>,
}

impl NamePattern {
    /// `None` when the text is no name: empty, too long, or with a character that is
    /// neither a wildcard nor printable ASCII other than `=`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_name =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'=' | b'[' | b']' | b'{' | b'}' | b'\\');
        if text.is_empty() || text.len() > 256 || !text.bytes().all(is_name) {
            return None;
        }
        let glob = match glob::parse(text).ok()? {
            Parsed::Literal(_) => None,
            Parsed::Glob(glob) => Some(glob),
        };
        Some(Self { text: text.into(), glob })
    }

    fn covers(&self, name: &[u8]) -> bool {
        self.glob.as_ref().map_or(self.text.as_bytes() == name, |glob| glob.matches(name))
    }
}

/// Whether `set` may name a variable so.
pub(crate) fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 256 && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(rules: &EnvRules, names: &[&str]) -> Vec<String> {
        let variables = names.iter().map(|name| (name.as_bytes(), b"v".as_slice()));
        rules.select(variables).into_iter().map(|(name, _)| String::from_utf8(name).unwrap()).collect()
    }

    fn patterns(texts: &[&str]) -> Vec<NamePattern> {
        texts.iter().map(|text| NamePattern::parse(text).unwrap()).collect()
    }

    #[test]
    fn ordinary_variables_pass_and_credentials_do_not() {
        let names = [
            "PATH",
            "HOME",
            "TERM",
            "KEYBOARD",
            "TOKENIZERS_PARALLELISM",
            "GITHUB_TOKEN",
            "aws_secret_access_key",
        ];
        let expected = ["HOME", "KEYBOARD", "PATH", "TERM", "TOKENIZERS_PARALLELISM"];
        assert_eq!(select(&EnvRules::default(), &names), expected);
    }

    #[test]
    fn deny_beats_allow_and_set_sets() {
        let rules = EnvRules {
            allow: patterns(&["OPENAI_*", "NPM_TOKEN"]),
            deny: patterns(&["*_TOKEN", "LANG"]),
            set: BTreeMap::from([("LANG".into(), "C.UTF-8".into())]),
        };
        let chosen = rules.select([
            (b"OPENAI_API_KEY".as_slice(), b"k".as_slice()),
            (b"NPM_TOKEN", b"t"),
            (b"LANG", b"de"),
            (b"CI", b"1"),
        ]);
        let expected = [("CI", "1"), ("LANG", "C.UTF-8"), ("OPENAI_API_KEY", "k")];
        assert_eq!(
            chosen,
            expected.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        );
    }
}
