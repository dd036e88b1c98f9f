//! What waits instead, and says why.

use crate::{Run, answer, common::World, policy, question, waits_because, world};

/// Starts a script, sees why it waits, and that it goes on once it is approved.
#[track_caller]
fn waits(script: &str, why: &str) {
    let world = world();
    waits_in(&world, &policy(), script, why);
}

#[track_caller]
fn waits_in(world: &World, policy: &str, script: &str, why: &str) {
    let run =
        Run::python(world, policy, &format!("{script}\nprint(attempt('held/a'), flush=True)\nos._exit(0)"));
    waits_because(world, why);
    run.prints("opened");
    let told = world.ask(&["why", "last", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(told["waits"][0]["why"].as_str().unwrap().contains(why), "{told:#}");
}

#[test]
fn a_process_with_threads_waits() {
    waits("threading.Thread(target=time.sleep, args=(100,), daemon=True).start()", "has several threads");
}

#[test]
fn a_connected_process_waits() {
    waits("pair = socket.socketpair()", "has a socket");
    waits("one = socket.socket(socket.AF_UNIX)", "has a socket");
}

#[test]
fn a_process_with_a_file_open_for_writing_waits() {
    waits("file = open('/dev/shm/made', 'w')", "a file open for writing");
}

#[test]
fn a_process_that_shares_memory_waits() {
    waits("memory = mmap.mmap(-1, 4096)", "memory that it shares");
}

#[test]
fn a_process_that_maps_a_file_of_the_workspace_waits() {
    waits(
        "write('one', 'old')\nmemory = mmap.mmap(os.open('one', os.O_RDONLY), 3, prot=mmap.PROT_READ)",
        "memory that it shares",
    );
}

/// A path says where something was that is no more: something else may be there.
#[test]
fn a_process_with_something_open_that_lost_its_name_waits() {
    let why = "lost its name, or is written and has several";
    waits(
        "write('one', 'x')\nfile = open('one', 'r+')\nos.link('one', 'two')\nos.unlink('one')\nwrite('one (deleted)', 'y')",
        why,
    );
    waits(
        "os.mkdir('one')\nfolder = os.open('one', os.O_RDONLY)\nos.rmdir('one')\nos.mkdir('one (deleted)')",
        why,
    );
    waits(
        "top, first = os.getcwd(), attempt\nos.mkdir('one')\nos.chdir('one')\nos.rmdir('../one')\nos.mkdir('../one (deleted)')\nattempt = lambda name: first(f'{top}/{name}')",
        why,
    );
    waits("write('one', 'x')\nos.link('one', 'two')\nfile = open('one', 'r+')", why);
}

#[test]
fn a_process_that_watches_waits() {
    waits("watch = select.epoll()", "of the kind [eventpoll]");
    waits("event = os.eventfd(0)", "of the kind [eventfd]");
    waits("memory = os.memfd_create('x')", "");
}

#[test]
fn a_process_with_a_timer_waits() {
    waits("signal.setitimer(signal.ITIMER_REAL, 100)", "a timer");
}

#[test]
fn a_process_that_locks_waits() {
    waits("import fcntl; file = open('script.py'); fcntl.flock(file, fcntl.LOCK_EX)", "a lock on a file");
}

#[test]
fn a_process_that_is_not_alone_waits() {
    waits("child = subprocess.Popen(['/bin/sleep', '100'])", "the process has children");
    waits("os.fork() and (time.sleep(3), os._exit(0))", "does not wait for it");
    // Whatever the other is called.
    waits(
        "import ctypes\nif os.fork() == 0:\n    ctypes.CDLL(None).prctl(15, b'\\xff')\n    time.sleep(100)\nif os.fork(): os.wait(), os._exit(0)",
        "other processes of the run are at work",
    );
}

/// A child that its parent waits for by `vfork(2)`, but in memory of its own.
const VFORK: &str = "import ctypes\npid = ctypes.CDLL(None).syscall(56, 0x4011, 0, 0, 0, 0)\n";

#[test]
fn a_process_whose_parent_cannot_stop_waits() {
    let script = format!("{VFORK}if pid: os.waitpid(pid, 0), os._exit(0)");
    waits(&script, "could not stop what waits for the process");
    // One that is forked first.
    waits(&format!("{VFORK}if pid or os.fork(): os.wait(), os._exit(0)"), "could not stop what waits");
}

#[test]
fn a_program_that_is_started_in_the_memory_of_another_waits() {
    let world = world();
    // `dash` starts programs by `vfork(2)`.
    let run =
        Run::new(&world, &crate::held_program(), &["/bin/dash", "-c", "rm -f nothing; echo $?; cat held/b"]);
    waits_because(&world, "stands still until the process that it started runs a program");
    // Nothing is left that would be in the way of another.
    let question = crate::going_on(&world);
    answer(&world, "approve", &question);
    run.prints("0\nb");
}

#[test]
fn a_pipeline_waits() {
    let world = world();
    let run = Run::shell(&world, &policy(), "cat held/a | tr a-z A-Z");
    waits_because(&world, "other processes of the run are at work");
    run.prints("A");
}

#[test]
fn what_cannot_be_taken_back_waits() {
    let world = world();
    let hold = "  - {effect: [net.connect], target: \"127.0.0.1:9\"}\nphantom:";
    let policy = policy().replace("phantom:", hold);
    let script = "one = socket.socket()\none.settimeout(5)\ntry:\n    one.connect(('127.0.0.1', 9))\nexcept OSError: print('tried')";
    let run = Run::python(&world, &policy, script);
    let asked = question(&world, "waits: ");
    assert!(asked["meanwhile"].as_str().unwrap().contains("cannot be taken back"), "{asked:#}");
    answer(&world, "approve", &asked);
    run.prints("tried");
}

#[test]
fn what_is_changed_outside_of_the_workspace_is_asked_about_once() {
    let world = world();
    let hold = "  - {effect: [fs.open], target: \"${home}/held\"}\nphantom:";
    let policy = policy().replace("phantom:", hold).replace("${tmp}", "${home}");
    let script = "write(os.path.expanduser('~/held'), 'x')\nprint('written')";
    let run = Run::python(&world, &policy, script);
    let asked = question(&world, "waits: ");
    assert!(asked["meanwhile"].as_str().unwrap().contains("cannot be taken back"), "{asked:#}");
    answer(&world, "approve", &asked);
    run.prints("written");
}

#[test]
fn a_run_whose_labels_are_followed_waits() {
    let world = world();
    let labels = "taint:\n  sources: [{label: secret, fs: [\"${workspace}/secret/**\"]}]\n  sinks: [{label: secret, net: [\"*\"]}]\nphantom:";
    let policy = policy().replace("phantom:", labels);
    waits_in(&world, &policy, "", "follows labels");
}

#[test]
fn a_run_that_is_not_to_go_on_waits_without_a_word() {
    let world = world();
    let policy = policy().replace("speculate: auto", "speculate: off");
    let run = Run::python(&world, &policy, "print(attempt('held/a'))");
    let mut found = serde_json::Value::Null;
    crate::common::eventually(crate::PATIENCE, || {
        let list = crate::parse(&world.ask(&["approvals", "--json"]));
        found = list["approvals"][0].clone();
        !found.is_null()
    });
    std::thread::sleep(std::time::Duration::from_millis(600));
    let list = crate::parse(&world.ask(&["approvals", "--json"]));
    assert!(list["approvals"][0]["meanwhile"].is_null(), "{list:#}");
    answer(&world, "approve", &found);
    run.prints("opened");
}

/// Whoever denies all that waits has denied what the fork asks, too: the original does not ask it once more.
#[test]
fn what_was_denied_to_a_fork_is_denied_to_its_original_once() {
    let world = world();
    let run = Run::shell(
        &world,
        &policy(),
        "rm held/a; rm held/b; ls held; rm held/b; ls held; rm held/b; ls held",
    );
    let (first, second) = two_questions(&world);
    world.ask(&["deny", "--all"]);
    let is_gone =
        crate::common::eventually(crate::PATIENCE, || !crate::entries(&world, "fork.end").is_empty());
    assert!(is_gone, "the fork goes on");
    // The next attempt is another.
    let again = lasting_question(&world, &[&first, &second]);
    assert_eq!(again["intent_hash"], second["intent_hash"], "{again:#}");
    answer(&world, "approve", &again);
    run.prints("a\nb\nc\na\nc\na\nc");
    assert_eq!(crate::entries(&world, "fork.end")[0], "rolled back");
    let why = world.ask(&["why", "last"]);
    assert!(why.contains("denied by"), "{why}");
}

/// An original that goes on without its fork was told nothing else.
#[test]
fn what_was_denied_to_a_fork_that_becomes_the_run_was_denied_to_that_alone() {
    let world = world();
    let run = Run::shell(&world, &policy(), "rm held/a; rm held/b; sleep 1; rm held/b; ls held");
    let (first, second) = two_questions(&world);
    answer(&world, "deny", &second);
    answer(&world, "approve", &first);
    let again = another_question(&world, &[&first, &second]);
    assert_eq!(again["intent_hash"], second["intent_hash"], "{again:#}");
    answer(&world, "approve", &again);
    run.prints("c");
}

#[test]
fn what_was_approved_to_a_fork_is_asked_again() {
    let world = world();
    let run = Run::shell(&world, &policy(), "rm held/a; rm held/b; ls held");
    let (first, second) = two_questions(&world);
    answer(&world, "approve", &second);
    std::thread::sleep(std::time::Duration::from_millis(300));
    answer(&world, "deny", &first);
    let again = another_question(&world, &[&first, &second]);
    assert_eq!(again["intent_hash"], second["intent_hash"], "{again:#}");
    answer(&world, "deny", &again);
    run.prints("a\nb\nc");
}

/// The question of a run, and that of its fork.
#[track_caller]
fn two_questions(world: &World) -> (serde_json::Value, serde_json::Value) {
    let first = crate::going_on(world);
    let second = another_question(world, &[&first]);
    (first, second)
}

/// One that nobody takes back: what a fork still asked before it was gone goes with it.
#[track_caller]
fn lasting_question(world: &World, known: &[&serde_json::Value]) -> serde_json::Value {
    loop {
        let question = another_question(world, known);
        std::thread::sleep(std::time::Duration::from_millis(500));
        let list = crate::parse(&world.ask(&["approvals", "--json"]));
        if list["approvals"].as_array().unwrap().iter().any(|listed| listed["id"] == question["id"]) {
            return question;
        }
    }
}

#[track_caller]
fn another_question(world: &World, known: &[&serde_json::Value]) -> serde_json::Value {
    let mut found = None;
    let is_asked = crate::common::eventually(crate::PATIENCE, || {
        let list = crate::parse(&world.ask(&["approvals", "--json"]));
        let is_new = |question: &&serde_json::Value| known.iter().all(|known| known["id"] != question["id"]);
        found = list["approvals"].as_array().unwrap().iter().find(is_new).cloned();
        found.is_some()
    });
    assert!(is_asked, "no question but {known:#?}");
    found.unwrap()
}
