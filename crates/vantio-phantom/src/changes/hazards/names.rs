//! Paths as the most forgiving file system would compare them, and the
//! patterns of the table.

use super::super::escape::is_hidden;

/// The names of a path, folded: without case, without what some file systems
/// ignore (invisible characters, dots and spaces at the end, a stream after a
/// colon), and with the short name of `.git` spelled out. What git guards
/// against since CVE-2014-9390 is the same name here.
pub(super) fn folded(path: &[u8]) -> Vec<String> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).map(fold).collect()
}

fn fold(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    // Upper case first: `ſ` and `K` have none of their own.
    let upper: String =
        text.chars().filter(|character| !is_hidden(*character)).collect::<String>().to_uppercase();
    let lower = upper.to_lowercase();
    let whole = lower.split(':').next().unwrap_or_default();
    let trimmed = whole.trim_end_matches([' ', '.']);
    match trimmed {
        // A name of dots alone is only that.
        "" => lower,
        short if short.strip_prefix("git~").is_some_and(|number| number.parse::<u32>().is_ok()) => {
            ".git".into()
        }
        name => name.to_owned(),
    }
}

/// A pattern of the table, taken apart.
pub(super) struct Pattern {
    parts: Vec<String>,
    is_rooted: bool,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        // The table is written as people write these names.
        let parts = text.split('/').filter(|part| !part.is_empty()).map(str::to_lowercase);
        Self { parts: parts.collect(), is_rooted: text.starts_with('/') }
    }

    /// True when the names end as the pattern says, or, for one that begins
    /// with a slash, are what it says.
    pub(super) fn matches(&self, names: &[String]) -> bool {
        self.is(&self.parts, names)
    }

    /// True when something at these names would be a folder on the way to
    /// what the pattern says.
    pub(super) fn leads_to(&self, names: &[String]) -> bool {
        (1..self.parts.len()).map(|length| &self.parts[..length]).any(|parts| {
            // A lone wildcard would be every name.
            parts.last().is_some_and(|last| last != "**") && self.is(parts, names)
        })
    }

    /// True when it says no last name: what is below is meant.
    pub(super) fn is_open(&self) -> bool {
        self.parts.last().is_some_and(|last| last == "**")
    }

    /// A name that every path has which matches.
    pub(super) fn key(&self) -> Option<&str> {
        self.parts.iter().map(String::as_str).find(|part| !part.contains('*'))
    }

    fn is(&self, parts: &[String], names: &[String]) -> bool {
        // Most paths differ in the last name already.
        let differs = |(part, name): (&String, &String)| part != "**" && !is_name(part, name);
        if parts.last().zip(names.last()).is_some_and(differs) {
            return false;
        }
        let starts = if self.is_rooted { 1 } else { names.len() };
        (0..starts).any(|start| all(parts, &names[start..]))
    }
}

/// The names before the first wildcard of a pattern, joined.
pub(super) fn literal(pattern: &str) -> String {
    let parts = pattern.split('/').take_while(|part| !part.contains('*'));
    parts.collect::<Vec<_>>().join("/")
}

fn all(parts: &[String], names: &[String]) -> bool {
    let Some((first, parts)) = parts.split_first() else { return names.is_empty() };
    if first == "**" {
        if parts.is_empty() {
            return !names.is_empty();
        }
        return (0..names.len()).any(|skipped| all(parts, &names[skipped..]));
    }
    let Some((name, names)) = names.split_first() else { return false };
    is_name(first, name) && all(parts, names)
}

/// Compares one name; a `*` of the pattern is any part of it. Both are folded.
pub(super) fn is_name(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_has_many_spellings() {
        for name in [
            ".git",
            ".GIT",
            ".Git ",
            ".git...",
            ".g\u{200c}it",
            ".git\u{feff}",
            "git~1",
            "GIT~2",
            ".git:stream",
            ".g\u{130}t",
            ".git\u{fe0f}",
        ] {
            let found = fold(name.as_bytes());
            // A dotted capital I is an i with a dot of its own, on every file system.
            assert_eq!(found == ".git", name != ".g\u{130}t", "{name:?} {found:?}");
        }
        assert_eq!(fold("hoo\u{212a}s".as_bytes()), "hooks");
        assert_eq!(fold("hook\u{17f}".as_bytes()), "hooks");
        assert_eq!(fold(b"..."), "...");
    }

    #[test]
    fn patterns_are_read_from_the_end() {
        let is = |pattern, path: &str| Pattern::new(pattern).matches(&folded(path.as_bytes()));
        assert!(is(".git/hooks/**", "/w/.git/hooks/a/b") && !is(".git/hooks/**", "/w/.git/hooks"));
        assert!(is(".git/**/hooks/**", "/w/.git/modules/m/hooks/x"));
        assert!(is("*.git/hooks/**", "/w/bare.git/hooks/x") && !is("*.git/hooks/**", "/w/bare/hooks/x"));
        assert!(is("/etc/cron*/**", "/etc/cron.d/x") && !is("/etc/cron*/**", "/w/etc/cron.d/x"));
        assert!(is("package.json", "/w/Package.JSON") && !is("package.json", "/w/package.json/x"));
        assert!(is("a*b*c", "/axbyc") && !is("a*b*c", "/axcyb"));
        let leads = |pattern, path: &str| Pattern::new(pattern).leads_to(&folded(path.as_bytes()));
        assert!(leads(".git/hooks/**", "/w/.git/hooks") && leads(".git/hooks/**", "/w/.git"));
        assert!(!leads(".git/hooks/**", "/w/hooks") && !leads(".envrc", "/w/.envrc"));
        assert_eq!(literal(".git/**/hooks/**"), ".git");
    }
}
