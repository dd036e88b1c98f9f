//! Who answers the planes.

use std::{net::IpAddr, time::Duration};

use vantio_core::Intent;

use crate::Ending;

/// What a plane does with an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Carry it out.
    Permit,
    /// Refuse it with the errno of its effect.
    Refuse,
    /// End the run.
    Kill,
}

/// Decides intents and remembers them.
///
/// A refusal is durable in the ledger before `decide` returns. When the ledger
/// or the policy fails, the answer is [`Ruling::Kill`] or [`Ruling::Refuse`],
/// never [`Ruling::Permit`].
pub trait Oracle: Send + Sync {
    /// Decides one intent.
    fn decide(&self, intent: &Intent<'_>) -> Ruling;

    /// Decides without a record: for a question that a plane asks about an
    /// alternative it may not take, such as whether a host socket is open to the run.
    fn would_permit(&self, intent: &Intent<'_>) -> bool;

    /// A permitted name was answered with these addresses, valid for `ttl`.
    fn learn(&self, name: &str, addresses: &[IpAddr], ttl: Duration);

    /// Names that gave `address` within this run and whose time has run out:
    /// the plane asks again before it lets a connect through.
    fn stale_names(&self, address: IpAddr) -> Vec<String>;

    /// `name` no longer has the addresses it had.
    fn forget(&self, name: &str);

    /// The run is over: everything still waiting is written down.
    fn end(&self, ending: Ending);
}
