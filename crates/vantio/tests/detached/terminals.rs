//! Joining a run's terminal, at real terminals.

use std::time::Duration;

use crate::common::{
    World, binary,
    detached::Detached,
    eventually, finish,
    terminal::{Terminal, governed},
};

/// `program` in the background under Vantio, as a person would type it.
fn in_background(world: &World, program: &str) -> String {
    governed(world, program).replace(" run ", " run --detach ")
}

fn attach() -> String {
    format!("{} attach last", binary().display())
}

/// Starts `program` from a terminal, which goes away.
fn start<'w>(world: &'w World, program: &str) -> Detached<'w> {
    let terminal = Terminal::open(world, &in_background(world, program));
    terminal.wait_for("[exit 0]");
    drop(terminal);
    Detached::last(world)
}

#[test]
fn a_shell_in_the_background_is_joined_left_and_joined_again() {
    let world = World::new();
    let _run = start(&world, "/bin/bash --norc -i");
    let terminal = Terminal::open(&world, &attach());
    terminal.wait_for("detaches");
    terminal.wait_for("bash-");
    terminal.send(&["echo $((40+1)); tty", "Enter"]);
    terminal.wait_for("41");
    terminal.wait_for("/dev/pts/0");
    terminal.send(&["C-p", "C-q"]);
    terminal.wait_for("goes on");
    terminal.wait_for("[exit 0]");
    let again = Terminal::open(&world, &attach());
    // What was on the screen is there again.
    again.wait_for("41");
    again.send(&["exit 3", "Enter"]);
    again.wait_for("[exit 3]");
}

#[test]
fn jobs_and_interrupts_work_in_a_joined_shell() {
    let world = World::new();
    let _run = start(&world, "/bin/bash --norc -i");
    let terminal = Terminal::open(&world, &attach());
    terminal.wait_for("bash-");
    // Before a job has the terminal, a ^Z is for the shell, which ignores it.
    terminal.send(&["/bin/sh -c 'echo $((40+1)); exec sleep 600'", "Enter"]);
    terminal.wait_for("41");
    terminal.send(&["C-z"]);
    terminal.wait_for("Stopped");
    terminal.send(&["fg", "Enter"]);
    // A ^C takes back what was typed and not read.
    let in_foreground = || terminal.screen().trim_end().ends_with("sleep 600'");
    assert!(eventually(Duration::from_mins(1), in_foreground), "{}", terminal.screen());
    terminal.send(&["C-c"]);
    terminal.send(&["echo after=$((40+2))", "Enter"]);
    terminal.wait_for("after=42");
}

#[test]
fn a_program_that_stops_itself_is_continued() {
    let world = World::new();
    let run = start(
        &world,
        "/bin/sh -c 'echo ready; kill -STOP $$; echo continued; kill -TSTP $$; echo again; sleep 600'",
    );
    run.wait_for("continued");
    run.wait_for("again");
}

#[test]
fn who_joins_in_the_background_types_once_in_the_foreground() {
    let world = World::new();
    let _run = start(&world, "/bin/bash --norc -i");
    let terminal = Terminal::open(&world, "/bin/bash --norc -i");
    terminal.wait_for("bash-");
    terminal.send(&[&format!("{} &", attach()), "Enter"]);
    terminal.wait_for("detaches");
    terminal.send(&["fg", "Enter"]);
    let is_answered = || {
        terminal.send(&["echo here=$((40+1))", "Enter"]);
        eventually(Duration::from_secs(2), || terminal.screen().contains("here=41"))
    };
    assert!((0..10).any(|_| is_answered()), "{}", terminal.screen());
    terminal.send(&["C-p", "C-q"]);
    terminal.wait_for("goes on");
}

#[test]
fn the_window_follows_whoever_came_last() {
    let world = World::new();
    // It looks by itself: bash loses a `SIGWINCH` that comes while its trap for the one before runs.
    let script = "while :; do now=$(stty size); test \"$now\" = \"$last\" || echo size: $now; last=$now; sleep 0.1; done";
    let run = start(&world, &format!("/bin/sh -c '{script}'"));
    run.wait_for("size: 30 90");
    let first = Terminal::open(&world, &attach());
    first.wait_for("size: 30 90");
    let second = Terminal::open(&world, &attach());
    second.wait_for("size: 30 90");
    second.tmux(&["resize-window", "-x", "70", "-y", "20"]).assert_success();
    second.wait_for("size: 20 70");
    first.wait_for("size: 20 70");
    first.tmux(&["resize-window", "-x", "80", "-y", "25"]).assert_success();
    first.wait_for("size: 25 80");
}

#[test]
fn all_who_are_attached_see_and_type() {
    let world = World::new();
    let _run = start(&world, "/bin/sh -c 'while read line; do echo \"<$line>\"; done'");
    let (one, other) = (Terminal::open(&world, &attach()), Terminal::open(&world, &attach()));
    let looks = Terminal::open(&world, &format!("{} --no-stdin", attach()));
    for (terminal, line) in [(&one, "from-one"), (&other, "from-other")] {
        terminal.wait_for("attached");
        terminal.send(&[line, "Enter"]);
        for terminal in [&one, &other, &looks] {
            terminal.wait_for(&format!("<{line}>"));
        }
    }
    looks.send(&["from-looks", "Enter"]);
    one.send(&["last", "Enter"]);
    looks.wait_for("<last>");
    assert!(!one.screen().contains("from-looks"));
}

#[test]
fn the_keys_that_detach_can_be_typed() {
    let world = World::new();
    let _run = start(&world, "/bin/sh -c 'stty raw; echo ready; cat -v'");
    let terminal = Terminal::open(&world, &attach());
    terminal.wait_for("ready");
    terminal.send(&["C-p", "C-p", "C-q", "x"]);
    terminal.wait_for("^P^Qx");
    terminal.send(&["C-p", "C-q"]);
    terminal.wait_for("[exit 0]");
}

#[test]
fn a_terminal_that_goes_away_detaches() {
    let world = World::new();
    let run = start(
        &world,
        "/bin/sh -c 'trap \"echo hung up\" HUP; echo ready; while read line; do echo \"<$line>\"; done'",
    );
    let terminal = Terminal::open(&world, &attach());
    terminal.wait_for("ready");
    drop(terminal);
    let again = Terminal::open(&world, &attach());
    again.wait_for("ready");
    again.send(&["still here", "Enter"]);
    again.wait_for("<still here>");
    assert!(!run.logs().contains("hung up"), "{}", run.logs());
}

#[test]
fn the_terminal_is_as_it_was_on_every_way_out() {
    let world = World::new();
    let script = "printf \"\\\\033[?1049h\\\\033[?25l\"; echo full screen; sleep 600";
    let _run = start(&world, &format!("/bin/sh -c '{script}'"));
    let guarded = |attach: &str| {
        format!("before=$(stty -g); {attach}; test \"$before\" = \"$(stty -g)\" && echo unchanged")
    };
    let keys = Terminal::open(&world, &guarded(&attach()));
    keys.wait_for("full screen");
    keys.send(&["C-p", "C-q"]);
    keys.wait_for("unchanged");
    // The other screen was left, and the cursor is shown.
    assert!(!keys.screen().contains("full screen"), "{}", keys.screen());
    assert_eq!(keys.tmux(&["display", "-p", "#{alternate_on} #{cursor_flag}"]).stdout.trim(), "0 1");

    for signal in ["TERM", "HUP", "INT", "ALRM", "ABRT"] {
        let killer = format!("(sleep 1; pkill -{signal} -P $$ vantio) & {}", attach());
        let terminal = Terminal::open(&world, &guarded(&killer));
        let unchanged = eventually(Duration::from_secs(20), || terminal.screen().contains("unchanged"));
        assert!(unchanged, "after {signal}: {}", terminal.screen());
    }
    let run = Detached::last(&world);
    let end = Terminal::open(&world, &guarded(&attach()));
    end.wait_for("full screen");
    world.ask(&["kill", &run.id]);
    end.wait_for("unchanged");
}

#[test]
fn an_editor_in_the_background_edits() {
    let world = World::new();
    let file = world.write("text.txt", "first\n");
    let run = start(&world, "/usr/bin/vim -u NONE -i NONE -N text.txt");
    let terminal = Terminal::open(&world, &attach());
    terminal.wait_for("first");
    terminal.send(&["osecond", "Escape"]);
    terminal.send(&[":wq", "Enter"]);
    terminal.wait_for("[exit 0]");
    terminal.wait_for("1 change waits");
    run.wait_for_end();
    finish(&mut run.vantio("commit", &[])).assert_success();
    assert_eq!(std::fs::read_to_string(file).unwrap(), "first\nsecond\n");
}
