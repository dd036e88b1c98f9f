//! Runs in the background: started, joined, typed at, left, read, and several at once.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod hygiene;
mod logs;
mod reach;
mod starts;
mod terminals;
mod together;
