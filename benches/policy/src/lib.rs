//! `cargo xtask bench policy`: Vantio's decision beside its peers, on the same rules and the same requests.

pub mod counter;
pub mod failure;
pub mod goals;
pub mod host;
pub mod measure;
mod random;
pub mod requests;
pub mod rules;
pub mod stage;
pub mod subjects;
pub mod table;
mod words;
