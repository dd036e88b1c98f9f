//! What becomes of a run: discarded, committed, killed, or never started.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod changes;
mod detached;
mod failures;
mod hazards;
mod killed;
mod limits;
mod mounts;
mod streams;
