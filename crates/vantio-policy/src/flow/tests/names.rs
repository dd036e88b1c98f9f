//! Files under other names.

use super::world::{BOTH, NONE, OTHER, SECRET, World};

/// What a fresh process gets from reading the path.
fn read_of(world: &mut World, path: &str) -> vantio_core::Labels {
    world.fork(1, 99);
    world.read(99, path).unwrap();
    let labels = world.labels(99);
    world.exit(99);
    labels
}

#[test]
fn a_source_that_is_renamed_or_linked_away_is_a_source() {
    let mut world = World::new();
    world.rename(1, "/k/secret", "/tmp/plain", false);
    world.link(1, "/k/other", "/tmp/linked");
    assert_eq!(read_of(&mut world, "/tmp/plain"), SECRET);
    assert_eq!(read_of(&mut world, "/tmp/linked"), OTHER);
    world.rename(1, "/tmp/plain", "/tmp/plainer", false);
    world.flow.gone(b"/tmp/plain");
    assert_eq!(read_of(&mut world, "/tmp/plainer"), SECRET);
    assert_eq!(read_of(&mut world, "/tmp/plain"), NONE);
}

#[test]
fn a_link_that_was_made_before_shares_what_is_written_later() {
    let mut world = World::new();
    world.link(1, "/tmp/a", "/tmp/b");
    world.link(1, "/tmp/b", "/tmp/c");
    world.fork(1, 2);
    world.read(2, "/k/secret").unwrap();
    world.write(2, "/tmp/b").unwrap();
    world.exit(2);
    for path in ["/tmp/a", "/tmp/b", "/tmp/c"] {
        assert_eq!(read_of(&mut world, path), SECRET, "{path}");
    }
    world.flow.gone(b"/tmp/b");
    assert_eq!(read_of(&mut world, "/tmp/c"), SECRET);
    assert_eq!(read_of(&mut world, "/tmp/b"), NONE);
}

#[test]
fn an_exchange_and_a_rename_that_fails_leave_no_clean_name_for_what_is_labelled() {
    let mut world = World::new();
    world.fork(1, 2);
    world.read(2, "/k/secret").unwrap();
    world.write(2, "/tmp/x").unwrap();
    // As the plane asks for an exchange: both ways.
    world.rename(1, "/tmp/x", "/tmp/y", false);
    world.rename(1, "/tmp/y", "/tmp/x", true);
    assert_eq!(read_of(&mut world, "/tmp/x"), SECRET);
    assert_eq!(read_of(&mut world, "/tmp/y"), SECRET);
}

#[test]
fn a_directory_takes_along_what_lies_in_it() {
    let mut world = World::new();
    world.fork(1, 2);
    world.read(2, "/k/other").unwrap();
    world.write(2, "/w/a/b/file").unwrap();
    world.exit(2);
    world.rename(1, "/w/a", "/w/c", true);
    world.flow.gone(b"/w/a");
    assert_eq!(read_of(&mut world, "/w/c/b/file"), OTHER);
    assert_eq!(read_of(&mut world, "/w/c/b/clean"), NONE);
    assert_eq!(read_of(&mut world, "/w/a/b/file"), NONE);
    assert_eq!(read_of(&mut world, "/w/c/b/file2"), NONE);
}

#[test]
fn a_directory_that_holds_a_source_is_labelled_whole_where_it_goes() {
    let mut world = World::new();
    world.rename(1, "/k", "/tmp/k", true);
    world.flow.gone(b"/k");
    assert_eq!(read_of(&mut world, "/tmp/k/secret"), BOTH);
    assert_eq!(read_of(&mut world, "/tmp/k/new/below"), BOTH);
    world.rename(1, "/tmp/k/new", "/tmp/n", true);
    assert_eq!(read_of(&mut world, "/tmp/n/below"), BOTH);
    world.rename(1, "/tmp/k/one", "/tmp/one", false);
    assert_eq!(read_of(&mut world, "/tmp/one"), BOTH);
    assert_eq!(read_of(&mut world, "/tmp/other"), NONE);
}

#[test]
fn what_links_bring_together_is_one_file_also_for_who_has_it_open() {
    let mut world = World::new();
    world.link(1, "/tmp/a", "/tmp/b");
    world.fork(1, 2);
    world.fork(1, 3);
    world.read(3, "/tmp/a").unwrap();
    world.write(2, "/tmp/b").unwrap();
    world.read(2, "/k/secret").unwrap();
    assert_eq!(world.labels(3), SECRET);
}
