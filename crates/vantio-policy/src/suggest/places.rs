//! Which part of the tree a path lies in, and how a rule for it is written.

use alloc::{string::String, vec::Vec};

use crate::{
    Bindings, glob,
    path::{absolute, is_within},
};

/// The folders that variables stand for.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// Value and text, the longest value first.
    anchors: Vec<(Vec<u8>, &'static str)>,
    home: Option<Vec<u8>>,
    workspace: Option<Vec<u8>>,
    tmp: Option<Vec<u8>>,
}

impl Places {
    pub(super) fn new(bindings: &Bindings) -> Self {
        // A home at the root would be written into every rule.
        let value = |path: &[u8]| absolute(path).filter(|path| !path.is_empty());
        let (home, workspace, tmp) =
            (value(&bindings.home), value(&bindings.workspace), value(&bindings.tmp));
        let named = [(&workspace, "${workspace}"), (&tmp, "${tmp}"), (&home, "~")];
        let mut anchors: Vec<(Vec<u8>, &'static str)> =
            named.into_iter().filter_map(|(path, text)| Some((path.clone()?, text))).collect();
        anchors.sort_by_key(|(path, _)| core::cmp::Reverse(path.len()));
        Self { anchors, home, workspace, tmp }
    }

    /// The path as a rule that covers it and all below; `None` where no document can write it.
    pub(super) fn whole(&self, path: &[u8]) -> Option<String> {
        self.written(path, |name, _, text| glob::write_literal(name, text))
    }

    /// The path as a rule that covers that entry alone: its last character is a class of one.
    pub(super) fn entry(&self, path: &[u8]) -> Option<String> {
        let absolute = self.without_anchor(path);
        absolute.written(path, |name, is_last, text| {
            let name = String::from_utf8_lossy(name);
            match name.char_indices().last().filter(|_| is_last) {
                Some((at, character)) => {
                    glob::write_literal(&name.as_bytes()[..at], text);
                    text.push('[');
                    if matches!(character, '\\' | ']' | '[' | '-' | '!' | '^') {
                        text.push('\\');
                    }
                    text.push(character);
                    text.push(']');
                }
                None => glob::write_literal(name.as_bytes(), text),
            }
        })
    }

    /// The path with a wildcard for each name that looks random.
    pub(super) fn wild(&self, path: &[u8], stem: impl Fn(&[u8]) -> Option<&[u8]>) -> Option<String> {
        self.written(path, |name, _, text| match stem(name) {
            Some(stem) => {
                glob::write_literal(stem, text);
                text.push('*');
                glob::write_literal(extension(name), text);
            }
            None => glob::write_literal(name, text),
        })
    }

    /// The entries beside the path whose names begin as its own does, and end in the same kind.
    pub(super) fn beginning(&self, path: &[u8], stem: usize) -> Option<String> {
        self.written(path, |name, is_last, text| {
            if is_last && stem <= name.len() && core::str::from_utf8(&name[..stem]).is_ok() {
                glob::write_literal(&name[..stem], text);
                text.push('*');
                glob::write_literal(extension(&name[stem..]), text);
            } else {
                glob::write_literal(name, text);
            }
        })
    }

    /// Without a variable whose value is the path itself: of that, no entry can be named.
    fn without_anchor(&self, path: &[u8]) -> Self {
        let mut places = self.clone();
        places.anchors.retain(|(value, _)| value != path);
        places
    }

    fn written(&self, path: &[u8], write: impl Fn(&[u8], bool, &mut String)) -> Option<String> {
        let is_writable = core::str::from_utf8(path)
            .is_ok_and(|text| !text.chars().any(char::is_control) && text.trim() == text);
        if !is_writable {
            return None;
        }
        let anchor = self.anchors.iter().find(|(value, _)| is_within(path, value));
        let (mut text, rest) = match anchor {
            Some((value, text)) => (String::from(*text), &path[value.len()..]),
            None => (String::new(), path),
        };
        let mut names = rest.split(|byte| *byte == b'/').skip(1).peekable();
        while let Some(name) = names.next() {
            text.push('/');
            write(name, names.peek().is_none(), &mut text);
        }
        if text.is_empty() || text == "~" {
            text.push('/');
        }
        Some(text)
    }

    pub(super) fn is_in_tmp(&self, path: &[u8]) -> bool {
        self.tmp.as_deref().is_some_and(|tmp| is_within(path, tmp)) && !self.is_in_workspace(path)
    }

    pub(super) fn tmp(&self) -> Option<&[u8]> {
        self.tmp.as_deref()
    }

    pub(super) fn is_in_workspace(&self, path: &[u8]) -> bool {
        self.workspace.as_deref().is_some_and(|workspace| is_within(path, workspace))
    }

    /// Whether the path is the user's: below home, workspace or the run's own folder for
    /// temporary files.
    pub(super) fn is_own(&self, path: &[u8]) -> bool {
        self.anchors.iter().any(|(value, _)| is_within(path, value))
    }

    /// Folders that are never opened whole on the evidence of what lies in them, because
    /// unrelated things lie there side by side.
    pub(super) fn is_shared(&self, path: &[u8]) -> bool {
        let is_above = |inner: &Option<Vec<u8>>| {
            inner.as_deref().is_some_and(|inner| inner != path && is_within(inner, path))
        };
        if path.is_empty() || is_above(&self.home) || is_above(&self.workspace) {
            return true;
        }
        if let Some(home) = &self.home
            && self.workspace.as_ref() != Some(home)
            && is_within(path, home)
            && !self.is_in_workspace(path)
        {
            return SHARED_IN_HOME.contains(&&path[home.len()..]);
        }
        SHARED.contains(&path)
    }

    /// The folder of the system that a path is read in, where one rule for all of it is what a
    /// person would write.
    pub(super) fn system(&self, path: &[u8]) -> Option<&'static [u8]> {
        if self.is_own(path) {
            return None;
        }
        SYSTEM.iter().copied().find(|folder| is_within(path, folder))
    }
}

/// The end of a name from its last dot on, where that says what kind of file it is.
fn extension(name: &[u8]) -> &[u8] {
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0);
    let end = dot.map_or(&[][..], |dot| &name[dot..]);
    let is_kind = end.len() <= 6 && end.iter().skip(1).all(u8::is_ascii_lowercase);
    if is_kind { end } else { &[] }
}

/// Read by everybody, and without secrets but for what `${credentials}` has.
const SYSTEM: &[&[u8]] = &[
    b"/usr",
    b"/lib",
    b"/lib32",
    b"/lib64",
    b"/libx32",
    b"/bin",
    b"/sbin",
    b"/etc",
    b"/proc",
    b"/sys",
    b"/dev",
    b"/nix/store",
];

const SHARED: &[&[u8]] = &[
    b"/etc",
    b"/usr",
    b"/usr/bin",
    b"/usr/lib",
    b"/usr/local",
    b"/usr/local/bin",
    b"/usr/local/lib",
    b"/usr/share",
    b"/lib",
    b"/bin",
    b"/sbin",
    b"/var",
    b"/var/lib",
    b"/var/cache",
    b"/var/log",
    b"/var/spool",
    b"/run",
    b"/run/user",
    b"/home",
    b"/root",
    b"/srv",
    b"/mnt",
    b"/media",
    b"/opt",
    b"/boot",
    b"/proc",
    b"/sys",
    b"/dev",
];

const SHARED_IN_HOME: &[&[u8]] =
    &[b"", b"/.config", b"/.local", b"/.local/share", b"/.local/state", b"/.local/bin", b"/.cache"];
