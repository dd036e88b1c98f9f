//! What a policy says about the record of its runs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use vantio_policy::{
    Bindings, Checkpointing, Details, Export, PolicyProgram, Speculation, Viewing, compile, differences,
    layers::{Layer, LayerKind, merge},
    render_program,
};

use LayerKind::{CommandLine, Project, User};

fn program(text: &str) -> PolicyProgram {
    compile(format!("version: 1\n{text}").as_bytes(), "p.yaml").unwrap().program
}

fn record(program: &PolicyProgram) -> (Details, Export) {
    (program.details(), program.export())
}

const WORDS: [(&str, (Details, Export)); 4] = [
    ("ledger: {details: keep, export: shape}", (Details::Keep, Export::Shape)),
    ("ledger: {details: drop, export: shape}", (Details::Drop, Export::Shape)),
    ("ledger: {details: keep, export: full}", (Details::Keep, Export::Full)),
    ("ledger: {details: drop, export: full}", (Details::Drop, Export::Full)),
];

#[test]
fn every_word_has_bytes_and_a_hash_of_its_own_and_the_default_needs_no_word() {
    let mut hashes = Vec::new();
    for commit in ["review", "auto", "never"] {
        for (text, meant) in WORDS {
            let program = program(&format!("phantom: {{commit: {commit}}}\n{text}"));
            assert_eq!(record(&program), meant);
            let decoded = PolicyProgram::decode(&program.encode()).unwrap();
            assert_eq!((&decoded, decoded.hash()), (&program, program.hash()));
            hashes.push(program.hash());
        }
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 12);
    assert_eq!(program("").hash(), program(WORDS[0].0).hash());
    assert_eq!(program("").hash(), program("ledger: {}").hash());
}

#[test]
fn bytes_that_mean_no_record_are_refused() {
    let program = program("");
    for flags in [0x80, 0x07, 0x03] {
        let mut bytes = program.encode();
        // Magic, version, mode.
        bytes[7] |= flags;
        assert!(PolicyProgram::decode(&bytes).is_err(), "{flags:#x}");
    }
}

#[test]
fn checkpoints_have_bytes_and_a_hash_of_their_own_and_none_need_no_word() {
    let words = [
        ("", (false, None)),
        ("{exec: true}", (true, None)),
        ("{writes: 100}", (false, Some(100))),
        ("{exec: true, writes: 100}", (true, Some(100))),
        ("{exec: true, writes: 1}", (true, Some(1))),
        ("{approval: true}", (false, None)),
        ("{exec: true, writes: 1, approval: true}", (true, Some(1))),
        ("{writes: 1, approval: false}", (false, Some(1))),
    ];
    let mut hashes = Vec::new();
    for (word, (exec, writes)) in words {
        let text = if word.is_empty() { String::new() } else { format!("phantom: {{checkpoint: {word}}}") };
        let written = program(&text);
        assert_eq!(
            written.checkpointing(),
            Checkpointing { exec, writes, approval: word.contains("approval: true") }
        );
        let decoded = PolicyProgram::decode(&written.encode()).unwrap();
        assert_eq!((&decoded, decoded.hash()), (&written, written.hash()));
        hashes.push(written.hash());
    }
    assert_eq!(hashes[0], program("phantom: {checkpoint: {exec: false}}").hash());
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 8);
}

#[test]
fn a_frozen_view_has_bytes_and_a_hash_of_its_own_and_a_live_one_needs_no_word() {
    let [none, live, snapshot] = ["", "phantom: {view: live}", "phantom: {view: snapshot}"].map(program);
    assert_eq!((none.viewing(), snapshot.viewing()), (Viewing::Live, Viewing::Snapshot));
    assert_eq!((none.encode(), none.hash()), (live.encode(), live.hash()));
    assert_ne!(none.hash(), snapshot.hash());
    let decoded = PolicyProgram::decode(&snapshot.encode()).unwrap();
    assert_eq!((&decoded, decoded.hash()), (&snapshot, snapshot.hash()));
    let written = render_program(&snapshot).to_yaml();
    assert_eq!(compile(written.as_bytes(), "p.yaml").unwrap().program, snapshot, "{written}");
}

#[test]
fn going_on_while_held_has_a_hash_of_its_own_and_waiting_needs_no_word() {
    let [none, off, auto] = ["", "phantom: {speculate: off}", "phantom: {speculate: auto}"].map(program);
    assert_eq!((none.speculation(), none.hash()), (Speculation::Off, off.hash()));
    assert_eq!(auto.speculation(), Speculation::Auto);
    assert_ne!(auto.hash(), none.hash());
    let decoded = PolicyProgram::decode(&auto.encode()).unwrap();
    assert_eq!((decoded.speculation(), decoded.hash()), (Speculation::Auto, auto.hash()));
    let written = render_program(&auto).to_yaml();
    let again = compile(written.as_bytes(), "p.yaml").unwrap().program;
    assert_eq!(again.hash(), auto.hash(), "{written}");
}

#[test]
fn what_is_rendered_means_the_same() {
    for (text, meant) in WORDS {
        let program = program(text);
        let written = render_program(&program).to_yaml();
        assert_eq!(record(&compile(written.as_bytes(), "p.yaml").unwrap().program), meant, "{written}");
    }
}

#[test]
fn a_lower_layer_only_narrows() {
    let merged = |texts: &[(LayerKind, &str)]| {
        let layers: Vec<Layer> = texts
            .iter()
            .map(|(kind, text)| {
                let compiled = compile(format!("version: 1\n{text}").as_bytes(), "p.yaml").unwrap();
                Layer { kind: *kind, name: "p.yaml".into(), compiled: compiled.into() }
            })
            .collect();
        record(&merge(&layers, &Bindings::default()).unwrap().program)
    };
    let (keep, full) = ("ledger: {details: keep, export: full}", "ledger: {export: full}");
    assert_eq!(merged(&[(CommandLine, keep), (Project, "ledger: {details: drop}")]), WORDS[3].1);
    assert_eq!(merged(&[(CommandLine, full), (Project, "ledger: {export: shape}")]), WORDS[0].1);
    assert_eq!(merged(&[(CommandLine, "ledger: {details: drop}"), (User, keep)]), WORDS[1].1);
    assert_eq!(merged(&[(CommandLine, "name: a"), (User, full)]), WORDS[0].1, "silence is no leave");
    assert_eq!(merged(&[(CommandLine, full), (User, "name: a")]), WORDS[2].1);
}

#[test]
fn differences_are_told() {
    let (less, more) = (program(WORDS[1].0), program(WORDS[2].0));
    let keys: Vec<String> =
        differences(&less, &more).iter().map(|found| format!("{}: {}", found.key, found.text)).collect();
    assert_eq!(keys, ["ledger.details: drop → keep", "ledger.export: shape → full"]);
}

#[test]
fn other_words_are_refused() {
    for text in ["ledger: {details: lose}", "ledger: {export: all}", "ledger: {shape: full}", "ledger: full"]
    {
        assert!(compile(format!("version: 1\n{text}").as_bytes(), "p.yaml").is_err(), "{text}");
    }
}
