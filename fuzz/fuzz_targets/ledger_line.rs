//! An entry is read only from the one line that writes it, and lines that verify are a chain.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_ledger::{Entry, Terms, verify_export};

fuzz_target!(|bytes: &[u8]| {
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let entries: Vec<_> = lines
        .iter()
        .map_while(|line| {
            let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
            let entry = Entry::from_line(line).ok()?;
            assert_eq!(entry.to_line(), line);
            Some(entry)
        })
        .collect();
    if let Ok(verified) = verify_export(&mut &bytes[..], &Terms::default()) {
        assert_eq!((verified.size, entries.len()), (lines.len() as u64, lines.len()));
        for pair in entries.windows(2) {
            assert!(pair[0].writer != pair[1].writer || pair[0].this_hash == pair[1].prev_hash);
        }
    }
});
