//! What files say that matters, compared with what the host's say.
//!
//! Readers here are stricter than the programs that obey the files: what they
//! do not understand is `None`, which counts as a hazard.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::table::{HARMLESS_EDITOR_SETTINGS, HARMLESS_GIT_KEYS, INSTALL_SCRIPTS, SCRIPT_KEYS};

/// True when a key that is not known to be harmless changed, or an address
/// of a remote repository that the host knows, or which remote repository a branch has.
pub(super) fn changes_git_config(after: &[u8], before: &[u8]) -> Option<bool> {
    let (after, before) = (git_settings(after)?, git_settings(before)?);
    let matters = |settings: &[(String, String)]| -> Vec<(String, String)> {
        settings.iter().filter(|(key, value)| !is_harmless(key, value)).cloned().collect()
    };
    let addresses = |settings: &[(String, String)]| -> BTreeMap<String, Vec<String>> {
        let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in settings.iter().filter(|(key, _)| is_address(key) || is_branch_remote(key)) {
            map.entry(key.clone()).or_default().push(value.clone());
        }
        map
    };
    let (now, then) = (addresses(&after), addresses(&before));
    let is_redirected = |(key, values): (&String, &Vec<String>)| match now.get(key) {
        Some(now) => now != values,
        // Who deletes a branch deletes what it had.
        None => !is_branch_remote(key),
    };
    Some(matters(&after) != matters(&before) || then.iter().any(is_redirected))
}

fn is_harmless(key: &str, value: &str) -> bool {
    if is_address(key) {
        // `ext::` and its kind run programs, and git reads what quotes cut in two as one; an option begins with a dash.
        return !value.contains("::") && !value.contains('"') && !value.starts_with('-');
    }
    if is_branch_remote(key) {
        // Anything but a name is an address.
        return value == "." || is_remote_name(value);
    }
    HARMLESS_GIT_KEYS.iter().any(|harmless| match harmless.split_once('*') {
        Some((first, last)) => {
            key.len() > first.len() + last.len() && key.starts_with(first) && key.ends_with(last)
        }
        None => key == *harmless,
    })
}

fn is_address(key: &str) -> bool {
    key.strip_prefix("remote.").and_then(|rest| rest.rsplit_once('.')).is_some_and(|(_, name)| name == "url")
}

fn is_branch_remote(key: &str) -> bool {
    key.starts_with("branch.") && key.ends_with(".remote")
}

fn is_remote_name(value: &str) -> bool {
    value.starts_with(|first: char| first.is_ascii_alphanumeric())
        && value.chars().all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character))
}

/// Every key with its value, in order. Only the plainest form is understood:
/// a section alone on its line, a key alone on its line, no backslash.
fn git_settings(text: &[u8]) -> Option<Vec<(String, String)>> {
    let text = std::str::from_utf8(text).ok()?;
    if text.contains(|character: char| character.is_control() && !matches!(character, '\n' | '\t')) {
        return None;
    }
    let mut settings = Vec::new();
    let mut section = None;
    for line in text.lines().map(trimmed) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.contains('\\') {
            return None;
        }
        if let Some(header) = line.strip_prefix('[') {
            section = Some(git_section(header.strip_suffix(']')?)?);
            continue;
        }
        let (key, value) =
            line.split_once('=').map_or((line, "true"), |(key, value)| (trimmed(key), trimmed(value)));
        let is_key = key.starts_with(|first: char| first.is_ascii_alphabetic())
            && key.chars().all(|character| character.is_ascii_alphanumeric() || character == '-');
        if !is_key {
            return None;
        }
        settings.push((format!("{}.{}", section.as_deref()?, key.to_ascii_lowercase()), value.to_owned()));
    }
    Some(settings)
}

/// Without what git takes for space, which is less than Unicode does.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn git_section(header: &str) -> Option<String> {
    let is_plain = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '.'))
    };
    match header.split_once(' ') {
        None => is_plain(header).then(|| header.to_ascii_lowercase()),
        Some((name, rest)) => {
            let inner = trimmed(rest).strip_prefix('"')?.strip_suffix('"')?;
            let is_whole = !inner.contains(['"', '[', ']']);
            (is_plain(name) && is_whole).then(|| format!("{}.{inner}", name.to_ascii_lowercase()))
        }
    }
}

/// True when a line changed that gives files a filter, a diff or a merge
/// program, or that defines a macro.
pub(super) fn changes_attributes(after: &[u8], before: &[u8]) -> Option<bool> {
    Some(attribute_lines(after)? != attribute_lines(before)?)
}

fn attribute_lines(text: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(text).ok().filter(|text| !text.contains('\0'))?;
    let names = |line: &&str| ["filter", "diff=", "merge=", "[attr]"].iter().any(|word| line.contains(word));
    Some(text.lines().filter(names).collect())
}

/// True when the scripts changed; of a package below `node_modules`, see
/// [`changes_installed_scripts`].
pub(super) fn changes_package_scripts(after: &[u8], before: &[u8]) -> Option<bool> {
    let pick = |text: &[u8]| -> Option<Vec<Option<Value>>> {
        let mut object = object(text)?;
        Some(SCRIPT_KEYS.iter().map(|key| object.remove(*key)).collect())
    };
    Some(pick(after)? != pick(before)?)
}

/// The same of what is installed already: only scripts that run by themselves.
pub(super) fn changes_installed_scripts(after: &[u8], before: &[u8]) -> Option<bool> {
    let pick = |text: &[u8]| -> Option<Vec<Option<Value>>> {
        let mut object = object(text)?;
        let scripts = object.remove("scripts").unwrap_or_default();
        let of = |name: &&str| scripts.get(name).cloned();
        Some(INSTALL_SCRIPTS.iter().map(of).chain([object.remove("gypfile")]).collect())
    };
    Some(pick(after)? != pick(before)?)
}

/// The same of PHP's package manager.
pub(super) fn changes_composer_scripts(after: &[u8], before: &[u8]) -> Option<bool> {
    let pick = |text: &[u8]| -> Option<[Option<Value>; 2]> {
        let mut object = object(text)?;
        Some([object.remove("scripts"), object.remove("config")])
    };
    Some(pick(after)? != pick(before)?)
}

fn object(text: &[u8]) -> Option<Map<String, Value>> {
    if text.is_empty() {
        return Some(Map::new());
    }
    // A name that stands twice means one thing here and may mean another there.
    serde_json::from_slice::<Single>(text).ok().map(|single| single.0)
}

/// True when a setting changed that is not known to be harmless.
pub(super) fn changes_editor_settings(after: &[u8], before: &[u8]) -> Option<bool> {
    let pick = |text: &[u8]| -> Option<Map<String, Value>> {
        let mut settings = object(&without_comments(text)?)?;
        settings.retain(|key, _| !is_harmless_setting(key));
        Some(settings)
    };
    Some(pick(after)? != pick(before)?)
}

fn is_harmless_setting(key: &str) -> bool {
    HARMLESS_EDITOR_SETTINGS.iter().any(|harmless| key.starts_with(harmless))
}

/// JSON without comments and without commas before a closing bracket.
fn without_comments(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match (character, rest.peek()) {
            ('"', _) => {
                plain.push('"');
                loop {
                    let inner = rest.next()?;
                    plain.push(inner);
                    match inner {
                        '\\' => plain.push(rest.next()?),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ('/', Some('/')) => while rest.next_if(|next| *next != '\n').is_some() {},
            ('/', Some('*')) => {
                rest.next();
                let mut last = ' ';
                loop {
                    let next = rest.next()?;
                    if last == '*' && next == '/' {
                        break;
                    }
                    last = next;
                }
            }
            ('}' | ']', _) => {
                let kept = plain.trim_end().len();
                if plain[..kept].ends_with(',') {
                    plain.truncate(kept - 1);
                }
                plain.push(character);
            }
            _ => plain.push(character),
        }
    }
    Some(if plain.trim().is_empty() { Vec::new() } else { plain.into_bytes() })
}

/// A JSON object in which no name at the top stands twice.
struct Single(Map<String, Value>);

impl<'de> serde::Deserialize<'de> for Single {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Single;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut access: A) -> Result<Single, A::Error> {
                let mut map = Map::new();
                while let Some((key, value)) = access.next_entry::<String, Value>()? {
                    if map.insert(key, value).is_some() {
                        return Err(serde::de::Error::custom("a name stands twice"));
                    }
                }
                Ok(Single(map))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INIT: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n";

    #[test]
    fn only_what_matters_in_a_git_configuration_matters() {
        let changed = |more: &str| changes_git_config(format!("{INIT}{more}").as_bytes(), INIT.as_bytes());
        for harmless in [
            "",
            "# core.pager = x\n",
            "[remote \"origin\"]\n\turl = https://example.com/x.git\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
            "[branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n",
            "[branch \"local\"]\n\tremote = .\n\tmerge = refs/heads/main\n",
            "[user]\n\tname = \"A B\"\n",
        ] {
            assert_eq!(changed(harmless), Some(false), "{harmless}");
        }
        for key in [
            "core.hooksPath",
            "core.sshCommand",
            "core.fsmonitor",
            "core.pager",
            "core.editor",
            "core.askPass",
            "core.worktree",
            "core.gitProxy",
            "core.alternateRefsCommand",
            "core.attributesFile",
            "alias.st",
            "filter.x.clean",
            "filter.x.smudge",
            "filter.x.process",
            "diff.x.command",
            "diff.x.textconv",
            "diff.external",
            "merge.x.driver",
            "credential.helper",
            "gpg.program",
            "gpg.ssh.program",
            "include.path",
            "includeIf.gitdir:/.path",
            "url.x.insteadOf",
            "url.x.pushInsteadOf",
            "sequence.editor",
            "pager.log",
            "difftool.x.cmd",
            "mergetool.x.cmd",
            "browser.x.cmd",
            "remote.x.uploadpack",
            "remote.x.receivepack",
            "remote.x.proxy",
            "remote.x.vcs",
            "remote.x.pushurl",
            "sendemail.smtpServer",
            "uploadpack.packObjectsHook",
            "submodule.x.update",
            "protocol.ext.allow",
            "safe.directory",
            "http.proxy",
            "http.sslVerify",
            "trailer.x.command",
            "interactive.diffFilter",
            "init.templateDir",
            "extensions.worktreeConfig",
            "gc.recentObjectsHook",
            "commit.gpgSign",
            "core.somethingNew",
        ] {
            let (section, name) = key.rsplit_once('.').unwrap();
            let header = section
                .split_once('.')
                .map_or(format!("[{section}]"), |(name, sub)| format!("[{name} \"{sub}\"]"));
            assert_eq!(changed(&format!("{header}\n\t{name} = x\n")), Some(true), "{key}");
        }
        for address in ["ext::sh -c x", "ext\":\"\":\"sh -c x", "\"ext:\":sh -c x", "-x"] {
            assert_eq!(changed(&format!("[remote \"o\"]\n\turl = {address}\n")), Some(true), "{address}");
        }
        for address in ["ext::sh -c x", "https://b.example/x", "../other", "..", "a:b", "\"o\""] {
            assert_eq!(changed(&format!("[branch \"b\"]\n\tremote = {address}\n")), Some(true), "{address}");
        }
    }

    #[test]
    fn what_git_may_read_otherwise_is_not_understood() {
        for text in [
            "[core] pager = x\n",
            "[core]\n\tname = a \\\n\tb\n",
            "[core \"a\\\"b\"]\n",
            "[alias]\rst = !x\n",
            "pager = x\n",
            "[core]\n\t= x\n",
            "[core\n",
            "\u{feff}[core]\n\tbare = false\n",
            "[a]\nb\u{a0}= x\n",
            "[co\u{131}re]\n",
        ] {
            assert_eq!(changes_git_config(text.as_bytes(), b""), None, "{text:?}");
        }
        assert_eq!(changes_git_config(b"[core]\n\tbare = \xff\n", b""), None);
    }

    #[test]
    fn a_known_remote_that_moves_is_told_and_a_new_one_is_not() {
        let remote = |url: &str| format!("[remote \"origin\"]\n\turl = {url}\n");
        let (one, other) = (remote("https://a.example/x"), remote("https://b.example/x"));
        assert_eq!(changes_git_config(other.as_bytes(), one.as_bytes()), Some(true));
        assert_eq!(changes_git_config(one.as_bytes(), b""), Some(false));
        let branch = |remote: &str| format!("[branch \"b\"]\n\tremote = {remote}\n");
        assert_eq!(changes_git_config(branch("two").as_bytes(), branch("one").as_bytes()), Some(true));
        assert_eq!(changes_git_config(b"", branch("one").as_bytes()), Some(false));
    }

    #[test]
    fn scripts_matter_and_the_rest_of_a_package_does_not() {
        let before = br#"{"name": "a", "scripts": {"test": "t"}}"#;
        let changed = |after: &str| changes_package_scripts(after.as_bytes(), before);
        assert_eq!(changed(r#"{"name": "b", "version": "2", "scripts": {"test": "t"}}"#), Some(false));
        assert_eq!(changed(r#"{"name": "a", "scripts": {"test": "x"}}"#), Some(true));
        assert_eq!(changed(r#"{"scripts": {"test": "t"}, "scripts": {}}"#), None);
        assert_eq!(changed("{"), None);
        for key in ["gitHooks", "pre-commit", "pre-push", "husky"] {
            let after = format!(r#"{{"scripts": {{"test": "t"}}, "{key}": {{"pre-commit": "x"}}}}"#);
            assert_eq!(changed(&after), Some(true), "{key}");
        }
        assert_eq!(changes_installed_scripts(br#"{"scripts": {"test": "x"}}"#, b""), Some(false));
        assert_eq!(changes_installed_scripts(br#"{"scripts": {"postinstall": "x"}}"#, b""), Some(true));
    }

    #[test]
    fn settings_that_only_change_looks_are_harmless() {
        let changed = |after: &str| changes_editor_settings(after.as_bytes(), b"");
        assert_eq!(
            changed("{\n// tabs\n\"editor.tabSize\": 4, /* x */ \"files.eol\": \"\\n\",}"),
            Some(false)
        );
        assert_eq!(changed(r#"{"python.defaultInterpreterPath": "./x"}"#), Some(true));
        assert_eq!(changed(r#"{"cSpell.words": ["vantio"]}"#), Some(false));
        assert_eq!(changed(r#"{"cSpell.import": ["./x.js"]}"#), Some(true));
        assert_eq!(changed(r#"{"terminal.integrated.profiles.linux": {}}"#), Some(true));
        assert_eq!(changed("{\"a\": "), None);
        assert_eq!(changed("// only\n"), Some(false));
    }

    #[test]
    fn attributes_that_name_programs_matter() {
        let changed = |after: &str| changes_attributes(after.as_bytes(), b"* text=auto\n");
        assert_eq!(changed("* text=auto\n*.png binary\n"), Some(false));
        for line in ["*.c filter=x", "*.c diff=x", "* merge=x", "[attr]m filter=x"] {
            assert_eq!(changed(&format!("* text=auto\n{line}\n")), Some(true), "{line}");
        }
    }
}
