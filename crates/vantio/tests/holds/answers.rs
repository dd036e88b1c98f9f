//! What an answer does, and how far it reaches.

use std::{thread, time::Duration};

use crate::{
    POLICY, Run, answer, assert_replayed,
    common::{World, finish, parse},
    entries, fails, id, question, questions, world,
};

/// Tries to open each of its arguments, one after another.
const OPEN: &str = r"
for name in sys.argv[1:]:
    try:
        os.close(os.open(name, os.O_RDONLY))
        print(name, 'opened', flush=True)
    except OSError as error:
        print(name, os.strerror(error.errno), flush=True)
";

fn opens<'w>(world: &'w World, policy: &str, names: &[&str]) -> Run<'w> {
    world.write("script.py", format!("import os, sys\n{OPEN}"));
    Run::new(world, policy, &[&["/usr/bin/python3", "-B", "script.py"], names].concat())
}

#[test]
fn what_is_approved_goes_on() {
    let world = world();
    let run = opens(&world, POLICY, &["held/a"]);
    // Named twice it is answered once.
    let question = question(&world);
    world.ask(&["approve", id(&question), id(&question)]);
    assert_eq!(question["effect"], "fs.open");
    assert!(question["subject"].as_str().unwrap().ends_with("/held/a"), "{question:#}");
    assert!(question["command"].as_str().unwrap().contains("script.py"), "{question:#}");
    assert!(question["place"].as_str().unwrap().ends_with("policy.yaml:5:5"), "{question:#}");
    run.prints("held/a opened");
    let told = entries(&world, &["hold.answer"]).len();
    let holds = parse(&world.ask(&["ledger", "list", "--verdict", "hold", "--json"]));
    assert_eq!(
        (told, holds["detail"]["response"]["question"].as_str()),
        (1, question["id"].as_str()),
        "{holds:#}"
    );
}

/// Maps 2 GiB that nobody has to have, and says that they are its command line (`PR_SET_MM_MAP`).
const BOUNDLESS: &str = r"
import ctypes, os, struct
libc = ctypes.CDLL(None)
libc.mmap.restype = libc.sbrk.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + 3 * [ctypes.c_int] + [ctypes.c_long]
size = 2 << 30
line = libc.mmap(None, size, 3, 0x4022, -1, 0)
ctypes.memset(line, 65, 5000)
fields = open('/proc/self/stat').read().rsplit(')', 1)[1].split()
now = [int(fields[number - 3]) for number in (26, 27, 45, 46, 47, 28, 50, 51)]
places = now[:5] + [libc.sbrk(0), now[5], line, line + size] + now[6:]
memory = struct.pack('11QQII', *places, 0, 0, 0xffffffff)
assert libc.prctl(35, 14, memory, len(memory), 0) == 0
os.close(os.open('held/a', os.O_RDONLY))
print('opened')
";

#[test]
fn a_command_line_without_end_is_read_no_further_than_it_is_shown() {
    let world = world();
    world.write("script.py", BOUNDLESS);
    let run = Run::new(&world, POLICY, &["/usr/bin/python3", "-B", "script.py"]);
    let question = answer(&world, "approve", &[]);
    assert_eq!(question["command"].as_str(), Some(&*"A".repeat(300)), "{question:#}");
    run.prints("opened");
}

#[test]
fn what_is_denied_is_refused_with_the_reason() {
    let world = world();
    let run = opens(&world, POLICY, &["held/a"]);
    answer(&world, "deny", &["--reason", "use the staging data", "--as", "mia"]);
    run.prints("held/a Permission denied");
    world.assert_refused("fs.open", "held/a");
    let why = world.ask(&["why", "last"]);
    assert!(why.contains("denied by mia: use the staging data"), "{why}");
}

#[test]
fn what_nobody_answers_is_refused_when_its_time_is_over() {
    let world = world();
    let policy = POLICY.replace("held/**\"}", "held/**\", timeout: 1s}");
    opens(&world, &policy, &["held/a"]).prints("held/a Permission denied");
    let why = world.ask(&["why", "last"]);
    assert!(why.contains("nobody answered within 1s"), "{why}");
    assert!(why.contains("approve it while it waits (`vantio approvals`), or change the rule"), "{why}");
    assert_eq!(entries(&world, &["hold.answer"]).len(), 1);
}

#[test]
fn an_approval_is_for_the_calls_that_wait() {
    let world = world();
    let run = opens(&world, POLICY, &["held/a", "held/a"]);
    let first = answer(&world, "approve", &[]);
    let second = loop {
        let question = question(&world);
        if question["id"] != first["id"] {
            break question;
        }
    };
    assert_eq!(first["intent_hash"], second["intent_hash"]);
    world.ask(&["deny", id(&second)]);
    run.prints("held/a opened\nheld/a Permission denied");
}

#[test]
fn an_approval_for_the_session_is_for_the_same_again() {
    let world = world();
    let run = opens(&world, POLICY, &["held/a", "held/a", "held/b", "held/a"]);
    answer(&world, "approve", &["--session"]);
    let other = questions(&world, 1).remove(0);
    assert!(other["subject"].as_str().unwrap().ends_with("/held/b"), "{other:#}");
    world.ask(&["deny", id(&other)]);
    run.prints("held/a opened\nheld/a opened\nheld/b Permission denied\nheld/a opened");
}

/// Each of the calls twice, then what is the same but for what it makes of its path; `gone` before what needs a free name.
const MAKE: &str = r"
def gone(name):
    try:
        os.rmdir(name) if os.path.isdir(name) and not os.path.islink(name) else os.unlink(name)
    except FileNotFoundError:
        pass

def opened(name, flags, mode=0o600):
    os.close(os.open(name, flags, mode))

def made(call, name, *others):
    gone(name)
    call(name, *others)

CALLS = [
    (os.chmod, ('held/a', 0o640), ('held/a', 0o4755)),
    (os.truncate, ('held/a', 3), ('held/a', 2)),
    (os.utime, ('held/a', (1, 2)), ('held/a', (1, 3))),
    (os.setxattr, ('held/a', 'user.x', b'one'), ('held/a', 'user.x', b'\x1b[2J')),
    (os.chown, ('held/a', -1, os.getgid()), ('held/a', os.getuid(), -1)),
    (lambda name, path: made(lambda name: os.symlink(path, name), name), ('held/l', 'here'), ('held/l', '/etc/passwd')),
    (lambda *all: made(os.mkdir, *all), ('held/d', 0o700), ('held/d', 0o777)),
    (lambda *all: made(os.mkfifo, *all), ('held/f', 0o600), ('held/f', 0o666)),
    (opened, ('held/a', os.O_WRONLY), ('held/a', os.O_WRONLY | os.O_TRUNC)),
    (lambda *all: made(opened, *all), ('held/n', os.O_CREAT, 0o600), ('held/n', os.O_CREAT, 0o777)),
]
for call, same, other in CALLS:
    for arguments in (same, same, other):
        try:
            call(*arguments)
            print('done', flush=True)
        except OSError as error:
            print(os.strerror(error.errno), flush=True)
";

#[test]
fn an_approval_is_for_what_its_target_becomes() {
    let world = world();
    let effects =
        "fs.open, fs.chmod, fs.truncate, fs.utime, fs.xattr, fs.chown, fs.symlink, fs.mkdir, fs.mknod";
    let policy = POLICY.replace("fs.open, fs.unlink, fs.rename, fs.mkdir", effects);
    let run = Run::python(&world, &policy, MAKE);
    let expected = [
        ("mode 0640", "mode 4755"),
        ("length 3", "length 2"),
        ("accessed 1.000000000, modified 2.000000000", "accessed 1.000000000, modified 3.000000000"),
        ("user.x = one", r"user.x = \u{1b}[2J"),
        ("group ", "user "),
        ("leads to here", "leads to /etc/passwd"),
        ("mode 0700", "mode 0777"),
        ("fifo, mode 0600", "fifo, mode 0666"),
        ("", "length 0"),
        ("mode 0600", "mode 0777"),
    ];
    for (first, other) in expected {
        for (verb, expected) in [("approve", first), ("deny", other)] {
            let question = answer(&world, verb, &["--session"]);
            let subject = question["subject"].as_str().unwrap();
            let said = subject.split_once(" (").map_or("", |(_, said)| said);
            assert!(said.starts_with(expected) && said.is_empty() == expected.is_empty(), "{question:#}");
        }
    }
    run.prints(&"done\ndone\nPermission denied\n".repeat(expected.len()));
}

#[test]
fn a_denial_for_the_session_is_for_the_same_again() {
    let world = world();
    let run = opens(&world, POLICY, &["held/a", "held/a"]);
    answer(&world, "deny", &["--session"]);
    run.prints("held/a Permission denied\nheld/a Permission denied");
}

#[test]
fn an_approved_pattern_covers_more_and_no_more_than_it_says() {
    let world = world();
    let policy = POLICY.replace("/dev]}", "/dev], deny: [\"${workspace}/held/c\"]}");
    let run = opens(&world, &policy, &["held/a", "held/b", "held/c"]);
    let question = question(&world);
    for (pattern, says) in [
        ("${workspace}/held/b", "does not cover"),
        ("${workspace}/other/**", "does not cover"),
        ("held/**", "begins with"),
        ("${workspace}/{a,b}", "braces"),
    ] {
        let outcome =
            fails(&world, &["approve", id(&question), "--pattern", pattern], 1, "E_APPROVAL_PATTERN");
        assert!(outcome.stderr.replace('\n', " ").contains(says), "{}", outcome.describe());
    }
    world.ask(&["approve", id(&question), "--pattern", "${workspace}/held/**"]);
    // The pattern covers it, and a deny is no hold.
    run.prints("held/a opened\nheld/b opened\nheld/c Permission denied");
}

#[test]
fn an_answer_with_a_pattern_is_for_what_waits_already_too() {
    for (verb, says) in [("approve", "a\nb"), ("deny", "no a\nno b")] {
        let world = world();
        let script = "(cat held/a || echo no a) > a & (cat held/b || echo no b) > b & wait; cat a b";
        let run = Run::shell(&world, POLICY, script);
        let two = questions(&world, 2);
        let told = finish(&mut world.vantio([verb, id(&two[1]), "--pattern", "${workspace}/held/**"]));
        assert!(told.stderr.contains("2 calls waited"), "{}", told.describe());
        run.prints(says);
    }
}

#[test]
fn an_approved_pattern_of_reading_opens_no_writing() {
    let world = world();
    let run = Run::shell(&world, POLICY, "cat held/a; cat held/b; echo x > held/b || echo kept");
    answer(&world, "approve", &["--pattern", "${workspace}/held/**"]);
    let question = question(&world);
    assert_eq!(question["target"]["access"], "write", "{question:#}");
    world.ask(&["deny", id(&question)]);
    run.prints("a\nb\nkept");
}

#[test]
fn who_may_approve_is_asked_for_and_written_down() {
    let world = world();
    let policy = POLICY.replace("held/**\"}", "held/**\", approvers: [owner, security]}");
    let run = opens(&world, &policy, &["held/a"]);
    let question = question(&world);
    fails(&world, &["approve", id(&question)], 1, "E_APPROVER");
    fails(&world, &["approve", id(&question), "--as", "somebody"], 1, "owner or security");
    world.ask(&["approve", id(&question), "--as", "security"]);
    run.prints("held/a opened");
    let list = world.ask(&["ledger", "list", "--op", "hold.answer"]);
    let uid = rustix::process::geteuid().as_raw();
    assert!(list.contains(&format!("approved by security (user {uid})")), "{list}");
}

#[test]
fn a_question_is_answered_once() {
    let world = world();
    let run = opens(&world, POLICY, &["held/a"]);
    let question = answer(&world, "approve", &[]);
    fails(&world, &["deny", id(&question)], 1, "E_APPROVAL_UNKNOWN");
    fails(&world, &["approve", "no-such"], 1, "E_APPROVAL_UNKNOWN");
    run.prints("held/a opened");
}

#[test]
fn everything_that_waits_is_answered_at_once() {
    let world = world();
    let script = "
def unlink(name):
    os.unlink('held/' + name)
threads = [threading.Thread(target=unlink, args=name) for name in 'abc']
for thread in threads: thread.start()
for thread in threads: thread.join()
print(os.listdir('held'))
";
    let run = Run::python(&world, POLICY, script);
    questions(&world, 3);
    world.ask(&["approve", "--all"]);
    run.prints("[]");
}

#[test]
fn what_only_observes_waits_for_nobody() {
    for mode in ["monitor", "learn"] {
        let world = world();
        opens(&world, &format!("{POLICY}mode: {mode}\n"), &["held/a"]).prints("held/a opened");
        let why = world.ask(&["why", "last", "--json"]);
        assert!(why.contains("whoever started the run approves"), "{mode}: {why}");
    }
}

#[test]
fn a_threshold_asks_as_a_rule_does() {
    let world = world();
    let policy = POLICY.split("hold:").next().unwrap().to_owned()
        + "thresholds: [{effect: fs.unlink, count: 2, within: 1h, then: hold}]\n";
    let script = "for n in a b c; do rm held/$n && echo $n; done";
    let run = Run::shell(&world, &policy, script);
    let question = answer(&world, "approve", &[]);
    assert_eq!(question["section"], "thresholds", "{question:#}");
    run.prints("a\nb\nc");
}

#[test]
fn what_a_threshold_held_is_denied_though_its_time_went_by() {
    for (verb, left) in [("deny", "b\n"), ("approve", "")] {
        let world = world();
        let policy = POLICY.split("hold:").next().unwrap().to_owned()
            + "thresholds: [{effect: fs.unlink, count: 1, within: 1s, then: hold}]\n";
        let run = Run::shell(&world, &policy, "rm -f held/a held/b 2>/dev/null; ls held | grep '^[ab]$'");
        question(&world);
        thread::sleep(Duration::from_millis(1500));
        answer(&world, verb, &[]);
        run.prints(left);
        let refused = parse(&world.ask(&["why", "last", "--json"]));
        assert_eq!(refused["refusals"].as_array().unwrap().len(), left.lines().count(), "{refused:#}");
    }
}

#[test]
fn a_rule_that_holds_too_is_asked_about_by_itself() {
    let world = world();
    let policy =
        format!("{POLICY}  - {{effect: fs.open, target: \"${{workspace}}/held/a\", approvers: [owner]}}\n");
    let run = opens(&world, &policy, &["held/a"]);
    let first = question(&world);
    let who: &[&str] = if first["approvers"][0] == "owner" { &["--as", "owner"] } else { &[] };
    world.ask(&[&["approve", id(&first)], who].concat());
    let second = loop {
        let question = question(&world);
        if question["id"] != first["id"] {
            break question;
        }
    };
    assert_ne!(first["rule"], second["rule"]);
    world.ask(&["approve", id(&second), "--as", "owner"]);
    run.prints("held/a opened");
    assert_replayed(&world);
}

#[test]
fn what_there_was_before_an_approval_can_be_gone_back_to() {
    let world = world();
    let policy = format!("{POLICY}phantom: {{checkpoint: {{approval: true}}}}\n");
    let run = Run::shell(&world, &policy, "echo work > done; rm held/b; rm held/a; rm -f done; echo over");
    answer(&world, "deny", &[]);
    answer(&world, "approve", &[]);
    run.prints("over");
    // A denial is none, and there is one for the approval.
    let list = parse(&world.ask(&["checkpoint", "last", "--list", "--json"]));
    let causes: Vec<_> = list["checkpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|taken| taken["cause"].as_str().unwrap())
        .collect();
    assert_eq!(causes, ["approval"]);
    let taken = entries(&world, &["run.checkpoint"]).len();
    assert_eq!(taken, 1);
    let shown = world.ask(&["ps"]);
    assert!(shown.contains("CHECKPOINTS") && shown.contains("1 ("), "{shown}");
    let rows = parse(&world.ask(&["ps", "--json"]));
    let kept = &rows["runs"][0]["checkpoints"];
    assert!(kept["count"] == 1 && kept["bytes"].as_u64() > Some(0), "{kept:#}");
    world.ask(&["restore", "last", "1"]);
    let mut left: Vec<_> = world.changes().into_iter().map(|(_, path)| path).collect();
    left.sort();
    assert_eq!(left, [world.workspace().join("done")]);
}
