//! The tree agrees with the vectors of Certificate Transparency and with a tree that is
//! written down as the RFC defines it, and no other proof is accepted.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{cell::Cell, collections::HashMap, convert::Infallible};

use proptest::prelude::*;
use vantio_core::Hash;
use vantio_ledger::tree::{
    Builder, Bundle, BundleError, EMPTY_ROOT, MAX_SIZE, ProofError, Tile, TileBytesError, Tiles, TreeError,
    consistency, decode_bundle, decode_tile, encode_bundle, encode_tile, inclusion, leaf_hash, node_hash,
    root, verify_consistency, verify_inclusion,
};

/// Every size up to here is compared with the definition.
const SMALL: u64 = 300;

/// The entries of the Certificate Transparency test tree.
const ENTRIES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

/// Its roots, by size.
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

const INCLUSIONS: [(u64, u64, &[&str]); 5] = [
    (0, 1, &[]),
    (
        0,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

const CONSISTENCIES: [(u64, u64, &[&str]); 5] = [
    (1, 1, &[]),
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
    (
        6,
        7,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
];

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

/// The root as the RFC defines it.
fn defined_root(leaves: &[Hash]) -> Hash {
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
fn defined_inclusion(index: usize, leaves: &[Hash]) -> Vec<Hash> {
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
fn defined_consistency(old: usize, leaves: &[Hash], complete: bool) -> Vec<Hash> {
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
fn tiles_of_a_tree_are_those_of_the_specification() {
    let paths = |size| Tile::of_tree(size).map(|tile| tile.to_string()).collect::<Vec<_>>();
    assert!(paths(0).is_empty());
    assert_eq!(paths(1), ["tile/0/000.p/1"]);
    assert_eq!(paths(256), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(paths(257), ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]);
    let large = paths(70_000);
    assert_eq!(large.len(), 273 + 1 + 1 + 1 + 1);
    let rest = ["tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"];
    assert_eq!(large[273..], rest);
    let bundles: Vec<_> = Bundle::of_tree(257).collect();
    assert_eq!(bundles, [Bundle::new(0, 256).unwrap(), Bundle::new(1, 1).unwrap()]);
    assert_eq!(bundles[1].to_string(), "tile/entries/001.p/1");
    assert_eq!((bundles[1].entries(), bundles[1].tile()), (256..257, Tile::new(0, 1, 1).unwrap()));
}

#[test]
fn paths_are_those_of_the_specification() {
    let cases = [
        ("tile/0/x001/x234/067", Tile::new(0, 1_234_067, 256)),
        ("tile/0/x001/x234/067.p/8", Tile::new(0, 1_234_067, 8)),
        ("tile/1/000", Tile::new(1, 0, 256)),
        ("tile/2/999.p/255", Tile::new(2, 999, 255)),
        ("tile/2/x001/000.p/1", Tile::new(2, 1000, 1)),
        ("tile/7/000.p/1", Tile::new(7, 0, 1)),
    ];
    for (path, tile) in cases {
        let tile = tile.unwrap();
        assert_eq!(tile.to_string(), path);
        assert_eq!(path.parse(), Ok(tile));
    }
    let others = [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/00/000",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/x001/",
        "tile/0/x001/x000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p/+1",
        "tile/0/+00",
        "tile/-1/000",
        "/tile/0/000",
        "tile/0/000/",
        "tile/8/000",
        "tile/7/001",
        "tile/7/000.p/2",
        "tile/256/000",
        "tile/entries/000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/000.p/1.p/1",
        "tile/0/00\u{663}",
    ];
    for path in others {
        assert!(path.parse::<Tile>().is_err(), "{path}");
    }
    assert_eq!("tile/entries/x001/000.p/3".parse(), Ok(Bundle::new(1000, 3).unwrap()));
    for path in ["tile/0/000", "tile/entries/0", "tile/entries/", "entries/000"] {
        assert!(path.parse::<Bundle>().is_err(), "{path}");
    }
}

#[test]
fn bundles_hold_up_to_256_entries_of_up_to_65535_bytes() {
    let longest = vec![7; 65_535];
    let entries: [&[u8]; 3] = [b"", b"ab", &longest];
    let bytes = encode_bundle(entries).unwrap();
    assert_eq!(bytes[..6], [0, 0, 0, 2, b'a', b'b']);
    assert_eq!(decode_bundle(&bytes).unwrap(), entries);
    let too_long = BundleError::TooLong { offset: 1, bytes: 65_536 };
    assert_eq!(encode_bundle([vec![], vec![0; 65_536]]), Err(too_long));
    assert_eq!(encode_bundle([[]; 257]), Err(BundleError::TooMany));
    assert_eq!(decode_bundle(&[0; 2 * 257]), Err(BundleError::TooMany));
    assert_eq!(decode_bundle(&[0; 2 * 256]).unwrap().len(), 256);
    assert_eq!(decode_bundle(&[0, 0, 0]), Err(BundleError::CutShort { offset: 1 }));
    assert_eq!(decode_bundle(&[0, 2, 1]), Err(BundleError::CutShort { offset: 0 }));
}

#[test]
fn files_of_tiles_hold_1_to_256_hashes() {
    let hashes = leaves(256);
    assert_eq!(decode_tile(&encode_tile(&hashes)), Ok(hashes));
    for length in [0, 31, 33, 32 * 257] {
        assert_eq!(decode_tile(&vec![0; length]), Err(TileBytesError(length)));
    }
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

    #[test]
    fn tiles_of_two_sizes_differ_by_those_added(sizes in any::<[u16; 2]>(), high in 0..3_u64) {
        let [first, second] = sizes.map(|size| u64::from(size) + (high << 16));
        let (old, new) = (first.min(second), first.max(second));
        let before: Vec<_> = Tile::of_tree(old).collect();
        let expected: Vec<_> = Tile::of_tree(new).filter(|tile| !before.contains(tile)).collect();
        prop_assert_eq!(Tile::added(old, new).collect::<Vec<_>>(), expected);
        let bundles: Vec<_> = Bundle::of_tree(old).collect();
        let expected: Vec<_> = Bundle::of_tree(new).filter(|bundle| !bundles.contains(bundle)).collect();
        prop_assert_eq!(Bundle::added(old, new).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_path_has_one_tile_and_a_tile_one_path(level in 0..9_u8, index in any::<u64>(), down in 0..64, width in 0..300_u16) {
        let index = index >> down;
        if let Some(tile) = Tile::new(level, index, width) {
            prop_assert_eq!(tile.to_string().parse(), Ok(tile));
            prop_assert_eq!((tile.level(), tile.index(), tile.width()), (level, index, width));
        }
    }

    #[test]
    fn what_parses_as_a_path_is_the_path(path in "tile/([0-9]|entries)/(x[0-9]{3}/){0,4}[0-9]{3}(\\.p/[0-9]{1,3})?") {
        if let Ok(tile) = path.parse::<Tile>() {
            prop_assert_eq!(tile.to_string(), path.as_str());
        }
        if let Ok(bundle) = path.parse::<Bundle>() {
            prop_assert_eq!(bundle.to_string(), path);
        }
    }

    #[test]
    fn bundles_come_back(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..=256)) {
        let bytes = encode_bundle(&entries).unwrap();
        prop_assert_eq!(decode_bundle(&bytes).unwrap(), entries);
    }
}
