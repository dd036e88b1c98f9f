//! What a hijacked agent leaves behind for later does not reach the host unasked.

use std::fs;

use crate::common::{World, finish};

const OPEN: &str =
    "version: 1\nfs: {read: [/], write: ['${workspace}', '${tmp}', /dev]}\nexec: {allow: [/]}\n";

/// What a run leaves, and what of it is a hazard.
const SCRIPT: &str = r#"
git init -q .; mkdir -p bin sub .vscode .github/workflows .cargo
printf '#!/bin/sh\necho x\n' > .git/hooks/pre-commit; chmod 755 .git/hooks/pre-commit
git config core.fsmonitor ./sub/x
echo '*.c filter=x' > .gitattributes
echo '[submodule "x"]' > .gitmodules
cp /usr/bin/id tool; chmod 4755 tool
ln -s /etc/passwd leak
echo 'export PATH=.' > .envrc; echo 'alias ls=x' > .bashrc
echo '{"tasks": []}' > .vscode/tasks.json
echo 'on: push' > .github/workflows/x.yml
echo '{"scripts": {"postinstall": "x"}}' > package.json
echo '[build]' > .cargo/config.toml
printf '#!/bin/sh\n' > bin/git; chmod 755 bin/git
printf 'let admin = true; // \342\200\256 \342\201\246\n' > sub/trojan.rs
echo 'gitdir: /elsewhere' > sub/.git
echo plain > plain; ln plain .git/hooks/post-merge
echo code > sub/code.rs
"#;

const HAZARDS: [(&str, &str); 17] = [
    (".git/hooks/pre-commit", "git runs it"),
    (".git/hooks/post-merge", "git runs it"),
    (".git/config", "git configuration"),
    (".gitattributes", "filter"),
    (".gitmodules", "submodules"),
    ("tool", "setuid"),
    ("leak", "leads out"),
    (".envrc", "enters the folder"),
    (".bashrc", "shell runs it"),
    (".vscode/tasks.json", "editor"),
    (".github/workflows/x.yml", "CI service"),
    ("package.json", "package manager"),
    (".cargo/config.toml", "build tool"),
    ("bin/git", "PATH"),
    ("sub/trojan.rs", "invisible"),
    ("sub/.git", "git"),
    ("vantio.yaml", "policy"),
];

fn world(commit: &str) -> World {
    let world = World::new();
    let policy = format!("{OPEN}phantom: {{commit: {commit}}}\n");
    world
        .run(&policy, &["/bin/sh", "-euc", &format!("{SCRIPT}\necho 'version: 1' > vantio.yaml")])
        .assert_success();
    world
}

fn exists(world: &World, path: &str) -> bool {
    fs::symlink_metadata(world.workspace().join(path)).is_ok()
}

#[test]
fn a_policy_that_commits_by_itself_brings_no_hazard() {
    let world = world("auto");
    for (path, _) in HAZARDS {
        assert!(!exists(&world, path), "{path} reached the host");
    }
    assert!(exists(&world, "sub/code.rs") && exists(&world, ".git/HEAD"));
    // The other name of a hook is the hook.
    assert!(!exists(&world, "plain"));
}

#[test]
fn a_bare_commit_brings_no_hazard_and_a_named_one_does() {
    let world = world("review");
    let diff = world.ask(&["diff", "last"]);
    for (path, reason) in HAZARDS {
        let name = path.rsplit('/').next().unwrap();
        let is_marked = |line: &str| line.contains(name) && line.contains("  ! ") && line.contains(reason);
        assert!(diff.lines().any(is_marked), "{path} is not marked in\n{diff}");
    }
    let outcome = finish(&mut world.vantio(["commit", "last"]));
    outcome.assert_code(4);
    for (path, _) in HAZARDS {
        assert!(!exists(&world, path), "{path} reached the host");
    }
    let outcome = finish(&mut world.vantio(["commit", "last", "sub/trojan.rs", ".git/hooks/post-merge"]));
    outcome.assert_success();
    assert!(
        exists(&world, "sub/trojan.rs") && exists(&world, ".git/hooks/post-merge") && exists(&world, "plain")
    );
    assert!(!exists(&world, ".git/hooks/pre-commit"));
    // A folder is not the name of what is in it.
    finish(&mut world.vantio(["commit", "last", ".git"])).assert_code(4);
    assert!(!exists(&world, ".git/hooks/pre-commit"));
    world.ask(&["commit", "last", "--hazards"]);
    for (path, _) in HAZARDS {
        assert!(exists(&world, path), "{path}");
    }
}
