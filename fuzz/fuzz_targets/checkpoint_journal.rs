//! A journal is understood as it is written, or damaged; lines that were torn say nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_phantom::checkpoint::rewritten;

fuzz_target!(|bytes: &[u8]| {
    let Some(written) = rewritten(bytes) else { return };
    assert!(written.is_empty() || written.ends_with(b"\n"));
    assert_eq!(rewritten(&written).as_ref(), Some(&written));
});
