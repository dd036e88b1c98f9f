//! Runs that are held: a world for them, and what has to come out of their ledgers.

use std::time::Duration;

use serde_json::Value;

use super::{World, parse};

/// What no question may take to come, or to go.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A world with something held in it.
pub fn world() -> World {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.write(&format!("held/{name}"), format!("{name}\n"));
    }
    world
}

/// Fails unless every verdict of the last run comes out as it was, from the ledger alone.
#[track_caller]
pub fn assert_replayed(world: &World) {
    let report = parse(&world.ask(&["replay", "last", "--json"]));
    assert!(report["decided"].as_u64() > Some(0), "{report:#}");
    assert_eq!(report["differences"], Value::Array(Vec::new()), "{report:#}");
    assert_eq!(report["undecided"], Value::Array(Vec::new()), "{report:#}");
    world.ask(&["ledger", "verify"]);
}
