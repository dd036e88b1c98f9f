//! One suite of tests against every store, and what only a server has.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "spanner")]
mod emulator;
mod loss;
mod place;
#[cfg(feature = "spanner")]
mod spanner;
mod suite;
mod worm;

/// Each function of the suite as a test of each store.
macro_rules! of_every_store {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[test] fn $test() { super::suite::$test(&super::place::Place::file()); })*
        }
        mod postgres {
            $(#[test] fn $test() { super::suite::$test(&super::place::Place::server()); })*
        }
        /// Google's emulator, a fake.
        #[cfg(feature = "spanner")]
        mod spanner_emulator {
            $(#[test] fn $test() { super::suite::$test(&super::place::Place::emulator()); })*
        }
    };
}

/// Spanner has no triggers, and the emulator no roles either.
macro_rules! of_every_store_with_triggers {
    ($($test:ident)*) => {
        mod sqlite_triggers {
            $(#[test] fn $test() { super::suite::$test(&super::place::Place::file()); })*
        }
        mod postgres_triggers {
            $(#[test] fn $test() { super::suite::$test(&super::place::Place::server()); })*
        }
    };
}

of_every_store! {
    what_was_appended_reads_back_in_order
    acknowledged_entries_are_there_after_reopening
    several_writers_share_one_tree
    filters_select_and_limits_cut
    filters_agree_with_a_look_at_every_entry
    every_entry_has_a_proof
    growth_is_proved_and_published
    an_export_verifies_without_the_store
    a_changed_column_is_found_and_the_entry_named
    a_removed_entry_is_named
    a_truncated_tail_is_found
    a_changed_tile_or_checkpoint_is_found
    reading_creates_nothing
}

of_every_store_with_triggers! {
    a_dropped_trigger_is_reported_and_stops_appending
    update_and_delete_are_refused
}
