//! Documents that were made to break the reader.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use proptest::prelude::*;
use vantio_policy::{PolicyProgram, compile};

/// The codes of what is wrong with a document.
fn codes(source: &[u8]) -> Vec<&'static str> {
    match compile(source, "policy.yaml") {
        Ok(_) => Vec::new(),
        Err(error) => error.problems().iter().map(|problem| problem.code).collect(),
    }
}

#[test]
fn exploding_aliases_are_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        writeln!(bomb, "a{level}: &a{level} [{}]", vec![before; 10].join(", ")).unwrap();
    }
    assert_eq!(codes(bomb.as_bytes()), ["E_POLICY_TOO_LARGE"]);
    let text = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(900_000), vec!["*a"; 9000].join(", "));
    assert_eq!(codes(text.as_bytes()), ["E_POLICY_TOO_LARGE"]);
    assert_eq!(codes(b"a: &a [*a]"), ["E_POLICY_ALIAS"]);
    assert_eq!(codes(b"a: *b"), ["E_POLICY_ALIAS"]);
}

#[test]
fn large_documents_are_refused_unread() {
    assert_eq!(codes(&vec![b'#'; 100 << 20]), ["E_POLICY_TOO_LARGE"]);
    let long = format!("version: 1\nfs:\n  read:\n{}", "    - /x\n".repeat(20_000));
    assert_eq!(codes(long.as_bytes()), ["E_POLICY_TOO_LARGE"]);
}

#[test]
fn deep_documents_are_refused() {
    for source in ["[".repeat(10_000), "{a: ".repeat(10_000), "- ".repeat(10_000), "? ".repeat(10_000)] {
        assert_eq!(codes(source.as_bytes()), ["E_POLICY_TOO_DEEP"], "{}", &source[..4]);
    }
    let mut nested = String::new();
    for level in 0..1000 {
        writeln!(nested, "{}a:", " ".repeat(level)).unwrap();
    }
    assert_eq!(codes(nested.as_bytes()), ["E_POLICY_TOO_DEEP"]);
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    assert_eq!(codes(b"version: 1\nname: \xff"), ["E_POLICY_ENCODING"]);
    assert_eq!(codes(b"version: 1\0\nmode: nonsense"), ["E_POLICY_CONTROL"]);
    assert_eq!(codes(b"version: 1\nname: \x1b[2J"), ["E_POLICY_CONTROL"]);
    assert_eq!(codes(b"version: 1\nfs: {read: [\"/a\\0b\"]}"), ["E_POLICY_PATH"]);
    assert_eq!(
        codes("version: 1".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>().as_slice()),
        ["E_POLICY_CONTROL"]
    );
}

#[test]
fn thousands_of_mistakes_are_cut_short() {
    let source = format!("version: 1\nfs:\n  read: [{}]", vec!["1"; 9000].join(", "));
    assert_eq!(codes(source.as_bytes()).len(), 20);
}

/// Pieces that documents are made of, so that random ones get past the first line.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "version: 1\n",
            "fs:\n",
            "  read:\n",
            "    - ",
            "[",
            "]",
            "{",
            "}",
            ", ",
            ": ",
            "&a ",
            "*a",
            "\n",
            "  ",
            "\t",
            "\"",
            "'",
            "${workspace}",
            "${credentials}",
            "/usr/**",
            "~/",
            "**",
            "[a-",
            "\\",
            "github.com:",
            "10.0.0.0/8",
            "udp://",
            "[::1]",
            "unix:",
            "<<: ",
            "!!str ",
            "---\n",
            "...\n",
            "%YAML 1.2\n",
            "? ",
            "- ",
            "|\n",
            ">-\n",
            "#",
            "\u{feff}",
            "\r\n",
            "é",
            "1",
            "true",
            "null",
            "net: {allow: [",
            "exec: {allow: [",
            "env: {set: {",
            "budgets: {",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = codes(&bytes);
        let _ = PolicyProgram::decode(&bytes);
    }

    #[test]
    fn no_document_panics(fragments in prop::collection::vec(fragment(), 0..40)) {
        let source = fragments.concat();
        if let Err(error) = compile(source.as_bytes(), "policy.yaml") {
            prop_assert!(!error.problems().is_empty());
            for problem in error.problems() {
                if let Some(place) = &problem.place {
                    prop_assert!(place.bytes.end <= source.len());
                }
            }
            let _ = format!("{:?}", miette::Report::new(error));
        }
    }

    #[test]
    fn no_mutation_of_a_program_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let source = "version: 1\nname: n\nfs: {read: ['/a/[a-c]*/**', '~/x']}\nnet: {allow: ['a.b:1-9', '[::1]:1']}\nexec: {allow: [git]}\nenv: {set: {A: b}, allow: [C]}";
        let program = compile(source.as_bytes(), "policy.yaml").unwrap().program;
        let mut bytes = program.encode();
        let index = at.index(bytes.len());
        bytes[index] = byte;
        if let Ok(decoded) = PolicyProgram::decode(&bytes) {
            prop_assert_eq!(decoded.encode(), bytes, "what decodes is canonical");
        }
    }
}
