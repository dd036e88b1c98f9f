//! A person at a terminal, a shell with job control, the caller's process, and a
//! run: all real but the run's walls.

mod stage;

use std::{io::Write as _, time::Duration};

use rustix::process::Signal;

use self::stage::{Scene, Stage, size};

#[test]
fn what_is_typed_arrives_and_what_is_shown_returns() {
    let mut stage = Stage::of("read -r line; echo \"got<$line>\"; exit 7");
    stage.type_keys("hello\r");
    stage.see("got<hello>");
    assert_eq!(stage.next_report(), "exited 7");
}

#[test]
fn the_terminal_is_raw_during_the_run_and_as_before_after_it() {
    let mut stage = Stage::of("echo ready; read -r line");
    stage.see("ready");
    stage.until("raw mode", Stage::is_raw);
    stage.type_keys("\r");
    assert_eq!(stage.next_report(), "exited 0");
    assert_eq!(stage.modes(), stage.modes_before);
}

#[test]
fn an_interrupt_is_a_key_of_the_run() {
    let mut stage =
        Stage::of("trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.05; done");
    stage.see("ready");
    stage.type_keys("\x03");
    stage.see("interrupted");
    assert_eq!(stage.next_report(), "exited 3");
}

#[test]
fn the_size_is_there_from_the_start_and_follows() {
    let mut stage =
        Stage::of("stty size; trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done");
    stage.see("25 91");
    stage.see("ready");
    stage.resize(size(31, 67));
    stage.see("31 67");
    assert_eq!(stage.next_report(), "exited 0");
}

#[test]
fn the_run_stops_and_continues_with_its_shell() {
    let mut stage = Stage::of("echo ready; read -r line; echo \"got<$line>\"");
    stage.see("ready");
    stage.type_keys("\x1a");
    assert_eq!(stage.next_report(), format!("stopped {}", libc::SIGTSTP));
    assert_eq!(stage.modes(), stage.modes_before);
    stage.resize(size(40, 80));
    stage.order("fg");
    stage.type_keys("again\r");
    stage.see("got<again>");
    assert_eq!(stage.next_report(), "exited 0");
    assert_eq!(stage.modes(), stage.modes_before);
}

#[test]
fn a_stop_from_outside_reaches_the_run() {
    // In a loop of programs the stop could fall into a `vfork`, whose parent then cannot stop.
    let mut stage = Stage::of("trap 'echo continued' CONT; sleep 60 & echo ready; while :; do wait; done");
    stage.see("ready");
    stage.signal(Signal::TSTP);
    assert_eq!(stage.next_report(), format!("stopped {}", libc::SIGTSTP));
    stage.order("fg");
    stage.see("continued");
    stage.signal(Signal::TERM);
    assert_eq!(stage.next_report(), format!("exited {}", 128 + libc::SIGTERM));
}

#[test]
fn after_a_stop_that_cannot_be_seen_the_terminal_is_raw_again() {
    let mut stage = Stage::of("echo ready; read -r line; echo \"got<$line>\"");
    stage.see("ready");
    stage.signal(Signal::STOP);
    assert_eq!(stage.next_report(), format!("stopped {}", libc::SIGSTOP));
    stage.make_cooked();
    stage.order("fg");
    stage.until("raw mode", Stage::is_raw);
    stage.type_keys("again\r");
    stage.see("got<again>");
    assert_eq!(stage.next_report(), "exited 0");
}

#[test]
fn signals_are_forwarded() {
    for (signal, name) in
        [(Signal::HUP, "HUP"), (Signal::TERM, "TERM"), (Signal::USR1, "USR1"), (Signal::USR2, "USR2")]
    {
        let mut stage = Stage::of(&format!(
            "trap 'echo got-{name}; exit 4' {name}; echo ready; while :; do sleep 0.05; done"
        ));
        stage.see("ready");
        stage.signal(signal);
        stage.see(&format!("got-{name}"));
        assert_eq!(stage.next_report(), "exited 4");
    }
}

#[test]
fn a_run_in_the_background_writes_freely_and_stops_to_read() {
    let mut stage = Stage::start(&Scene {
        background: true,
        ..Scene::of("echo ready; read -r line; echo \"got<$line>\"")
    });
    stage.see("ready");
    assert_eq!(stage.next_report(), format!("stopped {}", libc::SIGTTIN));
    assert_eq!(stage.modes(), stage.modes_before);
    stage.order("fg");
    stage.type_keys("now\r");
    stage.see("got<now>");
    assert_eq!(stage.next_report(), "exited 0");
}

#[test]
fn continued_in_the_background_the_terminal_is_left_alone() {
    let mut stage = Stage::of("echo ready; read -r line; echo \"got<$line>\"");
    stage.see("ready");
    stage.type_keys("\x1a");
    assert_eq!(stage.next_report(), format!("stopped {}", libc::SIGTSTP));
    let left = stage.modes();
    stage.order("bg");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(stage.modes(), left);
    stage.order("fg");
    stage.until("raw mode", Stage::is_raw);
    stage.type_keys("late\r");
    stage.see("got<late>");
    assert_eq!(stage.next_report(), "exited 0");
}

#[test]
fn in_a_pipeline_the_keyboard_is_taken_when_the_run_reads() {
    let script = "echo ready >&2; sleep 0.1; read -r line; echo \"got<$line>\" >&2";
    let mut stage = Stage::start(&Scene { piped_output: true, ..Scene::of(script) });
    stage.see("ready");
    stage.type_keys("key\r");
    stage.see("got<key>");
    assert_eq!(stage.next_report(), "exited 0");
}

#[test]
fn in_a_pipeline_that_does_not_read_the_keyboard_stays_with_others() {
    let script = "echo ready >&2; while :; do sleep 0.05; done";
    let mut stage = Stage::start(&Scene { piped_output: true, ..Scene::of(script) });
    stage.see("ready");
    assert_eq!(stage.modes(), stage.modes_before);
    stage.type_keys("\x03");
    assert_eq!(stage.next_report(), format!("exited {}", 128 + libc::SIGINT));
}

#[test]
fn much_output_arrives_whole_though_the_reader_is_slow() {
    let mut stage = Stage::of("i=0; while [ $i -lt 20000 ]; do echo \"line $i\"; i=$((i+1)); done");
    std::thread::sleep(Duration::from_millis(200));
    let shown = stage.see("line 19999\r\n");
    let expected: Vec<_> = (0..20_000).map(|number| format!("line {number}")).collect();
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines == expected, "{} lines arrived, the last is {:?}", lines.len(), lines.last());
    assert_eq!(stage.next_report(), "exited 0");
}

#[test]
fn much_input_arrives_whole_though_the_agent_is_slow() {
    let mut stage =
        Stage::of("stty raw -echo; echo ready; sleep 0.2; head -c 200000 | tr -d x | wc -c; exit 5");
    stage.see("ready");
    let text = "0123456789abcdefghix".repeat(10_000);
    let mut keyboard = stage.keyboard();
    let typist = std::thread::spawn(move || keyboard.write_all(text.as_bytes()));
    stage.see("190000");
    typist.join().unwrap().unwrap();
    assert_eq!(stage.next_report(), "exited 5");
}

#[test]
fn a_supervisor_that_dies_is_reported_and_the_terminal_given_back() {
    let mut stage = Stage::start(&Scene { supervisor_dies: true, ..Scene::of("echo ready; read -r line") });
    stage.see("ready");
    stage.type_keys("\r");
    assert_eq!(stage.next_report(), "exited 125");
    assert_eq!(stage.modes(), stage.modes_before);
}

#[test]
fn a_terminal_that_is_hung_up_hangs_up_the_run() {
    let mut stage = Stage::of("trap 'exit 6' HUP; echo ready; while :; do sleep 0.05; done");
    stage.see("ready");
    stage.hang_up();
    assert_eq!(stage.next_report(), "exited 6");
}

#[test]
fn a_fatal_signal_gives_the_terminal_back() {
    let mut stage = Stage::of("echo ready; read -r line");
    stage.see("ready");
    stage.until("raw mode", Stage::is_raw);
    stage.signal(Signal::ABORT);
    assert_eq!(stage.next_report(), format!("signaled {}", libc::SIGABRT));
    assert_eq!(stage.modes(), stage.modes_before);
}

#[test]
fn without_a_terminal_only_signals_and_the_end_matter() {
    let mut stage = Stage::start(&Scene {
        without_terminal: true,
        ..Scene::of("trap 'exit 8' TERM; echo report ready; while :; do sleep 0.05; done")
    });
    assert_eq!(stage.next_report(), "ready");
    stage.signal(Signal::TERM);
    assert_eq!(stage.next_report(), "exited 8");
}
