//! Any bytes are a policy in TOML or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    vantio_fuzz::read_document(bytes, "policy.toml");
});
