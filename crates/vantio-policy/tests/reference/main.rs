//! `decide` against an evaluator that is slow and plain enough to be seen to be
//! right: it tries every way a pattern can match, and every name below a folder.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod dice;
mod evaluator;
mod generator;
mod question;
mod shrink;
mod subtrees;
mod triples;
