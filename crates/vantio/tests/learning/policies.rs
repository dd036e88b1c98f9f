//! What a suggestion is, and what it never has.

use crate::{
    LEARN, at_home,
    common::{finish, parse},
    learning, with_files,
};

/// The suggestion from one run of a shell script under a policy.
fn suggested(world: &crate::World, policy: &str, script: &str) -> (String, serde_json::Value) {
    world.run(policy, &["/bin/bash", "-c", script]);
    let told = parse(&finish(&mut world.vantio(["policy", "suggest", "last", "--json"])).stdout);
    (told["document"].as_str().unwrap().to_owned(), told)
}

#[test]
fn what_is_called_like_a_secret_is_named_and_not_suggested() {
    let world =
        with_files(&[(".env", "TOKEN=x\n"), ("a", "a"), ("b", "b"), ("c", "c"), ("d/server.key", "k")]);
    at_home(&world, "notes/api_token.txt", "secret");
    let (document, told) = suggested(&world, LEARN, "cat .env a b c d/server.key ~/notes/api_token.txt");
    let left_out = told["not_suggested"].as_array().unwrap();
    assert_eq!(left_out.len(), 3, "{document}");
    for rule in ["${workspace}/.env", "${workspace}/d/server.key", "~/notes/api_token.txt"] {
        assert!(document.contains(&format!("    - {rule} ")), "{rule} in\n{document}");
    }
    assert!(document.contains("${credentials}"));
    for secret in [".env", "d/server.key", "../home/notes/api_token.txt"] {
        let outcome = world.run(&document, &["/bin/cat", secret]);
        assert!(!outcome.status.success(), "{secret}: {}", outcome.describe());
    }
    world.run(&document, &["/bin/cat", "a", "b"]).assert_success();
}

#[test]
fn credentials_stay_closed_while_learning_and_after() {
    let world = with_files(&[]);
    at_home(&world, ".ssh/id_ed25519", "key");
    let (document, _) = suggested(&world, LEARN, "cat ~/.ssh/id_ed25519; ls ~; true");
    world.assert_refused("fs.", "/.ssh");
    let rules = document.lines().filter(|line| line.starts_with("    - "));
    assert!(!rules.into_iter().any(|rule| rule.contains("/.ssh")), "{document}");
    assert!(!world.run(&document, &["/bin/cat", "../home/.ssh/id_ed25519"]).status.success());
}

#[test]
fn no_rule_is_broader_than_what_the_learning_policy_would_permit() {
    let world = with_files(&[("d/a", ""), ("d/b", ""), ("d/c", ""), ("d/x", "")]);
    let policy = "version: 1\nfs:\n  read: [/usr, /etc, /lib, /lib64, '${workspace}/d/[a-c]']\n  write: [/dev]\n\
        exec: {allow: [/usr, /bin]}\n";
    let (document, told) = suggested(&world, policy, "cat d/a d/b d/c");
    let rules: Vec<&str> =
        told["rules"].as_array().unwrap().iter().map(|rule| rule["rule"].as_str().unwrap()).collect();
    assert!(rules.contains(&"${workspace}/d/a") && !rules.contains(&"${workspace}/d"), "{document}");
    assert!(!world.run(&document, &["/bin/cat", "d/x"]).status.success(), "{document}");
}

#[test]
fn what_the_learning_policy_has_beside_its_lists_is_kept() {
    let world = with_files(&[("a", "a")]);
    let guards = "budgets: {processes: 64}\nthresholds: [{effect: fs.unlink, count: 7, within: 1m}]\n\
        env: {set: {GREETING: hello}}\ninfer: {max_tokens: 9}\n";
    let (document, _) = suggested(&world, &format!("{LEARN}{guards}"), "cat a");
    for kept in ["processes: 64", "count: 7", "\"GREETING\": \"hello\"", "commit: \"review\""] {
        assert!(document.contains(kept), "{kept} in\n{document}");
    }
    world.run(&document, &["/bin/cat", "a"]).assert_success();
}

#[test]
fn several_runs_make_one_policy() {
    let world = with_files(&[("a", "a"), ("b", "b")]);
    for script in ["cat a > /dev/null; mkdir out1", "cat b > /dev/null"] {
        world.run(LEARN, &["/bin/bash", "-c", script]).assert_success();
    }
    let ids = world.runs();
    let document = world.ask(&["policy", "suggest", &ids[0], &ids[1]]);
    world.run(&document, &["/bin/bash", "-c", "cat a b; mkdir out1"]).assert_success();
}

#[test]
fn a_suggestion_is_written_once_and_says_what_is_next() {
    let world = with_files(&[]);
    world.run(LEARN, &["/bin/true"]).assert_success();
    let file = world.path().join("suggested.yaml");
    let file = file.to_str().unwrap();
    let outcome = finish(&mut world.vantio(["policy", "suggest", "last", "--output", file]));
    assert!(outcome.stderr.contains("next: read it"), "{}", outcome.describe());
    finish(&mut world.vantio(["policy", "suggest", "last", "--output", file])).assert_code(2);
    assert!(world.ask(&["policy", "check", file]).contains("valid, mode enforce"));
}

#[test]
fn a_suggestion_that_is_a_file_of_the_workspace_permits_reading_it() {
    let world = with_files(&[("a", "a")]);
    world.run(LEARN, &["/bin/cat", "a"]).assert_success();
    let written_to = |path: std::path::PathBuf| {
        world.ask(&["policy", "suggest", "last", "--output", path.to_str().unwrap()]);
        std::fs::read_to_string(path).unwrap()
    };
    let other = written_to(world.path().join("own.yaml"));
    assert!(!other.contains("own.yaml"), "{other}");
    let own = written_to(world.workspace().join("own.yaml"));
    assert!(own.contains("${workspace}/own.yaml"), "{own}");
    world.run(&own, &["/bin/cat", "a", "own.yaml"]).assert_success();
}

#[test]
fn learning_leaves_the_kernel_of_the_host_and_the_network_alone() {
    let world = with_files(&[]);
    let script =
        "echo x > /proc/sys/kernel/hostname && exit 9\n(exec 3<>/dev/tcp/192.0.2.1/80) && exit 8\nexit 0";
    world.run(&learning(&[]), &["/bin/bash", "-c", script]).assert_success();
    world.assert_refused("fs.open", "/proc/sys/kernel/hostname");
    world.assert_refused("net.connect", "192.0.2.1:80");
}
