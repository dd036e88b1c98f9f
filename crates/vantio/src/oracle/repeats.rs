//! Folding what happens again within a second into a count.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash, RandomState},
    time::{Duration, Instant},
};

/// What was seen within the last second, and how often more.
#[derive(Debug)]
pub struct Repeats<T> {
    /// By a keyed 64-bit hash, which nobody outside can make collide.
    seen: HashMap<u64, Seen<T>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Seen<T> {
    since: Instant,
    more: u32,
    what: T,
}

/// What was counted, and how often it was repeated.
pub type Counted<T> = (T, u32);

impl<T> Default for Repeats<T> {
    fn default() -> Self {
        Self { seen: HashMap::new(), hasher: RandomState::new() }
    }
}

impl<T> Repeats<T> {
    /// Whether `key` was seen within the second; it is counted then.
    pub fn is_repeat(&mut self, now: Instant, key: &impl Hash) -> bool {
        match self.seen.get_mut(&self.hasher.hash_one(key)) {
            Some(seen) if now.saturating_duration_since(seen.since) < WINDOW && seen.more < u32::MAX => {
                seen.more += 1;
                true
            }
            _ => false,
        }
    }

    /// Begins a second for `key`; returns the count of the one before, and what is forgotten for room.
    pub fn remember(&mut self, now: Instant, key: &impl Hash, what: T) -> Vec<Counted<T>> {
        let mut over = Vec::new();
        if self.seen.len() >= CAPACITY {
            let is_over = |_: &u64, seen: &mut Seen<T>| now.saturating_duration_since(seen.since) >= WINDOW;
            over.extend(self.seen.extract_if(is_over).map(|(_, seen)| seen));
        }
        over.extend(self.seen.insert(self.hasher.hash_one(key), Seen { since: now, more: 0, what }));
        over.into_iter().filter(|seen| seen.more > 0).map(|seen| (seen.what, seen.more)).collect()
    }

    /// Everything that has a count.
    pub fn drain(&mut self) -> impl Iterator<Item = Counted<T>> + use<T> {
        let seen = std::mem::take(&mut self.seen);
        seen.into_values().filter(|seen| seen.more > 0).map(|seen| (seen.what, seen.more))
    }
}

const WINDOW: Duration = Duration::from_secs(1);

/// Beyond this many, what is over is told and forgotten.
const CAPACITY: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_within_the_second_is_counted_and_told_later() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!repeats.is_repeat(at(0), &"a"));
        assert_eq!(repeats.remember(at(0), &"a", 'a'), []);
        assert!(repeats.is_repeat(at(10), &"a"));
        assert!(repeats.is_repeat(at(999), &"a"));
        assert!(!repeats.is_repeat(at(999), &"b"));
        assert!(!repeats.is_repeat(at(1000), &"a"));
        assert_eq!(repeats.remember(at(1000), &"a", 'a'), [('a', 2)]);
        assert!(repeats.is_repeat(at(1001), &"a"));
        assert_eq!(repeats.drain().collect::<Vec<_>>(), [('a', 1)]);
    }

    #[test]
    fn memory_is_bounded_by_what_one_second_holds() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        for key in 0..CAPACITY {
            repeats.remember(start, &key, ());
            repeats.is_repeat(start, &key);
        }
        assert_eq!(repeats.remember(start + WINDOW, &CAPACITY, ()).len(), CAPACITY);
        assert_eq!(repeats.seen.len(), 1);
    }
}
