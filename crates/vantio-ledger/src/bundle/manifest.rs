//! The file that says what a bundle is of and what is in it.
//!
//! Below three lines of its own it is what `sha256sum --check` reads.

use std::{collections::BTreeMap, fmt};

use vantio_core::{Hash, RunId};

/// Version of the format of bundles.
const VERSION: &str = "1";

/// What a bundle is of, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The run whose entries it has; without one, it has all.
    pub run: Option<RunId>,
    /// Whether the entries are as they are kept, and not only as they may be published.
    pub has_details: bool,
    /// The digest of every other file.
    pub digests: BTreeMap<String, Hash>,
}

impl fmt::Display for Manifest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "# vantio ledger bundle {VERSION}")?;
        match self.run {
            Some(run) => writeln!(formatter, "# of run {run}")?,
            None => writeln!(formatter, "# of the whole ledger")?,
        }
        writeln!(formatter, "# details: {}", if self.has_details { "included" } else { "none" })?;
        self.digests.iter().try_for_each(|(name, digest)| writeln!(formatter, "{digest}  {name}"))
    }
}

impl Manifest {
    /// Reads a manifest; says what is wrong with a text that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.strip_suffix('\n').unwrap_or_default().split('\n');
        match lines.next().and_then(|line| line.strip_prefix("# vantio ledger bundle ")) {
            Some(VERSION) => {}
            Some(other) if other.len() < 20 => {
                return Err(format!("it is of version {other}; this program knows version {VERSION}"));
            }
            _ => return Err("its MANIFEST is not that of a bundle".into()),
        }
        let malformed = |line: usize| format!("line {line} of its MANIFEST is malformed");
        let run = match lines.next() {
            Some("# of the whole ledger") => None,
            line => {
                let run = line.and_then(|line| line.strip_prefix("# of run "));
                Some(run.and_then(|run| run.parse().ok()).ok_or_else(|| malformed(2))?)
            }
        };
        let has_details = match lines.next() {
            Some("# details: included") => true,
            Some("# details: none") => false,
            _ => return Err(malformed(3)),
        };
        let mut digests = BTreeMap::new();
        for (line, place) in lines.zip(4..) {
            let (digest, name) = line.split_once("  ").ok_or_else(|| malformed(place))?;
            let digest: Hash = digest.parse().map_err(|_| malformed(place))?;
            if digests.insert(name.to_owned(), digest).is_some() {
                return Err(malformed(place));
            }
        }
        Ok(Self { run, has_details, digests })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_as_it_is_written_and_nothing_else_is() {
        let digests = BTreeMap::from([("checkpoint".to_owned(), Hash::of(b"a")), ("key".into(), Hash::ZERO)]);
        for run in [None, Some(RunId::new(1_700_000_000_000, [7; 10]))] {
            let manifest = Manifest { run, has_details: run.is_some(), digests: digests.clone() };
            assert_eq!(Manifest::parse(&manifest.to_string()), Ok(manifest.clone()));
            let text = manifest.to_string();
            for end in 0..text.len() {
                assert_ne!(Manifest::parse(&text[..end]).ok(), Some(manifest.clone()), "{end}");
            }
        }
        let newer = Manifest::parse("# vantio ledger bundle 2\n# of the whole ledger\n").unwrap_err();
        assert_eq!(newer, "it is of version 2; this program knows version 1");
    }
}
