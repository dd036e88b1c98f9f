//! Notes, keys, checkpoints and proofs are read as they are written, and no text is taken for
//! signed that the key did not sign.

#![no_main]
#![allow(dead_code, unused_imports, reason = "the ledger uses all of the room")]

use std::{fmt::Display, str::FromStr, sync::LazyLock};

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/vantio-ledger/src/note/mod.rs"]
mod note;

use note::{EntryProof, Signature, SignedNote, SigningKey, TreeHead, VerifierKey};

/// Keys that have signed nothing but what is in [`SIGNED`].
static KNOWN: LazyLock<Vec<VerifierKey>> = LazyLock::new(|| {
    let texts = [
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "witness.example/w1+e75f6532+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
    ];
    texts.iter().map(|text| text.parse().expect("the key of a test")).collect()
});

/// The texts of the first inputs.
const SIGNED: [&str; 3] = [
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n",
    "go.sum database tree\n35225469\nvt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=\n",
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
];

fuzz_target!(|bytes: &[u8]| {
    let note = SignedNote::from_bytes(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert!(note.is_err());
        return;
    };
    if let Ok(note) = note {
        assert_eq!(note.to_string(), text);
        if note.verify(&KNOWN).is_ok() {
            assert!(SIGNED.contains(&note.text()), "{text}");
        }
        comes_back::<TreeHead>(note.text());
    }
    comes_back::<Signature>(text);
    comes_back::<TreeHead>(text);
    comes_back::<VerifierKey>(text);
    if let Some(proof) = comes_back::<EntryProof>(text) {
        assert!(proof.hashes.len() <= 63);
    }
    if let Ok(key) = text.parse::<SigningKey>() {
        assert_eq!(key.secret_text().as_str(), text);
        let mut note = SignedNote::new(SIGNED[0]).expect("a text");
        note.sign(&key).expect("the first signature");
        assert!(note.verify(&[key.verifier()]).is_ok());
    }
});

fn comes_back<Read: FromStr + Display>(text: &str) -> Option<Read> {
    let read = text.parse::<Read>().ok()?;
    assert_eq!(read.to_string(), text);
    Some(read)
}
