//! `vantio commit --hunks PATH:1,3`

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    os::{fd::AsFd as _, unix::ffi::OsStrExt as _},
    path::Path,
};

use vantio_phantom::{
    changes::{Change, ChangeSet, Hunks},
    commit::{CommitError, HunkChoice},
};

use crate::{
    commands::{
        changes::{commit_failure, host_root, scan_failure},
        pick::absolute,
    },
    failure::Failure,
    present::shown_path,
    run::policy::current_directory,
    store::{Record, Store},
};

/// Reads the hunks of a command line; their numbers are those of `vantio diff --json`.
pub(super) fn chosen(
    store: &Store,
    record: &Record,
    changes: &ChangeSet,
    texts: &[OsString],
) -> Result<Vec<HunkChoice>, Failure> {
    let directory = current_directory()?;
    let mut choices: Vec<HunkChoice> = Vec::new();
    for text in texts {
        let (path, numbers) = split(text)?;
        let absolute = absolute(&directory, path, |path| changes.get(path).is_some())?;
        let Some(change) = changes.get(&absolute) else {
            return Err(commit_failure(&CommitError::NoSuchChange { path: absolute }));
        };
        let hunks = hunks(store, record, changes, change)?.ok_or_else(|| none(path))?;
        let pieces = pieces(&hunks, &numbers, path)?;
        match choices.iter_mut().find(|choice| choice.path == absolute) {
            Some(choice) => choice.pieces.extend(pieces),
            None => choices.push(HunkChoice { path: absolute, pieces, of: hunks.digest() }),
        }
    }
    Ok(choices)
}

/// Those of `texts` that name hunks of a file that `is_meant`.
pub(super) fn naming<'a>(
    texts: &'a [OsString],
    changes: &ChangeSet,
    is_meant: impl Fn(&[u8]) -> bool,
) -> Result<Vec<&'a OsStr>, Failure> {
    let directory = current_directory()?;
    let mut found = Vec::new();
    for text in texts {
        let (path, _) = split(text)?;
        if is_meant(&absolute(&directory, path, |path| changes.get(path).is_some())?) {
            found.push(text.as_os_str());
        }
    }
    Ok(found)
}

fn hunks(
    store: &Store,
    record: &Record,
    changes: &ChangeSet,
    change: &Change,
) -> Result<Option<Hunks>, Failure> {
    let hunks = changes.hunks(change, &store.world(record), host_root()?.as_fd());
    hunks.map_err(|error| scan_failure(&error))
}

fn pieces(hunks: &Hunks, numbers: &[usize], path: &Path) -> Result<BTreeSet<usize>, Failure> {
    let mut pieces = BTreeSet::new();
    for number in numbers {
        let found = number.checked_sub(1).and_then(|index| hunks.hunks().get(index));
        let found = found.ok_or_else(|| {
            let count = hunks.hunks().len();
            Failure::misuse("E_HUNKS", format!("`{}` has no hunk {number}", shown_path(path)))
                .help(format!("it has {count}, numbered from 1: `vantio diff RUN` shows them"))
        })?;
        pieces.extend(found.clone());
    }
    Ok(pieces)
}

fn split(text: &OsStr) -> Result<(&Path, Vec<usize>), Failure> {
    let bytes = text.as_bytes();
    let wrong = || {
        Failure::misuse("E_HUNKS", format!("`{}` does not name hunks", shown_path(Path::new(text))))
            .help("write PATH:1,3 with the numbers that `vantio diff RUN` gives them")
    };
    let colon = bytes.iter().rposition(|byte| *byte == b':').filter(|at| *at > 0).ok_or_else(wrong)?;
    let numbers = std::str::from_utf8(&bytes[colon + 1..]).map_err(|_| wrong())?;
    let numbers: Result<Vec<usize>, _> = numbers.split(',').map(str::parse).collect();
    Ok((Path::new(OsStr::from_bytes(&bytes[..colon])), numbers.map_err(|_| wrong())?))
}

fn none(path: &Path) -> Failure {
    Failure::new("E_NO_HUNKS", format!("`{}` has no hunks to choose from", shown_path(path)))
        .help("only a changed text file of at most 1 MiB and 40,000 lines with one name has: commit it whole")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_in_a_name_is_part_of_it() {
        let read =
            |text: &'static str| split(OsStr::new(text)).map(|(path, numbers)| (path.to_owned(), numbers));
        assert_eq!(read("a:b:1,12").unwrap(), ("a:b".into(), vec![1, 12]));
        for wrong in ["a", "a:", ":1", "a:1,", "a:-1", "a:b"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
