//! Bytes that decode are the canonical bytes of what they decode to.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_policy::PolicyProgram;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(program) = PolicyProgram::decode(bytes) {
        assert_eq!(program.encode(), bytes);
    }
});
