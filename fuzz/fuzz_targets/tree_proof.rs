//! Paths, tiles and bundles are read as they are written, and of a small tree nothing is proved
//! but by its own proofs.

#![no_main]
#![allow(dead_code, unused_imports, reason = "the ledger uses all of the room")]

use std::{convert::Infallible, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use vantio_core::Hash;

#[path = "../../crates/vantio-ledger/src/tree/mod.rs"]
mod tree;

use tree::{Builder, Bundle, Tile, Tiles};

/// Entries of the tree: more than a tile has.
const SIZE: u64 = 300;

struct Small {
    leaves: Vec<Hash>,
    builder: Builder,
    first: Vec<Hash>,
}

impl Tiles for Small {
    type Error = Infallible;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, Infallible> {
        Ok(self.builder.partial(tile.level(), tile.index()).unwrap_or(&self.first).to_vec())
    }
}

static TREE: LazyLock<Small> = LazyLock::new(|| {
    let leaves: Vec<_> = (0..SIZE).map(|index| tree::leaf_hash(&index.to_be_bytes())).collect();
    let (mut builder, mut first) = (Builder::new(), Vec::new());
    for leaf in &leaves {
        assert!(builder.push(*leaf, |full| first = full.hashes.to_vec()));
    }
    Small { leaves, builder, first }
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(tile) = text.parse::<Tile>() {
            assert_eq!(tile.to_string(), text);
            assert_eq!(Tile::new(tile.level(), tile.index(), tile.width()), Some(tile));
        }
        if let Ok(bundle) = text.parse::<Bundle>() {
            assert_eq!(bundle.to_string(), text);
            assert_eq!(bundle.entries().count(), usize::from(bundle.width()));
        }
    }
    if let Ok(hashes) = tree::decode_tile(bytes) {
        assert_eq!(tree::encode_tile(&hashes), bytes);
    }
    if let Ok(entries) = tree::decode_bundle(bytes) {
        assert_eq!(tree::encode_bundle(entries).as_deref(), Ok(bytes));
    }
    prove(bytes);
});

// Two numbers of 64 bits, and hashes.
fn prove(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first_chunk() else { return };
    let Some((second, rest)) = rest.split_first_chunk() else { return };
    let (first, second) = (u64::from_be_bytes(*first), u64::from_be_bytes(*second));
    let proof: Vec<_> = rest.as_chunks().0.iter().copied().map(Hash).collect();
    let nothing = Hash::of(b"a root of nothing");
    assert!(tree::verify_inclusion(nothing, first, second, &proof, Hash::ZERO).is_err());
    assert!(tree::verify_consistency(first, second, &proof, nothing, Hash::ZERO).is_err());
    if second > SIZE {
        return;
    }
    let root = |size| tree::root(size, &*TREE).expect("within the tree");
    if let Some(leaf) = TREE.leaves.get(first as usize)
        && tree::verify_inclusion(*leaf, first, second, &proof, root(second)).is_ok()
    {
        assert_eq!(tree::inclusion(first, second, &*TREE).as_ref(), Ok(&proof));
    }
    if first <= SIZE && tree::verify_consistency(first, second, &proof, root(first), root(second)).is_ok() {
        assert_eq!(tree::consistency(first, second, &*TREE).as_ref(), Ok(&proof));
    }
}
