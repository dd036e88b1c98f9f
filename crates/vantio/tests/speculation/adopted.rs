//! What a fork has is the run's once it is approved: its files, its descriptors, what it printed.

use std::{fs, process::Stdio, thread, time::Duration};

use crate::{Run, answer, answer_after, children, common::eventually, entries, going_on, policy, world};

/// Runs a script, approves it a while later, and fails unless it prints this and was adopted.
#[track_caller]
fn approved(script: &str, expected: &str) {
    approved_in(&policy(), &["/bin/sh", "-c", script], expected);
}

#[track_caller]
fn approved_python(script: &str, expected: &str) {
    let world = world();
    world.write("script.py", format!("{}{script}", crate::PRELUDE));
    approve(&world, &policy(), &["/usr/bin/python3", "-B", "script.py"], expected);
}

#[track_caller]
fn approved_in(policy: &str, program: &[&str], expected: &str) {
    approve(&world(), policy, program, expected);
}

#[track_caller]
fn approve(world: &crate::common::World, policy: &str, program: &[&str], expected: &str) {
    let run = Run::new(world, policy, program);
    answer_after(world, Duration::from_millis(600), "approve");
    run.prints(expected);
    assert_eq!(entries(world, "fork.end"), ["adopted"]);
}

#[test]
fn a_file_that_it_has_open_stays_open() {
    approved_python(
        r"
print(attempt('held/a'))
file = open('log', 'w')
for step in range(15):
    print(step, file=file, flush=True)
    if step == 3: subprocess.run(['/bin/echo', 'child'], stdout=file)
    time.sleep(0.1)
file.close()
print(open('log').read().split())
",
        "opened\n['0', '1', '2', '3', 'child', '4', '5', '6', '7', '8', '9', '10', '11', '12', '13', '14']",
    );
}

#[test]
fn what_it_is_in_the_midst_of_printing_is_printed_whole() {
    let text = "x".repeat(3_000_000);
    let script = "print(attempt('held/a'), flush=True)\nprint(os.write(1, b'x' * 3000000))";
    approved_python(script, &format!("opened\n{text}3000000"));
}

/// What was taken for approved can be read.
#[test]
fn what_it_did_without_an_answer_is_listed() {
    let world = world();
    let run = Run::shell(&world, &policy(), "rm held/a; echo over");
    let question = crate::going_on(&world);
    answer(&world, "approve", &question);
    run.prints("over");
    let list = world.ask(&["ledger", "list", "--op", "fork.assume"]);
    let id = question["id"].as_str().unwrap();
    assert!(list.contains(&format!("{id}: fs.unlink ")), "{list}");
    assert!(list.contains("held/a, as if it were approved"), "{list}");
}

#[test]
fn a_program_that_is_held_has_run() {
    let script = "touch made; rm made; echo $?; sleep 1; ls held";
    approved_in(&crate::held_program(), &["/bin/bash", "-c", script], "0\na\nb\nc");
}

/// The answer comes while one that stands still for its child has to stop.
#[test]
fn a_program_that_is_just_being_started_runs_on() {
    approved_python(
        r"
import ctypes
print(attempt('held/a'), flush=True)
# A child that its parent waits for by `vfork(2)`, but in memory of its own.
if (child := ctypes.CDLL(None).syscall(56, 0x4011, 0, 0, 0, 0)) == 0:
    time.sleep(1)
    os.execv('/bin/sh', ['sh', '-c', 'echo started; exit 3'])
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
",
        "opened\nstarted\n3",
    );
    // And again and again, by a program that starts others all the time.
    for _ in 0..4 {
        approved(
            "rm held/a; for step in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do /bin/sleep 0.03; done; echo ends",
            "ends",
        );
    }
}

#[test]
fn descriptors_that_share_a_place_go_on_sharing_it() {
    approved(
        "rm held/a; (for step in 1 2 3 4; do echo a$step; sleep 0.4; /bin/echo b$step; done) > log; cat log",
        "a1\nb1\na2\nb2\na3\nb3\na4\nb4",
    );
}

#[test]
fn a_program_that_is_held_with_its_output_in_a_file_goes_on() {
    let held = "  - {effect: proc.exec, target: /usr/bin/stat}\nphantom:";
    let policy = policy().replace("phantom:", held);
    let script = "/usr/bin/stat nothing script > log 2>&1; sleep 1; wc -l < log";
    approved_in(&policy, &["/bin/bash", "-c", script], "2");
}

#[test]
fn its_working_directory_is_the_runs() {
    approved(
        "rm held/a; mkdir -p one/two; cd one/two; sleep 1.2; echo x > three; cd ../..; ls one/two; pwd | grep -c workspace",
        "three\n1",
    );
}

#[test]
fn what_is_in_tmp_is_the_runs() {
    approved("rm held/a; echo text > /tmp/made; sleep 1; cat /tmp/made; rm /tmp/made; ls /tmp", "text");
}

#[test]
fn modes_links_and_times_are_carried_over() {
    approved(
        "rm held/a; echo x > made; chmod 751 made; touch -d 2001-02-03 made; ln -s made link; mkdir -m 700 folder; \
         sleep 1; stat -c '%a %s' made folder | head -n 1; stat -c %y made | cut -c 1-10; readlink link; stat -c %a folder",
        "751 2\n2001-02-03\nmade\n700",
    );
}

#[test]
fn a_folder_that_is_made_anew_hides_what_was_there() {
    approved(
        "rm held/a; mkdir -p old/in; echo x > old/in/f; rm -r old; mkdir old; sleep 1; ls -A old; echo end",
        "end",
    );
}

#[test]
fn what_a_tool_prints_reaches_whoever_reads_it() {
    approved("text=$(cat held/a; echo more); echo got $text", "got a more");
}

#[test]
fn a_tool_of_a_python_agent_is_waited_for() {
    approved_python(
        "print(subprocess.run(['/bin/rm', 'held/a']).returncode); write('made', 'x'); time.sleep(1); print(subprocess.call(['/bin/cat', 'made']))",
        "x0\n0",
    );
}

#[test]
fn a_held_program_starts() {
    let held = "  - {effect: proc.exec, target: /usr/bin/id}\nphantom:";
    let policy = policy().replace("phantom:", held);
    approved_in(&policy, &["/bin/bash", "-c", "/usr/bin/id -u > made; sleep 1; wc -l < made"], "1");
}

#[test]
fn what_it_reads_comes_once_it_is_approved() {
    let world = world();
    world.write("script.py", format!("{}print(attempt('held/a'))\nprint(sys.stdin.readline().strip())\nprint(sys.stdin.readline().strip())", crate::PRELUDE));
    let program = ["/usr/bin/python3", "-B", "script.py"];
    let mut run = Run::with_input(&world, &policy(), &program, Stdio::piped());
    let question = going_on(&world);
    run.say("one\ntwo");
    thread::sleep(Duration::from_millis(500));
    answer(&world, "approve", &question);
    run.prints("opened\none\ntwo");
    assert_eq!(entries(&world, "fork.end"), ["adopted"]);
}

#[test]
fn a_call_that_it_could_not_make_is_made_then() {
    approved_python(
        r"
print(attempt('held/a'), flush=True)
write('/dev/shm/made', 'x')
os.mkfifo('fifo')
print(os.listdir('/dev/shm'), sorted(os.listdir('.')))
",
        "opened\n['made'] ['fifo', 'held', 'script.py']",
    );
}

#[test]
fn a_run_that_is_killed_takes_its_fork_along() {
    let world = world();
    let script = "attempt('held/a'); subprocess.Popen(['/bin/sleep', '98765']); time.sleep(100)";
    let mut run = Run::python(&world, &policy(), script);
    going_on(&world);
    let is_there = || {
        let number = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let wanted = format!("/bin/sleep\0{}\0", 98765);
        fs::read_dir("/proc").unwrap().flatten().any(|entry| number(entry) == wanted.as_bytes())
    };
    assert!(eventually(crate::PATIENCE, is_there));
    let supervisor = children(run.child.id())[0];
    crate::common::finish(std::process::Command::new("/bin/kill").args(["-KILL", &supervisor.to_string()]))
        .assert_success();
    assert!(eventually(crate::PATIENCE, || !is_there()));
    run.child.wait().unwrap();
}
