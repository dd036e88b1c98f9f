//! The policy: what an agent may do, and the one function that says so.
//!
//! A [`PolicyProgram`] is the compiled, canonical form of a policy document. A
//! [`State`] is that program on one host, for one run: variables have values,
//! bare program names have paths, resolved names have addresses. [`decide`]
//! answers an intent with a verdict. It is pure and total: no input makes it
//! panic, allocate or touch the operating system.
//!
//! With the feature `document` (the default, needs `std`) the crate also reads
//! the documents that people write; without it, it is `no_std` with `alloc`.

#![cfg_attr(not(feature = "document"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod address;
mod advise;
#[cfg(feature = "document")]
mod algebra;
mod budget;
mod codec;
pub mod credentials;
mod decide;
#[cfg(feature = "document")]
mod document;
mod entries;
mod env;
mod evidence;
pub mod explain;
pub mod flow;
mod glob;
mod guard;
mod known;
#[cfg(feature = "document")]
pub mod layers;
mod learn;
mod limits;
mod lists;
mod named;
mod names;
mod net;
mod path;
mod program;
mod root;
mod rule;
mod state;
#[cfg(feature = "document")]
pub mod suggest;
mod trie;

pub use advise::{Advice, advise};
#[cfg(feature = "document")]
pub use algebra::{Change, Difference, differences};
pub use budget::Budgets;
pub use codec::DecodeError;
pub use decide::{decide, decide_by_lists, judge};
#[cfg(feature = "document")]
pub use document::{
    ApiModels, Compiled, ERROR_CODES, Example, Include, Llm, LlmMode, LocalModels, Manifest, Origin, PRESETS,
    Place, PolicyError, Position, Present, Problem, SourceMap, Value, compile, json_schema, manifest, preset,
    render, render_program,
};
pub use env::EnvRules;
pub use evidence::{EvidenceError, Proven, ProvenCause, evidence, verify_evidence};
pub use explain::explain;
pub use guard::{ApprovalError, ApprovedPattern, Backend, Guards, Held, decide_approved, holds};
pub use limits::Limits;
pub use program::{Checkpointing, CommitMode, Details, Export, Mode, PolicyProgram, Speculation, Viewing};
pub use rule::Rule;
pub use state::{Bindings, State};
