//! Any bytes are a manifest, another document, or an error that points into them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_policy::manifest;

fuzz_target!(|bytes: &[u8]| match manifest(bytes, "authority.yaml") {
    Ok(None) => {}
    Ok(Some(manifest)) => {
        assert!(!manifest.policy_path.is_empty());
        assert!(manifest.place.bytes.end <= bytes.len());
    }
    Err(error) => {
        assert!(!error.problems().is_empty());
        for place in error.problems().iter().filter_map(|problem| problem.place.as_ref()) {
            assert!(place.bytes.start <= place.bytes.end && place.bytes.end <= bytes.len());
        }
    }
});
