//! What a policy says about the resources of its runs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use vantio_policy::{
    Bindings, Limits, PolicyProgram, compile, differences,
    layers::{Layer, LayerKind, merge},
    render_program,
};

use LayerKind::{CommandLine, Managed, Project, User};

fn program(text: &str) -> PolicyProgram {
    compile(format!("version: 1\n{text}").as_bytes(), "p.yaml").unwrap().program
}

const ALL: &str = "limits: {memory: 2GiB, processes: 200, cpu: '150%', disk: 5GiB, open_files: 1024}";

fn all() -> Limits {
    Limits {
        memory: Some(2 << 30),
        processes: Some(200),
        cpu: Some(150),
        disk: Some(5 << 30),
        open_files: Some(1024),
        best_effort: false,
    }
}

#[test]
fn sizes_and_shares_have_several_spellings() {
    assert_eq!(*program(ALL).limits(), all());
    let other =
        "limits: {memory: 2097152KiB, processes: 200, cpu: 150%, disk: 5368709120, open_files: 0x400}";
    assert_eq!(program(other), program(ALL));
    assert_eq!(program("limits: {cpu: 2}").limits().cpu, Some(200));
    assert!(program("limits: {cpu: '50%', best_effort: true}").limits().best_effort);
}

#[test]
fn limits_have_bytes_and_a_hash_and_without_them_there_is_neither() {
    assert_eq!(program("").hash(), program("limits: {}").hash());
    assert_eq!(program("").hash(), program("limits: {best_effort: true}").hash());
    let mut hashes = vec![program("").hash()];
    for limits in [ALL, "limits: {memory: 1}", "limits: {disk: 1}", "limits: {disk: 1, best_effort: true}"] {
        let program = program(limits);
        let decoded = PolicyProgram::decode(&program.encode()).unwrap();
        assert_eq!((&decoded, decoded.hash()), (&program, program.hash()));
        hashes.push(program.hash());
        let written = render_program(&program).to_yaml();
        assert_eq!(compile(written.as_bytes(), "p.yaml").unwrap().program, program, "{written}");
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 5);
}

#[test]
fn bytes_that_limit_nothing_are_refused() {
    let mut bytes = program("limits: {memory: 7}").encode();
    let place = bytes.windows(9).rposition(|field| field == [1, 0, 0, 0, 0, 0, 0, 0, 7]).unwrap();
    bytes[place + 8] = 0;
    assert!(PolicyProgram::decode(&bytes).is_err());
    bytes[place] = 0;
    assert!(PolicyProgram::decode(&bytes).is_err());
}

#[test]
fn a_lower_layer_only_lowers() {
    let merged = |texts: &[(LayerKind, &str)]| {
        let layers: Vec<Layer> = texts
            .iter()
            .map(|(kind, text)| {
                let compiled = compile(format!("version: 1\n{text}").as_bytes(), "p.yaml").unwrap();
                Layer { kind: *kind, name: "p.yaml".into(), compiled: compiled.into() }
            })
            .collect();
        *merge(&layers, &Bindings::default()).unwrap().program.limits()
    };
    let raised = "limits: {memory: 4GiB, processes: 10, cpu: 8}";
    let both = Limits { processes: Some(10), ..all() };
    assert_eq!(merged(&[(Managed, ALL), (Project, raised)]), both);
    assert_eq!(merged(&[(CommandLine, raised), (User, ALL)]), both);
    assert_eq!(merged(&[(CommandLine, ALL), (Project, "limits: {}"), (User, "name: a")]), all());
    // Who limits something without a word says that it must hold.
    let relaxed = "limits: {memory: 1GiB, best_effort: true}";
    let strict = merged(&[(Managed, "limits: {processes: 9}"), (Project, relaxed)]);
    assert_eq!((strict.memory, strict.best_effort), (Some(1 << 30), false));
    assert!(merged(&[(Managed, "name: a"), (Project, relaxed)]).best_effort);
    assert!(merged(&[(CommandLine, relaxed), (User, relaxed)]).best_effort);
}

#[test]
fn differences_are_told() {
    let (less, more) = (program(ALL), program("limits: {memory: 3GiB, processes: 100, best_effort: true}"));
    let told: Vec<String> =
        differences(&less, &more).iter().map(|found| format!("{}: {}", found.key, found.text)).collect();
    let expected = [
        "limits.memory: 2147483648 → 3221225472",
        "limits.cpu: 150 → no limit",
        "limits.disk: 5368709120 → no limit",
        "limits.open_files: 1024 → no limit",
        "limits.best_effort: false → true",
        // The other way.
        "limits.processes: 200 → 100",
    ];
    assert_eq!(told, expected);
}
