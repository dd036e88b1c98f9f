//! Programs that need a terminal: its size, its keys, job control, full screens.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::{fs, time::Duration};

use common::{
    WORKSPACE, World, binary, eventually, finish,
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
    terminal.send(&["sed -u s/^/got:/", "Enter"]);
    terminal.send(&["one", "Enter"]);
    terminal.wait_for("got:one");
    terminal.send(&["C-z"]);
    terminal.wait_for("Stopped");
    terminal.send(&["fg", "Enter"]);
    terminal.send(&["two", "Enter"]);
    terminal.wait_for("got:two");
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

#[test]
fn a_question_is_told_as_it_is_listed() {
    let world = World::new();
    world.write("held", "0123456789");
    let command = governed(&world, "/bin/sh -c 'echo x > held; echo over'");
    let policy = format!("{WORKSPACE}\nhold: [{{effect: fs.open, target: \"${{workspace}}/held\"}}]\n");
    fs::write(world.path().join("policy.yaml"), policy).unwrap();
    let terminal = Terminal::open(&world, &command);
    terminal.wait_for("waits for an answer, at most 5m: fs.open (write)");
    terminal.wait_for("over 10 bytes");
    let list = world.ask(&["approvals"]);
    assert!(list.contains("fs.open (write)") && list.contains(", over 10 bytes"), "{list}");
    world.ask(&["deny", "--all"]);
    terminal.wait_for("[exit 0]");
}

/// A run with a deletion, a hazard, a change and something new, and its review in a terminal.
fn review<'w>(world: &'w World, before: &str) -> Terminal<'w> {
    world.write("gone", "gone\n");
    world.write("kept", "one\n");
    let script =
        "cat kept >/dev/null; echo two >> kept; rm gone; echo x > .envrc; mkdir new; echo y > new/file";
    world.run(WORKSPACE, &["/bin/sh", "-euc", script]).assert_success();
    let terminal = Terminal::open(world, &format!("{before} {} review last", common::binary().display()));
    terminal.wait_for("0/5 accepted");
    terminal
}

#[test]
fn a_review_commits_what_was_accepted_and_no_more() {
    let world = World::new();
    let terminal = review(&world, "");
    // Deletions are first, then hazards; a patch and its author stand beside.
    terminal.wait_for("-gone");
    terminal.wait_for("fs.unlink by process");
    terminal.send(&["r"]);
    terminal.wait_for("enters the folder");
    terminal.send(&["A"]);
    terminal.wait_for("3/5 accepted");
    terminal.send(&["q"]);
    terminal.wait_for("Leave without committing 3 accepted changes?");
    terminal.send(&["n"]);
    terminal.send(&["c"]);
    terminal.wait_for("Commit 3 accepted changes?");
    terminal.send(&["y"]);
    terminal.wait_for("committed 3 paths");
    terminal.wait_for("[exit 0]");
    let workspace = world.workspace();
    assert!(workspace.join("gone").exists() && !workspace.join(".envrc").exists());
    assert!(workspace.join("new/file").exists());
    assert_eq!(fs::read_to_string(workspace.join("kept")).unwrap(), "one\ntwo\n");
}

#[test]
fn a_hazard_is_committed_when_it_is_accepted_itself() {
    let world = World::new();
    let terminal = review(&world, "");
    terminal.send(&["j", "a", "c"]);
    terminal.wait_for("Commit 1 accepted");
    terminal.send(&["y"]);
    terminal.wait_for("committed 1 path");
    assert!(world.workspace().join(".envrc").exists() && world.workspace().join("gone").exists());
}

/// A run that changed `text` in two places and `both` in one, where the host then changed `both` too.
fn review_of_text<'w>(world: &'w World, command: &str) -> Terminal<'w> {
    let numbers = (1..=30).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat();
    world.write("text", &numbers);
    world.write("both", &numbers);
    let script = "sed -e 's/^2$/two/' -e 's/^29$/last/' text > t; cat t > text; sed 's/^2$/two/' both > t; cat t > both; rm t";
    world.run(WORKSPACE, &["/bin/sh", "-c", script]).assert_success();
    world.write("both", numbers.replace("\n20\n", "\nhost\n"));
    Terminal::open(world, &format!("{} {command}", common::binary().display()))
}

fn words(world: &World, name: &str) -> String {
    let text = fs::read_to_string(world.workspace().join(name)).unwrap();
    text.lines().filter(|line| line.parse::<u8>().is_err()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_review_asks_with_how_many_of_what_was_accepted_conflict() {
    let world = World::new();
    let terminal = review_of_text(&world, "review last");
    terminal.wait_for("0/2 accepted");
    terminal.send(&["A", "c"]);
    terminal.wait_for("Commit 2 accepted changes? The host changed 1 of them too");
    terminal.send(&["n"]);
    terminal.send(&["q", "q"]);
    terminal.wait_for("nothing was committed");
}

#[test]
fn hunks_are_accepted_one_by_one_and_a_conflict_is_merged() {
    let world = World::new();
    let terminal = review_of_text(&world, "review last");
    terminal.wait_for("0/2 accepted");
    terminal.wait_for("m merges");
    terminal.send(&["m", "j", "Tab", "r", "a"]);
    terminal.wait_for("✓ @@ -26,5");
    terminal.wait_for("2/2 accepted");
    terminal.send(&["c", "y"]);
    terminal.wait_for("committed some hunks of");
    terminal.wait_for("[exit 0]");
    assert_eq!((words(&world, "both"), words(&world, "text")), ("two host".into(), "last".into()));
}

#[test]
fn questions_are_asked_on_a_terminal() {
    let world = World::new();
    let terminal = review_of_text(&world, "commit last --interactive");
    terminal.wait_for("[m,t,o,n,q,?]?");
    terminal.send(&["m", "Enter"]);
    terminal.wait_for("Commit this hunk [y,n,a,d,q,?]?");
    terminal.send(&["y", "Enter", "q", "Enter"]);
    terminal.wait_for("[exit 0]");
    assert_eq!((words(&world, "both"), words(&world, "text")), ("two host".into(), "two".into()));
}

#[test]
fn a_review_gives_the_terminal_back_however_it_ends() {
    let world = World::new();
    world.write("file", "x\n");
    world.run(WORKSPACE, &["/bin/sh", "-c", "rm file"]).assert_success();
    let review = format!("{} review last", common::binary().display());
    let terminal = Terminal::open(&world, "PS1=OUTER: /bin/bash --norc -i");
    terminal.wait_for("OUTER:");
    terminal.send(&["before=$(stty -g)", "Enter"]);
    for ending in [&["q"][..], &["C-c"], &["C-z"]] {
        terminal.send(&[&review, "Enter"]);
        terminal.wait_for("0/1 accepted");
        terminal.send(ending);
        let sign = if ending == ["C-z"] { "Stopped" } else { "nothing was committed" };
        terminal.wait_for(sign);
        terminal.send(&["clear; test \"$before\" = \"$(stty -g)\" && echo same=$((1+1))", "Enter"]);
        terminal.wait_for("same=2");
        terminal.send(&["clear", "Enter"]);
    }
    terminal.send(&["fg", "Enter"]);
    terminal.wait_for("0/1 accepted");
    terminal.send(&["q"]);
    terminal.wait_for("nothing was committed");
    // A signal from elsewhere.
    terminal.send(&[&format!("clear; {review} & sleep 1; kill -TERM $!; fg; stty -g | grep -qx \"$before\" && echo same=$((2+2))"), "Enter"]);
    terminal.wait_for("same=4");
}

#[test]
fn a_review_fits_any_window() {
    let world = World::new();
    let terminal = review(&world, "NO_COLOR=1");
    for (width, height) in [("20", "5"), ("4", "2"), ("200", "60"), ("90", "30")] {
        terminal.tmux(&["resize-window", "-x", width, "-y", height]).assert_success();
        terminal.send(&["j", "J", "k"]);
    }
    terminal.wait_for("0/5 accepted");
    // The keys are a question away in a narrow one, and whatever closes them does nothing else.
    terminal.tmux(&["resize-window", "-x", "30", "-y", "20"]).assert_success();
    terminal.wait_for("? keys  a accept  r reject");
    terminal.send(&["a", "?"]);
    terminal.wait_for("all but hazards");
    terminal.send(&["y"]);
    terminal.wait_for("1/5, run ");
    terminal.tmux(&["resize-window", "-x", "90", "-y", "30"]).assert_success();
    let coloured = terminal.tmux(&["capture-pane", "-p", "-e"]).stdout;
    let is_coloured = |number: u8| coloured.contains(&format!("\u{1b}[3{number}m"));
    assert!(!(0..8).any(is_coloured), "{coloured:?}");
    terminal.send(&["q", "q"]);
    terminal.wait_for("[exit 0]");
}

#[test]
fn a_review_ends_with_its_terminal() {
    let world = World::new();
    let terminal = review(&world, "echo $$ > pid; exec");
    let pid = fs::read_to_string(world.workspace().join("pid")).unwrap();
    let process = format!("/proc/{}", pid.trim());
    assert!(fs::exists(&process).unwrap());
    terminal.tmux(&["kill-server"]);
    assert!(eventually(Duration::from_secs(10), || !fs::exists(&process).unwrap()), "it goes on without one");
}

#[test]
fn a_review_needs_a_terminal() {
    let world = World::new();
    world.run(WORKSPACE, &["/bin/sh", "-c", "echo x > file"]).assert_success();
    let outcome = finish(&mut world.vantio(["review", "last"]));
    outcome.assert_code(2);
    assert!(outcome.stderr.contains("vantio diff"), "{}", outcome.describe());
    let json = world.ask(&["review", "last", "--json"]);
    assert!(json.contains("\"intents\":[{") && json.contains("fs.open"), "{json}");
}

#[test]
fn a_commit_that_takes_long_says_that_it_goes_on() {
    let world = World::new();
    world.run(WORKSPACE, &["/bin/sh", "-c", "echo x > new"]).assert_success();
    // As long as another command commits, this one waits.
    let other = fs::File::create(world.state().join("runs/.commit.lock")).unwrap();
    other.lock().unwrap();
    let terminal = Terminal::open(&world, &format!("{} commit last", binary().display()));
    terminal.wait_for("vantio: committing: 2s");
    other.unlock().unwrap();
    terminal.wait_for("[exit 0]");
    assert!(!terminal.screen().contains("committing"), "{}", terminal.screen());
}

#[test]
fn an_interrupted_commit_is_taken_back_and_an_undo_goes_on() {
    let world = World::new();
    world.run(WORKSPACE, &["/bin/sh", "-c", "echo x > new"]).assert_success();
    let new = world.workspace().join("new");
    let other = fs::File::create(world.state().join("runs/.commit.lock")).unwrap();
    let interrupted = |command: &str, said: &str, code: u8| {
        // It waits for another command, so that the interruption comes before its first step.
        other.lock().unwrap();
        let terminal = Terminal::open(&world, &format!("{} {command} last", binary().display()));
        terminal.wait_for("2s");
        terminal.send(&["C-c"]);
        std::thread::sleep(Duration::from_millis(500));
        other.unlock().unwrap();
        terminal.wait_for(said);
        terminal.wait_for(&format!("[exit {code}]"));
    };
    interrupted("commit", "the commit was interrupted and taken back", 130);
    assert!(!new.exists());
    assert_eq!(fs::read_dir(world.state().join("held")).unwrap().count(), 0);
    world.ask(&["commit", "last"]);
    assert!(new.exists());
    interrupted("undo", "interrupted: the undo went on to its end", 0);
    assert!(!new.exists());
}

#[test]
fn tables_and_sentences_keep_to_the_width_of_the_terminal() {
    let world = World::new();
    let long = "true one-long-argument two-long-argument three-long-argument four-long-argument end";
    let run = governed(&world, long);
    let wide = Terminal::open(&world, &format!("{run}; echo ready; read x; {} ps --all", binary().display()));
    wide.tmux(&["resize-window", "-x", "180", "-y", "20"]).assert_success();
    wide.wait_for("ready");
    wide.send(&["Enter"]);
    wide.wait_for("four-long-argument end");
    let narrow = Terminal::open(&world, &format!("echo ready; read x; {} ledger list", binary().display()));
    narrow.tmux(&["resize-window", "-x", "60", "-y", "40"]).assert_success();
    narrow.wait_for("ready");
    narrow.send(&["Enter"]);
    narrow.wait_for("[exit 0]");
    let screen = narrow.tmux(&["capture-pane", "-p"]).stdout;
    let heading = screen.lines().find(|line| line.starts_with("SEQ")).unwrap();
    assert!(heading.ends_with("VERDICT") || heading.ends_with('…'), "{screen}");
}

#[test]
fn a_review_shows_the_patch_below_a_few_lines_and_all_of_the_story_with_a_key() {
    let world = World::new();
    let script = "mkdir __pycache__; for n in $(seq 20); do echo $n > __pycache__/$n.pyc; done; echo data > data; read x < data; for n in $(seq 20); do read x < __pycache__/$n.pyc; done; echo made > a-file";
    let run = governed(&world, &format!("bash -c '{script}'"));
    let terminal = Terminal::open(
        &world,
        &format!("{run} >/dev/null 2>&1; echo ready; read x; {} review last", binary().display()),
    );
    terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]).assert_success();
    terminal.wait_for("ready");
    terminal.send(&["Enter"]);
    terminal.wait_for("accept");
    terminal.send(&["G"]);
    terminal.wait_for("data");
    terminal.send(&["g"]);
    for _ in 0..40 {
        if terminal.screen().contains("+made") {
            break;
        }
        terminal.send(&["j"]);
        std::thread::sleep(Duration::from_millis(100));
    }
    let screen = terminal.screen();
    assert!(screen.contains("+made") && screen.contains("other files (p)"), "{screen}");
    terminal.send(&["p"]);
    terminal.wait_for(".pyc");
    terminal.send(&["?"]);
    terminal.wait_for("Rejected: not committed now.");
}
