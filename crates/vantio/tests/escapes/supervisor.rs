//! Attempts on the supervisor itself, and on what it keeps.

use crate::{
    attack,
    common::{CLOSED, World},
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
