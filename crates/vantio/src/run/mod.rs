//! What a run needs before it can start: a policy, what this host gives its variables,
//! an environment, an identity.

pub mod host;
pub mod key;
mod plan;
pub mod policy;

pub use plan::{Narrowed, Plan};
