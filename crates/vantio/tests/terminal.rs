//! Programs that need a terminal: its size, its keys, job control, full screens.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::fs;

use common::{
    WORKSPACE, World,
    terminal::{Terminal, governed},
};

#[test]
fn the_window_size_is_seen_and_followed() {
    let world = World::new();
    world.write(
        "size.sh",
        "trap 'echo size: $(stty size)' WINCH\necho size: $(stty size)\nwhile :; do sleep 0.1; done\n",
    );
    let terminal = Terminal::governed(&world, "/bin/bash size.sh");
    terminal.wait_for("size: 30 90");
    terminal.tmux(&["resize-window", "-x", "70", "-y", "20"]).assert_success();
    terminal.wait_for("size: 20 70");
}

#[test]
fn control_c_interrupts_the_program_and_not_the_supervisor() {
    let world = World::new();
    world.write("trap.sh", "trap 'echo caught; exit 5' INT\necho ready\nwhile :; do sleep 0.1; done\n");
    let terminal = Terminal::governed(&world, "/bin/bash trap.sh");
    terminal.wait_for("ready");
    terminal.send(&["C-c"]);
    terminal.wait_for("caught");
    terminal.wait_for("[exit 5]");
    world.ask(&["diff", "last", "--json"]);
}

#[test]
fn an_uncaught_interrupt_ends_with_130() {
    let world = World::new();
    let terminal = Terminal::governed(&world, "/bin/sh -c 'echo ready; exec sleep 600'");
    terminal.wait_for("ready");
    terminal.send(&["C-c"]);
    terminal.wait_for("[exit 130]");
}

#[test]
fn jobs_stop_and_continue_in_a_shell() {
    let world = World::new();
    let terminal = Terminal::governed(&world, "/bin/bash --norc -i");
    terminal.wait_for("bash-");
    terminal.send(&["echo $((40+1)); sleep 600", "Enter"]);
    terminal.wait_for("41");
    terminal.send(&["C-z"]);
    terminal.wait_for("Stopped");
    terminal.send(&["fg", "Enter"]);
    terminal.send(&["C-c"]);
    terminal.send(&["echo after=$((40+2))", "Enter"]);
    terminal.wait_for("after=42");
    terminal.send(&["exit 3", "Enter"]);
    terminal.wait_for("[exit 3]");
}

#[test]
fn control_z_stops_the_run_and_fg_continues_it() {
    let world = World::new();
    let terminal = Terminal::open(&world, "PS1=OUTER: /bin/bash --norc -i");
    terminal.wait_for("OUTER:");
    terminal.send(&[&governed(&world, "/bin/sh -c 'echo in$((1))side; read line; echo got $line'"), "Enter"]);
    // The command itself is on the screen too, without the number in it.
    terminal.wait_for("in1side");
    terminal.send(&["C-z"]);
    terminal.wait_for("Stopped");
    terminal.send(&["fg", "Enter"]);
    terminal.send(&["word", "Enter"]);
    terminal.wait_for("got word");
}

#[test]
fn end_of_input_reaches_the_program() {
    let world = World::new();
    let terminal = Terminal::governed(&world, "/bin/sh -c 'echo ready; cat; echo over'");
    terminal.wait_for("ready");
    terminal.send(&["line", "Enter"]);
    terminal.send(&["C-d"]);
    terminal.wait_for("over");
    terminal.wait_for("[exit 0]");
}

#[test]
fn vim_edits_a_file_and_the_edit_is_in_the_diff() {
    let world = World::new();
    let file = world.write("text.txt", "first\nsecond\n");
    let terminal = Terminal::governed(&world, "/usr/bin/vim -u NONE -i NONE -N text.txt");
    terminal.wait_for("second");
    terminal.wait_for("~");
    terminal.send(&["Gothird", "Escape"]);
    terminal.wait_for("third");
    terminal.send(&[":wq", "Enter"]);
    terminal.wait_for("[exit 0]");
    assert_eq!(fs::read_to_string(&file).unwrap(), "first\nsecond\n");
    assert_eq!(world.changes(), [("modified".to_owned(), file.clone())]);
    world.ask(&["commit", "last"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "first\nsecond\nthird\n");
}

#[test]
fn a_full_screen_pager_draws_what_it_draws_without() {
    let world = World::new();
    let lines: Vec<_> = (1..=500).map(|number| format!("line {number} \u{2500}\u{2500} text")).collect();
    world.write("long.txt", lines.join("\n"));
    let draw = |command: &str| {
        let terminal = Terminal::open(&world, command);
        terminal.wait_for("line 1 ");
        terminal.send(&["/line 321", "Enter"]);
        terminal.wait_for("line 325");
        let drawn = terminal.screen();
        terminal.send(&["q"]);
        terminal.wait_for("[exit 0]");
        drawn
    };
    let bare = draw("/usr/bin/less long.txt");
    assert_eq!(draw(&governed(&world, "/usr/bin/less long.txt")), bare);
}

#[test]
fn the_terminal_is_as_it_was_after_a_run() {
    let world = World::new();
    let command = format!(
        "before=$(stty -g); {}; test \"$before\" = \"$(stty -g)\" && echo unchanged",
        governed(&world, "/bin/sh -c 'stty raw -echo; exit 0'")
    );
    let terminal = Terminal::open(&world, &command);
    terminal.wait_for("unchanged");
}

#[test]
fn a_question_is_told_to_whoever_started_the_run() {
    let world = World::new();
    world.write("held", "");
    let command = governed(&world, "/bin/sh -c 'rm held; echo over'");
    let policy = format!("{WORKSPACE}\nhold: [{{effect: fs.unlink, target: \"${{workspace}}/held\"}}]\n");
    fs::write(world.path().join("policy.yaml"), policy).unwrap();
    let terminal = Terminal::open(&world, &command);
    terminal.wait_for("waits for an answer, at most 5m: fs.unlink");
    let screen = terminal.screen();
    let id = screen.split("vantio approve ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    world.ask(&["approve", id]);
    terminal.wait_for("over");
    terminal.wait_for("[exit 0]");
}
