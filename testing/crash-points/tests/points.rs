//! A program of known calls, killed at each of them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{fs, path::Path, process::Command};

use crash_points::{Ending, Point, run};

fn program(directory: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command.current_dir(directory).args(["-c", "echo 1 > one; /bin/mkdir -p below; echo 2 > two; exit 3"]);
    command
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_program_is_killed_where_it_was_asked_for_and_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let report = run(&program(directory.path()), None).unwrap();
    assert_eq!(report.ending, Ending::Exited(3));
    // What a child of the program does is not counted: the shell forks for `mkdir`.
    assert_eq!(report.calls, ["SYS_openat", "SYS_write", "SYS_openat", "SYS_write"]);
    let states = [
        (Point::Before(0), vec![], ""),
        (Point::After(0), vec!["one"], ""),
        (Point::Before(1), vec!["one"], ""),
        (Point::After(1), vec!["one"], "1\n"),
        (Point::Before(2), vec!["below", "one"], "1\n"),
        (Point::After(2), vec!["below", "one", "two"], "1\n"),
    ];
    for (point, files, one) in states {
        let directory = tempfile::tempdir().unwrap();
        let report = run(&program(directory.path()), Some(point)).unwrap();
        assert_eq!(report.ending, Ending::Killed, "{point:?}");
        assert_eq!(names(directory.path()), files, "{point:?}");
        assert_eq!(fs::read_to_string(directory.path().join("one")).unwrap_or_default(), one, "{point:?}");
    }
}

#[test]
fn threads_are_counted_and_die_together() {
    let script = "
import os, threading
def work(name):
    for index in range(20):
        os.mkdir(f'{name}{index}')
threads = [threading.Thread(target=work, args=(name,)) for name in 'abcd']
[thread.start() for thread in threads]
[thread.join() for thread in threads]
";
    for point in [0, 7, 40, 79] {
        let directory = tempfile::tempdir().unwrap();
        let mut python = Command::new("/usr/bin/python3");
        python.current_dir(directory.path()).args(["-SIc", script]);
        let report = run(&python, Some(Point::Before(point))).unwrap();
        assert_eq!(report.ending, Ending::Killed);
        // Another thread may have been inside its call at that moment.
        let made = names(directory.path()).len();
        assert!(made <= point && made + 4 >= point, "{made} at {point}");
    }
    let directory = tempfile::tempdir().unwrap();
    let mut python = Command::new("/usr/bin/python3");
    python.current_dir(directory.path()).args(["-SIc", script]);
    let report = run(&python, Some(Point::Before(80))).unwrap();
    assert_eq!((report.ending, report.calls.len()), (Ending::Exited(0), 80));
}
