//! Notes, keys, cosignatures, checkpoints and proofs are read and written as others do, and
//! nothing that was changed is taken for signed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use vantio_core::Hash;
use vantio_ledger::note::{
    Algorithm, EntryProof, KeyError, MAX_NOTE_BYTES, MAX_SIGNATURES, NoteError, ParseProofError, Signature,
    SignedNote, SigningKey, TreeHead, TreeHeadError, Verified, VerifierKey, VerifyNoteError,
};

// From the tests of golang.org/x/mod/sumdb/note.
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n";
const PETER_SIGNED: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH_SIGNED: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

// From the text of C2SP signed-note.
const QUASIMODO: &str = "Ognuno sta solo sul cuor della terra\n\
    trafitto da un raggio di sole:\n\n\
    ed è subito sera.\n\n\
    — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";

// A checkpoint of Go's checksum database, and its key.
const SUMDB: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
const SUMDB_CHECKPOINT: &str = "go.sum database tree\n\
    35225469\n\
    vt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=\n\n\
    — sum.golang.org Az3grpukl5AXaVfYkLiDGORx/DN2nlcS5kZHR5uYOBV2KA2HgXpD+gu9HHONebHLAyaKbbTM75QTtPydhKCExixSfwQ=\n";

// The checkpoint of C2SP tlog-cosignature, cosigned by filippo.io/torchwood v0.9.0 with the
// key whose seed is the bytes from 0 to 31.
const WITNESS: &str = "witness.example/w1+e75f6532+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
const COSIGNED: &str = "example.com/behind-the-sofa\n\
    20852163\n\
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — witness.example/w1 519lMgAAAABrCllGxwjKl0damvhkGj165ahgc2Orps9HjGU0IuCJncHlX7kVkdmMfPKYijkxGe3KQo3drRMn6WJOsMkgenOXZ8rgAw==\n";
const COSIGNED_AT: u64 = 1_795_840_326;

fn key(text: &str) -> VerifierKey {
    text.parse().unwrap()
}

fn peter() -> SigningKey {
    PETER_SECRET.parse().unwrap()
}

fn witness() -> SigningKey {
    SigningKey::new("witness.example/w1", &std::array::from_fn(|place| place as u8)).unwrap()
}

fn both() -> String {
    format!("{TEXT}\n{PETER_SIGNED}{ENOCH_SIGNED}")
}

fn refused(note: &str) -> NoteError {
    note.parse::<SignedNote>().unwrap_err()
}

#[test]
fn a_note_is_the_one_that_go_signs() {
    let mut note = SignedNote::new(TEXT).unwrap();
    note.sign(&peter()).unwrap();
    assert_eq!(note.to_string(), format!("{TEXT}\n{PETER_SIGNED}"));
    // A later signature of a key takes the place of its earlier one.
    note.sign(&peter()).unwrap();
    assert_eq!(note.to_string(), format!("{TEXT}\n{PETER_SIGNED}"));
    note.add(ENOCH_SIGNED.parse().unwrap()).unwrap();
    assert_eq!(note.to_string(), both());
}

#[test]
fn keys_are_those_of_go() {
    let signing = peter();
    assert_eq!(signing.verifier().to_string(), PETER);
    assert_eq!(*signing.secret_text(), PETER_SECRET);
    let known = key(PETER);
    assert_eq!(
        (known.name(), known.id(), known.algorithm()),
        ("PeterNeumann", 0xc74f_20a3, Algorithm::Ed25519)
    );
    assert_eq!(known.to_string(), PETER);
    assert_eq!(VerifierKey::new("PeterNeumann", Algorithm::Ed25519, known.public_key()), Ok(known));
}

#[test]
fn parts_and_changes_of_a_key_are_no_keys() {
    for text in [PETER, PETER_SECRET] {
        for start in 0..text.len() {
            for end in start..=text.len() {
                if end - start < text.len() {
                    assert!(text[start..end].parse::<VerifierKey>().is_err(), "{}", &text[start..end]);
                    assert!(text[start..end].parse::<SigningKey>().is_err(), "{}", &text[start..end]);
                }
            }
        }
        for place in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[place] += 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(changed.parse::<VerifierKey>().is_err(), "{changed}");
            assert!(changed.parse::<SigningKey>().is_err(), "{changed}");
        }
    }
}

#[test]
fn a_key_that_is_refused_says_why() {
    let cases = [
        ("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==", KeyError::Shape),
        ("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::Algorithm(0x65)),
        ("PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::Id),
        ("PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::Shape),
        ("Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::Name),
        ("Peter", KeyError::Shape),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<VerifierKey>(), Err(error), "{text}");
    }
    let public = *key(PETER).public_key();
    for name in ["", "a b", "a+b", "a\u{a0}b", "a\u{2003}b", "a\u{85}", "a\n", "a\0"] {
        assert_eq!(VerifierKey::new(name, Algorithm::Ed25519, &public), Err(KeyError::Name), "{name:?}");
        assert_eq!(SigningKey::new(name, &[1; 32]).unwrap_err(), KeyError::Name, "{name:?}");
    }
    // The identity verifies every text under some signature; the other is not on the curve.
    let mut identity = [0; 32];
    identity[0] = 1;
    for unsound in [identity, [0; 32], [2; 32]] {
        assert_eq!(VerifierKey::new("a", Algorithm::Ed25519, &unsound), Err(KeyError::PublicKey));
    }
}

#[test]
fn a_secret_key_shows_its_name_only() {
    assert_eq!(format!("{:?}", peter()), "SigningKey { name: \"PeterNeumann\", .. }");
}

#[test]
fn known_keys_are_found_and_unknown_ones_are_ignored() {
    let note: SignedNote = both().parse().unwrap();
    assert_eq!((note.text(), note.to_string()), (TEXT, both()));
    let names: Vec<_> = note.signatures().iter().map(Signature::name).collect();
    assert_eq!(names, ["PeterNeumann", "EnochRoot"]);
    let (peter, enoch) = (key(PETER), key(ENOCH));
    let verified = |key| Verified { key, time: None };
    let known = [enoch.clone(), peter.clone(), enoch.clone()];
    assert_eq!(note.verify(&known), Ok(vec![verified(&peter), verified(&enoch)]));
    assert_eq!(note.verify(std::slice::from_ref(&peter)), Ok(vec![verified(&peter)]));
    assert_eq!(note.verify(&[]), Err(VerifyNoteError::Unknown));
    assert_eq!(note.verify(&[key(SUMDB)]), Err(VerifyNoteError::Unknown));
    let twice: SignedNote = format!("{TEXT}\n{PETER_SIGNED}{PETER_SIGNED}").parse().unwrap();
    assert_eq!(twice.verify(std::slice::from_ref(&peter)), Ok(vec![verified(&peter)]));
}

#[test]
fn a_bad_signature_of_a_known_key_condemns_the_note() {
    let peter = key(PETER);
    let bad = VerifyNoteError::Signature { name: "PeterNeumann".to_owned() };
    let changed = both().replace("don't know", "do know");
    assert_eq!(changed.parse::<SignedNote>().unwrap().verify(std::slice::from_ref(&peter)), Err(bad.clone()));
    let (head, tail) = PETER_SIGNED.split_at(62);
    let longer = format!("{TEXT}\n{ENOCH_SIGNED}{head}ABCD{tail}");
    let known = [peter, key(ENOCH)];
    assert_eq!(longer.parse::<SignedNote>().unwrap().verify(&known), Err(bad.clone()));
    // A good signature does not make up for it, on either side.
    for note in [format!("{PETER_SIGNED}{head}ABCD{tail}"), format!("{head}ABCD{tail}{PETER_SIGNED}")] {
        let note: SignedNote = format!("{TEXT}\n{note}").parse().unwrap();
        assert_eq!(note.verify(&known), Err(bad.clone()));
    }
    // The same name with another id, and the same id with another name, are other keys.
    for (from, to) in [("x08g", "xxxx"), ("PeterNeumann", "CarmenSandiego")] {
        let note: SignedNote = format!("{TEXT}\n{}", PETER_SIGNED.replace(from, to)).parse().unwrap();
        assert_eq!(note.verify(&known), Err(VerifyNoteError::Unknown));
    }
}

#[test]
fn texts_with_empty_lines_and_other_alphabets_are_notes() {
    let note: SignedNote = QUASIMODO.parse().unwrap();
    assert_eq!(note.to_string(), QUASIMODO);
    assert!(note.text().ends_with("raggio di sole:\n\ned è subito sera.\n"));
    assert_eq!(
        (note.signatures()[0].name(), note.signatures()[0].id()),
        ("quasimodo.example/salvatore", 0x367b_a04b)
    );
    let odd = SignedNote::new("\n\n").unwrap();
    assert_eq!(refused(&odd.to_string()), NoteError::Unsigned);
    let mut odd = odd;
    odd.sign(&peter()).unwrap();
    assert_eq!(odd.to_string().parse(), Ok(odd));
}

#[test]
fn what_is_no_note_says_why() {
    assert_eq!(refused(TEXT), NoteError::Unsigned);
    assert_eq!(refused(&format!("{TEXT}\n")), NoteError::Unsigned);
    assert_eq!(refused(&format!("{TEXT}\n{}", PETER_SIGNED.trim_end())), NoteError::Unsigned);
    assert_eq!(refused(&format!("{TEXT}{PETER_SIGNED}")), NoteError::Unsigned);
    assert_eq!(refused(&format!("\u{1}{TEXT}\n{PETER_SIGNED}")), NoteError::Control);
    assert_eq!(refused(&both().replace('\n', "\r\n")), NoteError::Control);
    assert_eq!(refused(&format!("{TEXT}\n{PETER_SIGNED}Unexpected line.\n")), NoteError::Signature(2));
    let lines = [
        "- a AAAAAAA=\n",
        "—a AAAAAAA=\n",
        "— a\n",
        "— a \n",
        "— a b AAAAAAA=\n",
        "— a+b AAAAAAA=\n",
        "— \u{a0} AAAAAAA=\n",
        "—  AAAAAAA=\n",
        "— a AAAAAAA\n",
        "— a AAAAAAB=\n",
        "— a AAAA\n",
        "— a AAAAAA==\n",
        "— a AAAA_AA=\n",
        "— a AAAAAAA= \n",
    ];
    for line in lines {
        assert_eq!(refused(&format!("{TEXT}\n{line}")), NoteError::Signature(1), "{line}");
    }
    assert!(format!("{TEXT}\n— a AAAAAAA=\n").parse::<SignedNote>().is_ok());
    assert_eq!(SignedNote::from_bytes(b"\xff\n\n"), Err(NoteError::Encoding));
    assert_eq!(SignedNote::from_bytes(both().as_bytes()).unwrap().to_string(), both());
    assert_eq!(SignedNote::new("no line feed"), Err(NoteError::Text));
    assert_eq!(SignedNote::new(""), Err(NoteError::Text));
    assert_eq!(SignedNote::new("a\tb\n"), Err(NoteError::Control));
}

#[test]
fn notes_are_bounded() {
    let signed = format!("{TEXT}\n{}", PETER_SIGNED.repeat(MAX_SIGNATURES));
    assert_eq!(signed.parse::<SignedNote>().unwrap().signatures().len(), MAX_SIGNATURES);
    assert_eq!(refused(&(signed + PETER_SIGNED)), NoteError::TooManySignatures);
    let long = "a".repeat(MAX_NOTE_BYTES) + "\n";
    assert_eq!(SignedNote::new(&long), Err(NoteError::TooLong(MAX_NOTE_BYTES + 1)));
    assert_eq!(refused(&long), NoteError::TooLong(MAX_NOTE_BYTES + 1));
    assert_eq!(SignedNote::from_bytes(long.as_bytes()), Err(NoteError::TooLong(MAX_NOTE_BYTES + 1)));
    let mut note = SignedNote::new(TEXT).unwrap();
    for number in 0..MAX_SIGNATURES {
        note.sign(&SigningKey::new(&format!("key{number}"), &[1; 32]).unwrap()).unwrap();
    }
    assert_eq!(note.sign(&peter()), Err(NoteError::TooManySignatures));
    assert_eq!(note.sign(&SigningKey::new("key7", &[1; 32]).unwrap()), Ok(()));
    assert_eq!(note.to_string().parse(), Ok(note));
}

#[test]
fn a_checkpoint_of_the_go_checksum_database_verifies() {
    let note: SignedNote = SUMDB_CHECKPOINT.parse().unwrap();
    assert_eq!(note.verify(&[key(SUMDB)]).unwrap().len(), 1);
    let head: TreeHead = note.text().parse().unwrap();
    assert_eq!((head.origin(), head.size()), ("go.sum database tree", 35_225_469));
    assert_eq!(head.to_string(), note.text());
}

#[test]
fn a_cosignature_of_torchwood_verifies_and_says_when() {
    let note: SignedNote = COSIGNED.parse().unwrap();
    let witness_key = key(WITNESS);
    assert_eq!(witness_key, witness().cosigner());
    let known = [witness_key.clone()];
    let expected = Verified { key: &witness_key, time: Some(COSIGNED_AT) };
    assert_eq!(note.verify(&known), Ok(vec![expected]));
    // Ed25519 signs alike everywhere.
    assert_eq!(witness().cosign(note.text(), COSIGNED_AT), note.signatures()[0]);
    let earlier = COSIGNED.replace("AAAABrCllG", "AAAABrCllF");
    assert_ne!(earlier, COSIGNED);
    let bad = VerifyNoteError::Signature { name: "witness.example/w1".to_owned() };
    assert_eq!(earlier.parse::<SignedNote>().unwrap().verify(&known), Err(bad));
}

#[test]
fn a_signature_is_not_taken_for_a_cosignature_nor_the_reverse() {
    let (signing, text) = (witness(), "example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n");
    assert_ne!(signing.verifier().id(), signing.cosigner().id());
    let mut note = SignedNote::new(text).unwrap();
    note.sign(&signing).unwrap();
    note.add(signing.cosign(text, 0)).unwrap();
    let known = [signing.verifier(), signing.cosigner()];
    let times: Vec<_> = note.verify(&known).unwrap().iter().map(|verified| verified.time).collect();
    assert_eq!(times, [None, Some(0)]);
    assert_eq!(note.verify(&known[..1]).unwrap().len(), 1);
    // Signed beyond the bound of the specification.
    let mut note = SignedNote::new(text).unwrap();
    note.add(signing.cosign(text, 1 << 63)).unwrap();
    assert!(note.verify(&known).is_err());
    let mut note = SignedNote::new(text).unwrap();
    note.add(signing.cosign(text, (1 << 63) - 1)).unwrap();
    assert!(note.verify(&known).is_ok());
}

#[test]
fn a_tree_head_is_three_lines_and_extensions() {
    let head = TreeHead::new("example.com/log 42", 7, Hash::of(b"")).unwrap();
    let text = "example.com/log 42\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    assert_eq!((head.to_string().as_str(), text.parse()), (text, Ok(head.clone())));
    let extended = head.clone().with_extension("time 1").unwrap().with_extension("ü").unwrap();
    assert_eq!(extended.to_string(), format!("{text}time 1\nü\n"));
    assert_eq!(
        (extended.extensions(), extended.to_string().parse()),
        (&["time 1".to_owned(), "ü".to_owned()][..], Ok(extended.clone()))
    );
    let signing = peter();
    let note = head.sign(&signing).unwrap();
    assert_eq!(note.verify(&[signing.verifier()]).unwrap().len(), 1);
    assert_eq!(note.text().parse(), Ok(head.clone()));
    assert_eq!(TreeHead::new("", 0, Hash::ZERO), Err(TreeHeadError::Origin));
    assert_eq!(TreeHead::new("a\nb", 0, Hash::ZERO), Err(TreeHeadError::Origin));
    for line in ["", "a\nb", "\u{7}"] {
        assert_eq!(head.clone().with_extension(line), Err(TreeHeadError::Extension));
    }
}

#[test]
fn what_is_no_tree_head_says_why() {
    use TreeHeadError as E;
    let root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let cases = [
        (String::new(), E::Shape),
        ("\n".to_owned(), E::Shape),
        ("a\n1\n".to_owned(), E::Shape),
        (format!("a\n1\n{root}"), E::Shape),
        (format!("\n1\n{root}\n"), E::Origin),
        (format!("a\n01\n{root}\n"), E::Size),
        (format!("a\n+1\n{root}\n"), E::Size),
        (format!("a\n\n{root}\n"), E::Size),
        (format!("a\n1 \n{root}\n"), E::Size),
        (format!("a\n18446744073709551616\n{root}\n"), E::Size),
        (format!("a\n1\n{}\n", root.trim_end_matches('=')), E::Root),
        (format!("a\n1\n{}\n", root.replace("uFU=", "uFV=")), E::Root),
        (format!("a\n1\n{}\n", &root[4..]), E::Root),
        (format!("a\n1\nAAAA{root}\n"), E::Root),
        (format!("a\n1\n{root}\n\n"), E::Extension),
        (format!("a\n1\n{root}\n\nmore\n"), E::Extension),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<TreeHead>(), Err(error), "{text}");
    }
}

#[test]
fn a_proof_is_one_text() {
    let checkpoint: SignedNote = SUMDB_CHECKPOINT.parse().unwrap();
    let hashes = vec![Hash::of(b""), Hash::of(b"a")];
    let proof = EntryProof { extra: None, index: 73_894, hashes, checkpoint };
    let text = format!(
        "c2sp.org/tlog-proof@v1\nindex 73894\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\
         ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=\n\n{SUMDB_CHECKPOINT}"
    );
    assert_eq!((proof.to_string(), text.parse()), (text.clone(), Ok(proof.clone())));
    let extended = EntryProof { extra: Some(b"more".to_vec()), hashes: Vec::new(), ..proof };
    let short = format!("c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 73894\n\n{SUMDB_CHECKPOINT}");
    assert_eq!((extended.to_string(), short.parse()), (short.clone(), Ok(extended)));
    let hash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    let cases = [
        (text.replace("@v1", "@v2"), ParseProofError::Format),
        (short.replace("bW9yZQ==", "bW9yZQ"), ParseProofError::Extra),
        (text.replace("index 73894", "index 073894"), ParseProofError::Index),
        (text.replace("index 73894\n", ""), ParseProofError::Shape),
        (short.replace("extra ", "extr "), ParseProofError::Shape),
        (text.replace("47DEQ", "47DE"), ParseProofError::Hash(1)),
        (text.replace(hash, &hash.repeat(63)), ParseProofError::Hash(64)),
        ("c2sp.org/tlog-proof@v1\nindex 1\n".to_owned(), ParseProofError::Shape),
        (text.trim_end().to_owned(), ParseProofError::Note(NoteError::Unsigned)),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<EntryProof>(), Err(error), "{text}");
    }
    assert!(text.replace(hash, &hash.repeat(62)).parse::<EntryProof>().is_ok());
}

proptest! {
    #[test]
    fn what_is_signed_comes_back_and_verifies(text in "(\\PC{0,30}\n){1,6}", seed in any::<[u8; 32]>(), time in 0..1_u64 << 63) {
        let text: String = text.chars().filter(|letter| *letter >= ' ' || *letter == '\n').collect();
        let signing = SigningKey::new("example.com/log", &seed).unwrap();
        let mut note = SignedNote::new(&text).unwrap();
        note.sign(&signing).unwrap();
        note.add(signing.cosign(&text, time)).unwrap();
        let read: SignedNote = note.to_string().parse().unwrap();
        prop_assert_eq!(&read, &note);
        let known = [signing.verifier(), signing.cosigner()];
        let times: Vec<_> = read.verify(&known).unwrap().iter().map(|verified| verified.time).collect();
        prop_assert_eq!(times, [None, Some(time)]);
    }

    #[test]
    fn no_changed_byte_of_a_signed_note_goes_unnoticed(place in any::<prop::sample::Index>(), change in 1..=255_u8) {
        let mut bytes = format!("{TEXT}\n{PETER_SIGNED}").into_bytes();
        *place.get_mut(&mut bytes) ^= change;
        let known = [key(PETER)];
        let accepted = SignedNote::from_bytes(&bytes).is_ok_and(|note| note.verify(&known).is_ok());
        prop_assert!(!accepted, "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn what_parses_is_written_as_it_was(note in "[a-c \n]{0,9}\n\n(— [a+ ]{1,3} [A-D]{5,7}=?=?\n){0,3}") {
        if let Ok(read) = note.parse::<SignedNote>() {
            prop_assert_eq!(read.to_string(), note);
        }
    }
}
