//! Runs within a run: an agent that starts a governed agent.
//!
//! `vantio run` within a run finds its policy as ever, has the run's supervisor take it in beside the outer run's, puts
//! itself under it and becomes the command. From then on both must permit what its processes do. They stay in the outer
//! run's world: what they change is reviewed and committed with it, what they do is in its ledger, its limits and budgets
//! hold for them. Whoever speaks to the supervisor itself can only narrow itself.

mod enter;
mod serve;
mod table;
mod wire;

pub use enter::{governed_by, is_inside, run, said_inside};
pub use table::{Layer, Nests, Outer};
