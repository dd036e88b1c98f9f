//! Attempts on the supervisor itself, and on what it keeps.

use std::fs;

use crate::{
    attack,
    common::{CLOSED, World, finish},
};

#[test]
fn an_argument_list_at_the_end_of_memory_stops_no_worker() {
    let world = World::new();
    let script = r#"
loader = ctypes.c_char_p(b"/lib64/ld-linux-x86-64.so.2")
for start in (-8, -16, -512):
    attempt(f"arguments at {start}", lambda: syscall(59, loader, start, 0))
open("alive", "w").close()
"#;
    attack(&world, CLOSED, script, &[]);
    assert!(world.changes().iter().any(|(_, path)| path.ends_with("alive")), "nobody answered any more");
}

#[test]
fn what_holds_the_state_folder_stays_where_it_is() {
    let world = World::new();
    let script = r#"
state = sys.argv[1]
above = os.path.dirname(state)
attempt("move", lambda: os.rename(above, above + "-moved"))
os.mkdir(above + "-forged")
attempt("replace", lambda: os.rename(above + "-forged", above))
attempt("exchange", lambda: syscall(316, -100, above.encode(), -100, (above + "-forged").encode(), 2))
attempt("exchange back", lambda: syscall(316, -100, (above + "-forged").encode(), -100, above.encode(), 2))
"#;
    let policy = "version: 1\nfs: {read: [/], write: [/]}\nexec: {allow: [/usr, /bin]}\n";
    fs::create_dir(world.state()).unwrap();
    attack(&world, policy, script, &[&world.state().to_string_lossy()]);
    world.assert_refused("proc.syscall", "state folder");
    assert!(finish(&mut world.vantio(["ledger", "verify"])).status.success());
}

#[test]
fn a_root_of_resolution_is_the_callers() {
    let world = World::new();
    world.write("jail/etc/hostname", "jailed\n");
    let script = r#"
jail = os.open("jail", os.O_PATH)
how = (ctypes.c_uint64 * 3)(0, 0, 0x10)
for path in (b"/etc/hostname", b"../../etc/hostname", b"/../etc/hostname"):
    handle = syscall(437, jail, ctypes.c_char_p(path), how, 24)
    content = os.read(handle, 100)
    attempt(f"leave by {path}", lambda: content != b"jailed\n")
"#;
    attack(&world, CLOSED, script, &[]);
}

#[test]
fn a_connection_takes_no_route_of_its_own() {
    let world = World::new();
    let script = r#"
stream = socket.socket()
route = bytes([131, 11, 4, 127, 0, 0, 2, 127, 0, 0, 3, 0])
attempt("source route", lambda: stream.setsockopt(socket.IPPROTO_IP, 4, route))
stream.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 16)
for family in (2, 16, 30, 40):
    attempt(f"pair of family {family}", lambda: syscall(53, family, 1, 0, (ctypes.c_int * 2)()))
"#;
    attack(&world, CLOSED, script, &[]);
    world.assert_refused("proc.syscall", "source route");
}
