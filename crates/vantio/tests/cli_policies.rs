//! Several policies at once: layers, what they mean together, and what one allows beyond
//! another.

mod cli_world;

use std::fs;

use cli_world::World;

#[test]
fn what_one_policy_allows_beyond_another() {
    let world = World::new();
    world.write(
        "before.yaml",
        "version: 1\nfs:\n  read: [/usr]\n  write: ['${workspace}/src']\n  deny: ['**/.env', ~/.ssh]\nbudgets: {calls: 5}\n",
    );
    world.write(
        "after.yaml",
        "version: 1\ninclude: [./more.yaml]\nfs:\n  read: [/usr/lib]\n  write: ['${workspace}']\n  deny: [~/.ssh, /etc]\n",
    );
    world.write("more.yaml", "version: 1\nnet: {allow: [github.com]}\nmode: monitor\n");
    insta::assert_snapshot!(world.run(&["policy", "diff", "before.yaml", "after.yaml"]), @"
    exit 0
    + fs.write       ${workspace}       # after.yaml:5:11
    + fs.deny        **/.env (gone)     # before.yaml:5:10
    + net.allow      github.com         # more.yaml:2:15
    + budgets.calls  5 → no limit
    + mode           enforce → monitor  # more.yaml:3:1
    ");
    insta::assert_snapshot!(world.run(&["policy", "diff", "before.yaml", "after.yaml", "--both", "--exit-code"]), @"
    exit 3
    + fs.write       ${workspace}       # after.yaml:5:11
    + fs.deny        **/.env (gone)     # before.yaml:5:10
    + net.allow      github.com         # more.yaml:2:15
    + budgets.calls  5 → no limit
    + mode           enforce → monitor  # more.yaml:3:1
    - fs.read        /usr               # before.yaml:3:10
    - fs.deny        /etc (new)         # after.yaml:6:18
    ");
    insta::assert_snapshot!(world.run(&["policy", "diff", "after.yaml", "before.yaml", "--json"]), @r#"
    exit 0
    {"differences":[{"change":"allows","in":"second","key":"fs.read","place":"before.yaml:3:10","text":"/usr"},{"change":"allows","in":"first","key":"fs.deny","place":"after.yaml:6:18","text":"/etc"}],"first":"after.yaml","second":"before.yaml","second_allows_more":true,"version":1}
    "#);
    insta::assert_snapshot!(world.run(&["policy", "diff", "before.yaml", "before.yaml", "--exit-code"]), @"
    exit 0
    before.yaml allows nothing that before.yaml does not
    ");
    insta::assert_snapshot!(world.run(&["policy", "diff", "before.yaml", "preset:none"]), @"
    exit 2
    E_PRESET_UNKNOWN

      x no preset is called `none`
      help: the presets are read-only, workspace, open, learn
    ");
    insta::assert_snapshot!(world.run(&["policy", "diff", "--help"]), @"
    exit 0
    Print what a policy allows that another does not

    Usage: vantio policy diff [OPTIONS] <FIRST> <SECOND>

    Arguments:
      <FIRST>   The policy to compare with, or preset:NAME
      <SECOND>  The policy that may allow more, or preset:NAME

    Options:
          --both         Print what SECOND refuses that FIRST allows, too
          --exit-code    Exit with 3 when SECOND allows more
          --json         Print machine-readable JSON instead of text
          --store <URL>  Where the ledger is: postgres://USER@HOST/DATABASE, or a file
      -h, --help         Print help

    Signs:
      +  SECOND allows it and FIRST does not: a rule that permits, or (gone) one that refused
      -  SECOND refuses it and FIRST does not (with --both)

    Policies are compared by their rules, as they are on every host: a rule is named when no
    single rule of the other policy covers all of it.

    Exit status: 0; with --exit-code 3 when SECOND allows more.
    ");
}

#[test]
fn includes_that_cannot_be_used() {
    let world = World::new();
    let check = |include: &str| {
        world.write("a.yaml", &format!("version: 1\ninclude: ['{include}']\n"));
        world.run(&["policy", "check", "a.yaml"])
    };
    insta::assert_snapshot!(check("none.yaml"), @"
    exit 1
    E_POLICY_INCLUDE

      x `none.yaml` cannot be used: No such file or directory (os error 2)
       ,-[a.yaml:2:11]
     1 | version: 1
     2 | include: ['none.yaml']
       :           ^^^^^|^^^^^
       :                `-- included here
       `----
      help: name a file in the folder of this document or below, or by its whole path
    ");
    insta::assert_snapshot!(check("../a.yaml"), @"
    exit 1
    E_POLICY_INCLUDE

      x `../a.yaml` leads out of the folder of this document
       ,-[a.yaml:2:11]
     1 | version: 1
     2 | include: ['../a.yaml']
       :           ^^^^^|^^^^^
       :                `-- included here
       `----
      help: name a file in the folder of this document or below, or by its whole path
    ");
    insta::assert_snapshot!(check("a.yaml"), @"
    exit 1
    E_POLICY_INCLUDE

      x a policy includes itself: `a.yaml`, then `a.yaml`
       ,-[a.yaml:2:11]
     1 | version: 1
     2 | include: ['a.yaml']
       :           ^^^^|^^^
       :               `-- included here
       `----
      help: remove one of the includes
    ");
    fs::create_dir(world.work().join("folder")).unwrap();
    insta::assert_snapshot!(check("folder"), @"
    exit 1
    E_POLICY_INCLUDE

      x `folder` cannot be used: it is not a file
       ,-[a.yaml:2:11]
     1 | version: 1
     2 | include: ['folder']
       :           ^^^^|^^^
       :               `-- included here
       `----
      help: name a file in the folder of this document or below, or by its whole path
    ");
}

#[test]
fn a_folder_with_two_policies() {
    let world = World::new();
    world.write("vantio.yaml", "version: 1\n");
    world.write("vantio.toml", "version = 1\n");
    insta::assert_snapshot!(world.run(&["run", "--", "true"]), @"
    exit 125
    E_POLICY_AMBIGUOUS

      x a folder has more than one policy
      `-> both `[WORK]/vantio.yaml` and `[WORK]/vantio.toml` exist
      help: keep one: a document may take others in with `include`
    ");
}

#[test]
fn policies_that_let_nothing_run() {
    let world = World::new();
    world.write("vantio.yaml", "version: 1\nfs: {read: [/]}\nexec: {allow: [/]}\nrequire: kernel\n");
    insta::assert_snapshot!(world.run(&["run", "--", "true"]), @"
    exit 125
    E_BACKEND

      x the policy requires the backend `kernel`, and this run has `notify`
      `-> the project policy says so ([WORK]/vantio.yaml:4:1)
      help: `vantio doctor` tells what this host can enforce
    ");
    world.write("vantio.yaml", "version: 1\nfs: {read: [/]}\nexec: {allow: [/]}\nkill_switch: true\n");
    insta::assert_snapshot!(world.run(&["run", "--preset", "open", "--", "true"]), @"
    exit 125
    E_KILL_SWITCH

      x the kill switch is set, and no agent runs
      `-> the project policy says so ([WORK]/vantio.yaml:4:1)
      help: when its approvers agree, clear `kill_switch` there
    ");
    insta::assert_snapshot!(
        world.shell("VANTIO_MANAGED=none.yaml $VANTIO run --preset open -- true 2>&1; echo $?"),
        @"
    E_POLICY_FILE

      x the policy `none.yaml` cannot be read
      `-> No such file or directory (os error 2)
      help: VANTIO_MANAGED names it: no agent runs without it; correct or unset the variable
    125
    "
    );
}

#[test]
fn the_policies_of_a_run_as_one() {
    let world = World::new();
    world.write(
        "managed.yaml",
        "version: 1\nname: company\nfs:\n  write: ['${workspace}']\n  deny: ['**/.env']\nnet: {allow: ['*:443']}\n\
         budgets: {calls: 9, cost_usd: '2.5'}\nenv: {deny: ['LD_*']}\n\
         thresholds: [{effect: fs.unlink, count: 100, within: 10s}]\nrequire: notify\n",
    );
    world.write(
        "vantio.yaml",
        "version: 1\nname: project\ninclude: [./more.yaml]\nfs: {read: [/], write: ['${workspace}/src', ~/x]}\n\
         exec: {allow: [/usr]}\nphantom: {commit: auto}\n",
    );
    world.write(
        "more.yaml",
        "version: 1\nnet: {allow: ['*.pypi.org:443', '*:80']}\nbudgets: {calls: 3}\n\
         taint: {sinks: [{label: secret, net: ['*']}]}\n",
    );
    let folder = world.home().join(".config/vantio");
    fs::create_dir_all(&folder).unwrap();
    fs::write(
        folder.join("policy.yaml"),
        "version: 1\nnet: {deny: ['*.evil.example']}\nenv: {set: {A: b}}\n",
    )
    .unwrap();
    let show = |arguments: &str| {
        world.shell(&format!("VANTIO_MANAGED=managed.yaml $VANTIO policy show --effective {arguments} 2>&1"))
    };
    insta::assert_snapshot!(show(""), @r#"
    # the policies of a run here, from the highest:
    #   managed managed.yaml
    #   project vantio.yaml
    #   user [HOME]/.config/vantio/policy.yaml
    version: 1
    name: "company"                       # managed managed.yaml:2:1
    mode: "enforce"                       # default
    fs:
      read:
        - "/"                             # project vantio.yaml:4:13
      write:
        - "${workspace}/src"              # project vantio.yaml:4:25
      deny:
        - "**/.env"                       # managed managed.yaml:5:10
    exec:
      allow:
        - "/usr"                          # project vantio.yaml:5:16
      deny: []
    net:
      allow:
        - "*.pypi.org:443"                # project more.yaml:2:15
      deny:
        - "*.evil.example"                # user [HOME]/.config/vantio/policy.yaml:2:14
    tools:
      allow: []
      deny: []
    infer:
      models: []
    env:
      allow: []
      deny:
        - "LD_*"                          # managed managed.yaml:8:14
      set:
        "A": "b"                          # user [HOME]/.config/vantio/policy.yaml:3:13
    budgets:
      calls: 3                            # project more.yaml:3:11
      cost_usd: "2.500000"                # managed managed.yaml:7:21
    taint:
      sinks:
        - {"label":"secret","net":["*"]}  # project more.yaml:4:17
    thresholds:
      - {"effect":"fs.unlink","count":100,"within":"10s","then":"collapse"}  # managed managed.yaml:9:14
    require: "notify"                     # managed managed.yaml:10:1
    phantom:
      commit: "auto"                      # project vantio.yaml:6:11
    # not in force, because another policy does not permit all of what it covers:
    #   fs.write: "${workspace}"  # managed managed.yaml:4:11: not within fs.write of project vantio.yaml
    #   fs.write: "~/x"  # project vantio.yaml:4:45: not within fs.write of managed managed.yaml
    #   net.allow: "*:443"  # managed managed.yaml:6:15: not within net.allow of project vantio.yaml
    #   net.allow: "*:80"  # project more.yaml:2:33: not within net.allow of managed managed.yaml
    "#);
    let shown: serde_json::Value = serde_json::from_str(&show("--json")).unwrap();
    assert_eq!(shown["layers"][1], serde_json::json!({"layer": "project", "document": "vantio.yaml"}));
    assert_eq!(shown["policy"]["budgets"]["calls"], 3);
    let dropped = serde_json::json!({
        "key": "fs.write", "rule": "~/x", "layer": "project", "place": "vantio.yaml:4:45",
        "by": "managed", "by_key": "fs.write",
    });
    assert_eq!(shown["dropped"][1], dropped);
    let origin = serde_json::json!({
        "key": "fs.deny", "value": "**/.env", "layer": "managed", "place": "managed.yaml:5:10",
    });
    assert!(shown["origins"].as_array().unwrap().contains(&origin), "{shown}");
    insta::assert_snapshot!(world.run(&["policy", "show"]), @"
    exit 2
    error: the following required arguments were not provided:
      <FILE|--effective>

    Usage: vantio policy show <FILE|--effective>

    For more information, try '--help'.
    ");
}

#[test]
fn a_users_policy_is_enough() {
    let world = World::new();
    let folder = world.home().join(".config/vantio");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("policy.toml"), "version = 1\nmode = \"learn\"\n").unwrap();
    insta::assert_snapshot!(world.run(&["policy", "show", "--effective"]), @r#"
    exit 0
    # the policies of a run here, from the highest:
    #   user [HOME]/.config/vantio/policy.toml
    version: 1
    mode: "learn"       # user [HOME]/.config/vantio/policy.toml:2:1
    fs:
      read: []
      write: []
      deny: []
    exec:
      allow: []
      deny: []
    net:
      allow: []
      deny: []
    tools:
      allow: []
      deny: []
    infer:
      models: []
    env:
      allow: []
      deny: []
      set: {}
    budgets: {}
    phantom:
      commit: "review"  # default
    "#);
    fs::write(folder.join("policy.json"), "{\"version\": 1}").unwrap();
    insta::assert_snapshot!(world.run(&["policy", "show", "--effective"]), @"
    exit 1
    E_POLICY_AMBIGUOUS

      x a folder has more than one policy
      `-> both `[HOME]/.config/vantio/policy.json` and `[HOME]/.config/vantio/policy.toml` exist
      help: keep one: a document may take others in with `include`
    ");
}

#[test]
fn a_run_obeys_every_policy_and_says_which() {
    let world = World::new();
    world.write(
        "vantio.yaml",
        "version: 1\ninclude: [rules/more.yaml]\nfs: {write: ['${workspace}', '${tmp}', /dev]}\nphantom: {commit: auto}\n",
    );
    fs::create_dir(world.work().join("rules")).unwrap();
    world.write(
        "rules/more.yaml",
        "version: 1\nfs:\n  read: [/]\n  deny: ['**/hidden']\nexec: {allow: [/]}\n",
    );
    let folder = world.home().join(".config/vantio");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("policy.yaml"), "version: 1\nfs: {deny: ['${workspace}/secret']}\n").unwrap();
    world.write("secret", "s\n");
    world.write("hidden", "h\n");
    let script = "cat secret hidden 2>/dev/null; echo x >> rules/more.yaml; echo y > plain";
    world.run(&["run", "--", "sh", "-c", script]);
    insta::assert_snapshot!(world.run(&["why", "last"]), @r#"
    exit 0
    fs.open (read)  [WORK]/secret  [TIME]
      why:    fs.deny: ${workspace}/secret  ([HOME]/.config/vantio/policy.yaml:2:13)
      near:   fs.read "/": matches, but a deny beats it  (rules/more.yaml:3:10)
      permit: remove from fs.deny: "${workspace}/secret"

    fs.open (read)  [WORK]/hidden  [TIME]
      why:    fs.deny: **/hidden  (rules/more.yaml:4:10)
      near:   fs.read "/": matches, but a deny beats it  (rules/more.yaml:3:10)
      permit: remove from fs.deny: "**/hidden"
    the run was under several policies: `vantio policy show --effective` tells them apart
    "#);
    // An included document is part of the policy: a commit leaves it until it is named.
    insta::assert_snapshot!(world.run(&["commit", "last"]), @"
    exit 4
    hazard: [WORK]/rules/more.yaml: decides what the next run may do (policy)
      to commit one, name it:  vantio commit [RUN] [WORK]/rules/more.yaml
      to commit all of them:   vantio commit [RUN] --hazards
    ");
    let entries = world.run(&["ledger", "list", "--op", "run.start", "--json"]);
    let start = entries.lines().find(|line| line.contains("\"run.start\"")).unwrap();
    let start: serde_json::Value = serde_json::from_str(start).unwrap();
    insta::assert_snapshot!(start["detail"]["request"]["policy"]["layers"].to_string(), @r#"[{"includes":[{"digest":"[HASH]","file":"[WORK]/rules/more.yaml"}],"kind":"project","source":{"digest":"[HASH]","file":"[WORK]/vantio.yaml"}},{"includes":[],"kind":"user","source":{"digest":"[HASH]","file":"[HOME]/.config/vantio/policy.yaml"}}]"#);
    // What a lower policy alone does not permit names that policy.
    fs::write(folder.join("policy.yaml"), "version: 1\nfs: {write: ['${workspace}/out']}\n").unwrap();
    world.write(
        "vantio.yaml",
        "version: 1\nfs: {read: [/], write: ['${workspace}', /dev]}\nexec: {allow: [/]}\n",
    );
    world.run(&["run", "--", "sh", "-c", "echo x > new; echo y > /opt/y"]);
    insta::assert_snapshot!(world.run(&["why", "last"]), @r#"
    exit 0
    fs.open (write)  [WORK]/new  [TIME]
      why:    nothing in fs.write permits it
      near:   fs.write "${workspace}/out": component [N] is `new`, not `out`  ([HOME]/.config/vantio/policy.yaml:2:14)
      permit: add to fs.write of [HOME]/.config/vantio/policy.yaml (user): ["${workspace}/new"]

    fs.open (write)  /opt/y  [TIME]
      why:    nothing in fs.write permits it
      permit: add to fs.write of vantio.yaml (project) and of [HOME]/.config/vantio/policy.yaml (user): ["/opt/y"]
    the run was under several policies: `vantio policy show --effective` tells them apart
    "#);
    world.write("it's.yaml", "version: 1\nfs: {read: [/]}\nexec: {allow: [/]}\n");
    world.run(&["run", "--policy", "it's.yaml", "--", "sh", "-c", "echo z > z"]);
    let why = world.run(&["why", "last"]);
    assert!(why.contains(r"`vantio policy show --effective 'it'\''s.yaml'` tells them apart"), "{why}");
    world.run(&["run", "--preset", "read-only", "--", "sh", "-c", "echo z > z"]);
    let why = world.run(&["why", "last"]);
    assert!(why.contains("`vantio policy show --effective preset:read-only` tells them apart"), "{why}");
}

#[test]
fn nothing_turns_a_managed_policy_off() {
    let world = World::new();
    world.write("vantio.yaml", "version: 1\nfs: {read: [/]}\n");
    // An /etc of its own, in which this user is root.
    let managed = |script: &str| {
        let with_etc =
            format!("mount -t tmpfs etc /etc; umask 022; mkdir /etc/vantio; cd \"$PWD\"; {script}");
        world.shell(&format!("unshare --user --map-root-user --mount bash -c '{with_etc}' 2>&1"))
    };
    if managed("echo ready") != "ready\n" {
        eprintln!("skipped: no namespaces here");
        return;
    }
    let write = "echo \"{version: 1, fs: {read: [/usr], deny: [/usr/src]}}\" > /etc/vantio/policy.yaml;";
    insta::assert_snapshot!(managed(&format!("{write} $VANTIO policy show --effective | head -n 10")), @r#"
    # the policies of a run here, from the highest:
    #   managed /etc/vantio/policy.yaml
    #   project vantio.yaml
    version: 1
    mode: "enforce"     # default
    fs:
      read:
        - "/usr"        # managed /etc/vantio/policy.yaml:1:26
      write: []
      deny:
    "#);
    for other in ["preset:open", "vantio.yaml"] {
        let shown =
            managed(&format!("{write} VANTIO_MANAGED=vantio.yaml $VANTIO policy show --effective {other}"));
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains("- \"/usr/src\" # managed /etc/vantio/policy.yaml"), "{shown}");
        assert!(!shown.contains("- \"/\" # "), "{shown}");
        assert!(other == "vantio.yaml" || shown.contains("exec: allow: - \"/usr\" # managed"), "{shown}");
    }
    insta::assert_snapshot!(managed(&format!("{write} chmod 666 /etc/vantio/*; $VANTIO run -- true; echo $?")), @"
    E_POLICY_UNSAFE

      x the policy `/etc/vantio/policy.yaml` was found, but cannot be trusted
      `-> every user may change it (mode 0666)
      help: as root: chown root /etc/vantio/policy.yaml; chmod 644 /etc/vantio/policy.yaml
    125
    ");
    insta::assert_snapshot!(managed(&format!("{write} chmod 777 /etc/vantio; $VANTIO run -- true; echo $?")), @"
    E_POLICY_UNSAFE

      x the policy `/etc/vantio/policy.yaml` was found, but cannot be trusted
      `-> of its folder, every user may change it (mode 0777)
      help: as root: chown root /etc/vantio/policy.yaml; chmod 644 /etc/vantio/policy.yaml
    125
    ");
    insta::assert_snapshot!(managed(&format!("{write} echo x >> /etc/vantio/policy.yaml; $VANTIO run --preset open -- true; echo $?")), @"
    E_POLICY_SYNTAX

      x not YAML: did not find expected <document start>
       ,-[/etc/vantio/policy.yaml:2:1]
     1 | {version: 1, fs: {read: [/usr], deny: [/usr/src]}}
     2 | x
       : |
       : `-- here
       `----
    125
    ");
}

#[test]
fn the_example_of_the_readme_holds_what_it_says() {
    let world = World::new();
    let readme = include_str!("../../../README.md");
    let example = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    world.write("example.yaml", example.unwrap());
    assert!(world.run(&["policy", "check", "example.yaml"]).starts_with("exit 0\n"));
    assert!(world.run(&["policy", "test", "example.yaml"]).starts_with("exit 0\n"));
    fs::write(world.home().join(".gitconfig"), "[user]\n\tname = Alice\n").unwrap();
    let ran = world.shell(
        "rm -r .git; git init -q; printf '#!/bin/sh\necho tested' > test.sh; chmod +x test.sh
        $VANTIO run --policy example.yaml -- sh -c 'git status --short && ./test.sh; echo $?'",
    );
    assert_eq!(ran, "?? example.yaml\n?? test.sh\ntested\n0\n");
}
