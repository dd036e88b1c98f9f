//! What a run has done, as far as thresholds, order rules and budgets ask for it.
//!
//! Memory is bounded: where a window has seen more than it can keep apart, it counts too much rather
//! than too little. Time never goes back, whatever the intents say.

use alloc::{collections::BTreeMap, vec::Vec};
use core::net::IpAddr;

use vantio_core::{Effect, Hash, Intent, Target};

use crate::{
    PolicyProgram, address,
    guard::{
        model::{Guards, Measure, Threshold},
        order::Progress,
        scope::family,
    },
    rule::Family,
};

/// Amounts that one window keeps apart.
const MAX_AMOUNTS: usize = 512;
/// Different targets that one window keeps apart.
const MAX_TARGETS: usize = 1 << 16;

/// The past of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// How many intents were settled.
    pub(crate) moment: u64,
    /// The latest time that was heard of.
    pub(crate) latest_ms: u64,
    /// How often something happened that counts for a later decision, besides the time.
    pub(crate) changes: u64,
    /// What is used up, in the order of `Budgets::NAMES`.
    pub(crate) used: [u64; 8],
    /// One for each order rule.
    pub(crate) order: Vec<Progress>,
    /// One for each threshold.
    pub(crate) windows: Vec<Window>,
}

impl History {
    pub(crate) fn new(guards: &Guards) -> Self {
        Self {
            order: guards.order.iter().map(|_| Progress::default()).collect(),
            windows: guards.thresholds.iter().map(|_| Window::default()).collect(),
            ..Self::default()
        }
    }

    /// The time of an intent: no earlier than any before.
    pub(crate) fn now(&self, intent: &Intent<'_>) -> u64 {
        self.latest_ms.max(intent.context.elapsed_ms)
    }

    /// What would be used up if the intent happened.
    pub(crate) fn used_with(&self, intent: &Intent<'_>) -> [u64; 8] {
        let mut used = self.used;
        for (used, cost) in used.iter_mut().zip(costs(intent)) {
            *used = used.saturating_add(cost);
        }
        used[WALL_MS] = self.now(intent);
        used
    }
}

const CALLS: usize = 1;
const FILE_BYTES: usize = 3;
const NETWORK_BYTES: usize = 4;
const WALL_MS: usize = 5;

/// What an intent is known to cost, in the order of `Budgets::NAMES`.
pub(crate) fn costs(intent: &Intent<'_>) -> [u64; 8] {
    let mut costs = [0; 8];
    match intent.effect {
        Effect::ToolCall | Effect::Infer => costs[CALLS] = 1,
        Effect::NetConnect => costs[NETWORK_BYTES] = intent.context.bytes,
        effect if matches!(family(effect), Some(Family::Path)) => costs[FILE_BYTES] = intent.context.bytes,
        _ => {}
    }
    costs
}

/// Whether intents use up what the policy limits.
pub(crate) fn is_used_by_intents(program: &PolicyProgram) -> bool {
    let limits = program.budgets().values();
    [CALLS, FILE_BYTES, NETWORK_BYTES].iter().any(|index| limits[*index].is_some())
}

/// Whether the intent uses up what the policy limits.
pub(crate) fn is_used_by(program: &PolicyProgram, intent: &Intent<'_>) -> bool {
    program.budgets().values().iter().zip(costs(intent)).any(|(limit, cost)| limit.is_some() && cost > 0)
}

/// Whether the policy limits how long a run takes.
pub(crate) fn is_used_by_time(program: &PolicyProgram) -> bool {
    program.budgets().values()[WALL_MS].is_some()
}

/// What a threshold has counted lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    /// Amounts and their times, ascending.
    amounts: Vec<(u64, u64)>,
    /// Targets by the time at which they were last seen, ascending.
    targets: Vec<(u64, Hash)>,
    seen: BTreeMap<Hash, u64>,
}

impl Window {
    /// Whether the intent would pass the threshold.
    pub(crate) fn is_passed_by(&self, threshold: &Threshold, now: u64, intent: &Intent<'_>) -> bool {
        let oldest = now.saturating_sub(threshold.within_ms);
        let more = match threshold.measure {
            Measure::Count => 1,
            Measure::Bytes => intent.context.bytes,
            Measure::Distinct => {
                let seen = self.seen.get(&target_key(&intent.target));
                u64::from(seen.is_none_or(|at| *at < oldest))
            }
        };
        more > 0 && self.total(oldest).saturating_add(more) > threshold.limit
    }

    /// Counts an intent that happens.
    pub(crate) fn add(&mut self, threshold: &Threshold, now: u64, intent: &Intent<'_>) {
        let oldest = now.saturating_sub(threshold.within_ms);
        self.forget_before(oldest);
        match threshold.measure {
            Measure::Count => self.add_amount(now, 1),
            Measure::Bytes => self.add_amount(now, intent.context.bytes),
            Measure::Distinct => self.add_target(now, target_key(&intent.target)),
        }
    }

    fn total(&self, oldest: u64) -> u64 {
        let recent = self.targets.len() - self.targets.partition_point(|(at, _)| *at < oldest);
        let amounts = self.amounts.iter().rev().take_while(|(at, _)| *at >= oldest);
        amounts.fold(recent as u64, |total, (_, amount)| total.saturating_add(*amount))
    }

    fn forget_before(&mut self, oldest: u64) {
        let gone = self.amounts.partition_point(|(at, _)| *at < oldest);
        self.amounts.drain(..gone);
        let gone = self.targets.partition_point(|(at, _)| *at < oldest);
        for (_, key) in self.targets.drain(..gone) {
            self.seen.remove(&key);
        }
    }

    fn add_amount(&mut self, now: u64, amount: u64) {
        if amount == 0 {
            return;
        }
        match self.amounts.last_mut() {
            Some((at, total)) if *at == now => *total = total.saturating_add(amount),
            _ => self.amounts.push((now, amount)),
        }
        if self.amounts.len() > MAX_AMOUNTS {
            self.halve();
        }
    }

    /// Adds each amount to the one after it: it counts for longer than it should.
    fn halve(&mut self) {
        let pairs = self.amounts.chunks(2);
        self.amounts = pairs
            .filter_map(|pair| {
                let (at, _) = pair.last()?;
                Some((*at, pair.iter().fold(0, |total: u64, (_, amount)| total.saturating_add(*amount))))
            })
            .collect();
    }

    fn add_target(&mut self, now: u64, key: Hash) {
        if let Some(at) = self.seen.get(&key).copied() {
            let first = self.targets.partition_point(|(other, _)| *other < at);
            if let Some(offset) = self.targets[first..].iter().position(|(_, other)| *other == key) {
                self.targets.remove(first + offset);
            }
        } else if self.targets.len() >= MAX_TARGETS {
            self.add_amount(now, 1);
            return;
        }
        self.seen.insert(key, now);
        self.targets.push((now, key));
    }
}

/// What makes two targets the same: a host without its port, a path, a name.
fn target_key(target: &Target<'_>) -> Hash {
    match target {
        Target::Path { path, .. } => Hash::of_parts(&[b"path\0", path]),
        Target::Paths { from, to, .. } => Hash::of_parts(&[b"paths\0", from, b"\0", to]),
        Target::Endpoint(endpoint) => match address::forms(endpoint.address.ip()).0 {
            IpAddr::V4(v4) => Hash::of_parts(&[b"host\0", &v4.octets()]),
            IpAddr::V6(v6) => Hash::of_parts(&[b"host\0", &v6.octets()]),
        },
        Target::Name(name) => Hash::of_parts(&[b"name\0", name.as_bytes()]),
        Target::Unix(path) => Hash::of_parts(&[b"unix\0", path]),
        Target::Process(pid) => Hash::of_parts(&[b"process\0", &pid.to_be_bytes()]),
        Target::Syscall(name) => Hash::of_parts(&[b"syscall\0", name.as_bytes()]),
        Target::Named(name) => Hash::of_parts(&[b"named\0", name.as_bytes()]),
    }
}
