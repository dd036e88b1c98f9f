//! What a person types to name a run.

use vantio_core::RunId;

use super::StoreError;

/// Hexadecimal digits that carry the millisecond of a run's creation, with a hyphen.
const MILLISECOND: usize = 13;

/// The run of `ids` (oldest first) that `reference` names.
pub fn resolve(reference: &str, ids: &[RunId]) -> Result<RunId, StoreError> {
    let Some(newest) = ids.last() else { return Err(StoreError::NoRuns) };
    if reference == "last" {
        return Ok(*newest);
    }
    let digits = digits(reference);
    let is_hexadecimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_meant = |id: &RunId| is_hexadecimal && self::digits(&id.to_string()).starts_with(&digits);
    let candidates: Vec<RunId> = ids.iter().rev().copied().filter(is_meant).collect();
    match candidates[..] {
        [] => Err(StoreError::Unknown { reference: reference.to_owned() }),
        [id] => Ok(id),
        _ => Err(StoreError::Ambiguous { reference: reference.to_owned(), candidates }),
    }
}

/// The shortest beginning of `id`, at least its millisecond, that names no other of `ids` (oldest first).
pub fn shorten(id: RunId, ids: &[RunId]) -> String {
    let text = id.to_string();
    // None has more in common with it than those beside it.
    let older = ids[..ids.partition_point(|other| *other < id)].last();
    let younger = ids.get(ids.partition_point(|other| *other <= id));
    let beside: Vec<String> = older.into_iter().chain(younger).map(RunId::to_string).collect();
    let is_unique = |length: &usize| beside.iter().all(|other| other[..*length] != text[..*length]);
    let length = (MILLISECOND..text.len()).find(is_unique).unwrap_or(text.len());
    text[..length].trim_end_matches('-').to_owned()
}

fn digits(text: &str) -> String {
    text.chars()
        .filter(|character| *character != '-')
        .map(|character| character.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(unix_ms: u64, last: u8) -> RunId {
        RunId::new(unix_ms, [0, 0, 0, 0, 0, 0, 0, 0, 0, last])
    }

    #[test]
    fn a_unique_beginning_names_its_run() {
        let ids = [run(1, 0), run(0xffff_ffff, 1), run(0xffff_ffff, 2)];
        assert_eq!(resolve("last", &ids).unwrap(), ids[2]);
        assert_eq!(resolve(&ids[1].to_string(), &ids).unwrap(), ids[1]);
        assert_eq!(resolve("00000000", &ids).unwrap(), ids[0]);
        assert_eq!(resolve(&ids[1].to_string().to_uppercase().replace('-', ""), &ids).unwrap(), ids[1]);
    }

    #[test]
    fn several_candidates_are_listed_newest_first() {
        let ids = [run(1, 0), run(0xffff_ffff, 1), run(0xffff_ffff, 2)];
        let Err(StoreError::Ambiguous { candidates, .. }) = resolve("0000ffff-ffff", &ids) else {
            panic!("not ambiguous");
        };
        assert_eq!(candidates, [ids[2], ids[1]]);
    }

    #[test]
    fn what_is_no_beginning_of_an_id_names_nothing() {
        let ids = [run(1, 0)];
        for reference in ["", "-", "../..", "LAST", "x", "f"] {
            assert!(matches!(resolve(reference, &ids), Err(StoreError::Unknown { .. })), "{reference}");
        }
        assert!(matches!(resolve("last", &[]), Err(StoreError::NoRuns)));
    }

    #[test]
    fn a_short_form_names_its_run_again() {
        let ids = [run(7, 0), run(9, 1), run(9, 2)];
        assert_eq!(shorten(ids[0], &ids), "00000000-0007");
        for id in ids {
            assert_eq!(resolve(&shorten(id, &ids), &ids).unwrap(), id);
        }
    }
}
