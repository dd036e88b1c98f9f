//! Proofs that stand alone, and folders that any web server can serve.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeSet, fs, path::Path};

use common::{filled, place};
use vantio_core::Hash;
use vantio_ledger::{
    GrowthProof, ProveError, PublishError, Reader,
    note::{EntryProof, SignedNote, TreeHead, VerifierKey},
    tree::{Bundle, Tile, decode_bundle, decode_tile, leaf_hash},
    verify_proof,
};

fn reader(path: &Path) -> (Reader, VerifierKey) {
    let reader = Reader::open(path).unwrap();
    let key = reader.verifier_key().unwrap().unwrap();
    (reader, key)
}

fn newest(reader: &Reader) -> TreeHead {
    reader.newest_checkpoint().unwrap().unwrap().text().parse().unwrap()
}

#[test]
fn every_entry_has_a_proof_that_needs_only_a_file_and_a_key() {
    for size in [1, 2, 255, 256, 257, 600] {
        let (_folder, path) = place();
        filled(&path, size);
        let (reader, key) = reader(&path);
        let size = u64::from(size);
        for seq in (0..size).filter(|seq| seq % 37 < 2 || seq + 3 > size) {
            let text = reader.prove(seq).unwrap().to_string();
            let proved = verify_proof(&text.parse().unwrap(), std::slice::from_ref(&key)).unwrap();
            let stored = reader.entry(seq).unwrap().unwrap();
            assert_eq!((proved.entry.seq, proved.entry.this_hash), (seq, stored.this_hash));
            assert_eq!(proved.entry.detail, None, "a proof tells what may be published");
            assert_eq!(proved.head.size(), size);
            assert_eq!(proved.signers[0].name, key.name());
        }
        assert!(matches!(reader.prove(size), Err(ProveError::Uncovered(seq)) if seq == size));
    }
}

#[test]
fn a_proof_that_was_changed_anywhere_does_not_hold() {
    let (_folder, path) = place();
    filled(&path, 20);
    let (reader, key) = reader(&path);
    let text = reader.prove(7).unwrap().to_string();
    let mut refused = 0;
    for place in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[place] ^= 1;
        let proof = str::from_utf8(&bytes).ok().and_then(|text| text.parse::<EntryProof>().ok());
        let holds = proof.is_some_and(|proof| verify_proof(&proof, std::slice::from_ref(&key)).is_ok());
        assert!(!holds, "byte {place} of {text}");
        refused += 1;
    }
    assert_eq!(refused, text.len());
    let (_other_folder, other) = place();
    filled(&other, 1);
    let (_, other) = self::reader(&other);
    let error = verify_proof(&text.parse().unwrap(), &[other]).unwrap_err();
    assert_eq!(error.code(), "E_LEDGER_PROOF", "{error}");
}

#[test]
fn growth_is_proved_and_a_fork_is_not() {
    let (_folder, path) = place();
    filled(&path, 300);
    let old = newest(&reader(&path).0);
    filled(&path, 400);
    let (reader, key) = reader(&path);
    let text = reader.prove_growth(&old).unwrap().to_string();
    let proof: GrowthProof = text.parse().unwrap();
    assert_eq!(proof.to_string(), text);
    let (head, signers) = proof.verify(&old, std::slice::from_ref(&key)).unwrap();
    assert_eq!((head.size(), signers.len()), (700, 1));

    let forged = TreeHead::new(old.origin(), old.size(), Hash::of(b"another tree")).unwrap();
    assert!(matches!(reader.prove_growth(&forged), Err(ProveError::Fork { size: 300 })));
    assert!(proof.verify(&forged, std::slice::from_ref(&key)).is_err());
    let elsewhere = TreeHead::new("elsewhere", old.size(), old.root()).unwrap();
    assert!(proof.verify(&elsewhere, &[key]).is_err());
}

/// Every file below a folder, by its path.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(at) = waiting.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

#[test]
fn a_published_folder_has_every_tile_and_entry_of_its_checkpoint() {
    let (folder, path) = place();
    let web = folder.path().join("web");
    for _ in 0..3 {
        filled(&path, 300);
        let (reader, key) = reader(&path);
        let published = reader.publish(&web).unwrap();
        let note = SignedNote::from_bytes(&fs::read(web.join("checkpoint")).unwrap()).unwrap();
        note.verify(&[key]).unwrap();
        assert_eq!(note.text().parse::<TreeHead>().unwrap(), published.head);
        let size = published.head.size();
        let there = files(&web);
        for tile in Tile::of_tree(size) {
            assert!(there.contains(&tile.to_string()), "{tile}");
        }
        for bundle in Bundle::of_tree(size) {
            let bytes = fs::read(web.join(bundle.to_string())).unwrap();
            let leaves: Vec<Hash> = decode_bundle(&bytes).unwrap().into_iter().map(leaf_hash).collect();
            let tile = fs::read(web.join(bundle.tile().to_string())).unwrap();
            assert_eq!(decode_tile(&tile).unwrap(), leaves);
        }
    }
    let text = files(&web).iter().map(|name| fs::read(web.join(name)).unwrap()).collect::<Vec<_>>().concat();
    let says = |words: &str| text.windows(words.len()).any(|window| window == words.as_bytes());
    assert!(says("path(depth=2") && !says("/work/"), "paths are published by their structure only");
    let again = reader(&path).0.publish(&web).unwrap();
    assert_eq!(again.files, 1, "what is there is not written again");
}

#[test]
fn a_folder_with_another_log_is_left_as_it_is() {
    let (folder, path) = place();
    let web = folder.path().join("web");
    filled(&path, 10);
    reader(&path).0.publish(&web).unwrap();
    let before = fs::read(web.join("checkpoint")).unwrap();
    let (_other_folder, other) = place();
    filled(&other, 20);
    let error = reader(&other).0.publish(&web).unwrap_err();
    assert!(matches!(error, PublishError::Other { .. }), "{error}");
    // Another history, signed by the same key.
    let (_forked_folder, forked) = place();
    fs::create_dir_all(forked.parent().unwrap()).unwrap();
    fs::copy(path.with_extension("key"), forked.with_extension("key")).unwrap();
    filled(&forked, 20);
    let error = reader(&forked).0.publish(&web).unwrap_err();
    assert_eq!(error.code(), "E_LEDGER_FORK", "{error}");
    assert_eq!(fs::read(web.join("checkpoint")).unwrap(), before);
}

#[test]
fn a_ledger_without_a_checkpoint_proves_and_publishes_nothing() {
    let (folder, path) = place();
    filled(&path, 0);
    let reader = Reader::open(&path).unwrap();
    assert!(matches!(reader.prove(0), Err(ProveError::Uncovered(0))));
    let error = reader.publish(&folder.path().join("web")).unwrap_err();
    assert!(matches!(error, PublishError::Nothing), "{error}");
}
