//! What leaves the machine: exports, bundles, and their verification elsewhere.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod cli_world;

use std::{fs, path::Path};

use cli_world::World;

const POLICY: &str = "version: 1\nname: closed\nfs: {read: [/], write: ['${workspace}'], deny: [/etc/shadow]}\nexec: {allow: [/usr/bin, /bin]}\n";

/// A folder with a run behind it, in which a file was refused.
fn world(policy: &str) -> World {
    let world = World::new();
    world.write("vantio.yaml", &format!("{POLICY}{policy}"));
    world.run(&["run", "--", "sh", "-c", "echo two > kept.txt; cat /etc/shadow"]);
    world
}

/// Verifies a bundle where there is no ledger.
fn verify(world: &World, arguments: &[&str]) -> (i32, String) {
    world.elsewhere(&[&["ledger", "verify"], arguments].concat())
}

/// The line that begins so.
fn line<'t>(text: &'t str, start: &str) -> &'t str {
    text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no `{start}` in:\n{text}"))
}

#[test]
fn a_bundle_verifies_elsewhere_and_says_what_it_could_not_check() {
    let world = world("");
    let key = world.shell("$VANTIO ledger key").trim().to_owned();
    fs::copy(world.state().join("identity/bundle.pem"), world.work().join("trust.pem")).unwrap();
    for export in [&["--run", "last"][..], &[]] {
        let written = world.run(
            &[&["ledger", "export", "--format", "bundle", "--force", "-o", "bundle.tar"], export].concat(),
        );
        assert!(written.starts_with("exit 0\n"), "{written}");

        let (code, text) = verify(&world, &["bundle.tar", "--key", &key, "--trust", "trust.pem"]);
        assert_eq!(code, 0, "{text}");
        for start in [
            "checked: files: ",
            "checked: chain: ",
            "checked: tree: ",
            "checked: signature: ",
            "checked: seals: 1 ",
            "checked: SVIDs: 1, ",
            "checked: policies: 1, ",
            "not checked: details: ",
            "not checked: proofs of the verdicts: ",
        ] {
            line(&text, start);
        }
        assert!(!text.contains("not checked: whose"), "{text}");
        let (code, text) = verify(&world, &["bundle.tar"]);
        assert!(code == 0 && line(&text, "not checked: whose key").contains(&key), "{text}");
        line(&text, "not checked: whose trust domain");
    }
    assert_eq!(
        world.shell("tar xf bundle.tar && sha256sum --quiet --check MANIFEST && echo intact"),
        "intact\n"
    );
}

#[test]
fn a_bundle_that_was_changed_exits_3_and_names_the_entry() {
    let world = world("");
    world.run(&["ledger", "export", "--format", "bundle", "-o", "bundle.tar"]);
    let repack = |edit: &str| {
        world.shell(&format!(
            "rm -rf b && mkdir b && tar xf bundle.tar -C b && cd b && {edit} && \
             (grep '^#' MANIFEST; find * -type f ! -name MANIFEST | LC_ALL=C sort | xargs sha256sum) > ../m && \
             mv ../m MANIFEST && tar cf ../forged.tar --format=ustar $(find * -type f)"
        ));
        verify(&world, &["forged.tar"])
    };
    let (code, text) = repack("true");
    assert_eq!(code, 0, "{text}");
    let (code, text) = repack("sed -i '3s/\"pid\":[0-9]*/\"pid\":77/' entries.jsonl");
    assert!(code == 3 && text.contains("entry 2: its hash does not match"), "{text}");
    line(&text, "failed: entry 2: ");
    let (code, text) = repack("sed -i '$d' entries.jsonl");
    assert!(code == 3 && text.contains("E_LEDGER_TRUNCATED"), "{text}");
    let (code, text) = repack("for f in policy/*; do printf x >> $f; done");
    assert!(code == 3 && text.contains("a compiled policy has bytes after its end"), "{text}");
    let (code, text) = repack("sed -i '3s/^./!/' checkpoint");
    assert!(code == 3, "{text}");

    let bytes = fs::read(world.work().join("bundle.tar")).unwrap();
    fs::write(world.work().join("short.tar"), &bytes[..bytes.len() / 2]).unwrap();
    let (code, text) = verify(&world, &["short.tar"]);
    assert!(code == 3 && text.contains("E_BUNDLE_DAMAGED"), "{text}");
    let (code, text) = verify(&world, &["vantio.yaml"]);
    assert!(code == 2 && text.contains("E_BUNDLE_FORMAT"), "{text}");
}

#[test]
fn svids_of_another_trust_domain_are_named() {
    let (world, other) = (world(""), world(""));
    world.run(&["ledger", "export", "--format", "bundle", "-o", "bundle.tar"]);
    fs::copy(other.state().join("identity/bundle.pem"), world.work().join("other.pem")).unwrap();
    let (code, text) = verify(&world, &["bundle.tar", "--trust", "other.pem"]);
    assert!(code == 3 && text.contains("it was not signed by this trust domain"), "{text}");
    line(&text, "failed: entry ");
}

#[test]
fn no_format_tells_paths_unless_the_policy_lets_them_leave() {
    let closed = world("");
    let formats = ["jsonl", "bundle", "ocsf", "otlp"];
    for format in formats {
        let lines = closed.shell(&format!("$VANTIO ledger export --format {format} | cat"));
        assert!(lines.contains("path(depth=2"), "{format}: {lines}");
        let entries =
            if format == "bundle" { lines.split("entries.jsonl\0").last().unwrap() } else { &lines };
        assert!(!entries.contains("shadow") && !entries.contains("kept.txt"), "{format}: {lines}");
    }
    insta::with_settings!({ filters => vec![("run [0-9a-f-]{8,}", "run [RUN]"), ("[0-9a-f]{64}", "[HASH]")] }, {
        insta::assert_snapshot!(closed.run(&["ledger", "export", "--details"]), @"
        exit 1
        E_LEDGER_DETAILS

          x what was asked and answered may not leave this machine
          `-> the policy `closed` of run [RUN] says `export: shape` ([HASH])
          help: leave --details away, or name with --run a run whose policy says `ledger: {export: full}`
        ");
    });
    let open = world("ledger: {export: full}\n");
    for format in formats {
        let lines = open.shell(&format!("$VANTIO ledger export --details --format {format} | cat"));
        assert!(lines.contains("/etc/shadow"), "{format}: {lines}");
    }
    open.run(&["ledger", "export", "--details", "--format", "bundle", "-o", "full.tar"]);
    let (code, text) = verify(&open, &["full.tar"]);
    assert!(code == 0 && text.contains("\nchecked: details: of "), "{text}");
}

#[test]
fn a_policy_that_drops_details_leaves_digests_only() {
    let world = world("ledger: {details: drop, export: full}\n");
    let lines = world.shell("$VANTIO ledger export --details");
    assert!(lines.contains("run.start") && !lines.contains("\"detail\""), "{lines}");
    let found =
        world.shell("grep -c -a -e shadow -e kept.txt $VANTIO_STATE/ledger.db $VANTIO_STATE/ledger.db-wal");
    assert!(found.lines().all(|line| line.ends_with(":0")), "{found}");
    let why = world.run(&["why", "last"]);
    assert!(why.contains("  why:    not kept: the policy says `ledger: {details: drop}`\n"), "{why}");
    assert!(why.contains("  permit: not known: the ledger has no details of this run\n"), "{why}");
    let said = world.run(&["run", "--", "cat", "/etc/shadow"]);
    assert!(
        said.contains("  fs.open\n      not kept: the policy says `ledger: {details: drop}`\n"),
        "{said}"
    );
    assert!(world.run(&["ledger", "verify"]).starts_with("exit 0"));
}

#[test]
fn a_policy_outlives_its_run_for_bundles() {
    let world = world("");
    world.run(&["discard", "last"]);
    world.run(&["ledger", "export", "--format", "bundle", "-o", "bundle.tar"]);
    let (_, text) = verify(&world, &["bundle.tar"]);
    line(&text, "checked: policies: 1, ");
    assert!(Path::new(&world.state()).join("policies").is_dir());
}

#[test]
fn ocsf_events_are_activities_findings_and_lifecycles() {
    let world = world("");
    let lines = world.shell("$VANTIO ledger export --format ocsf");
    let events: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |class: u64| events.iter().filter(|event| event["class_uid"] == class).collect::<Vec<_>>();
    for event in &events {
        let number = |key: &str| event[key].as_u64().unwrap();
        assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"));
        assert_eq!(number("category_uid"), number("class_uid") / 1000);
    }
    let [finding] = of(2004)[..] else { panic!("{lines}") };
    assert_eq!((&finding["disposition"], &finding["action_id"]), (&"Blocked".into(), &2.into()));
    assert_eq!(finding["unmapped"]["op"], "fs.open");
    assert_eq!(of(6002).first().unwrap()["activity_name"], "Start");
    assert!(of(1007).iter().all(|event| event["activity_id"] == 1 && event["disposition_id"] == 1));
    assert!(!of(1001).is_empty());
}

#[test]
fn an_export_to_a_file_is_told_in_json() {
    let world = world("");
    let told = world.run(&["ledger", "export", "-o", "entries", "--json"]);
    let lines = fs::read_to_string(world.work().join("entries")).unwrap().lines().count();
    let wanted = format!("{{\"entries\":{lines},\"file\":\"entries\",\"uncovered\":0,\"version\":1}}");
    assert_eq!(told, format!("exit 0\n{wanted}\n"));
    let told = world.run(&["ledger", "export", "--format", "bundle", "-o", "bundle.tar", "--json"]);
    assert!(told.starts_with("exit 0\n{\"entries\":"), "{told}");
}

#[test]
fn an_export_replaces_a_file_where_it_is_told_to() {
    let world = world("");
    world.write("kept", "kept");
    for export in [
        &["ledger", "export", "-o", "kept"][..],
        &["ledger", "export", "--format", "bundle", "-o", "kept"],
        &["replay", "last", "--export", "kept"],
    ] {
        insta::allow_duplicates!(insta::assert_snapshot!(world.run(export), @"
        exit 2
        E_OUTPUT_EXISTS

          x `kept` exists
          help: name another file, or overwrite it with --force
        "));
        assert_eq!(fs::read_to_string(world.work().join("kept")).unwrap(), "kept");
        let forced = world.run(&[export, &["--force"]].concat());
        assert!(forced.starts_with("exit 0\n"), "{forced}");
        world.write("kept", "kept");
    }
    assert!(world.run(&["ledger", "export", "-o", "/dev/null"]).starts_with("exit 0\n"));
}
