//! No bytes are taken for evidence that belongs to a policy which they were not made from.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_core::{Access, Effect, Hash, Intent, Target};
use vantio_policy::verify_evidence;

fuzz_target!(|bytes: &[u8]| {
    let target = Target::Path { path: b"/home/u/w/a", access: Access::Write, subtree: true };
    let intent = Intent::new(Effect::FsOpen, target);
    assert!(verify_evidence(bytes, Hash::ZERO, &vantio_fuzz::bindings(), &[], &intent).is_err());
});
