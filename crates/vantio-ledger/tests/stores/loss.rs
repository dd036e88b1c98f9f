//! Lost connections, crashed servers, and keys that are not there.

use std::{sync::Arc, time::Duration};

use postgres_server::Server;
use vantio_ledger::{Filter, Ledger, Location, Options, Terms};

use crate::{
    common::open,
    place::{Place, Vandal, keys},
};

/// Without a checkpoint in between.
fn quiet() -> Options {
    let never = Duration::from_hours(1);
    Options { checkpoint_entries: u64::MAX, checkpoint_after: never, ..Options::default() }
}

#[test]
fn a_lost_connection_stops_the_ledger_and_keeps_what_was_acknowledged() {
    let place = Place::server();
    let ledger = Ledger::open_at(&place.location, quiet()).unwrap();
    for number in 0..5 {
        ledger.append(open(number)).unwrap();
    }
    place
        .client("postgres")
        .batch_execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = 'vantio' AND datname = current_database()",
        )
        .unwrap();
    let error = ledger.append(open(5)).unwrap_err();
    assert_eq!(error.code(), "E_LEDGER_SERVER", "{error}");
    let error = ledger.append(open(6)).unwrap_err();
    assert_eq!(error.code(), "E_LEDGER_FAILED", "nothing is tried again: {error}");
    drop(ledger);
    let verified = place.verify().unwrap();
    assert_eq!((verified.size, verified.checkpoints), (5, 0));
    place.fill(1);
    let verified = place.verify().unwrap();
    assert_eq!((verified.size, verified.checkpoints), (6, 1), "the next checkpoint covers what was left");
    let note = place.reader().newest_checkpoint().unwrap().unwrap();
    assert!(note.text().contains("\n6\n"), "{note}");
}

#[test]
fn what_was_acknowledged_survives_a_crash_of_the_server() {
    let mut server = Server::start();
    let (_folder, keys) = keys();
    let database = server.database();
    let owner = Location::parse(&server.url("owner", &database), &keys);
    let ledger = Ledger::open_at(&owner, quiet()).unwrap();
    let hashes: Vec<_> = (0..50).map(|number| ledger.append(open(number)).unwrap().this_hash).collect();
    server.crash();
    assert!(ledger.append(open(50)).is_err());
    drop(ledger);
    assert!(Ledger::open_at(&owner, quiet()).is_err(), "there is no server");
    server.run(&[]);
    let ledger = Ledger::open_at(&owner, quiet()).unwrap();
    let entries: Result<Vec<_>, _> = ledger.reader().unwrap().entries(&Filter::default()).collect();
    assert_eq!(entries.unwrap().iter().map(|entry| entry.this_hash).collect::<Vec<_>>(), hashes);
    ledger.checkpoint().unwrap().unwrap();
    assert_eq!(ledger.reader().unwrap().verify(&Terms::default()).unwrap().size, 50);
}

#[test]
fn a_server_that_does_not_sync_is_refused() {
    let mut server = Server::start();
    let (_folder, keys) = keys();
    let owner = Location::parse(&server.url("owner", &server.database()), &keys);
    drop(Ledger::open_at(&owner, quiet()).unwrap());
    for setting in ["fsync=off", "full_page_writes=off"] {
        server.crash();
        server.run(&[setting]);
        let error = Ledger::open_at(&owner, quiet()).unwrap_err();
        assert_eq!(error.code(), "E_LEDGER_SETTING", "{error}");
    }
}

#[test]
fn a_log_has_one_key() {
    let place = Place::server();
    place.fill(5);
    let Vandal::Server(server, database) = &place.vandal else { unreachable!() };
    let (_folder, other) = keys();
    let elsewhere = Location::parse(&server.url("writer", database), &other);
    let error = Ledger::open_at(&elsewhere, Options::default()).unwrap_err();
    assert_eq!(error.code(), "E_LEDGER_KEY", "{error}");
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0, "no second key is made");

    let fresh = Place::on(&Arc::clone(server));
    let Vandal::Server(_, database) = &fresh.vandal else { unreachable!() };
    let elsewhere = Location::parse(&server.url("writer", database), &other);
    let [one, two] =
        [&fresh.location, &elsewhere].map(|location| Ledger::open_at(location, quiet()).unwrap());
    one.append(open(0)).unwrap();
    two.append(open(1)).unwrap();
    one.checkpoint().unwrap().unwrap();
    assert_eq!(two.checkpoint().unwrap_err().code(), "E_LEDGER_KEY", "the first to sign has it");
}

#[test]
fn a_name_has_no_password_in_it() {
    let location = Location::parse("postgres://writer:hunter2@127.0.0.1:1/ledger", "/".as_ref());
    assert_eq!(location.name().to_str(), Some("postgres://127.0.0.1:1/ledger"));
    let error = Ledger::open_at(&location, Options::default()).unwrap_err();
    for text in [format!("{location:?}"), format!("{error} {error:?}")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(error.code(), "E_LEDGER_SERVER", "{error}");
    let broken = Location::parse("postgres://writer:hunter2@host:port/ledger", "/".as_ref());
    let error = Ledger::open_at(&broken, Options::default()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}
