//! Guards, one corner at a time.

mod approvals;
mod build;
mod codec;
mod limits;
mod rules;

pub(crate) use build::{Case, at, connect, entry, exec, guards, guards_of, open, scope};
