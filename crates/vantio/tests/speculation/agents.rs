//! Real agents, held and answered.

use std::time::{Duration, Instant};

use crate::{Run, answer, answer_after, common::World, entries, going_on, new_files, policy, world};

/// How long a hold lasts, at least.
const HOLD: Duration = Duration::from_secs(2);

/// Reads what is held, works, and leaves something behind.
const PYTHON: &str = r"
print('begins', flush=True)
print(attempt('held/a'), flush=True)
for step in range(25):
    write(f'made-{step % 3}', f'{step}\n')
    time.sleep(0.1)
os.mkdir('folder')
os.rename('made-0', 'folder/moved')
os.unlink('made-1')
print('ends', open('folder/moved').read().strip(), flush=True)
";

const PYTHON_PRINTS: &str = "begins\nopened\nends 24\n";

/// Removes what is held with a program of its own, and goes on.
const SHELL: &str = "
echo begins
rm held/a && echo removed
for step in 1 2 3 4 5; do
    echo $step > made; sleep 0.5; cat made | tr 1-5 a-e
done
mkdir folder; mv made folder/moved; (echo ends; exit 3)
";

const SHELL_PRINTS: &str = "begins\nremoved\na\nb\nc\nd\ne\nends\n";

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

/// Fails where a program takes much longer that is held and approved than one that is not held.
fn loses_no_time<'w>(world: &'w World, begin: impl Fn(&'w World, &str) -> Run<'w>, prints: &str) {
    let open = policy().replace("held/**", "nothing/**");
    let plain = timed(|| begin(world, &open).prints(prints));
    let held = timed(|| {
        let run = begin(world, &policy());
        answer_after(world, HOLD, "approve");
        run.prints(prints);
    });
    let delay = held.saturating_sub(plain);
    assert!(delay < HOLD / 2, "{delay:?}\n{}", world.ask(&["ledger", "list", "--limit", "0"]));
}

#[test]
fn a_python_agent_that_is_approved_loses_no_time() {
    let world = world();
    loses_no_time(&world, |world, policy| Run::python(world, policy, PYTHON), PYTHON_PRINTS);
    let files = new_files(&world);
    for wanted in ["folder/moved", "made-2"] {
        assert!(files.iter().any(|file| file.ends_with(wanted)), "{wanted} in {files:#?}");
    }
    assert!(!files.iter().any(|file| file.ends_with("made-0") || file.ends_with("made-1")), "{files:#?}");
}

#[test]
fn a_shell_agent_that_is_approved_loses_no_time() {
    let world = world();
    loses_no_time(&world, |world, policy| Run::shell(world, policy, SHELL), SHELL_PRINTS);
    let files = new_files(&world);
    for wanted in ["folder/moved", "held/a"] {
        assert!(files.iter().any(|file| file.ends_with(wanted)), "{wanted} in {files:#?}");
    }
}

/// Has tools of its own read what is held, and goes by what they print.
const CAPTURING: &str = r"
print('begins', flush=True)
read = subprocess.run('cat held/a; echo done >&2; exit 3', shell=True, capture_output=True, text=True)
print(read.returncode, read.stdout.strip(), read.stderr.strip(), flush=True)
for step in range(8):
    made = subprocess.check_output(['/bin/sh', '-c', f'echo {step} > made; cat made']).decode()
    time.sleep(0.25)
print('ends', made.strip(), flush=True)
";

/// The same of a shell.
const CAPTURING_SHELL: &str = "
echo begins
read=$(cat held/a; exit 3); echo $? $read
for step in 1 2 3 4; do
    made=$(echo $step > made; cat made); sleep 0.5
done
echo ends $made
";

#[test]
fn agents_that_read_what_their_tools_print_lose_no_time() {
    let world = world();
    let python = |world, policy: &str| Run::python(world, policy, CAPTURING);
    loses_no_time(&world, python, "begins\n3 a done\nends 7\n");
    for shell in ["/bin/bash", "/bin/dash"] {
        let begin = |world, policy: &str| Run::new(world, policy, &[shell, "-c", CAPTURING_SHELL]);
        loses_no_time(&world, begin, "begins\n3 a\nends 4\n");
    }
}

#[test]
fn agents_that_read_what_their_tools_print_go_on_as_denied() {
    let world = world();
    for (program, prints) in [
        (vec!["/bin/dash", "-c", CAPTURING_SHELL], "begins\n3\nends 4\n"),
        (
            vec!["/bin/bash", "-c", "made=$(cat held/a && echo x > fork; echo tool $?); echo $made"],
            "tool 1\n",
        ),
    ] {
        let run = Run::new(&world, &policy(), &program);
        answer_after(&world, HOLD, "deny");
        run.prints(prints);
        assert_eq!(entries(&world, "fork.end").last().map(String::as_str), Some("rolled back"));
        assert!(!new_files(&world).iter().any(|file| file.ends_with("fork")), "{:#?}", new_files(&world));
    }
}

/// Tools print before they are held, more than a pipe holds, and are waited for before or after they are read.
#[test]
fn what_a_tool_prints_is_read_in_full() {
    for script in [
        "tool = subprocess.Popen('echo before; cat held/a; seq 1 5000; exit 7', shell=True, stdout=-1)\nprint(tool.wait(), len(tool.stdout.read()))",
        "tool = subprocess.Popen('echo before; cat held/a; seq 1 5000; exit 7', shell=True, stdout=-1)\nread = tool.stdout.read()\nprint(tool.wait(), len(read))",
        "tool = subprocess.Popen('echo before; cat held/a; seq 1 5000; exit 7', shell=True, stdout=-1)\nselect.select([tool.stdout], [], [])\nread = b''.join(tool.stdout)\nprint(tool.wait(), len(read))",
    ] {
        let world = world();
        let run = Run::python(&world, &policy(), &format!("{script}\nprint('ends', flush=True)"));
        answer_after(&world, HOLD / 2, "approve");
        run.prints("7 23902\nends\n");
        assert_eq!(entries(&world, "fork.end"), ["adopted"], "{script}");
    }
}

/// It asks in a way in which a fork cannot be told of the end of what it did not start.
#[test]
fn a_child_that_is_waited_for_otherwise_is_told_of_as_it_ends() {
    let world = world();
    let script = "tool = subprocess.Popen(['/bin/cat', 'held/a'], stdout=-1)\nread = tool.stdout.read()\nprint(read, os.waitid(os.P_PID, tool.pid, os.WEXITED).si_status)";
    let run = Run::python(&world, &policy(), script);
    answer_after(&world, HOLD / 2, "approve");
    run.prints("b'a\\n' 0");
    assert_eq!(entries(&world, "fork.end"), ["rolled back"]);
}

#[test]
fn the_status_of_a_fork_is_the_status_of_the_run() {
    let world = world();
    for (script, code) in [("rm held/a; exit 7", 7), ("rm held/b; kill -TERM $$", 143)] {
        let run = Run::shell(&world, &policy(), script);
        answer(&world, "approve", &going_on(&world));
        run.end().assert_code(code);
    }
}

#[test]
fn a_fork_that_ends_before_the_answer_waits_for_it() {
    let world = world();
    let run = Run::python(&world, &policy(), "print(attempt('held/a')); write('made', 'x'); sys.exit(5)");
    answer_after(&world, Duration::from_millis(300), "approve");
    let outcome = run.end();
    outcome.assert_code(5);
    assert_eq!(outcome.stdout.trim(), "opened");
}

#[test]
fn what_is_denied_leaves_nothing_behind() {
    let world = world();
    let script = r"
print('begins', flush=True)
result = attempt('held/a')
print(result, flush=True)
if result == 'opened':
    os.mkdir('folder')
    write('folder/made', 'x')
    write('/tmp/made', 'x')
    os.unlink('held/b')
    subprocess.run(['/bin/sh', '-c', 'echo child > child; (setsid sleep 100 &)'])
    print('never seen', flush=True)
time.sleep(1)
print(sorted(os.listdir('.')), os.listdir('/tmp'), sorted(os.listdir('held')), flush=True)
";
    let run = Run::python(&world, &policy(), script);
    answer_after(&world, Duration::from_millis(700), "deny");
    run.prints("begins\nPermission denied\n['held', 'script.py'] [] ['a', 'b', 'c']");
    assert!(world.changes().is_empty(), "{:#?}", world.changes());
    assert_eq!(entries(&world, "fork.end"), ["rolled back"]);
}

#[test]
fn a_denied_shell_sees_its_tool_fail() {
    let world = world();
    let run = Run::shell(&world, &policy(), "rm held/a 2> /dev/null; echo $?; echo x > made; ls");
    answer_after(&world, Duration::from_millis(500), "deny");
    run.prints("1\nheld\nmade");
}
