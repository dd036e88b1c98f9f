//! Deciding again what was decided, here and elsewhere.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod cli_world;

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cli_world::World;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const FILES: &str = "version: 1
fs: {read: [/], write: ['${workspace}', '${tmp}', /dev], deny: [/etc/shadow]}
exec: {allow: [/usr/bin, /bin]}
";

/// A world in which a program ran under a policy.
fn world(policy: &str, script: &str) -> World {
    let world = World::new();
    world.write("vantio.yaml", policy);
    world.run(&["run", "--", "bash", "-c", script]);
    world
}

fn replayed(world: &World, what: &str) -> Value {
    let printed = world.run(&["replay", what, "--json"]);
    let (_, report) = printed.split_once('\n').unwrap();
    serde_json::from_str(report).unwrap_or_else(|_| panic!("{printed}"))
}

/// Entries with a text in them.
fn count(world: &World, text: &str) -> usize {
    let listed = world.run(&["ledger", "list", "--json"]);
    listed.lines().filter(|line| line.contains(text)).count()
}

/// Every verdict of the run comes out as it was recorded, and at least one entry has the text.
#[track_caller]
fn comes_out_as_recorded(world: &World, text: &str) {
    assert!(count(world, text) > 0, "no entry has {text}");
    let report = replayed(world, "last");
    assert!(report["decided"].as_u64().unwrap() > 5, "{report}");
    assert_eq!(report["differences"], json!([]), "{report}");
    assert_eq!(report["undecided"], json!([]), "{report}");
    assert_eq!((&report["dropped"], &report["ended"]), (&json!(0), &json!(true)), "{report}");
    assert!(world.run(&["replay", "last"]).starts_with("exit 0\n"));
}

#[test]
fn what_lists_decide_comes_out_as_recorded() {
    let script =
        "cat /etc/shadow; ls /; mkdir d; echo a > d/a; mv d e; ln e/a b; rm -r e; echo > /etc/x; ./b";
    comes_out_as_recorded(&world(FILES, script), "fs.deny: /etc/shadow");
    let monitoring = format!("{FILES}mode: monitor\n");
    comes_out_as_recorded(&world(&monitoring, script), "would_refuse");
    let learning = "version: 1\nmode: learn\nfs: {deny: [/etc/shadow]}\n";
    comes_out_as_recorded(&world(learning, script), "would_refuse");
}

#[test]
fn what_thresholds_and_budgets_count_is_counted_again() {
    let policy = format!(
        "{FILES}thresholds:
- {{effect: fs.unlink, count: 5, within: 1h}}
- {{effect: fs.open, access: write, target: '${{workspace}}/often', count: 3, within: 1h, then: hold}}
"
    );
    let script = "for i in 1 2 3 4 5 6 7; do echo > often; echo > f$i; rm f$i; done";
    let world = World::new();
    world.write("vantio.yaml", &policy);
    world.write("script.sh", script);
    // Whatever waits is approved the first time, and then denied.
    world.shell(
        "$VANTIO run -- sh script.sh & verb=approve
        while kill -0 $!; do $VANTIO $verb --all 2>&1 | grep waited && verb=deny; sleep 0.05; done; wait",
    );
    comes_out_as_recorded(&world, r#""section":"thresholds""#);
    comes_out_as_recorded(&world, "approved by user");
    comes_out_as_recorded(&world, "denied by user");

    let policy = format!("{FILES}budgets: {{file_bytes: 30000}}\n");
    let world =
        self::world(&policy, "seq 4000 > large; for i in 1 2 3; do echo $i > large; seq 4000 > large; done");
    comes_out_as_recorded(&world, "budget file_bytes is used up");
}

#[test]
fn what_order_rules_wait_for_happens_again() {
    let policy = format!(
        "{FILES}order:
- refuse: {{effect: fs.open, access: write, target: '${{workspace}}/release'}}
  unless_after: {{effect: proc.exec, target: '${{workspace}}/test.sh', exit: 0}}
  since: {{effect: fs.open, access: write, target: '${{workspace}}/src/**'}}
"
    )
    .replace("[/usr/bin, /bin]", "[/usr/bin, /bin, '${workspace}']");
    let script = "mkdir src; printf '#!/bin/sh\\nexit $(cat status)\\n' > test.sh; chmod +x test.sh
        push() { echo > release && echo pushed; }
        push; echo 1 > status; ./test.sh; push; echo 0 > status; ./test.sh; push; echo > src/main.c; push; ./test.sh; push";
    let world = world(&policy, script);
    comes_out_as_recorded(&world, "order.progress");
    comes_out_as_recorded(&world, "\"section\":\"order\"");
}

#[test]
fn what_labels_decide_comes_out_as_recorded() {
    let policy = format!(
        "{FILES}net: {{allow: ['127.0.0.1:9']}}
taint:
  sources: [{{label: secret, fs: ['${{workspace}}/key']}}]
  sinks: [{{label: secret, net: ['*']}}, {{label: secret, fs: ['${{workspace}}/public/**']}}]
"
    );
    let script = "mkdir public; echo s > key; echo > public/a; bash -c 'read k < key; echo $k > public/b; : > /dev/tcp/127.0.0.1/9'";
    comes_out_as_recorded(&world(&policy, script), "\"labels\":[\"secret\"]");

    // What somebody else has open is not in the ledger, and a replay says so.
    let script = "echo s > key; mkdir public; (exec 3> public/c; cat) < <(sleep 0.2; cat key)";
    let world = self::world(&policy, script);
    let report = replayed(&world, "last");
    assert_eq!(report["differences"], json!([]), "{report}");
    let flows = count(&world, r#""flow":true"#);
    assert!(flows > 0);
    assert_eq!(report["undecided"][0]["count"], json!(flows), "{report}");
    assert!(world.run(&["replay", "last"]).contains("what other processes had open"));
}

#[test]
fn names_that_led_to_an_address_are_in_the_ledger() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, peer)) = server.recv_from(&mut question) {
            drop(server.send_to(&answer(&question[..length]), peer));
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let world = World::new();
    world.write("vantio.yaml", &format!("{FILES}net: {{allow: ['api.test:{port}', '127.0.0.1:{port}']}}\n"));
    let hosts = "api.test other.test 127.0.0.1 93.184.216.34";
    world.write("script.sh", &format!("for host in {hosts}; do (exec 3<>/dev/tcp/$host/{port}); done"));
    world.shell(&format!("VANTIO_DNS={address} $VANTIO run -- bash script.sh"));
    comes_out_as_recorded(&world, "\"names\":[\"api.test\"]");
    comes_out_as_recorded(&world, "93.184.216.34:");
}

/// An answer to a question: one address, or none for what does not ask for IPv4.
fn answer(question: &[u8]) -> Vec<u8> {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let has_one = question[end - 3] == 1;
    let head = [0x81, 0x80, 0, 1, 0, u8::from(has_one), 0, 0, 0, 0];
    let mut reply = [&question[..2], &head, &question[12..end]].concat();
    if has_one {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    reply
}

#[test]
fn a_run_that_was_discarded_is_still_decided_again() {
    let world = world(FILES, "cat /etc/shadow; echo > kept");
    world.run(&["discard", "last"]);
    comes_out_as_recorded(&world, "fs.deny: /etc/shadow");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b[1-9]\d*\b", "[N]");
    settings.bind(|| {
        insta::assert_snapshot!(world.run(&["replay", "last"]), @"
        exit 0
        policy:  [HASH]
        decided: [N] intents again; [N] as recorded, 0 otherwise
        counted: [N] repetitions within a second, each decided as its first
        ");
    });
}

#[test]
fn without_the_run_or_its_policy_nothing_is_decided() {
    let world = world(FILES, "true");
    for entry in fs::read_dir(world.state().join("policies")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let printed = world.run(&["replay", "last"]);
    assert!(printed.starts_with("exit 1\nE_REPLAY_PROGRAM"), "{printed}");
    fs::remove_dir_all(world.state().join("policies")).unwrap();
    let printed = world.run(&["replay", "last", "--export", "file"]);
    assert!(printed.starts_with("exit 1\nE_REPLAY_PROGRAM"), "{printed}");
    let printed = world.run(&["replay", "00000000-0000-7000-8000-000000000000"]);
    assert!(printed.starts_with("exit 1\nE_REPLAY_START"), "{printed}");
    let printed = world.run(&["replay", "nothing"]);
    assert!(printed.starts_with("exit 2\nE_RUN_UNKNOWN"), "{printed}");
    let printed = world.run(&["replay", "vantio.yaml"]);
    assert!(printed.starts_with("exit 1\nE_REPLAY_BUNDLE"), "{printed}");
}

/// A bundle on a machine that has nothing else.
fn elsewhere(world: &World, lines: &[Value]) -> (i32, String) {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    world.write("other", &(lines.join("\n") + "\n"));
    world.elsewhere(&["replay", "other"])
}

fn bundle(world: &World) -> Vec<Value> {
    let printed = world.run(&["replay", "last", "--force", "--export", "bundle"]);
    assert!(printed.starts_with("exit 0\n"), "{printed}");
    let text = fs::read_to_string(world.work().join("bundle")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines with digests, hashes and links that hold again.
fn rehash(lines: &mut [Value]) {
    let digest = |parts: &[&[u8]]| hex(&parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize());
    let mut last: Option<(u64, String)> = None;
    for line in &mut lines[1..] {
        let salt = unhex(line["detail"]["salt"].as_str().unwrap());
        for (digested, part) in [("req_hash", "request"), ("res_hash", "response")] {
            line[digested] = digest(&[&salt, line["detail"][part].to_string().as_bytes()]).into();
        }
        let seq = line["seq"].as_u64().unwrap();
        if let Some((before, hash)) = last.filter(|(before, _)| before + 1 == seq) {
            assert!(before < seq);
            line["prev_hash"] = hash.into();
        }
        let mut text = line.clone();
        text.as_object_mut().unwrap().retain(|key, _| key != "this_hash" && key != "detail");
        let previous = unhex(line["prev_hash"].as_str().unwrap());
        let this_hash = digest(&[&previous, text.to_string().as_bytes()]);
        line["this_hash"] = this_hash.clone().into();
        last = Some((seq, this_hash));
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|start| u8::from_str_radix(&text[start..start + 2], 16).unwrap()).collect()
}

#[test]
fn a_bundle_is_decided_again_with_nothing_else() {
    let world = world(FILES, "cat /etc/shadow; echo > kept");
    let mut lines = bundle(&world);
    let (code, text) = elsewhere(&world, &lines);
    assert!(code == 0 && text.contains(" 0 otherwise"), "{text}");
    let untouched = lines.clone();
    rehash(&mut lines);
    assert_eq!(lines, untouched, "the test hashes as the ledger does");
}

#[test]
fn a_changed_verdict_is_found_in_a_bundle_that_was_hashed_again() {
    let world = world(FILES, "cat /etc/shadow; echo > kept");
    let mut lines = bundle(&world);
    let place = |lines: &[Value], text: &str| {
        lines.iter().position(|line| {
            line["detail"]["request"]["path"].as_str().is_some_and(|path| path.ends_with(text))
        })
    };
    // What was permitted was refused, as somebody says, and the other way round.
    let kept = place(&lines, "/kept").unwrap();
    let shadow = place(&lines, "/etc/shadow").unwrap();
    assert_eq!(lines[shadow]["payload"]["decision"], "Collapse");
    lines[shadow]["payload"]["decision"] = "Permit".into();
    lines[shadow]["payload"].as_object_mut().unwrap().remove("anomaly");
    lines[kept]["detail"]["response"]["rule"] = "/somewhere".into();
    let (code, text) = elsewhere(&world, &lines);
    assert!(code == 3 && text.contains("E_REPLAY_BUNDLE"), "not hashed again: {text}");
    rehash(&mut lines);
    let (code, text) = elsewhere(&world, &lines);
    assert!(code == 3 && text.contains(" 2 otherwise"), "{text}");
    for changed in [kept, shadow] {
        assert!(text.contains(&format!("entry {}  fs.open", lines[changed]["seq"])), "{text}");
    }
    assert!(
        text.contains("recorded: Permit  fs.deny: /etc/shadow\n  decided:  Collapse  fs.deny: /etc/shadow"),
        "{text}"
    );
}

#[test]
fn another_policy_is_found() {
    let world = world(FILES, "cat /etc/shadow; echo > kept");
    let original = bundle(&world);
    world.write("vantio.yaml", &FILES.replace("deny: [/etc/shadow]", "deny: [/etc/gshadow]"));
    world.run(&["run", "--", "true"]);
    let other = bundle(&world);

    let mut lines = original.clone();
    lines[0]["program"] = other[0]["program"].clone();
    let (code, text) = elsewhere(&world, &lines);
    assert!(code == 3 && text.contains("E_REPLAY_POLICY"), "its hash is not the one in the entries: {text}");

    for line in &mut lines[1..] {
        line["policy_hash"] = other[1]["policy_hash"].clone();
    }
    rehash(&mut lines);
    let (code, text) = elsewhere(&world, &lines);
    assert!(code == 3 && text.contains("recorded: Collapse  fs.deny: /etc/shadow"), "{text}");

    // Any byte of the program: it is none, it is another, or it means the same.
    let program = STANDARD.decode(original[0]["program"].as_str().unwrap()).unwrap();
    for place in 0..program.len() {
        let mut changed = program.clone();
        changed[place] ^= 0x20;
        let mut lines = original.clone();
        lines[0]["program"] = STANDARD.encode(changed).into();
        let (code, text) = elsewhere(&world, &lines);
        assert_eq!(code, 3, "byte {place}: {text}");
    }
}

#[test]
fn a_bundle_that_was_cut_or_rearranged_is_refused() {
    let world = world(FILES, "cat /etc/shadow; echo > kept");
    let lines = bundle(&world);
    let refused = |lines: &[Value], why: &str| {
        let (code, text) = elsewhere(&world, lines);
        assert!(code == 3 && text.contains("E_REPLAY_BUNDLE") && text.contains(why), "{why}: {text}");
    };
    refused(&lines[..lines.len() - 1], "1 of its entries are missing");
    refused(&[&lines[..], &lines[lines.len() - 1..]].concat(), "one more than the header says");
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    refused(&swapped, "it is out of order");
    let mut holed = [&lines[..2], &lines[3..]].concat();
    refused(&holed, "1 of its entries are missing");
    // Entries of other runs leave holes too, and a replay says how many there are.
    holed[0]["entries"] = json!(lines.len() - 2);
    let (code, text) = elsewhere(&world, &holed);
    assert!(code == 0 && text.contains("1 entry between"), "{text}");
}
