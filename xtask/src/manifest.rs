//! The listing that the suites use, so that the demo's claim is the same claim.

#[allow(dead_code, reason = "the suites use more of it")]
#[path = "../../crates/vantio/tests/common/manifest.rs"]
mod shared;

pub use shared::Manifest;
