//! Every kind of call waits, and is carried out as it is found when it is answered.

use std::{net::TcpListener, thread};

use crate::{
    PATIENCE, POLICY, Run, answer,
    common::{World, eventually},
    id, question, questions_when, world,
};

/// [`POLICY`] with another hold.
fn holding(rule: &str) -> String {
    POLICY.split("hold:").next().unwrap().to_owned() + &format!("hold: [{rule}]\n")
}

#[test]
fn a_removal_waits() {
    let world = world();
    let run = Run::shell(&world, POLICY, "rm held/a && ls held");
    answer(&world, "approve", &[]);
    run.prints("b\nc");
}

#[test]
fn a_new_file_waits() {
    let world = world();
    let run = Run::shell(&world, POLICY, "echo new > held/new");
    let question = answer(&world, "approve", &[]);
    assert_eq!(question["target"]["access"], "write");
    run.prints("");
    let changes = world.changes();
    assert!(changes.iter().any(|(kind, path)| kind == "added" && path.ends_with("held/new")), "{changes:?}");
}

#[test]
fn a_rename_waits() {
    let world = world();
    let run = Run::shell(&world, POLICY, "mv held/a free && cat free");
    let question = answer(&world, "approve", &[]);
    assert_eq!(question["effect"], "fs.rename");
    run.prints("a");
}

#[test]
fn a_program_waits() {
    let world = world();
    let policy = holding("{effect: proc.exec, target: /usr/bin/id}");
    let run = Run::shell(&world, &policy, "/usr/bin/id -u");
    answer(&world, "approve", &[]);
    let uid = rustix::process::geteuid().as_raw();
    run.prints(&uid.to_string());

    let run = Run::shell(&world, &policy, "/usr/bin/id -u || echo kept");
    answer(&world, "deny", &[]);
    run.prints("kept");
}

#[test]
fn a_script_and_its_interpreter_are_asked_about_each() {
    let world = World::new();
    world.write("script.sh", "#!/bin/bash\necho ran\n");
    let policy = holding("{effect: proc.exec, target: [\"${workspace}/script.sh\", /usr/bin/bash]}");
    let run = Run::new(&world, &policy, &["/usr/bin/env", "sh", "-c", "chmod +x script.sh; ./script.sh"]);
    let first = question(&world);
    assert!(first["subject"].as_str().unwrap().ends_with("script.sh"), "{first:#}");
    world.ask(&["approve", id(&first)]);
    let second = questions_when(&world, |found| found.len() == 1 && found[0]["id"] != first["id"]).remove(0);
    assert_eq!(second["subject"], "/usr/bin/bash", "{second:#}");
    world.ask(&["approve", id(&second)]);
    run.prints("ran");
}

/// A server on this host that counts who connects.
fn server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    (listener, port)
}

const CONNECT: &str = "
import socket
def connect(port):
    try:
        socket.create_connection(('127.0.0.1', port)).close()
        print('connected', flush=True)
    except OSError as error:
        print(os.strerror(error.errno), flush=True)
";

fn connecting(port: &str, taint: &str) -> String {
    holding("{effect: net.connect, target: \"127.0.0.1:PORT\"}").replace("PORT", port)
        + &format!("net: {{allow: [\"127.0.0.1:{port}\"]}}\n{taint}")
}

#[test]
fn a_connection_waits() {
    let taint =
        "taint: {sources: [{label: secret, fs: [\"~/.aws/**\"]}], sinks: [{label: secret, fs: [/srv]}]}\n";
    for taint in ["", taint] {
        let (world, (listener, port)) = (World::new(), server());
        let script = format!("{CONNECT}\nconnect({port})\nconnect({port})\n");
        let run = Run::python(&world, &connecting(&port, taint), &script);
        let first = answer(&world, "approve", &[]);
        assert_eq!(first["subject"], format!("127.0.0.1:{port}"), "{first:#}");
        listener.accept().unwrap();
        let second = questions_when(&world, |found| found.len() == 1 && found[0]["id"] != first["id"]);
        world.ask(&["deny", id(&second[0])]);
        let outcome = run.end();
        assert_eq!(outcome.stdout, "connected\nPermission denied\n", "{}", outcome.describe());
    }
}

#[test]
fn a_connection_is_covered_by_a_pattern_with_its_port() {
    let (world, (listener, port)) = (World::new(), server());
    let script = format!("{CONNECT}\nconnect({port})\nconnect({port})\n");
    let run = Run::python(&world, &connecting(&port, ""), &script);
    let question = question(&world);
    // Without a port it is for the web's, as in a policy.
    crate::fails(&world, &["approve", id(&question), "--pattern", "127.0.0.1"], 1, "does not cover");
    world.ask(&["approve", id(&question), "--pattern", "127.0.0.0/8:*"]);
    let accepts = thread::spawn(move || (listener.accept().unwrap(), listener.accept().unwrap()));
    run.prints("connected\nconnected");
    accepts.join().unwrap();
}

/// What was approved is not what is there by now: it is asked about again, and nothing was done.
#[test]
fn what_changed_while_it_waited_is_asked_about_again() {
    let world = world();
    world.write("held/other/a", "other\n");
    let script = "
os.mkdir('ways')
os.symlink('../held', 'ways/way')
waiting = threading.Thread(target=lambda: os.unlink('ways/way/a'))
waiting.start()
sys.stdin.readline()
os.symlink('../held/other', 'ways/new')
os.rename('ways/new', 'ways/way')
open('changed', 'w').close()
waiting.join()
print(os.path.exists('held/a'), os.path.exists('held/other/a'))
";
    let policy = POLICY.replace("fs.open, ", "");
    let mut run = Run::python(&world, &policy, script);
    let first = question(&world);
    assert!(first["subject"].as_str().unwrap().ends_with("/held/a"), "{first:#}");
    run.tell();
    let is_changed = eventually(PATIENCE, || has_made(&world, "changed"));
    assert!(is_changed, "the way was not changed");
    world.ask(&["approve", id(&first)]);
    let second = questions_when(&world, |found| found.len() == 1 && found[0]["id"] != first["id"]).remove(0);
    assert!(second["subject"].as_str().unwrap().ends_with("/held/other/a"), "{second:#}");
    world.ask(&["approve", id(&second)]);
    run.prints("True False");
}

/// A file without a name gets one with the mode that was asked about, and no other.
#[test]
fn what_is_linked_has_the_mode_that_was_asked_about() {
    let world = world();
    let script = "
import ctypes
libc = ctypes.CDLL(None)
fd = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o600)
link = lambda: libc.linkat(-100, b'/proc/self/fd/%d' % fd, -100, b'held/tool', 0x400)
waiting = threading.Thread(target=lambda: print('linked', link()))
waiting.start()
sys.stdin.readline()
os.fchmod(fd, 0o4755)
open('changed', 'w').close()
waiting.join()
";
    let mut run = Run::python(&world, POLICY, script);
    let first = question(&world);
    assert!(first["subject"].as_str().unwrap().ends_with("/held/tool (mode 0600)"), "{first:#}");
    run.tell();
    assert!(eventually(PATIENCE, || has_made(&world, "changed")), "the mode was not changed");
    world.ask(&["approve", id(&first)]);
    let second = questions_when(&world, |found| found.len() == 1 && found[0]["id"] != first["id"]).remove(0);
    assert!(second["subject"].as_str().unwrap().ends_with("/held/tool (mode 4755)"), "{second:#}");
    world.ask(&["deny", id(&second)]);
    run.prints("linked -1");
}

/// Whether the run has made a file of this name.
fn has_made(world: &World, name: &str) -> bool {
    let list = world.ask(&["ledger", "list", "--limit", "0", "--op", "fs.open"]);
    list.lines().any(|line| line.contains(&format!("/{name} (mode ")))
}

/// What was approved is judged by what holds when it goes on: here by a label that the process got meanwhile.
#[test]
fn an_approval_passes_no_label_that_came_while_it_waited() {
    let (world, (_listener, port)) = (World::new(), server());
    world.write("secret", "secret\n");
    let taint = "taint: {sources: [{label: secret, fs: [\"${workspace}/secret\"]}], sinks: [{label: secret, net: [\"*\"]}]}\n";
    let script = format!(
        "{CONNECT}
waiting = threading.Thread(target=connect, args=({port},))
waiting.start()
sys.stdin.readline()
print(open('secret').read().strip(), flush=True)
waiting.join()
"
    );
    let mut run = Run::python(&world, &connecting(&port, taint), &script);
    let question = question(&world);
    run.tell();
    let is_read =
        || world.ask(&["ledger", "list", "--limit", "0", "--op", "fs.open"]).contains("workspace/secret");
    assert!(eventually(PATIENCE, is_read), "the secret was not read");
    world.ask(&["approve", id(&question)]);
    let outcome = run.end();
    assert_eq!(outcome.stdout, "secret\nPermission denied\n", "{}", outcome.describe());
    world.assert_refused("net.connect", &port);
    assert!(world.refusals()[0].reason.contains("label secret"), "{:?}", world.refusals());
}

/// Where it is followed what a process executes, a program that waited is the program all the same.
#[test]
fn a_program_that_waited_is_known_for_what_it_is() {
    for held in ["\"${workspace}/test.sh\"", "/usr/bin/bash", "[\"${workspace}/test.sh\", /usr/bin/bash]"] {
        let world = World::new();
        world.write("test.sh", "#!/bin/bash\nexit 0\n");
        world.write("src/main.c", "");
        let order = "order:
  - refuse: {effect: fs.open, access: write, target: \"${workspace}/release\"}
    unless_after: {effect: proc.exec, target: \"${workspace}/test.sh\", exit: 0}
    since: {effect: fs.open, access: write, target: \"${workspace}/src/**\"}
";
        let policy = holding(&format!("{{effect: proc.exec, target: {held}}}")) + order;
        let script =
            "chmod +x test.sh; echo > release || echo kept; ./test.sh; echo > release && echo released";
        let run = Run::shell(&world, &policy, script);
        let first = answer(&world, "approve", &[]);
        if held.starts_with('[') {
            let next = questions_when(&world, |found| found.len() == 1 && found[0]["id"] != first["id"]);
            world.ask(&["approve", id(&next[0])]);
        }
        run.prints("kept\nreleased");
    }
}
