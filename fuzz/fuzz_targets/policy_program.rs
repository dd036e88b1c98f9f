//! Bytes that decode are the canonical bytes of what they decode to, guards included, and
//! what they decode to decides.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_core::{Access, Effect, Intent, Target};
use vantio_policy::{PolicyProgram, State, decide};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(program) = PolicyProgram::decode(bytes) {
        assert_eq!(program.encode(), bytes);
        let state = State::new(&program, vantio_fuzz::bindings());
        let target = Target::Path { path: b"/home/u/w/a", access: Access::Write, subtree: true };
        decide(&program, &state, &Intent::new(Effect::FsOpen, target));
    }
});
