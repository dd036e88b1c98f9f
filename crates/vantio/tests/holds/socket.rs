//! The socket: its protocol, and what it takes from nobody.

use std::{
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::PathBuf,
};

use serde_json::{Value, json};

use crate::{
    POLICY, Run, answer,
    common::{World, parse},
    question, world,
};

fn socket(world: &World, question: &Value) -> PathBuf {
    world.state().join("runs").join(question["run"].as_str().unwrap()).join("approvals.sock")
}

/// What is answered to a line.
fn say(world: &World, question: &Value, line: &[u8]) -> String {
    // The path of a world may be longer than the address of a socket.
    let path = socket(world, question);
    let folder = std::fs::File::open(path.parent().unwrap()).unwrap();
    let name = format!("/proc/self/fd/{}/approvals.sock", std::os::fd::AsRawFd::as_raw_fd(&folder));
    let mut stream = UnixStream::connect(name).unwrap();
    stream.write_all(line).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn reply(question: &Value) -> Value {
    json!({
        "question": question["id"], "intent_hash": question["intent_hash"],
        "policy_hash": question["policy_hash"], "approves": true, "reach": "once",
        "who": null, "reason": null,
    })
}

fn line(says: &Value) -> Vec<u8> {
    format!("{}\n", json!({ "version": 1, "says": says })).into_bytes()
}

#[test]
fn only_its_owner_may_use_it() {
    let world = world();
    let run = Run::shell(&world, POLICY, "cat held/a");
    let question = question(&world);
    let mode = socket(&world, &question).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    answer(&world, "approve", &[]);
    run.prints("a");
    assert!(!socket(&world, &question).exists(), "the socket outlives its run");
}

#[test]
fn an_answer_to_something_else_is_not_taken() {
    let world = world();
    let run = Run::shell(&world, POLICY, "cat held/a || echo kept");
    let question = question(&world);
    let zeros = "0".repeat(64);
    for (field, value) in [("intent_hash", zeros.as_str()), ("policy_hash", &zeros), ("question", "00000000")]
    {
        let mut reply = reply(&question);
        reply[field] = value.into();
        let told = parse(&say(&world, &question, &line(&json!({ "answer": reply }))));
        let code = if field == "question" { "E_APPROVAL_UNKNOWN" } else { "E_APPROVAL_CHANGED" };
        assert_eq!(told["says"]["refused"]["code"], code, "{field}: {told:#}");
    }
    answer(&world, "deny", &[]);
    run.prints("kept");
}

#[test]
fn what_is_no_question_gets_no_answer_and_breaks_nothing() {
    let world = world();
    let run = Run::shell(&world, POLICY, "cat held/a");
    let question = question(&world);
    let mut control = reply(&question);
    control["who"] = "a\u{1b}[31mb".into();
    let mut more = reply(&question);
    more["more"] = 1.into();
    let long = vec![b'a'; 100_000];
    let version = json!({ "version": 2, "says": "list" }).to_string().into_bytes();
    for line in [b"".to_vec(), b"\n".to_vec(), b"{}\n".to_vec(), b"\xff\xfe\n".to_vec(), version] {
        assert_eq!(say(&world, &question, &line), "");
    }
    assert_eq!(say(&world, &question, &line(&json!({ "answer": more }))), "");
    let told = parse(&say(&world, &question, &line(&json!({ "answer": control }))));
    assert_eq!(told["says"]["refused"]["code"], "E_APPROVAL_TEXT", "{told:#}");
    // It may hang up before all of it is written.
    let path = socket(&world, &question);
    let folder = std::fs::File::open(path.parent().unwrap()).unwrap();
    let name = format!("/proc/self/fd/{}/approvals.sock", std::os::fd::AsRawFd::as_raw_fd(&folder));
    drop(UnixStream::connect(name).unwrap().write_all(&long));
    let told = parse(&say(&world, &question, &line(&json!({ "answer": reply(&question) }))));
    assert_eq!(told["says"]["settled"], 1, "{told:#}");
    run.prints("a");
}
