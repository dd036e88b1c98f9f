//! Names and memory that change between the judgement and the deed.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use crate::{
    attack_in_c,
    common::{CLOSED, Manifest, SECRET, World, compile, server::Http},
};

const SOURCE: &str = include_str!("attacks/race.c");
const ROUNDS: &str = "3000";

/// A world with a secret outside, something harmless inside, and the compiled race.
struct Race {
    world: World,
    program: String,
    secret: String,
    decoy: String,
}

impl Race {
    fn new() -> Self {
        let world = World::new();
        let secret = world.secret().to_string_lossy().into_owned();
        let decoy = world.write("decoy", "harmless\n").to_string_lossy().into_owned();
        let program = compile(&world, "race", SOURCE);
        Self { world, program, secret, decoy }
    }

    /// Flips the path in memory between the decoy and the secret while `kind` uses it.
    #[track_caller]
    fn by_pointer(&self, kind: &str) {
        let before = Manifest::of(&self.world.outside()).unwrap();
        attack_in_c(&self.world, CLOSED, &self.program, &[kind, ROUNDS, &self.decoy, &self.secret]);
        self.assert_outside_is(&before);
    }

    /// Flips the name `door` between a thing of the workspace and a symlink that leads outside.
    #[track_caller]
    fn by_name(&self, kind: &str) {
        let before = Manifest::of(&self.world.outside()).unwrap();
        attack_in_c(&self.world, CLOSED, &self.program, &[kind, ROUNDS, "door", "other"]);
        self.assert_outside_is(&before);
    }

    #[track_caller]
    fn assert_outside_is(&self, before: &Manifest) {
        let after = Manifest::of(&self.world.outside()).unwrap();
        assert_eq!(before.differences(&after), Vec::<String>::new());
        let changed: Vec<_> = self
            .world
            .changes()
            .into_iter()
            .filter(|(_, path)| path.starts_with(self.world.outside()))
            .collect();
        assert_eq!(changed, [], "the run changed what its policy closes");
        self.world.assert_refused("fs.", "outside");
    }

    fn with_door_to_a_file(self) -> Self {
        self.world.write("door", "harmless\n");
        symlink(&self.secret, self.world.workspace().join("other")).unwrap();
        self
    }

    fn with_door_to_a_directory(self) -> Self {
        self.world.write("door/secret", "harmless\n");
        symlink(self.world.outside(), self.world.workspace().join("other")).unwrap();
        self
    }
}

macro_rules! pointer_races {
    ($($test:ident $kind:literal)*) => {
        $(#[test]
        fn $test() {
            Race::new().by_pointer($kind);
        })*
    };
}

pointer_races! {
    a_path_that_changes_in_memory_opens_nothing_else "open-pointer"
    a_path_that_changes_in_memory_writes_nothing_else "write-pointer"
    a_path_that_changes_in_memory_removes_nothing_else "unlink-pointer"
    a_path_that_changes_in_memory_renames_nothing_else "rename-pointer"
    a_path_that_changes_in_memory_links_nothing_else "link-pointer"
    a_path_that_changes_in_memory_has_no_other_mode_changed "chmod-pointer"
    a_path_that_changes_in_memory_truncates_nothing_else "truncate-pointer"
}

#[test]
fn a_path_that_changes_in_memory_makes_no_symlink_elsewhere() {
    let race = Race::new();
    let before = Manifest::of(&race.world.outside()).unwrap();
    let inside = race.world.workspace().join("link").to_string_lossy().into_owned();
    let outside = race.world.outside().join("link").to_string_lossy().into_owned();
    attack_in_c(&race.world, CLOSED, &race.program, &["symlink-pointer", ROUNDS, &inside, &outside]);
    race.assert_outside_is(&before);
}

#[test]
fn a_symlink_that_flips_opens_nothing_outside() {
    Race::new().with_door_to_a_file().by_name("open-link");
}

#[test]
fn a_symlink_that_flips_writes_nothing_outside() {
    Race::new().with_door_to_a_file().by_name("write-link");
}

#[test]
fn a_directory_that_flips_opens_nothing_outside() {
    Race::new().with_door_to_a_directory().by_name("open-directory");
}

#[test]
fn a_directory_that_flips_gains_nothing_by_openat2() {
    let race = Race::new().with_door_to_a_directory();
    attack_in_c(&race.world, CLOSED, &race.program, &["openat2-directory", ROUNDS, "door", "other"]);
}

#[test]
fn a_directory_that_flips_makes_nothing_outside() {
    Race::new().with_door_to_a_directory().by_name("mkdir-directory");
}

#[test]
fn a_program_path_that_changes_in_memory_executes_nothing_else() {
    let race = Race::new();
    let program = race.world.outside().join("program");
    fs::write(&program, format!("#!/bin/sh\necho REACHED {SECRET}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.to_string_lossy().into_owned();
    attack_in_c(&race.world, CLOSED, &race.program, &["exec-pointer", "500", "/bin/true", &program]);
    race.world.assert_refused("proc.exec", "outside/program");
}

#[test]
fn a_program_path_that_changes_in_memory_executes_nothing_that_is_denied_by_name() {
    let race = Race::new();
    let program = race.world.outside().join("program");
    fs::write(&program, format!("#!/bin/sh\necho REACHED {SECRET}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let (outside, program) =
        (race.world.outside().display().to_string(), program.to_string_lossy().into_owned());
    let rules = format!("exec: {{deny: [{program}], allow: [{outside}, ");
    let policy = CLOSED.replace("exec: {allow: [", &rules);
    assert!(policy.contains(&rules), "{policy}");
    attack_in_c(&race.world, &policy, &race.program, &["exec-pointer", "500", "/bin/true", &program]);
    race.world.assert_refused("proc.exec", "outside/program");
}

#[test]
fn an_address_that_changes_in_memory_reaches_no_other_server() {
    let race = Race::new();
    let (permitted, denied) = (Http::start(), Http::start());
    let policy = format!("{CLOSED}net: {{allow: [\"{}\"]}}\n", permitted.address);
    let ports = [permitted.address.port().to_string(), denied.address.port().to_string()];
    let connections = denied.connections();
    attack_in_c(&race.world, &policy, &race.program, &["connect-pointer", ROUNDS, &ports[0], &ports[1]]);
    assert_eq!(denied.connections(), connections);
    assert!(permitted.connections() > 0, "the race never ran");
}
