//! The tree agrees with the vectors of Certificate Transparency and with a tree that is
//! written down as the RFC defines it, and no other proof is accepted.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod definition;
mod files;
mod vectors;

use std::{cell::Cell, collections::HashMap, convert::Infallible};

use proptest::prelude::*;
use vantio_core::Hash;
use vantio_ledger::tree::{
    Builder, EMPTY_ROOT, MAX_SIZE, ProofError, Tile, Tiles, TreeError, consistency, inclusion, leaf_hash,
    root, verify_consistency, verify_inclusion,
};

use definition::{defined_consistency, defined_inclusion, defined_root};
use vectors::{CONSISTENCIES, ENTRIES, INCLUSIONS, ROOTS};

/// Every size up to here is compared with the definition.
const SMALL: u64 = 300;

/// What a store keeps: full tiles, with their roots.
#[derive(Default)]
struct Store {
    tiles: HashMap<Tile, (Vec<Hash>, Hash)>,
    reads: Cell<usize>,
}

impl Tiles for Store {
    type Error = Tile;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, Tile> {
        self.reads.set(self.reads.get() + 1);
        self.tiles.get(&tile).map(|(hashes, _)| hashes.clone()).ok_or(tile)
    }
}

impl Store {
    fn build(leaves: &[Hash]) -> (Self, Builder) {
        let (mut store, mut builder) = (Self::default(), Builder::new());
        for leaf in leaves {
            store.push(&mut builder, *leaf);
        }
        (store, builder)
    }

    fn push(&mut self, builder: &mut Builder, leaf: Hash) {
        let appended = builder.push(leaf, |full| {
            let replaced = self.tiles.insert(full.tile, (full.hashes.to_vec(), full.root));
            assert!(full.tile.is_full() && replaced.is_none(), "{}", full.tile);
        });
        assert!(appended);
    }
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
}

fn hash(text: &str) -> Hash {
    text.parse().unwrap()
}

fn hashes(texts: &[&str]) -> Vec<Hash> {
    texts.iter().copied().map(hash).collect()
}

#[test]
fn roots_are_those_of_certificate_transparency() {
    let mut builder = Builder::new();
    assert_eq!((builder.root(), EMPTY_ROOT), (hash(ROOTS[0]), Hash::of(b"")));
    for (entry, root) in ENTRIES.iter().zip(&ROOTS[1..]) {
        assert!(builder.push(leaf_hash(entry), |_| unreachable!()));
        assert_eq!(builder.root(), hash(root));
    }
}

#[test]
fn proofs_are_those_of_certificate_transparency() {
    let known: Vec<_> = ENTRIES.iter().map(|entry| leaf_hash(entry)).collect();
    let (store, builder) = Store::build(&known);
    let tiles = builder.over(&store);
    for (index, size, proof) in INCLUSIONS {
        let proof = hashes(proof);
        assert_eq!(inclusion(index, size, &tiles).as_ref(), Ok(&proof));
        let root = hash(ROOTS[size as usize]);
        assert_eq!(verify_inclusion(known[index as usize], index, size, &proof, root), Ok(()));
    }
    for (old, new, proof) in CONSISTENCIES {
        let proof = hashes(proof);
        assert_eq!(consistency(old, new, &tiles).as_ref(), Ok(&proof));
        let (old_root, new_root) = (hash(ROOTS[old as usize]), hash(ROOTS[new as usize]));
        assert_eq!(verify_consistency(old, new, &proof, old_root, new_root), Ok(()));
    }
}

#[test]
fn every_small_tree_is_the_defined_one_at_every_moment() {
    let leaves = leaves(SMALL);
    let (mut store, mut builder) = Store::build(&[]);
    for size in 0..=SMALL {
        let expected = defined_root(&leaves[..size as usize]);
        assert_eq!(builder.root(), expected, "{size}");
        assert_eq!(root(size, &builder.over(&store)), Ok(expected), "{size}");
        if let Some(leaf) = leaves.get(size as usize) {
            store.push(&mut builder, *leaf);
        }
    }
}

#[test]
fn every_small_inclusion_proof_is_the_defined_one() {
    let leaves = leaves(SMALL);
    let (store, builder) = Store::build(&leaves);
    let tiles = builder.over(&store);
    for size in 1..=SMALL {
        let known = &leaves[..size as usize];
        let root = defined_root(known);
        for index in 0..size {
            let proof = inclusion(index, size, &tiles).unwrap();
            let leaf = leaves[index as usize];
            assert_eq!(verify_inclusion(leaf, index, size, &proof, root), Ok(()), "{index} in {size}");
            // The definition takes quadratic time: all of the proofs of every seventh tree.
            if size % 7 == 0 || size > SMALL - 3 {
                assert_eq!(proof, defined_inclusion(index as usize, known), "{index} in {size}");
            }
        }
        assert_eq!(inclusion(size, size, &tiles), Err(TreeError::Beyond { wanted: size, size }));
    }
}

#[test]
fn every_small_consistency_proof_is_the_defined_one() {
    let leaves = leaves(SMALL);
    let (store, builder) = Store::build(&leaves);
    let tiles = builder.over(&store);
    let roots: Vec<_> = (0..=SMALL).map(|size| defined_root(&leaves[..size as usize])).collect();
    for new in 0..=SMALL {
        for old in 0..=new {
            let proof = consistency(old, new, &tiles).unwrap();
            let (old_root, new_root) = (roots[old as usize], roots[new as usize]);
            assert_eq!(verify_consistency(old, new, &proof, old_root, new_root), Ok(()), "{old} to {new}");
            if old > 0 && (new % 7 == 0 || new > SMALL - 3) {
                let expected = defined_consistency(old as usize, &leaves[..new as usize], true);
                assert_eq!(proof, expected, "{old} to {new}");
            }
        }
        let beyond = TreeError::Beyond { wanted: new + 1, size: new };
        assert_eq!(consistency(new + 1, new, &tiles), Err(beyond));
    }
}

#[test]
fn full_tiles_and_the_right_edge_are_all_that_large_trees_need() {
    const SIZE: u64 = 70_000;
    let leaves = leaves(SIZE);
    let (store, builder) = Store::build(&leaves);
    assert_eq!((builder.size(), builder.root()), (SIZE, defined_root(&leaves)));
    assert_eq!(store.tiles.len(), 273 + 1);
    let widths: Vec<_> =
        builder.partial_tiles().map(|(tile, hashes)| (tile.to_string(), hashes.len())).collect();
    let expected = [("tile/0/273.p/112", 112), ("tile/1/001.p/17", 17), ("tile/2/000.p/1", 1)];
    assert_eq!(widths, expected.map(|(path, width)| (path.to_owned(), width)));
    for (tile, (hashes, root)) in &store.tiles {
        assert_eq!(Builder::tile_root(hashes.as_slice().try_into().unwrap()), *root);
        let entries = 256_usize.pow(tile.level().into());
        for (offset, hash) in hashes.iter().enumerate().step_by(51) {
            let first = (tile.index() as usize * 256 + offset) * entries;
            assert_eq!(*hash, defined_root(&leaves[first..first + entries]), "{tile}, {offset}");
        }
    }
    let tiles = builder.over(&store);
    for size in [1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 65_539, 69_999, SIZE] {
        let root = root(size, &tiles).unwrap();
        assert_eq!(root, defined_root(&leaves[..size as usize]), "{size}");
        for index in [0, 1, 254, 255, 256, 65_535, 65_536, 65_538, size - 1] {
            let Some(leaf) = leaves[..size as usize].get(index as usize) else { continue };
            let proof = inclusion(index, size, &tiles).unwrap();
            assert_eq!(verify_inclusion(*leaf, index, size, &proof, root), Ok(()), "{index} in {size}");
        }
        let proof = consistency(size, SIZE, &tiles).unwrap();
        assert_eq!(verify_consistency(size, SIZE, &proof, root, builder.root()), Ok(()), "{size}");
    }
}

#[test]
fn a_proof_reads_few_tiles() {
    let (store, builder) = Store::build(&leaves(70_000));
    inclusion(12_345, 70_000, &builder.over(&store)).unwrap();
    assert!(store.reads.get() <= 3, "{} tiles", store.reads.get());
}

#[test]
fn a_builder_is_restored_from_full_tiles_and_the_last_leaves() {
    let leaves = leaves(66_000);
    let (mut store, mut builder) = Store::build(&[]);
    for (index, leaf) in leaves.iter().enumerate() {
        if matches!(index, 0 | 1 | 255..=257 | 511..=513 | 1000 | 65_535..=65_537 | 65_791..=65_793) {
            let tail = &leaves[index - index % 256..index];
            let restored = Builder::restore(index as u64, tail, |tile| {
                store.tiles.get(&tile).map(|(_, root)| *root).ok_or(tile)
            });
            let restored = restored.unwrap();
            assert_eq!((restored.size(), restored.root()), (builder.size(), builder.root()), "{index}");
            assert!(restored.partial_tiles().eq(builder.partial_tiles()), "{index}");
            builder = restored;
        }
        store.push(&mut builder, *leaf);
    }
    assert_eq!(builder.root(), defined_root(&leaves));
}

#[test]
fn a_builder_is_not_restored_from_less() {
    let none = |tile: Tile| Err::<Hash, _>(tile);
    let error = Builder::restore(256, &[], none).unwrap_err();
    assert_eq!(error.to_string(), "`tile/0/000` cannot be read: tile/0/000");
    let error = Builder::restore(3, &leaves(2), none).unwrap_err();
    assert_eq!(error.to_string(), "a tree of 3 entries has 3 leaves after its last full tile, not 2");
    let error = Builder::restore(MAX_SIZE + 1, &leaves(1), none).unwrap_err();
    assert_eq!(error.to_string(), "a tree of 72057594037927937 entries has no tiles here");
}

#[test]
fn a_full_builder_takes_no_more() {
    let mut builder = Builder::restore(MAX_SIZE, &[], |_| Ok::<_, Infallible>(EMPTY_ROOT)).unwrap();
    assert!(!builder.push(EMPTY_ROOT, |_| unreachable!()));
    let mut builder =
        Builder::restore(MAX_SIZE - 1, &leaves(255), |_| Ok::<_, Infallible>(EMPTY_ROOT)).unwrap();
    let mut levels = Vec::new();
    assert!(builder.push(EMPTY_ROOT, |full| levels.push(full.tile.level())));
    assert_eq!((levels, builder.size()), ((0..7).collect(), MAX_SIZE));
}

#[test]
fn a_source_that_lacks_or_shortens_a_tile_is_named() {
    struct Short;
    impl Tiles for Short {
        type Error = Infallible;
        fn tile(&self, _: Tile) -> Result<Vec<Hash>, Infallible> {
            Ok(vec![Hash::ZERO; 9])
        }
    }
    let (store, _) = Store::build(&leaves(512));
    let tile = Tile::new(0, 2, 1).unwrap();
    assert_eq!(root(513, &store), Err(TreeError::Source { tile, source: tile }));
    let tile = Tile::new(0, 0, 10).unwrap();
    assert_eq!(root(10, &Short), Err(TreeError::Short { tile, found: 9 }));
    assert_eq!(root(MAX_SIZE + 1, &Short), Err(TreeError::TooLarge(MAX_SIZE + 1)));
    assert_eq!(inclusion(0, u64::MAX, &Short), Err(TreeError::TooLarge(u64::MAX)));
    assert_eq!(consistency(1, u64::MAX, &Short), Err(TreeError::TooLarge(u64::MAX)));
    assert!(root(9, &Short).is_ok());
}

#[test]
fn the_empty_tree_and_the_same_tree_need_no_proof() {
    let leaf = leaf_hash(b"");
    assert_eq!(verify_consistency(0, 9, &[], EMPTY_ROOT, leaf), Ok(()));
    assert_eq!(verify_consistency(0, 0, &[], EMPTY_ROOT, EMPTY_ROOT), Ok(()));
    assert_eq!(verify_consistency(0, 9, &[], leaf, leaf), Err(ProofError::OldRoot));
    assert_eq!(verify_consistency(0, 9, &[leaf], EMPTY_ROOT, leaf), Err(ProofError::Length(1)));
    assert_eq!(verify_consistency(9, 9, &[], leaf, leaf), Ok(()));
    assert_eq!(verify_consistency(9, 9, &[], leaf, EMPTY_ROOT), Err(ProofError::Root));
    assert_eq!(verify_consistency(9, 9, &[leaf], leaf, leaf), Err(ProofError::Length(1)));
    assert_eq!(verify_consistency(9, 8, &[], leaf, leaf), Err(ProofError::Sizes { old: 9, new: 8 }));
    assert_eq!(verify_inclusion(leaf, 0, 0, &[], leaf), Err(ProofError::Index { index: 0, size: 0 }));
    assert_eq!(verify_inclusion(leaf, 0, 1, &[], leaf), Ok(()));
}

/// A proof with one thing changed.
#[derive(Clone, Debug)]
enum Mutation {
    Bit(prop::sample::Index, u8),
    Drop(prop::sample::Index),
    Repeat(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Append(Hash),
    Prepend(Hash),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    use prop::sample::Index;
    let hash = any::<[u8; 32]>().prop_map(Hash);
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, bit)| Mutation::Bit(at, bit)),
        1 => any::<Index>().prop_map(Mutation::Drop),
        1 => any::<Index>().prop_map(Mutation::Repeat),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(at, with)| Mutation::Swap(at, with)),
        1 => hash.clone().prop_map(Mutation::Append),
        1 => hash.prop_map(Mutation::Prepend),
    ]
}

/// The changed proof; none where the change has no place or changes nothing.
fn mutated(proof: &[Hash], mutation: &Mutation) -> Option<Vec<Hash>> {
    let mut changed = proof.to_vec();
    match mutation {
        Mutation::Append(hash) => changed.push(*hash),
        Mutation::Prepend(hash) => changed.insert(0, *hash),
        _ if proof.is_empty() => return None,
        Mutation::Bit(at, bit) => at.get_mut(&mut changed).0[usize::from(bit / 8)] ^= 1 << (bit % 8),
        Mutation::Drop(at) => drop(changed.remove(at.index(proof.len()))),
        Mutation::Repeat(at) => changed.insert(at.index(proof.len()), *at.get(proof)),
        Mutation::Swap(at, with) => changed.swap(at.index(proof.len()), with.index(proof.len())),
    }
    (changed != proof).then_some(changed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_changed_inclusion_proof_is_refused(
        size in 1..2000_u64,
        at in any::<prop::sample::Index>(),
        mutations in prop::collection::vec(mutation(), 1..8),
    ) {
        let leaves = leaves(size);
        let (store, builder) = Store::build(&leaves);
        let index = at.index(size as usize) as u64;
        let leaf = leaves[index as usize];
        let proof = inclusion(index, size, &builder.over(&store)).unwrap();
        let root = builder.root();
        prop_assert_eq!(verify_inclusion(leaf, index, size, &proof, root), Ok(()));
        for mutation in mutations {
            if let Some(changed) = mutated(&proof, &mutation) {
                prop_assert!(verify_inclusion(leaf, index, size, &changed, root).is_err(), "{:?}", mutation);
            }
        }
        // The other entry of the tree, the other root, the other leaf.
        prop_assert!(verify_inclusion(leaf_hash(b"other"), index, size, &proof, root).is_err());
        prop_assert!(verify_inclusion(leaf, index, size, &proof, leaf_hash(b"other")).is_err());
        for other in [index.wrapping_sub(1), index + 1, index ^ 2] {
            prop_assert!(verify_inclusion(leaf, other, size, &proof, root).is_err());
        }
    }

    #[test]
    fn a_changed_consistency_proof_is_refused(
        new in 2..2000_u64,
        at in any::<prop::sample::Index>(),
        mutations in prop::collection::vec(mutation(), 1..8),
    ) {
        let leaves = leaves(new);
        let old = 1 + at.index(new as usize - 1) as u64;
        let (_, before) = Store::build(&leaves[..old as usize]);
        let (store, after) = Store::build(&leaves);
        let (old_root, new_root) = (before.root(), after.root());
        let proof = consistency(old, new, &after.over(&store)).unwrap();
        prop_assert_eq!(verify_consistency(old, new, &proof, old_root, new_root), Ok(()));
        for mutation in mutations {
            if let Some(changed) = mutated(&proof, &mutation) {
                let verdict = verify_consistency(old, new, &changed, old_root, new_root);
                prop_assert!(verdict.is_err(), "{:?}", mutation);
            }
        }
        let other = leaf_hash(b"other");
        prop_assert_eq!(verify_consistency(old, new, &proof, old_root, other), Err(ProofError::Root));
        prop_assert!(verify_consistency(old, new, &proof, other, new_root).is_err());
    }

    #[test]
    fn any_proof_of_any_numbers_has_an_answer(
        numbers in any::<[u64; 2]>(),
        hashes in prop::collection::vec(any::<[u8; 32]>().prop_map(Hash), 0..70),
    ) {
        let [first, second] = numbers;
        let root = Hash::of(b"a root of nothing");
        prop_assert!(verify_inclusion(leaf_hash(b""), first, second, &hashes, root).is_err());
        prop_assert!(verify_consistency(first, second, &hashes, root, Hash::ZERO).is_err());
    }
}
