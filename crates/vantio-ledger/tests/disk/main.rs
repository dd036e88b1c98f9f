//! Ledgers on a disk that loses its power, lies, fails and fills.
//!
//! The disk is served by this process, so others use it: this binary starts itself again as a writer
//! or as a reader of what was written. A chance that fails is had again with `VANTIO_DISK_SEED`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod closing;
#[path = "../common/mod.rs"]
mod common;
mod failing;
mod lying;
mod power;
mod world;

use common::harness::{self, Test};

fn main() {
    if world::is_child() {
        return world::child();
    }
    let tests: [Test; 7] = [
        ("a_lost_power_loses_nothing_that_was_acknowledged", power::test),
        ("a_power_lost_twice_loses_nothing_either", power::twice),
        ("a_power_lost_while_a_ledger_is_closed_loses_no_entry", closing::test),
        ("a_disk_that_lies_is_found_out", lying::test),
        ("a_failing_sync_stops_the_ledger_and_loses_nothing", failing::syncs),
        ("a_failed_sync_that_nobody_learned_of_loses_nothing", failing::kills),
        ("a_full_disk_at_any_write_stops_the_ledger_and_loses_nothing", failing::writes),
    ];
    harness::run(&tests);
}
