//! A ledger that a PostgreSQL server keeps, from the command line.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod cli_world;

use std::{fs, sync::Arc};

use cli_world::World;
use postgres_server::Server;

const POLICY: &str = "version: 1\nfs: {read: [/], write: ['${workspace}'], deny: [/etc/shadow]}\nexec: {allow: [/usr/bin, /bin]}\n";

/// A database whose owner has made the tables with `ledger init`, and what a writer calls it.
fn ledger(world: &World) -> (Arc<Server>, String) {
    let server = Server::shared();
    let database = server.database();
    let made = world.run(&["ledger", "init", "--store", &server.url("owner", &database)]);
    assert!(made.starts_with("exit 0\nready: postgres://"), "{made}");
    server.admit_writer(&database);
    let url = server.url("writer", &database);
    (server, url)
}

fn world() -> World {
    let world = World::new();
    world.write("vantio.yaml", POLICY);
    world
}

#[test]
fn runs_are_kept_on_a_server_and_read_back_from_it() {
    let world = world();
    let (_server, url) = ledger(&world);
    let vantio = |words: &[&str]| world.run(&[&["--store", &url], words].concat());
    let ran = vantio(&["run", "--", "sh", "-c", "echo two > kept.txt; cat /etc/shadow"]);
    assert!(ran.starts_with("exit 1\n"), "{ran}");
    assert!(!world.state().join("ledger.db").exists(), "nothing is kept here");
    assert!(vantio(&["why", "last"]).contains("/etc/shadow"));
    assert!(vantio(&["ledger", "list", "--verdict", "collapse"]).contains("fs.deny: /etc/shadow"));
    assert!(vantio(&["replay", "last"]).starts_with("exit 0\n"));
    assert!(vantio(&["commit", "last"]).starts_with("exit 0\n"));
    assert_eq!(fs::read_to_string(world.work().join("kept.txt")).unwrap(), "two\n");
    let verified = vantio(&["ledger", "verify"]);
    assert!(verified.starts_with("exit 0\nverified:"), "{verified}");
}

#[test]
fn an_auditor_verifies_what_a_server_keeps_with_files_and_keys_alone() {
    let world = world();
    let (_server, url) = ledger(&world);
    let vantio = |words: &[&str]| world.run(&[&["--store", &url], words].concat());
    vantio(&["run", "--", "true"]);
    let key = vantio(&["ledger", "key"]).lines().nth(1).unwrap().to_owned();
    let proof = vantio(&["ledger", "prove", "0"]).strip_prefix("exit 0\n").unwrap().to_owned();
    world.write("proof", &proof);
    let (status, said) = world.elsewhere(&["ledger", "verify", "--proof", "proof", "--key", &key]);
    assert_eq!(status, 0, "{said}");
    let export = vantio(&["ledger", "export", "--format", "bundle", "--output", "bundle.tar"]);
    assert!(export.starts_with("exit 0\n"), "{export}");
    let (status, said) = world.elsewhere(&["ledger", "verify", "bundle.tar", "--key", &key]);
    assert_eq!(status, 0, "{said}");
}

#[test]
fn two_hosts_write_to_one_log_with_one_key() {
    let (first, second) = (world(), world());
    let (_server, url) = ledger(&first);
    let on = |world: &World, words: &[&str]| world.run(&[&["--store", &url], words].concat());
    on(&first, &["run", "--", "true"]);
    let refused = on(&second, &["run", "--", "true"]);
    assert!(refused.starts_with("exit 125\nE_LEDGER_KEY"), "a log has one key: {refused}");
    for file in fs::read_dir(first.state()).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "key") {
            fs::copy(&file, second.state().join(file.file_name().unwrap())).unwrap();
        }
    }
    assert!(on(&second, &["run", "--", "true"]).starts_with("exit 0\n"));
    assert!(on(&first, &["ledger", "verify"]).starts_with("exit 0\n"));
    let starts = on(&first, &["ledger", "list", "--op", "run.start"]);
    assert_eq!(starts.lines().count(), 4, "exit, headings, a run of each host: {starts}");
}

#[test]
fn an_agent_runs_only_while_the_server_keeps_what_it_does_and_never_learns_its_address() {
    let world = world();
    let server = Arc::new(Server::start());
    let database = server.database();
    world.run(&["ledger", "init", "--store", &server.url("owner", &database)]);
    server.admit_writer(&database);
    let url = server.url("writer", &database);
    let script = format!("export VANTIO_STORE={url}; $VANTIO run -- env; $VANTIO ledger list --op run.start");
    let printed = world.shell(&script);
    assert!(printed.contains("VANTIO_RUN_ID=") && printed.contains("run.start"), "{printed}");
    assert!(!printed.contains("VANTIO_STORE"), "{printed}");
    drop(server);
    let refused = world.run(&["--store", &url, "run", "--", "touch", "never"]);
    assert!(refused.starts_with("exit 125\nE_LEDGER"), "{refused}");
    assert!(!world.work().join("never").exists());
}

#[test]
fn a_server_on_the_network_must_prove_who_it_is() {
    let world = world();
    let mut server = Server::start();
    let certificate = server.encrypt().display().to_string();
    let database = server.database();
    world.run(&["ledger", "init", "--store", &server.url("owner", &database)]);
    server.admit_writer(&database);
    let url = server.network_url("writer", &database);
    let with = |certificate: &str, url: &str| {
        let script =
            format!("export PGSSLROOTCERT={certificate}; $VANTIO --store '{url}' run -- echo ran 2>&1");
        world.shell(&script)
    };
    assert!(with(&certificate, &url).contains("ran\n"));
    let strange = with("", &url);
    assert!(strange.contains("E_LEDGER_SERVER") && strange.contains("UnknownIssuer"), "{strange}");
    let misnamed = with(&certificate, &url.replace("127.0.0.1", "localhost"));
    assert!(misnamed.contains("E_LEDGER_SERVER") && misnamed.contains("not valid for name"), "{misnamed}");
    assert!(with("/nowhere", &url).contains("E_LEDGER_TRUST"));
    assert!(with("/dev/null", &url).contains("E_LEDGER_TRUST"));
}

#[test]
fn a_store_that_is_not_there_or_of_another_kind_is_refused() {
    let world = world();
    let refused = world.run(&["ledger", "list", "--store", "mysql://host/ledger"]);
    assert!(refused.starts_with("exit 2\nE_STORE\n"), "{refused}");
    insta::assert_snapshot!(world.run(&["ledger", "list", "--store", "./ledger.db"]), @"
    exit 1
    E_LEDGER_NOT_FOUND

      x there is no ledger at `[WORK]/ledger.db`
      help: the first governed run creates it; check the state folder
    ");
    insta::assert_snapshot!(world.run(&["ledger", "verify", "--store", "postgres://nobody:secret@127.0.0.1:1/none"]), @"
    exit 1
    E_LEDGER_SERVER

      x cannot use `postgres://127.0.0.1:1/none`: error connecting to server: Connection refused (os error 111)
      help: check the address and the server; what was acknowledged is there, and runs stay stopped until then
    ");
}
