//! Rules with time: order, thresholds, holds, budgets.

use crate::{POLICY, Stage};

/// [`POLICY`] without taint, and with other guards.
fn guarded(guards: &str) -> String {
    let (head, _) = POLICY.split_once("taint:").unwrap();
    format!("{head}{guards}")
}

const TESTED: &str = r#"order:
  - refuse: {effect: net.connect, target: "127.0.0.1:PORT"}
    unless_after: {effect: proc.exec, target: "${workspace}/test.sh", exit: 0}
    since: {effect: fs.open, access: write, target: "${workspace}/src/**"}
"#;
const UNTESTED: &str = "net.connect 127.0.0.1:PORT order";

fn tested(script: &str, prints: &str, refused: &[&str]) {
    let stage = Stage::new();
    stage.world.write("test.sh", "#!/bin/bash\nexit $(cat status)\n");
    stage.world.write("status", "0");
    stage.world.write("src/main.c", "int main() {}");
    let outcome = stage.shell(&guarded(TESTED), &format!("chmod +x test.sh\n{script}"));
    stage.check(&outcome, prints, refused);
}

#[test]
fn nothing_is_pushed_before_the_tests() {
    tested("send status", "kept status", &[UNTESTED]);
}

#[test]
fn tests_that_pass_open_the_way() {
    tested("./test.sh; send status", "sent status", &[]);
}

#[test]
fn tests_that_fail_do_not() {
    tested("echo 1 > status; ./test.sh; send status", "kept status", &[UNTESTED]);
}

#[test]
fn an_edit_after_the_tests_closes_it() {
    tested(
        "./test.sh; send status; echo >> src/main.c; send status; ./test.sh; send status",
        "sent status\nkept status\nsent status",
        &[UNTESTED],
    );
}

#[test]
fn an_edit_during_the_tests_counts_as_after() {
    tested(
        "echo '#!/bin/bash\nsleep 1' > test.sh; ./test.sh & sleep 0.5; echo >> src/main.c; wait; send status",
        "kept status",
        &[UNTESTED],
    );
}

#[test]
fn a_part_of_the_tests_that_ends_well_is_not_the_tests() {
    tested(
        "echo '#!/bin/bash\n(exit 0); (exit 0) & wait; exit 1' > test.sh; ./test.sh; send status",
        "kept status",
        &[UNTESTED],
    );
}

#[test]
fn tests_that_did_not_start_are_no_tests() {
    let script = "
try: os.execv('./test.sh', ['test.sh', 'x' * 200000])
except OSError as error: say(errno.errorcode[error.errno])
os._exit(0)
";
    let stage = Stage::new();
    stage.world.write("test.sh", "#!/bin/bash\nexit 1\n");
    stage.world.write("fake.py", format!("import os, errno\ndef say(*w): print(*w, flush=True)\n{script}"));
    let outcome = stage.shell(&guarded(TESTED), "chmod +x test.sh; /usr/bin/python3 fake.py; send script.sh");
    stage.check(&outcome, "E2BIG\nkept script.sh", &[UNTESTED]);
}

#[test]
fn tests_with_something_loaded_into_them_are_no_tests() {
    tested("echo 'exit 0' > quick; BASH_ENV=quick ./test.sh; send status", "kept status", &[UNTESTED]);
}

#[test]
fn tests_in_an_odd_environment_are_no_tests() {
    for name in ["SHELLOPTS=noexec", "PYTHONPATH=/tmp", "ODD=1"] {
        tested(&format!("env {name} ./test.sh; send status"), "kept status", &[UNTESTED]);
    }
}

#[test]
fn tests_found_by_a_link_are_no_tests() {
    tested("ln -s test.sh link; ./link; send status", "kept status", &[UNTESTED]);
    tested("\"$PWD/test.sh\"; send status", "sent status", &[]);
}

#[test]
fn tests_behind_a_filter_are_no_tests() {
    let script = "
import ctypes, os, struct
allow = ctypes.create_string_buffer(struct.pack('<HBBI', 6, 0, 0, 0x7fff0000))
class Filter(ctypes.Structure): _fields_ = [('count', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Filter(1, ctypes.addressof(allow))), 0, 0) == 0
os.execv('./test.sh', ['./test.sh'])
";
    let stage = Stage::new();
    stage.world.write("test.sh", "#!/bin/bash\nexit 0\n");
    stage.world.write("filter.py", script);
    let outcome = stage.shell(
        &guarded(TESTED),
        "chmod +x test.sh; /usr/bin/python3 filter.py; echo $?; send script.sh; ./test.sh; send script.sh",
    );
    stage.check(&outcome, "0\nkept script.sh\nsent script.sh", &[UNTESTED]);
}

#[test]
fn removing_too_much_at_once_is_refused() {
    let stage = Stage::new();
    let policy = guarded("thresholds: [{effect: fs.unlink, count: 5, within: 1h}]\n");
    let outcome =
        stage.shell(&policy, "for i in 1 2 3 4 5 6 7; do echo > f$i; rm f$i 2> /dev/null && echo $i; done");
    stage.check(&outcome, "1\n2\n3\n4\n5", &["fs.unlink f6 thresholds", "fs.unlink f7 thresholds"]);
}

#[test]
fn overwriting_too_much_is_refused() {
    let stage = Stage::new();
    stage.world.write("large", vec![0; 10_000]);
    stage.world.write("larger", vec![0; 10_000]);
    let policy = guarded("thresholds: [{effect: fs.open, access: write, bytes: 15000, within: 1h}]\n");
    let outcome = stage.shell(&policy, "echo 1 > large; echo > new; echo 2 > larger || echo refused");
    stage.check(&outcome, "refused", &["fs.open larger thresholds"]);
}

#[test]
fn what_waits_for_an_approver_is_refused_when_none_answers() {
    let stage = Stage::new();
    let policy = guarded(
        "hold: [{effect: net.connect, target: \"127.0.0.1:PORT\", approvers: [owner], timeout: 1s}]\n",
    );
    let outcome = stage.shell(&policy, "send script.sh");
    stage.check(&outcome, "kept script.sh", &["net.connect hold owner nobody answered"]);
}

#[test]
fn a_set_kill_switch_starts_nothing() {
    let stage = Stage::new();
    let outcome = stage.shell(&guarded("kill_switch: true\n"), "echo ran");
    assert_ne!(outcome.code(), 0);
    assert_eq!(outcome.stdout, "");
}
