//! Any bytes are a policy or an error that points into them and can be shown; a policy
//! survives its encoding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_policy::{PolicyProgram, State, compile};

fuzz_target!(|bytes: &[u8]| match compile(bytes, "policy.yaml") {
    Ok(compiled) => {
        assert_eq!(PolicyProgram::decode(&compiled.program.encode()).as_ref(), Ok(&compiled.program));
        State::new(&compiled.program, vantio_fuzz::bindings());
    }
    Err(error) => {
        assert!(!error.problems().is_empty());
        for place in error.problems().iter().filter_map(|problem| problem.place.as_ref()) {
            assert!(place.bytes.start <= place.bytes.end && place.bytes.end <= bytes.len());
        }
        assert!(!format!("{:?}", miette::Report::new(error)).is_empty());
    }
});
