//! The tree, written down as RFC 9162 defines it.

use vantio_core::Hash;
use vantio_ledger::tree::{EMPTY_ROOT, node_hash};

/// The root as the RFC defines it.
pub fn defined_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(1 << (leaves.len() - 1).ilog2());
            node_hash(&defined_root(left), &defined_root(right))
        }
    }
}

/// PATH of RFC 9162, section 2.1.3.1.
pub fn defined_inclusion(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let middle = 1 << (leaves.len() - 1).ilog2();
    let (left, right) = leaves.split_at(middle);
    let (mut path, sibling) = if index < middle {
        (defined_inclusion(index, left), right)
    } else {
        (defined_inclusion(index - middle, right), left)
    };
    path.push(defined_root(sibling));
    path
}

/// SUBPROOF of RFC 9162, section 2.1.4.1.
pub fn defined_consistency(old: usize, leaves: &[Hash], complete: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if complete { Vec::new() } else { vec![defined_root(leaves)] };
    }
    let middle = 1 << (leaves.len() - 1).ilog2();
    let (left, right) = leaves.split_at(middle);
    let (mut proof, sibling) = if old <= middle {
        (defined_consistency(old, left, complete), right)
    } else {
        (defined_consistency(old - middle, right, false), left)
    };
    proof.push(defined_root(sibling));
    proof
}
