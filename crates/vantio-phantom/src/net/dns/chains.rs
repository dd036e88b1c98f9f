//! Which names were asked for, and by which names the answers led to addresses.
//!
//! A name on the way is known for what it led to, so that a deny of it holds there; it is never asked for by itself, for
//! nobody permitted that, and the answer could be another.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Instant,
};

use super::message::Chain;

/// Answers by the name that was asked for; the oldest are forgotten.
#[derive(Default)]
pub(super) struct Chains {
    of: HashMap<String, Known>,
    order: VecDeque<String>,
}

#[derive(Debug)]
struct Known {
    chain: Chain,
    expires: Instant,
}

impl Known {
    fn leads_through(&self, is_one: impl Fn(&String) -> bool) -> bool {
        self.chain.names.iter().any(is_one)
    }
}

impl Chains {
    /// Remembers an answer, beside others to the same question that hold.
    pub(super) fn insert(&mut self, chain: &Chain, now: Instant) {
        let Some(name) = chain.names.first() else { return };
        let expires = now + chain.ttl;
        let known = self.of.remove(name);
        if known.is_none() {
            self.order.push_back(name.clone());
        }
        let known = match known.filter(|known| known.expires > now) {
            Some(known) => {
                Known { chain: known.chain.join(chain.clone()), expires: known.expires.min(expires) }
            }
            None => Known { chain: chain.clone(), expires },
        };
        self.of.insert(name.clone(), known);
        while self.order.len() > CHAINS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.of.remove(&oldest);
            }
        }
    }

    /// The names that were asked for, whose answers have expired and led through one of `names`.
    pub(super) fn expired(&self, names: &[String], now: Instant) -> Vec<String> {
        let expired = self.of.iter().filter(|(_, known)| known.expires <= now);
        let through = expired.filter(|(_, known)| known.leads_through(|name| names.contains(name)));
        through.map(|(asked, _)| asked.clone()).collect()
    }

    /// Forgets what was answered to a question, and returns the names that it led through.
    pub(super) fn remove(&mut self, asked: &str) -> Vec<String> {
        self.order.retain(|name| name != asked);
        self.of.remove(asked).map(|known| known.chain.names).unwrap_or_default()
    }

    /// The answers that hold and lead through one of `names`, each for as long as it does.
    pub(super) fn through(&self, names: &BTreeSet<String>, now: Instant) -> Vec<Chain> {
        let through = self.of.values().filter(|known| known.leads_through(|name| names.contains(name)));
        through
            .map(|known| Chain { ttl: known.expires.saturating_duration_since(now), ..known.chain.clone() })
            .filter(|chain| !chain.ttl.is_zero())
            .collect()
    }
}

const CHAINS_MAX: usize = 4096;
