//! Bundles, as whoever gets one checks it, and as a forger would make one.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use common::{open, place, refusal, run};
use vantio_core::Hash;
use vantio_ledger::{
    Draft, Fault, Ledger, Malformed, Reader, VerifyError,
    bundle::{Bundle, BundleOptions, Examined, OpenBundleError, RunSpan, names},
    note::{SigningKey, VerifierKey},
    tree::leaf_hash,
};

/// Entries of two runs in turn, more than two tiles of them, all under a checkpoint.
struct World {
    _folder: tempfile::TempDir,
    path: PathBuf,
    key: VerifierKey,
}

const ENTRIES: u32 = 600;

fn world() -> World {
    let (folder, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    for number in 0..ENTRIES {
        let draft = if number % 50 == 2 { refusal(number) } else { open(number) };
        let (first, last) = (number < 2, number >= ENTRIES - 2);
        let op = if first {
            "run.start"
        } else if last {
            "run.end"
        } else {
            &draft.op
        }
        .to_owned();
        let run_id = run(if first || last || number % 3 == 1 { 1 + (number % 2) as u8 } else { 1 });
        ledger.record(Draft { run_id, op, ..draft }).unwrap();
    }
    ledger.checkpoint().unwrap();
    let key = ledger.reader().unwrap().verifier_key().unwrap().unwrap();
    World { _folder: folder, path, key }
}

impl World {
    fn pack(&self, options: BundleOptions) -> Vec<u8> {
        let mut bytes = Vec::new();
        let attach = |policies: &BTreeSet<Hash>| {
            assert_eq!(policies.iter().copied().collect::<Vec<_>>(), [Hash::of(b"policy")]);
            vec![(names::policy(Hash::of(b"policy")), b"policy".to_vec())]
        };
        Reader::open(&self.path).unwrap().bundle(options, attach, &mut bytes).unwrap();
        bytes
    }

    fn whole(&self) -> Vec<u8> {
        self.pack(BundleOptions::default())
    }

    fn part(&self) -> Vec<u8> {
        self.pack(BundleOptions { run: Some(run(2)), with_details: false })
    }

    fn examine(&self, bytes: &[u8]) -> Result<Examined, OpenBundleError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        Bundle::open(file.path())?.examine(std::slice::from_ref(&self.key))
    }

    /// The first bad entry of a bundle that a forger edited, manifest and all.
    fn first_bad(&self, bytes: &[u8], edit: impl FnOnce(&mut Files)) -> Option<u64> {
        let mut files = unpack(bytes);
        edit(&mut files);
        self.examine(&pack(&files)).unwrap().broken.expect("it holds").seq()
    }
}

type Files = BTreeMap<String, Vec<u8>>;

fn unpack(bytes: &[u8]) -> Files {
    let mut archive = tar::Archive::new(bytes);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (name, bytes)
    };
    archive.entries().unwrap().map(read).collect()
}

/// A bundle of these files, with a manifest of them.
fn pack(files: &Files) -> Vec<u8> {
    let manifest = String::from_utf8(files["MANIFEST"].clone()).unwrap();
    let head = manifest.lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n"));
    let others = files.iter().filter(|(name, _)| *name != "MANIFEST");
    let lines = others.map(|(name, bytes)| format!("{}  {name}\n", Hash::of(bytes)));
    let manifest: String = head.chain(lines).collect();
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let bytes = if name == "MANIFEST" { manifest.as_bytes() } else { bytes };
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

fn lines(files: &Files) -> Vec<String> {
    str::from_utf8(&files["entries.jsonl"]).unwrap().lines().map(str::to_owned).collect()
}

fn set_lines(files: &mut Files, lines: &[String]) {
    files.insert(
        "entries.jsonl".into(),
        lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect(),
    );
}

/// The line with a text changed, and a hash that fits it.
fn rehashed(line: &str, from: &str, to: &str) -> String {
    assert!(line.contains(from), "{line}");
    let line = line.replacen(from, to, 1);
    let hash = |name: &str| {
        let start = line.find(&format!("\"{name}\":\"")).unwrap() + name.len() + 4;
        line[start..start + 64].to_owned()
    };
    let (prev, this) = (hash("prev_hash"), hash("this_hash"));
    let text = line.replace(&format!(",\"this_hash\":\"{this}\""), "");
    let prev: Hash = prev.parse().unwrap();
    line.replace(&this, &Hash::of_parts(&[&prev.0, text.as_bytes()]).to_string())
}

#[test]
fn the_bundle_of_a_ledger_proves_every_entry() {
    let world = world();
    let examined = world.examine(&world.whole()).unwrap();
    assert!(examined.broken.is_none(), "{:?}", examined.broken);
    assert_eq!((examined.entries, examined.links, examined.details), (600, 599, 0));
    assert_eq!((examined.seals, examined.svids.len()), (12, 1));
    assert_eq!(examined.svids[0].first.0, 2);
    assert_eq!(examined.given.unwrap()[0].name, world.key.name());
    assert!(examined.runs.values().all(|span| *span == RunSpan { is_started: true, is_ended: true }));
    assert_eq!(world.whole(), world.whole(), "the same content is the same file");
    assert!(unpack(&world.whole()).keys().all(|name| !name.starts_with("tile/")));
}

#[test]
fn the_bundle_of_a_run_proves_its_entries_with_a_part_of_the_tree() {
    let world = world();
    let examined = world.examine(&world.part()).unwrap();
    assert!(examined.broken.is_none(), "{:?}", examined.broken);
    assert_eq!(examined.entries, 101);
    assert_eq!(examined.head.size(), 600);
    assert_eq!(examined.runs.keys().copied().collect::<Vec<_>>(), [run(2)]);
    let files = unpack(&world.part());
    assert!(files.keys().any(|name| name.starts_with("tile/0/")));
    assert!(!String::from_utf8_lossy(&files["entries.jsonl"]).contains("/work/"), "no paths leave");
}

#[test]
fn details_are_in_a_bundle_only_when_asked_for_and_then_checked() {
    let world = world();
    let bytes = world.pack(BundleOptions { run: Some(run(2)), with_details: true });
    let examined = world.examine(&bytes).unwrap();
    assert!(examined.broken.is_none(), "{:?}", examined.broken);
    assert_eq!(examined.details, 101);
    let bad = world.first_bad(&bytes, |files| {
        let mut lines = lines(files);
        lines[4] = lines[4].replacen("/work/", "/home/", 1);
        set_lines(files, &lines);
    });
    let files = unpack(&bytes);
    let entry: serde_json::Value = serde_json::from_str(&lines(&files)[4]).unwrap();
    assert_eq!(bad, entry["seq"].as_u64());
}

#[test]
fn what_is_changed_in_a_bundle_is_named_even_when_hashes_and_manifest_are_made_to_fit() {
    let world = world();
    for bytes in [world.whole(), world.part()] {
        let seq = |files: &Files, line: usize| {
            let entry: serde_json::Value = serde_json::from_str(&lines(files)[line]).unwrap();
            entry["seq"].as_u64()
        };
        let files = unpack(&bytes);
        for line in [0, 7, 60, 99] {
            let edit = |change: &dyn Fn(&str) -> String| {
                world.first_bad(&bytes, |files| {
                    let mut lines = lines(files);
                    lines[line] = change(&lines[line]);
                    set_lines(files, &lines);
                })
            };
            let plain = edit(&|line| line.replacen("\"pid\":7", "\"pid\":8", 1));
            let fits = edit(&|line| rehashed(line, "\"pid\":7", "\"pid\":8"));
            let fits = fits.unwrap();
            if bytes == world.part() {
                assert_eq!(Some(fits), seq(&files, line), "named by the tree");
                // What does not hold by itself has no number to be trusted: it follows one that has.
                assert!(plain <= seq(&files, line));
            } else {
                assert_eq!(Some(fits), seq(&files, line).map(|seq| seq + 1), "the next does not follow");
                assert_eq!(plain, seq(&files, line));
            }
        }
    }
    let cut = world.first_bad(&world.whole(), |files| {
        let mut lines = lines(files);
        lines.pop();
        set_lines(files, &lines);
    });
    assert_eq!(cut, Some(599), "the tail is missed");
    let tile = world.first_bad(&world.part(), |files| {
        let (_, tile) = files.iter_mut().find(|(name, _)| name.starts_with("tile/0/001")).unwrap();
        tile[40] ^= 1;
    });
    assert!((256..512).contains(&tile.unwrap()), "{tile:?}");
}

#[test]
fn a_tree_that_a_forger_builds_over_its_own_entries_has_another_root() {
    let world = world();
    let mut files = unpack(&world.part());
    let mut forged = lines(&files);
    forged[3] = rehashed(&forged[3], "\"pid\":7", "\"pid\":9");
    let entry: serde_json::Value = serde_json::from_str(&forged[3]).unwrap();
    let seq = entry["seq"].as_u64().unwrap();
    let hash = entry["this_hash"].as_str().unwrap();
    let text = forged[3].replace(&format!(",\"this_hash\":\"{hash}\""), "");
    let offset = seq as usize * 32;
    let tile = files.get_mut("tile/0/000").unwrap();
    tile[offset..offset + 32].copy_from_slice(&leaf_hash(text.as_bytes()).0);
    set_lines(&mut files, &forged);
    let broken = world.examine(&pack(&files)).unwrap().broken.unwrap();
    assert!(matches!(broken, VerifyError::Tile { .. }), "{broken}");
}

#[test]
fn a_checkpoint_of_another_key_is_told_from_the_logs() {
    let world = world();
    let mut files = unpack(&world.whole());
    let other = SigningKey::new(world.key.name(), &[7; 32]).unwrap();
    let text: vantio_ledger::note::SignedNote =
        str::from_utf8(&files["checkpoint"]).unwrap().parse().unwrap();
    let head: vantio_ledger::note::TreeHead = text.text().parse().unwrap();
    files.insert("checkpoint".into(), head.sign(&other).unwrap().to_string().into_bytes());
    files.insert("key".into(), format!("{}\n", other.verifier()).into_bytes());
    let examined = world.examine(&pack(&files)).unwrap();
    assert!(examined.own.is_ok() && examined.given.is_err(), "it vouches for itself only");
}

#[test]
fn an_entry_of_another_run_is_not_taken_for_one_of_this_run() {
    let world = world();
    let whole = lines(&unpack(&world.whole()));
    let bytes = world.part();
    let mut files = unpack(&bytes);
    let mut mixed = lines(&files);
    mixed.insert(1, whole.iter().find(|line| line.contains("\"seq\":3,")).unwrap().clone());
    set_lines(&mut files, &mixed);
    let broken = world.examine(&pack(&files)).unwrap().broken.unwrap();
    let wanted = Fault::Malformed(Malformed::Field("run_id"));
    assert!(matches!(broken, VerifyError::Entry { seq: 3, fault } if fault == wanted), "{broken}");
}

#[test]
fn no_byte_of_a_bundle_changes_what_it_says_unnoticed() {
    let world = world();
    let bytes = world.part();
    let files = unpack(&bytes);
    let mut state = 7_u64;
    for _ in 0..400 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let place = (state >> 33) as usize % bytes.len();
        let mut changed = bytes.clone();
        changed[place] ^= 1 << (state & 7);
        if let Ok(examined) = world.examine(&changed) {
            // Padding is nobody's, and a manifest vouches for nothing.
            assert!(examined.broken.is_none(), "byte {place}");
            assert_eq!(unpack(&changed), files, "byte {place}");
        }
    }
}

#[test]
fn what_is_no_bundle_is_refused() {
    let world = world();
    let refused = |bytes: &[u8]| world.examine(bytes).unwrap_err().to_string();
    assert!(refused(b"").contains("MANIFEST"));
    assert!(refused(&[7; 2048]).starts_with("it is not a tar"));
    let bytes = world.whole();
    assert!(refused(&bytes[..bytes.len() / 2]).contains("entries.jsonl"));
    let mut files = unpack(&bytes);
    files.remove("checkpoint");
    assert_eq!(refused(&pack(&files)), "`checkpoint` is missing");
    let twice = [&bytes[..bytes.len() - 1024], &bytes].concat();
    assert_eq!(refused(&twice), "`MANIFEST` is there twice");
    assert!(Bundle::open(Path::new("/dev/null")).is_err());
}
