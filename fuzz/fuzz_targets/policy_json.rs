//! Any bytes are a policy in JSON or an error; what JSON says, YAML says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_fuzz::read_document;
use vantio_policy::compile;

fuzz_target!(|bytes: &[u8]| {
    if let Some(program) = read_document(bytes, "policy.json") {
        if let Ok(as_yaml) = compile(bytes, "policy.yaml") {
            assert_eq!(as_yaml.program.hash(), program.hash());
        }
    }
});
