//! A run that lives goes back to a checkpoint, and its process goes on from there with the memory that it had.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    Paused,
    common::{WORKSPACE, World, eventually, finish, is_root},
    diff, entries, list,
    live::{a_workspace, steps},
    patch,
    socket::connect,
    take,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Takes a checkpoint with processes, and returns its number.
#[track_caller]
pub(crate) fn keep(world: &World) -> String {
    take(world, &["--processes"]).to_string()
}

#[track_caller]
pub(crate) fn go_back(world: &World, id: &str) {
    finish(&mut world.vantio(["restore", "last", id, "--processes"])).assert_success();
}

/// Fails unless this is refused because of processes, for this reason.
#[track_caller]
pub(crate) fn refused(world: &World, arguments: &[&str], why: &str) {
    let outcome = finish(&mut world.vantio(arguments.iter().copied()));
    outcome.assert_code(1);
    assert!(outcome.stderr.contains("E_CHECKPOINT_PROCESSES"), "{outcome:?}");
    assert!(outcome.stderr.contains(why), "{outcome:?}");
}

/// Counts, a step for each line that it reads, and writes every count down.
const COUNTING: &str = r"
import os, sys
count, log = 0, open('log', 'w')
while True:
    print('at', count, flush=True)
    line = sys.stdin.readline()
    if line.strip() == 'end': break
    count += 1
    log.write(f'{count} {line}')
    log.flush()
    open(f'file-{count}', 'w').write(line)
print('end', open('log').read().split(), sorted(name for name in os.listdir('.') if name.startswith('file-')))
";

/// A program that waits for lines.
pub(crate) fn counting(world: &World) -> Paused {
    world.write("counting.py", COUNTING);
    started(world, &["/usr/bin/python3", "-B", "counting.py"], "at 0\n")
}

pub(crate) fn started(world: &World, program: &[&str], first: &str) -> Paused {
    Paused::start_program_saying(world, WORKSPACE, program, first)
}

/// A shell that does what it is told, line by line, and says so.
pub(crate) fn shell(world: &World) -> Paused {
    let script = "echo ready; while read -r line; do eval \"$line\"; done";
    started(world, &["/bin/bash", "-uc", script], "ready\n")
}

/// A Python program that does what it is told, line by line.
pub(crate) fn python(world: &World) -> Paused {
    let script =
        "import os, sys\nprint('ready', flush=True)\nfor line in sys.stdin: exec(line); sys.stdout.flush()";
    // A line is read when it comes, and no further.
    let script =
        script.replace("for line in sys.stdin: exec(line)", "while line := sys.stdin.readline(): exec(line)");
    started(world, &["/usr/bin/python3", "-Bc", &script], "ready\n")
}

impl Paused {
    /// Says a line, and fails unless this is answered.
    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str, answer: &str) {
        self.say(line);
        self.wait_for(answer);
    }
}

#[test]
fn a_python_agent_goes_on_with_the_memory_that_it_had() {
    let world = World::new();
    let mut run = counting(&world);
    run.ask("one", "at 1\n");
    let id = keep(&world);
    let before = diff(&world, &[]);
    run.ask("two", "at 2\n");
    run.ask("three", "at 3\n");
    assert_ne!(diff(&world, &[]), before);
    go_back(&world, &id);
    assert_eq!(diff(&world, &[]), before);
    // It counts two once more, and writes where it had written then.
    run.ask("other", "at 2\n");
    run.ask("end", "end ['1', 'one', '2', 'other'] ['file-1', 'file-2']\n");
    assert!(run.ended());
    assert_eq!((entries(&world, "run.checkpoint"), entries(&world, "run.restore")), (1, 1));
    finish(&mut world.vantio(["ledger", "verify"])).assert_success();
}

#[test]
fn a_shell_goes_back_as_often_as_one_likes() {
    let world = World::new();
    let mut run = shell(&world);
    run.ask("count=1; exec 5>> log; echo first >&5; echo $count", "1\n");
    let one = keep(&world);
    run.ask("count=$((count + 1)); echo second >&5; mkdir made; cd made; echo $count", "2\n");
    let two = keep(&world);
    for round in 0..3 {
        run.ask("count=$((count + 40)); echo more >&5; rm -r ../made; rm ../log; echo $count", "42\n");
        go_back(&world, &two);
        run.ask(&format!("echo $count {round} $(basename $PWD)"), &format!("2 {round} made\n"));
        run.ask("wc -l < ../log", "2\n");
    }
    go_back(&world, &one);
    run.ask("echo third >&5; echo $count $(ls) $(cat log)", "1 log first third\n");
    // What came after it is there yet, and one can go forward.
    go_back(&world, &two);
    run.ask("echo $count $(ls ..) $(cat ../log)", "2 log made first second\n");
    let kept: Vec<_> = list(&world).iter().map(|entry| entry["processes"].as_bool().unwrap()).collect();
    assert_eq!(kept, [true, true]);
    run.say("exit 7");
    assert_eq!(run.child.wait().unwrap().code(), Some(7));
    assert_eq!(entries(&world, "run.restore"), 5);
}

#[test]
fn a_file_is_read_on_where_it_had_been_read() {
    let world = World::new();
    world.write("data", "one\ntwo\nthree\n");
    let mut run = shell(&world);
    run.ask("exec 6< data; read -r -u 6 line; echo $line", "one\n");
    let id = keep(&world);
    for change in ["echo changed > data", "rm data", "mv data other; echo changed > data", "true"] {
        run.ask("read -r -u 6 line; echo $line", "two\n");
        run.ask(&format!("{change}; echo done"), "done\n");
        go_back(&world, &id);
    }
    run.ask("read -r -u 6 line; read -r -u 6 line; echo $line", "three\n");
    run.kill();
}

#[test]
fn every_change_of_a_live_run_is_taken_back() {
    let world = a_workspace();
    let mut run = shell(&world);
    let mut seen = Vec::new();
    for step in steps() {
        run.ask(&format!("{step}; echo done"), "done\n");
        let id = keep(&world);
        seen.push((id, diff(&world, &[]), patch(&world, &[]), inside(&mut run)));
    }
    // Backwards, forwards, and anyhow.
    for at in [4, 3, 2, 1, 0, 4, 0, 3, 1, 2] {
        let (id, _, text, view) = &seen[at];
        go_back(&world, id);
        assert_eq!(diff(&world, &["--from", id]), [""; 0], "back at {id}");
        if !is_root() {
            assert_eq!(patch(&world, &[]), *text, "back at {id}");
        }
        assert_eq!(inside(&mut run), *view, "back at {id}");
    }
    run.ask("echo $(cat f) $(cat d/a 2> /dev/null)", &format!("{}\n", "one two"));
    run.say("exit");
    assert!(run.ended());
    // The files of a run that has ended go back as ever.
    for (id, changes, text, _) in seen.iter().rev() {
        world.ask(&["restore", "last", id]);
        assert_eq!(diff(&world, &[]), *changes, "back at {id}");
        assert_eq!(patch(&world, &[]), *text, "back at {id}");
    }
}

#[test]
fn names_of_one_file_are_names_of_one_file_again() {
    let world = World::new();
    for name in ["one", "two", "three"] {
        world.write(name, "as it was\n");
    }
    let mut run = shell(&world);
    let back_after = |run: &mut Paused, changes: &[&str], then: &str| {
        let id = keep(&world);
        for change in changes {
            run.ask(&format!("{change}; echo done"), "done\n");
            go_back(&world, &id);
            run.ask("echo $(stat -c %h one two three)", &format!("{then}\n"));
            // A change of one shows in those that it shares a file with.
            run.ask(
                "echo more >> two; echo $(wc -l < one) $(wc -l < two) $(wc -l < three)",
                match then {
                    "1 1 1" => "1 2 1\n",
                    "2 2 1" => "2 2 1\n",
                    _ => "2 2 2\n",
                },
            );
            go_back(&world, &id);
        }
    };
    // The names that the run gives, with the content that the host has or had.
    let changes = ["ln -f two one", "ln -f two one; ln -f two three; echo new > two", "rm two; ln three two"];
    back_after(&mut run, &changes, "1 1 1");
    run.ask("ln -f two one; echo done", "done\n");
    let changes = [
        "echo new > two",
        "rm one; cp two one",
        "rm one; echo new > one",
        "rm one two",
        "ln -f one three",
        "ln -f three one; chmod 600 two",
        "mv one other; echo new >> other",
    ];
    back_after(&mut run, &changes, "2 2 1");
    run.ask("ln -f two three; echo done", "done\n");
    back_after(&mut run, &["rm three; echo other > three", "chmod 600 one; ln -f two fourth"], "3 3 3");
    run.say("exit");
    assert!(run.ended());
}

/// What a shell sees of its workspace: names, types, modes, times of files, links, attributes and contents.
fn inside(run: &mut Paused) -> String {
    run.say(
        "echo $({ find . -mindepth 1 ! -type d -printf '%p %y %m %T@ %l ' | sort; find . -type d -printf '%p %m ' | sort; \
         find . -type f -exec sha256sum {} + | sort; getfattr -Rd . 2> /dev/null; } | tr '\\n' ' ')"
    );
    run.line()
}

/// A parent has a file open to which its tool appends after the checkpoint: it goes on with that file, or there is no return.
#[test]
fn what_a_parent_has_open_for_writing_stays_the_same_file() {
    let world = World::new();
    let mut run = python(&world);
    world.write(
        "tool.py",
        "import os, sys\nprint('in', flush=True)\nwhile line := sys.stdin.readline().strip(): exec(line); print('did', flush=True)",
    );
    run.say("log = open('log', 'a', buffering=1); other = open('other', 'a', buffering=1); log.write('one\\n'); other.write('one\\n')");
    run.ask(
        "import subprocess; subprocess.run([sys.executable, '-B', 'tool.py']); print('tool ended')",
        "in\n",
    );
    let id = keep(&world);
    run.ask("open('log', 'a').write('tool\\n'); os.chmod('log', 0o640)", "did\n");
    go_back(&world, &id);
    run.ask("os.rename('log', 'log.1')", "did\n");
    refused(&world, &["restore", "last", &id, "--processes"], "renamed or replaced since");
    run.ask("os.rename('log.1', 'log'); open('new', 'w').close(); os.rename('new', 'other')", "did\n");
    refused(&world, &["restore", "last", &id, "--processes"], "renamed or replaced since");
    run.ask("", "tool ended\n");
    run.ask(
        "log.write('two\\n'); print(repr(open('log').read()), oct(os.stat('log').st_mode))",
        "'one\\ntwo\\n' 0o100644\n",
    );
}

/// What is as the host has it but for its time is no change, and has its time all the same.
#[test]
fn times_of_files_that_are_otherwise_the_same_come_back() {
    let world = World::new();
    for name in ["untouched", "touched", "both", "written"] {
        world.write(name, "x");
    }
    world.bare(&["touch", "-d", "@1000000000", "untouched", "touched", "both", "written"]).assert_success();
    let mut run = python(&world);
    let touched = |names: &str, time: u32| {
        format!("[os.utime(name, ({time}, {time})) for name in {names}]; print('set')")
    };
    run.ask(&touched("('touched', 'both', 'written')", 1_100_000_000), "set\n");
    let id = keep(&world);
    run.ask(&touched("('untouched', 'both')", 1_200_000_000), "set\n");
    run.ask("print(open('written', 'w').write('other'))", "5\n");
    go_back(&world, &id);
    run.ask(
        "print(open('written').read(), [int(os.stat(name).st_mtime) for name in ('untouched', 'touched', 'both', 'written')])",
        "x [1000000000, 1100000000, 1100000000, 1100000000]\n",
    );
}

#[test]
fn the_mode_of_a_pipe_with_a_name_comes_back() {
    let world = World::new();
    let mut run = python(&world);
    run.ask("os.mkfifo('pipe', 0o644); print('made')", "made\n");
    let id = keep(&world);
    run.ask("os.chmod('pipe', 0o600); print('set')", "set\n");
    go_back(&world, &id);
    run.ask("print(oct(os.stat('pipe').st_mode))", "0o10644\n");
}

#[test]
fn an_agent_that_sleeps_between_its_steps_goes_on_by_itself() {
    let world = World::new();
    let script = "echo begun; i=0; while [ $i -lt 200 ]; do i=$((i + 1)); echo $i >> log; sleep 0.05; done; wc -l < log";
    let mut run = started(&world, &["/bin/sh", "-c", script], "begun\n");
    std::thread::sleep(Duration::from_millis(500));
    let id = keep(&world);
    std::thread::sleep(Duration::from_secs(2));
    go_back(&world, &id);
    run.wait_for("200\n");
    assert!(run.ended());
}

#[test]
fn a_tool_that_is_waited_for_goes_on() {
    let world = World::new();
    let mut run = shell(&world);
    let tool = "import sys\ncount = 0\nprint('in', flush=True)\nwhile sys.stdin.readline().strip() != 'end': count += 1; print(count, flush=True)";
    world.write("tool.py", tool);
    run.ask("before=0; echo set", "set\n");
    let shell_alone = keep(&world);
    run.ask("before=1; /usr/bin/python3 -B tool.py; echo tool $? $before", "in\n");
    run.ask("x", "1\n");
    let id = keep(&world);
    run.ask("x", "2\n");
    go_back(&world, &id);
    run.ask("x", "2\n");
    run.ask("end", "tool 0 1\n");
    go_back(&world, &shell_alone);
    run.ask("echo $before", "0\n");
    // The tool that acted then is no more, and the shell has gone on.
    refused(&world, &["restore", "last", &id, "--processes"], "has ended since");
    // A tool is ended with all that it kept.
    run.ask("before=2; /usr/bin/python3 -B tool.py; echo tool $? $before", "in\n");
    let in_tool = keep(&world);
    go_back(&world, &in_tool);
    go_back(&world, &shell_alone);
    refused(&world, &["restore", "last", &in_tool, "--processes"], "has ended since");
    run.ask("echo still $before", "still 0\n");
    run.say("exit");
    assert!(run.ended());
}

#[test]
fn a_return_that_is_interrupted_is_whole_or_has_not_begun() {
    let world = World::new();
    let mut run = counting(&world);
    let id = keep(&world);
    for (delay, signal) in (0..48).step_by(2).zip(["-INT", "-TERM", "-HUP"].into_iter().cycle()) {
        run.say("step");
        assert!(run.line().starts_with("at "));
        let mut restore = world.vantio(["restore", "last", &id, "--processes"]);
        let mut restore = restore.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        let _ = Command::new("/bin/kill").args([signal, &restore.id().to_string()]).output();
        restore.wait().unwrap();
    }
    run.say("end");
    assert!(run.line().starts_with("end "));
    assert!(run.ended());
}

/// Whoever waits for it sees it stop, and has it go on.
#[test]
fn a_tool_that_went_back_is_stopped_and_continued() {
    let world = World::new();
    let tool = r"
import os, signal, sys
print('in', flush=True)
while (line := sys.stdin.readline().strip()) != 'end':
    if line == 'stop': os.kill(os.getpid(), signal.SIGSTOP)
    print('did', line, flush=True)
";
    world.write("tool.py", tool);
    let parent = r"
import os, signal, subprocess, sys
tool = subprocess.Popen(['/usr/bin/python3', '-B', 'tool.py'])
while os.WIFSTOPPED(status := os.waitpid(tool.pid, os.WUNTRACED)[1]):
    print('stopped', os.WSTOPSIG(status), flush=True)
    os.kill(tool.pid, signal.SIGCONT)
print('ended', status)
";
    let mut run = started(&world, &["/usr/bin/python3", "-uBc", parent], "in\n");
    run.ask("one", "did one\n");
    let id = keep(&world);
    go_back(&world, &id);
    for _ in 0..20 {
        run.ask("stop", "stopped 19\n");
        run.wait_for("did stop\n");
    }
    run.ask("end", "ended 0\n");
    assert!(run.ended());
}

/// Fails unless the run, a Python that went back, has no other processes than it then has to have.
#[track_caller]
fn has_nobody_else(run: &mut Paused) {
    // Init, the original, what goes on, and what is kept for the next time.
    run.ask("print(len([name for name in os.listdir('/proc') if name.isdigit()]))", "4\n");
}

/// Ends the run, and fails unless its status is its program's.
#[track_caller]
fn ends(mut run: Paused) {
    run.say("raise SystemExit(3)");
    assert_eq!(run.child.wait().unwrap().code(), Some(3));
}

#[test]
fn what_was_started_since_is_ended() {
    let world = World::new();
    let mut run = python(&world);
    let id = keep(&world);
    run.say("import subprocess; [subprocess.Popen(['/usr/bin/setsid', '/bin/sh', '-c', 'sleep 300 & sleep 300']) for _ in range(3)]");
    run.say("import threading");
    run.ask("print('ready')", "ready\n");
    go_back(&world, &id);
    has_nobody_else(&mut run);
    // What goes on now may have threads: it is ended whole.
    run.say("import threading, time");
    run.ask(
        "threading.Thread(target=time.sleep, args=(300,), daemon=True).start(); print('ready')",
        "ready\n",
    );
    go_back(&world, &id);
    has_nobody_else(&mut run);
    ends(run);
}

#[test]
fn whatever_it_is_called_what_was_started_since_is_ended() {
    let world = World::new();
    let mut run = python(&world);
    let id = keep(&world);
    // A name that is no text, as one is that is cut in the middle of a character.
    let hides = "import ctypes, os, time; os.fork() or (os.setsid(), ctypes.CDLL(None).prctl(15, b'\\xff'), time.sleep(300))";
    run.say(hides);
    run.ask("print('ready')", "ready\n");
    go_back(&world, &id);
    has_nobody_else(&mut run);
    ends(run);
}

#[test]
fn who_is_always_another_does_not_outlive_a_return() {
    let world = World::new();
    let mut run = python(&world);
    let id = keep(&world);
    // Each has a child and ends: there is one of them at any time, and never the same.
    let flees = "os.fork() or [os.fork() and os._exit(0) for _ in iter(int, 1)]";
    run.say(flees);
    run.ask("print('ready')", "ready\n");
    let outcome = finish(&mut world.vantio(["restore", "last", &id, "--processes"]));
    if outcome.status.success() {
        has_nobody_else(&mut run);
        ends(run);
    } else {
        // Nor does it where it could not be caught: the run was ended.
        assert!(outcome.stderr.contains("and so the run was"), "{outcome:?}");
        assert!(!run.child.wait().unwrap().success());
    }
}

/// Installs a filter that allows everything.
const FILTERED: &str = "import ctypes, struct; code = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000)); \
    kept = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 1, ctypes.addressof(code))); \
    assert ctypes.CDLL(None).prctl(22, 2, kept, 0, 0) == 0";

#[test]
fn what_cannot_be_had_twice_is_not_kept() {
    for (setup, why) in [
        (
            "import threading, time; threading.Thread(target=time.sleep, args=(300,), daemon=True).start()",
            "several threads",
        ),
        ("import socket; kept = socket.socketpair()", "a socket"),
        ("kept = os.pipe()", "both ends of a pipe"),
        ("import fcntl; kept = open('locked', 'w'); fcntl.flock(kept, fcntl.LOCK_EX)", "a lock on a file"),
        ("import signal; signal.setitimer(signal.ITIMER_REAL, 300)", "a timer"),
        ("import mmap; kept = mmap.mmap(-1, 4096)", "memory that it shares"),
        ("kept = open('/tmp/file', 'w')", "no checkpoint keeps"),
        ("kept = open('gone', 'w'); os.unlink('gone')", "lost its name"),
        ("import select; kept = select.epoll()", "eventpoll"),
        (FILTERED, "a system call filter of its own"),
        ("kept = os.memfd_create('kept')", "memory in a file"),
        (
            "import subprocess; kept = subprocess.Popen(['/bin/sleep', '300']); other = subprocess.Popen(['/bin/sleep', '300'])",
            "other processes",
        ),
    ] {
        let world = World::new();
        let mut run = python(&world);
        run.ask(&format!("{setup}; print('set')"), "set\n");
        refused(&world, &["checkpoint", "last", "--processes"], why);
        // It is none the worse for it.
        run.ask("print('on')", "on\n");
        assert_eq!(list(&world).len(), 0, "{setup}");
        run.kill();
    }
}

#[test]
fn a_return_that_cannot_be_is_refused_and_nothing_is_lost() {
    let world = World::new();
    let mut run = python(&world);
    let plain = take(&world, &[]).to_string();
    refused(&world, &["restore", "last", &plain, "--processes"], "keeps no processes");
    let id = keep(&world);
    run.say("import threading, time");
    run.ask("threading.Thread(target=time.sleep, args=(300,), daemon=True).start(); print('set')", "set\n");
    refused(&world, &["restore", "last", &id, "--processes"], "started threads since");
    run.ask("print(len(threading.enumerate()))", "2\n");
    run.say("sys.stdout.flush(); os._exit(0)");
    assert!(run.ended());
    refused(&world, &["restore", "last", &id, "--processes"], "has ended");
    refused(&world, &["checkpoint", "last", "--processes"], "has ended");
    // Its files are there yet.
    world.ask(&["restore", "last", &id]);
}

#[test]
fn where_labels_are_followed_or_the_view_stands_still_nothing_is_kept() {
    for (more, why) in [
        (
            "taint: {sources: [{label: secret, fs: [/etc/passwd]}], sinks: [{label: secret, net: [\"*\"]}]}",
            "follows labels",
        ),
        ("view: snapshot", "a copy of its workspace"),
    ] {
        let world = World::new();
        let policy = if more.starts_with("view") {
            WORKSPACE.replace("phantom:\n", &format!("phantom:\n  {more}\n"))
        } else {
            format!("{WORKSPACE}\n{more}\n")
        };
        let program = ["/bin/sh", "-c", "echo ready; read -r _"];
        let run = Paused::start_program_saying(&world, &policy, &program, "ready\n");
        refused(&world, &["checkpoint", "last", "--processes"], why);
        run.end();
    }
}

#[test]
fn a_call_that_is_held_is_given_up_for_what_goes_on() {
    let world = World::new();
    world.write("held", "text");
    let policy = format!("{WORKSPACE}\nhold: [{{effect: fs.open, target: \"${{workspace}}/held\"}}]\n");
    let script = "import sys\nstep = 0\nprint('ready', flush=True)\nwhile line := sys.stdin.readline():\n    step += 1\n    exec(line)\n    print(step, flush=True)";
    let program = ["/usr/bin/python3", "-Bc", script];
    let mut run = Paused::start_program_saying(&world, &policy, &program, "ready\n");
    let questions = || {
        let list = crate::common::parse(&world.ask(&["approvals", "--json"]));
        list["approvals"].as_array().unwrap().len()
    };
    run.ask("", "1\n");
    let id = keep(&world);
    for _ in 0..2 {
        run.ask("", "2\n");
        run.say("open('held')");
        assert!(eventually(PATIENCE, || questions() == 1));
        refused(&world, &["checkpoint", "last", "--processes"], "a call that waits for an answer");
        go_back(&world, &id);
        assert!(eventually(PATIENCE, || questions() == 0));
    }
    run.ask("", "2\n");
    run.kill();
}

#[test]
fn a_return_that_is_given_up_half_way_ends_the_run_and_its_files_go_back_as_ever() {
    let world = World::new();
    let mut run = shell(&world);
    run.ask("echo one > log; echo done", "done\n");
    let id = keep(&world);
    let before = diff(&world, &[]);
    run.ask("echo two > log; rm -rf d; mkdir d; echo done", "done\n");
    let mut asking = connect(&world);
    writeln!(asking, r#"{{"version":3,"says":{{"go_back":{{"id":{id}}}}}}}"#).unwrap();
    let mut answer = [0; 64];
    let length = asking.read(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer[..length]).contains("held"));
    drop(asking);
    assert_eq!(run.child.wait().unwrap().code(), Some(125));
    world.ask(&["restore", "last", &id]);
    assert_eq!(diff(&world, &[]), before);
}

#[test]
fn nobody_changes_anything_after_the_return_that_was_asked_for_before_it() {
    let world = World::new();
    world.write("busy.py", BUSY);
    let mut run = started(&world, &["/usr/bin/python3", "-B", "busy.py"], "ready\n");
    let id = keep(&world);
    for _ in 0..5 {
        run.say("go");
        std::thread::sleep(Duration::from_millis(200));
        go_back(&world, &id);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(diff(&world, &["--from", &id]), [""; 0]);
    }
    run.kill();
}

/// Many processes that change files as fast as they can.
const BUSY: &str = r"
import os, sys
print('ready', flush=True)
sys.stdin.readline()
for worker in range(8):
    if os.fork() == 0:
        os.makedirs(f'd{worker}', exist_ok=True)
        while True:
            for step in range(20):
                open(f'd{worker}/{step}', 'a').write('x')
                os.rename(f'd{worker}/{step}', f'd{worker}/new{step}')
                os.link(f'd{worker}/new{step}', f'd{worker}/link')
                os.unlink(f'd{worker}/link')
                os.unlink(f'd{worker}/new{step}')
sys.stdin.readline()
";
