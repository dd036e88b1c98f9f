//! At a terminal: what a fork does there is seen once it is approved, and as if it had never waited.

use std::{thread, time::Duration};

use crate::{
    answer,
    common::{
        World, eventually,
        held::PATIENCE,
        terminal::{Terminal, governed_by},
    },
    entries, going_on, policy, question, waits_because, world,
};

/// Time for a fork to do something.
const A_WHILE: Duration = Duration::from_millis(700);

/// A script at a terminal, by a policy.
fn begin<'w>(world: &'w World, policy: &str, script: &str) -> Terminal<'w> {
    world.write("script.py", format!("{}{script}", crate::PRELUDE));
    Terminal::open(world, &governed_by(world, policy, "/usr/bin/python3 -B script.py"))
}

/// The same where it goes on as a fork.
fn begin_held<'w>(world: &'w World, script: &str) -> Terminal<'w> {
    let terminal = begin(world, &policy(), script);
    going_on(world);
    terminal
}

/// Answers the question that waits.
fn reply(world: &World, verb: &str) {
    answer(world, verb, &going_on(world));
}

/// Fails unless the last fork was adopted.
#[track_caller]
fn was_adopted(world: &World) {
    assert_eq!(entries(world, "fork.end"), ["adopted"]);
}

/// Prints as programs do at a terminal: colours, line feeds of both kinds, tabs, half a line.
const PRINTS: &str = r"
print('begins', os.isatty(0), os.isatty(1), os.get_terminal_size(), flush=True)
print(attempt('held/a'))
subprocess.run(['/bin/sh', '-c', 'stty size; echo started'])
sys.stdout.write('\033[31mred\033[0m\r\nreturn\r\n\r\rcarriage\tand tab\n\n')
sys.stdout.write('progress 1\rprogress 2\r')
sys.stdout.write('half a line')
sys.stdout.flush()
print(' and the rest, which ends')
";

#[test]
fn what_is_printed_is_seen_once_it_is_approved() {
    let world = world();
    let drawn = |policy: &str, is_held| {
        let terminal = begin(&world, policy, PRINTS);
        terminal.wait_for("begins");
        if is_held {
            going_on(&world);
            thread::sleep(A_WHILE);
            assert!(!terminal.screen().contains("opened"), "{}", terminal.screen());
            reply(&world, "approve");
        }
        terminal.wait_for("[exit 0]");
        // The question is on the screen too, where there is one.
        let screen = terminal.screen();
        let lines = screen.trim_end().lines();
        lines.filter(|line| !line.contains("approve")).collect::<Vec<_>>().join("\n")
    };
    let plain = drawn(&policy().replace("held/**", "nothing/**"), false);
    assert_eq!(drawn(&policy(), true), plain);
    was_adopted(&world);
}

#[test]
fn nothing_is_seen_of_what_is_denied() {
    let world = world();
    let terminal = begin_held(
        &world,
        "told = attempt('held/a')\nprint(told)\nif told == 'opened': os.system('stty -echo raw')",
    );
    thread::sleep(A_WHILE);
    reply(&world, "deny");
    terminal.wait_for("[exit 0]");
    let screen = terminal.screen();
    assert!(screen.contains("Permission denied") && !screen.contains("opened"), "{screen}");
    assert_eq!(entries(&world, "fork.end"), ["rolled back"]);
}

#[test]
fn what_was_typed_meanwhile_is_read() {
    let world = world();
    let terminal = begin_held(&world, "attempt('held/a')\nprint('hello', input('name? '))");
    thread::sleep(A_WHILE);
    terminal.send(&["ada", "Enter"]);
    reply(&world, "approve");
    terminal.wait_for("hello ada");
    terminal.wait_for("[exit 0]");
    was_adopted(&world);
}

#[test]
fn modes_that_a_fork_has_set_stay() {
    let world = world();
    let script = r"
import termios
attempt('held/a')
modes = termios.tcgetattr(0)
modes[3] &= ~termios.ECHO
termios.tcsetattr(0, termios.TCSADRAIN, modes)
print('secret? ', end='', flush=True)
print(len(sys.stdin.readline()), 'letters')
";
    let terminal = begin_held(&world, script);
    thread::sleep(A_WHILE);
    reply(&world, "approve");
    terminal.wait_for("secret?");
    terminal.send(&["hidden", "Enter"]);
    terminal.wait_for("7 letters");
    assert!(!terminal.screen().contains("hidden"), "{}", terminal.screen());
    was_adopted(&world);
}

#[test]
fn a_fork_that_changes_what_its_terminal_is_is_dropped() {
    for change in ["stty -opost", "stty rows 10", "setsid -c true"] {
        let world = world();
        let script = format!("attempt('held/a')\nos.system('{change}')\nprint('one\\r\\ntwo\\r\\n')");
        let terminal = begin_held(&world, &script);
        thread::sleep(A_WHILE);
        reply(&world, "approve");
        terminal.wait_for("[exit 0]");
        assert!(terminal.screen().contains("one\ntwo\n"), "{}", terminal.screen());
        let expected = if change.starts_with("setsid") { "adopted" } else { "rolled back" };
        assert_eq!(entries(&world, "fork.end"), [expected], "{change}");
    }
}

#[test]
fn the_size_of_the_window_is_followed() {
    let world = world();
    let script = r"
import signal
attempt('held/a')
seen = []
signal.signal(signal.SIGWINCH, lambda *_: seen.append(os.get_terminal_size()))
while not seen or seen[-1].lines != 20: time.sleep(0.02)
print('size', *seen[-1])
";
    let terminal = begin_held(&world, script);
    thread::sleep(A_WHILE);
    terminal.tmux(&["resize-window", "-x", "70", "-y", "20"]).assert_success();
    thread::sleep(A_WHILE);
    reply(&world, "approve");
    terminal.wait_for("size 70 20");
    terminal.wait_for("[exit 0]");
    was_adopted(&world);
}

#[test]
fn control_c_ends_what_is_held() {
    let world = world();
    let terminal = begin_held(
        &world,
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\nattempt('held/a')\ntime.sleep(100)",
    );
    thread::sleep(A_WHILE);
    terminal.send(&["C-c"]);
    terminal.wait_for("[exit 130]");
}

#[test]
fn control_c_ends_what_was_approved() {
    let world = world();
    let terminal = begin_held(
        &world,
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\nattempt('held/a')\nprint('goes on', flush=True)\ntime.sleep(100)",
    );
    reply(&world, "approve");
    terminal.wait_for("goes on");
    terminal.send(&["C-c"]);
    terminal.wait_for("[exit 130]");
    was_adopted(&world);
}

/// Stops a run by `^Z` before or after it is approved, and continues it.
fn stopped_and_continued(is_approved: bool) {
    let world = world();
    world.write(
        "script.py",
        format!(
            "{}attempt('held/a')\nprint('goes on', flush=True)\nprint('read', input())\n",
            crate::PRELUDE
        ),
    );
    let terminal = Terminal::open(&world, "PS1=OUTER: /bin/bash --norc -i");
    terminal.wait_for("OUTER:");
    terminal.send(&[&governed_by(&world, &policy(), "/usr/bin/python3 -B script.py"), "Enter"]);
    let question = going_on(&world);
    if is_approved {
        answer(&world, "approve", &question);
        terminal.wait_for("goes on");
    } else {
        thread::sleep(A_WHILE);
    }
    for _ in 0..2 {
        terminal.send(&["C-z"]);
        terminal.wait_for("Stopped");
        terminal.send(&["C-l", "fg", "Enter"]);
        // It goes on once its command stands alone.
        let is_alone = || {
            let screen = terminal.screen();
            !screen.contains("Stopped") && screen.contains("-- /usr/bin/python3")
        };
        assert!(eventually(PATIENCE, is_alone), "{}", terminal.screen());
        thread::sleep(A_WHILE);
    }
    if is_approved {
        was_adopted(&world);
    }
    if !is_approved {
        answer(&world, "approve", &question);
        terminal.wait_for("goes on");
    }
    terminal.send(&["word", "Enter"]);
    terminal.wait_for("read word\nOUTER:");
    terminal.send(&["exit", "Enter"]);
    terminal.wait_for("[exit 0]");
}

#[test]
fn control_z_stops_what_is_held() {
    stopped_and_continued(false);
}

#[test]
fn control_z_stops_what_was_approved() {
    stopped_and_continued(true);
}

#[test]
fn a_shell_goes_on_with_its_jobs() {
    let world = world();
    let terminal = Terminal::open(&world, &governed_by(&world, &policy(), "/bin/bash --norc -i"));
    terminal.wait_for("bash-");
    terminal.send(&["cat held/a; echo after=$((40+2))", "Enter"]);
    going_on(&world);
    thread::sleep(A_WHILE);
    assert!(!terminal.screen().contains("after=42"), "{}", terminal.screen());
    reply(&world, "approve");
    terminal.wait_for("after=42");
    // Before the job has the terminal, a ^Z is for the shell, which ignores it.
    terminal.send(&["/bin/sh -c 'echo going=$((40+3)); exec sleep 600'", "Enter"]);
    terminal.wait_for("going=43");
    terminal.send(&["C-z"]);
    terminal.wait_for("Stopped");
    terminal.send(&["kill %1; exit 3", "Enter"]);
    terminal.wait_for("exit");
    terminal.send(&["exit 3", "Enter"]);
    terminal.wait_for("[exit 3]");
}

/// It goes by what is typed, whatever its job waits for.
#[test]
fn a_shell_whose_job_is_held_in_the_background_is_not_held_up() {
    let world = world();
    let terminal = Terminal::open(&world, &governed_by(&world, &policy(), "/bin/bash --norc -i"));
    terminal.wait_for("bash-");
    terminal.send(&["cat held/a &", "Enter"]);
    let asked = question(&world, "waits: ");
    assert!(asked["meanwhile"].as_str().unwrap().contains("does not wait for it"), "{asked:#}");
    terminal.send(&["echo after=$((40+2))", "Enter"]);
    terminal.wait_for("after=42");
    answer(&world, "approve", &asked);
    terminal.send(&["wait; exit 3", "Enter"]);
    terminal.wait_for("[exit 3]");
}

#[test]
fn a_terminal_that_is_opened_twice_waits() {
    let world = world();
    let terminal =
        begin(&world, &policy(), "other = open(os.ttyname(0), 'r+b', buffering=0)\nprint(attempt('held/a'))");
    waits_because(&world, "a terminal open more than once");
    terminal.wait_for("opened");
}
