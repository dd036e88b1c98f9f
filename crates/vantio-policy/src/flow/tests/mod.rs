//! Labels through a run, one way at a time, and against a model that tries every way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attempts;
mod model;
mod names;
mod processes;
mod sanitizers;
mod ways;
mod world;
