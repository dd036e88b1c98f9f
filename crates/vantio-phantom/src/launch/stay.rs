//! On which processor the agent is born.

use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// While this lives, the process and those that it forks stay on the processor that it is on.
///
/// Linux puts a child where little runs at that moment, often beside the supervisor, which works; the processor that
/// it leaves is idle then until the scheduler's next tick. Whoever is born here runs as soon as its parent waits.
pub(super) struct Stay(());

impl Stay {
    /// Nothing for whoever may not run everywhere: what it may then could not be given back as it was, for the kernel
    /// does not tell a restriction of the process from one of its control group.
    pub(super) fn here() -> Option<Self> {
        let may = sched_getaffinity(None).ok()?;
        if may.count() < online()? {
            return None;
        }
        let mut own = CpuSet::new();
        own.set(sched_getcpu());
        sched_setaffinity(None, &own).ok().map(Self)
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut all = CpuSet::new();
        (0..CpuSet::MAX_CPU).for_each(|processor| all.set(processor));
        // Wherever it may run is a part of that.
        let _ = sched_setaffinity(None, &all);
    }
}

/// How many processors the machine has at work.
fn online() -> Option<u32> {
    count(fs::read_to_string("/sys/devices/system/cpu/online").ok()?.trim())
}

/// How many a list such as `0-3,8` names.
fn count(list: &str) -> Option<u32> {
    let range = |range: &str| {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        (high.parse::<u32>().ok()? + 1).checked_sub(low.parse().ok()?)
    };
    list.split(',').map(range).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_counted() {
        let counted = ["0", "0-1", "0-3,8,10-11", "", "3-1"].map(count);
        assert_eq!(counted, [Some(1), Some(2), Some(7), None, None]);
    }

    #[test]
    fn who_stayed_may_go_everywhere_again() {
        let before = sched_getaffinity(None).unwrap();
        let stay = Stay::here();
        if stay.is_some() {
            assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        }
        drop(stay);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }
}
