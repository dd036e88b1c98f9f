//! Files with several names: what is written by one of them is read by the others.

use std::collections::{BTreeSet, HashMap};

use super::Identity;

/// The names that files got in the run beside their first.
#[derive(Default)]
pub(super) struct Links(HashMap<Identity, BTreeSet<Vec<u8>>>);

impl Links {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, file: Identity) -> bool {
        self.0.contains_key(&file)
    }

    /// The file has, or is about to have, these names too.
    pub(super) fn name<const N: usize>(&mut self, file: Identity, names: [&[u8]; N]) {
        self.0.entry(file).or_default().extend(names.map(<[u8]>::to_vec));
    }

    /// The names that the file has, as far as they are known.
    pub(super) fn names(&self, file: Identity) -> Vec<Vec<u8>> {
        self.0.get(&file).into_iter().flatten().cloned().collect()
    }

    /// The files that may be what a mapping shows as removed: by its number, or by the name that it had.
    pub(super) fn alike(&self, inode: u64, name: &[u8]) -> Vec<Identity> {
        let is_alike =
            |(file, names): &(&Identity, &BTreeSet<Vec<u8>>)| file.inode == inode || names.contains(name);
        self.0.iter().filter(is_alike).map(|(file, _)| *file).collect()
    }

    /// What is at `from`, or below it, may be at `to` as well.
    pub(super) fn rename(&mut self, from: &[u8], to: &[u8]) {
        for names in self.0.values_mut() {
            let moved: Vec<Vec<u8>> =
                names.iter().filter_map(|name| Some([to, below(name, from)?].concat())).collect();
            names.extend(moved);
        }
    }

    /// Nothing has this name, or one below it.
    pub(super) fn forget(&mut self, path: &[u8]) {
        for names in self.0.values_mut() {
            names.retain(|name| below(name, path).is_none());
        }
    }
}

/// What follows `path` in a name that is it, or lies below it.
fn below<'n>(name: &'n [u8], path: &[u8]) -> Option<&'n [u8]> {
    name.strip_prefix(path).filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_move_and_go_with_the_folders_they_lie_in() {
        let file = Identity { device: (0, 1), inode: 7, born: (0, 0) };
        let mut links = Links::default();
        links.name(file, [b"/a/one", b"/ab/two"]);
        links.rename(b"/a", b"/c");
        links.forget(b"/a");
        assert_eq!(links.names(file), [b"/ab/two".to_vec(), b"/c/one".to_vec()]);
        assert_eq!(links.alike(7, b""), [file]);
        assert_eq!(links.alike(8, b"/c/one"), [file]);
        assert_eq!(links.alike(8, b"/a/one"), []);
    }
}
