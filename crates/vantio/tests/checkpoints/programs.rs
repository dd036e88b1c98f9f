//! Programs that keep files open, map them, and put others in their place.

use crate::{
    Paused,
    common::{WORKSPACE, World, finish},
    diff, folder, patch, take,
};

const SQLITE: &str = r#"
import sqlite3, sys
def pause():
    print("paused", flush=True); sys.stdin.readline()
base = sqlite3.connect("base.db", isolation_level=None)
base.execute("pragma journal_mode=wal")
base.execute("create table t (n integer, text text)")
for n in range(4):
    base.execute("begin")
    base.executemany("insert into t values (?, ?)", [(n, "x" * 500)] * 200)
    base.execute("commit")
    if n == 2: base.execute("pragma wal_checkpoint")
    pause()
base.execute("delete from t")
base.execute("vacuum")
"#;

/// How many rows the data base has, read by a program of the host in a copy.
fn rows(world: &World, checkpoint: &str) -> String {
    world.ask(&["restore", "last", checkpoint]);
    let outside = world.outside().join("copy");
    let script = r#"rm -rf "$2"; mkdir "$2"; for name in base.db base.db-wal base.db-shm; do
        find "$1"/layers/*/upper -name "$name" -type f -exec cp {} "$2" \; ; done; cd "$2"
        /usr/bin/python3 -c 'import sqlite3; b = sqlite3.connect("base.db"); print(b.execute("pragma integrity_check").fetchone()[0], b.execute("select count(*), count(distinct n) from t").fetchone())'"#;
    let mut shell = world.command("/bin/bash");
    shell.args(["-euc", script, "sh"]).arg(folder(world)).arg(outside);
    finish(&mut shell).assert_success().stdout.clone()
}

#[test]
fn a_data_base_that_is_open_is_whole_at_every_checkpoint() {
    let world = World::new();
    world.write("program.py", SQLITE);
    let mut run = Paused::start_program(&world, WORKSPACE, &["/usr/bin/python3", "program.py"]);
    for label in ["one", "two", "three"] {
        take(&world, &["--label", label]);
        run.next();
    }
    run.end();
    assert_eq!(rows(&world, "three"), "ok (600, 3)\n");
    assert_eq!(rows(&world, "two"), "ok (400, 2)\n");
    assert_eq!(rows(&world, "one"), "ok (200, 1)\n");
}

#[test]
fn what_is_written_through_a_mapping_is_taken_back() {
    let world = World::new();
    world.write("file", "abcdefgh\n");
    let program = r#"
import mmap, os, sys
def pause():
    print("paused", flush=True); sys.stdin.readline()
file = os.open("file", os.O_RDWR)
memory = mmap.mmap(file, 0)
os.close(file)
memory[0:1] = b"1"; pause()
memory[1:2] = b"2"; pause()
memory[2:3] = b"3"
"#;
    world.write("program.py", program);
    let mut run = Paused::start_program(&world, WORKSPACE, &["/usr/bin/python3", "program.py"]);
    take(&world, &["--label", "one"]);
    run.next();
    take(&world, &["--label", "two"]);
    run.end();
    assert!(patch(&world, &[]).contains("+123defgh\n"));
    world.ask(&["restore", "last", "two"]);
    assert!(patch(&world, &[]).contains("+12cdefgh\n"));
    world.ask(&["restore", "last", "one"]);
    assert!(patch(&world, &[]).contains("+1bcdefgh\n"));
}

#[test]
fn a_descriptor_on_its_way_through_a_socket_is_no_way_around() {
    let world = World::new();
    world.write("file", "before\n");
    let program = r#"
import os, socket, sys
def pause():
    print("paused", flush=True); sys.stdin.readline()
one, other = socket.socketpair()
file = os.open("file", os.O_WRONLY | os.O_APPEND)
os.write(file, b"first\n")
socket.send_fds(one, [b"x"], [file]); os.close(file)
pause()
_, files, _, _ = socket.recv_fds(other, 1, 1)
os.write(files[0], b"second\n")
"#;
    world.write("program.py", program);
    let run = Paused::start_program(&world, WORKSPACE, &["/usr/bin/python3", "program.py"]);
    take(&world, &[]);
    let before = patch(&world, &[]);
    run.end();
    assert_ne!(patch(&world, &[]), before);
    world.ask(&["restore", "last", "1"]);
    assert_eq!(patch(&world, &[]), before);
}

#[test]
fn a_repository_goes_back_with_its_commits() {
    let world = World::new();
    let script = r"
git init -q repo; cd repo; git config user.name t; git config user.email t@example.com; git config gc.auto 0
for n in $(seq 20); do echo $n > file$n; done; git add .; git commit -qm one; pause
git mv file1 moved; rm file2; echo more >> file3; git add -A; git commit -qm two; pause
git checkout -q -b other HEAD~1; echo x > x; git add x; git commit -qm three; git gc -q; git branch -D master main 2>/dev/null || true";
    let mut run = Paused::start(&world, script);
    take(&world, &["--label", "one"]);
    let one = diff(&world, &[]);
    run.next();
    take(&world, &["--label", "two"]);
    let two = diff(&world, &[]);
    run.end();
    world.ask(&["restore", "last", "two"]);
    assert_eq!(diff(&world, &[]), two);
    world.ask(&["restore", "last", "one"]);
    assert_eq!(diff(&world, &[]), one);
    world.ask(&["commit", "last", "--hazards"]);
    let log = "git -C repo fsck --strict && git -C repo status --porcelain && git -C repo log --format=%s";
    let log = finish(world.command("/bin/bash").args(["-euc", log]));
    assert_eq!(log.assert_success().stdout, "one\n");
}
