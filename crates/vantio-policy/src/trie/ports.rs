//! Port ranges of several rules as ranges apart from each other.

use alloc::{collections::BTreeSet, vec::Vec};

/// A range and the rule that it belongs to.
pub(super) type Ranged = (u16, u16, u32);

/// The ranges, sorted and apart, each with the smallest rule that any of `ranges` has there.
pub(super) fn flatten(ranges: &[Ranged]) -> Vec<Ranged> {
    let mut edges: Vec<(u32, bool, u32)> = Vec::with_capacity(ranges.len() * 2);
    for (first, last, rule) in ranges {
        edges.push((u32::from(*first), true, *rule));
        edges.push((u32::from(*last) + 1, false, *rule));
    }
    edges.sort_unstable();
    let mut open = BTreeSet::new();
    let mut flat: Vec<Ranged> = Vec::new();
    let mut from = 0;
    for (port, opens, rule) in edges {
        if let Some(least) = open.first().copied()
            && from < port
        {
            // INVARIANT: the first port beyond an open range is at most 65536.
            let (first, last) = (from as u16, (port - 1) as u16);
            match flat.last_mut() {
                Some(previous) if previous.2 == least && u32::from(previous.1) + 1 == from => {
                    previous.1 = last;
                }
                _ => flat.push((first, last, least)),
            }
        }
        from = port;
        if opens {
            open.insert(rule);
        } else {
            open.remove(&rule);
        }
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_rule_of_a_port_is_kept() {
        let ranges = [(1, 10, 2), (5, 20, 1), (8, 8, 0), (21, 30, 1), (0, u16::MAX, 9), (30, 31, 3)];
        let flat = flatten(&ranges);
        assert!(flat.is_sorted_by(|left, right| left.1 < right.0), "{flat:?}");
        for port in 0..=u16::MAX {
            let of = |ranges: &[Ranged]| {
                ranges.iter().filter(|range| range.0 <= port && port <= range.1).map(|range| range.2).min()
            };
            assert_eq!(of(&flat), of(&ranges), "{port}");
        }
        assert_eq!(flatten(&[]), []);
    }
}
