//! A log of bytes, at the sizes where trees and tiles differ.

use std::{
    collections::{BTreeSet, HashMap},
    error::Error,
    fs, io,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use vantio_core::Hash;
use vantio_ledger::{
    note::{EntryProof, SignedNote, SigningKey, TreeHead},
    tree::{
        Builder, Bundle, Tile, Tiles, consistency, encode_bundle, encode_tile, inclusion, leaf_hash, root,
    },
};

/// Around every boundary between tiles, and the size that C2SP tlog-tiles takes for an example.
const SIZES: [u64; 8] = [0, 1, 2, 255, 256, 257, 65_536 + 3, 70_000];

/// Up to this size every proof is written, beyond it some.
const SMALL: u64 = 257;

const ORIGIN: &str = "vantio.example/conformance";
const WITNESS: &str = "witness.example/conformance";

/// When the witness cosigned.
const TIME: u64 = 1_700_000_000;

/// The full tiles.
#[derive(Default)]
struct Store(HashMap<Tile, Vec<Hash>>);

impl Tiles for Store {
    type Error = io::Error;

    fn tile(&self, tile: Tile) -> io::Result<Vec<Hash>> {
        self.0.get(&tile).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A log in memory.
struct Log {
    store: Store,
    builder: Builder,
    key: SigningKey,
    witness: SigningKey,
}

/// Writes the log, cosigned by a witness, with proofs of many entries and sizes.
pub fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir(folder)?;
    let mut log = Log {
        store: Store::default(),
        builder: Builder::new(),
        key: SigningKey::new(ORIGIN, &[1; 32])?,
        witness: SigningKey::new(WITNESS, &[2; 32])?,
    };
    fs::write(folder.join("key"), format!("{}\n", log.key.verifier()))?;
    fs::write(folder.join("witness"), format!("{}\n", log.witness.cosigner()))?;
    for size in SIZES {
        while log.builder.size() < size {
            let Log { store, builder, .. } = &mut log;
            let leaf = leaf_hash(&entry(builder.size()));
            builder.push(leaf, |full| drop(store.0.insert(full.tile, full.hashes.to_vec())));
        }
        log.publish(&folder.join(size.to_string()))?;
        fs::write(folder.join(format!("{size}.json")), log.proofs()?.to_string())?;
        log.write_proof_files(folder)?;
    }
    Ok(())
}

/// Entries of many lengths, the shortest and the longest among them.
fn entry(index: u64) -> Vec<u8> {
    match index {
        1 => Vec::new(),
        200 => vec![b'.'; 65_535],
        _ => format!("{{\"seq\":{index},\"op\":\"{}\"}}", "x".repeat(index as usize % 40)).into_bytes(),
    }
}

impl Log {
    fn checkpoint(&self) -> Result<SignedNote, Box<dyn Error>> {
        let head = TreeHead::new(ORIGIN, self.builder.size(), self.builder.root())?;
        let mut note = head.sign(&self.key)?;
        note.add(self.witness.cosign(&head.to_string(), TIME))?;
        Ok(note)
    }

    fn publish(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let (size, tiles) = (self.builder.size(), self.builder.over(&self.store));
        for tile in Tile::of_tree(size) {
            let hashes = tiles.tile(tile)?;
            write_file(&folder.join(tile.to_string()), &encode_tile(&hashes))?;
        }
        for bundle in Bundle::of_tree(size) {
            write_file(&folder.join(bundle.to_string()), &encode_bundle(bundle.entries().map(entry))?)?;
        }
        if root(size, &tiles)? != self.builder.root() {
            return Err("the tiles have another root than the builder".into());
        }
        write_file(&folder.join("checkpoint"), self.checkpoint()?.to_string().as_bytes())
    }

    fn proofs(&self) -> Result<Value, Box<dyn Error>> {
        let (size, tiles) = (self.builder.size(), self.builder.over(&self.store));
        let mut inclusions = Vec::new();
        for index in picked(size) {
            inclusions.push(json!({ "index": index, "hashes": texts(&inclusion(index, size, &tiles)?) }));
        }
        let mut consistencies = Vec::new();
        for old in picked(size + 1).into_iter().filter(|old| *old > 0) {
            let hashes = texts(&consistency(old, size, &tiles)?);
            let old_root = STANDARD.encode(root(old, &tiles)?.0);
            consistencies.push(json!({ "old": old, "old_root": old_root, "hashes": hashes }));
        }
        Ok(json!({ "inclusion": inclusions, "consistency": consistencies }))
    }

    fn write_proof_files(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let (size, tiles) = (self.builder.size(), self.builder.over(&self.store));
        for index in
            BTreeSet::from([0, size / 2, size.saturating_sub(1)]).into_iter().filter(|index| *index < size)
        {
            let proof = EntryProof {
                extra: (index % 2 == 1).then(|| b"extra".to_vec()),
                index,
                hashes: inclusion(index, size, &tiles)?,
                checkpoint: self.checkpoint()?,
            };
            fs::write(folder.join(format!("{size}-{index}.tlog-proof")), proof.to_string())?;
        }
        Ok(())
    }
}

/// Every number below `end`, or some 300 of them when it is large.
pub fn picked(end: u64) -> BTreeSet<u64> {
    if end <= SMALL + 1 {
        return (0..end).collect();
    }
    let spread = (0..end).step_by((end / 300) as usize);
    let edges = SIZES.into_iter().flat_map(|size| [size.saturating_sub(1), size, size + 1]);
    spread.chain(edges).chain([end - 1]).filter(|number| *number < end).collect()
}

pub fn texts(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| STANDARD.encode(hash.0)).collect()
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(path.parent().ok_or("a path without folder")?)?;
    Ok(fs::write(path, bytes)?)
}
