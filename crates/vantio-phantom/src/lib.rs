//! The copy-on-write world a run executes in, and the Linux planes that catch
//! what it does.
//!
//! This crate is mechanism: it turns system calls into [`vantio_core::Intent`]s,
//! asks an [`Oracle`], and carries the answer out. It holds no rule of its own.

mod census;
pub mod cgroup;
pub mod changes;
pub mod checkpoint;
pub mod commit;
mod control;
mod error;
mod filter;
pub mod keeper;
mod launch;
pub mod nested;
mod net;
mod oracle;
mod packets;
pub mod probe;
mod proc;
pub mod resources;
pub mod snapshot;
pub mod socket;
mod spec;
mod speculation;
mod sys;
mod terminal;
mod world;

pub use census::{Born, Processes};
pub use error::LaunchError;
pub use launch::{MakeOracle, run};
pub use oracle::{Oracle, Ruling, Speculated, Ways};
pub use spec::{Account, Ending, Spec, Speculation};
pub use sys::{
    clock::clock_error,
    process::{Blocked, block_signals, settle_signals},
};
mod supervisor;
