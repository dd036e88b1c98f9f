//! What a person sees who asks what a policy would answer, and tests its examples.

mod cli_world;

use cli_world::World;

const POLICY: &str = r#"version: 1
fs:
  read: [/usr, "${workspace}"]
  write: ["${workspace}/src/**", "${workspace}/out"]
  deny: ["${credentials}", "**/.env"]
net: {allow: [github.com, "10.0.0.0/8:5432"], deny: ["*.internal"]}
tools: {allow: ["github/*"]}
tests:
  - {effect: fs.open, target: "${workspace}/.env", expect: Collapse}
  - {effect: fs.open, target: "${workspace}/src/x", access: write, expect: Permit}
  - {effect: net.connect, target: "github.com:443", expect: Permit}
  - {effect: tool.call, target: github/issues, expect: Collapse}
"#;

fn world() -> World {
    let world = World::new();
    world.write("vantio.yaml", POLICY);
    world
}

fn explain(world: &World, effect: &str, target: &str, more: &[&str]) -> String {
    let arguments = ["policy", "explain", "vantio.yaml", "--effect", effect, "--target", target];
    world.run(&[&arguments, more].concat())
}

#[test]
fn a_refusal_tells_the_rule_and_what_it_beat() {
    insta::assert_snapshot!(explain(&world(), "fs.open", "${workspace}/.env", &[]), @r#"
    exit 0
    Collapse  fs.open (read)  [WORK]/.env
      why:    fs.deny: **/.env  (vantio.yaml:5:28)
      note:   links are not followed; --resolve does
      permit: remove from fs.deny: "**/.env"

    fs.deny
      **/.env  decided  (vantio.yaml:5:28)
      … 145 more about something else: --all

    fs.read
      ${workspace}  matches, but a deny beats it: fs.deny: **/.env  (vantio.yaml:3:16)
      … 1 more about something else: --all

    fs.write
      its 2 rules are about something else
    "#);
    insta::assert_snapshot!(explain(&world(), "fs.open", "~/.ssh/id_ed25519", &[]), @"
    exit 0
    Collapse  fs.open (read)  [HOME]/.ssh/id_ed25519
      why:    fs.deny: ~/.ssh  (vantio.yaml:5:10)
      note:   links are not followed; --resolve does
      permit: a credential store: no rule should; give the agent a token of its own through env.allow

    fs.deny
      ~/.ssh  decided  (vantio.yaml:5:10)
      … 145 more about something else: --all

    fs.read
      its 2 rules are about something else

    fs.write
      its 2 rules are about something else
    ");
}

#[test]
fn what_no_rule_permits_is_told_with_the_nearest() {
    insta::assert_snapshot!(explain(&world(), "fs.open", "${workspace}/src", &["--write"]), @r#"
    exit 0
    Collapse  fs.open (write)  [WORK]/src
      why:    nothing in fs.write permits it
      note:   links are not followed; --resolve does
      permit: add to fs.write: ["${workspace}/src"]

    fs.deny
      its 146 rules are about something else

    fs.write
      ${workspace}/src/**  `/**` covers only what is below  (vantio.yaml:4:11)
      … 1 more about something else: --all
    "#);
    insta::assert_snapshot!(explain(&world(), "fs.rename", "${workspace}/src/x", &["--to", "/etc/y"]), @r#"
    exit 0
    Collapse  fs.rename  [WORK]/src/x → /etc/y
      why:    nothing in fs.write permits it
      note:   links are not followed; --resolve does
      permit: add to fs.write: ["/etc/y"]

    fs.deny
      its 146 rules are about something else

    fs.write
      ${workspace}/src/**  old name: matches, but nothing permits the other name  (vantio.yaml:4:11)
      … 1 more about something else: --all
    "#);
    insta::assert_snapshot!(explain(&world(), "net.connect", "api.github.com:443", &["--exit-code"]), @r#"
    exit 3
    Collapse  net.connect  api.github.com:443
      why:    nothing in net.allow permits it
      note:   judged as if api.github.com had given a public address
      permit: add to net.allow: ["api.github.com:443"]

    net.deny
      its one rule is about something else

    net.allow
      github.com  it covers that name alone, not names below it  (vantio.yaml:6:15)
      … 1 more about something else: --all
    "#);
    insta::assert_snapshot!(explain(&world(), "net.connect", "10.1.1.1:22", &[]), @r#"
    exit 0
    Collapse  net.connect  10.1.1.1:22
      why:    nothing in net.allow permits it
      permit: add to net.allow: ["10.1.1.1:22"]

    net.deny
      its one rule is about something else

    net.allow
      10.0.0.0/8:5432  port 22 is not among 5432  (vantio.yaml:6:27)
      … 1 more about something else: --all
    "#);
}

#[test]
fn a_permit_tells_its_rule() {
    insta::assert_snapshot!(explain(&world(), "fs.open", "/usr//lib/./x/", &[]), @"
    exit 0
    Permit  fs.open (read)  /usr/lib/x
      why:    fs.read: /usr  (vantio.yaml:3:10)

    fs.deny
      its 146 rules are about something else

    fs.read
      /usr  decided  (vantio.yaml:3:10)
      … 1 more about something else: --all

    fs.write
      its 2 rules are about something else
    ");
    insta::assert_snapshot!(explain(&world(), "tool.call", "github/issues", &[]), @"
    exit 0
    Permit  tool.call  github/issues
      why:    tools.allow: github/*  (vantio.yaml:7:17)

    tools.allow
      github/*  decided  (vantio.yaml:7:17)
    ");
}

#[test]
fn what_is_no_target_is_refused_with_what_to_type() {
    insta::assert_snapshot!(explain(&world(), "fs.open", "../x", &[]), @"
    exit 2
    E_TARGET

      x `../x` is no absolute path
      help: begin it with `/`, `~/`, `${workspace}/` or `${tmp}/`
    ");
    insta::assert_snapshot!(explain(&world(), "fs.open", "/a/../x", &[]), @"
    exit 2
    E_TARGET

      x `/a/../x` has `..` in it
      help: write the path that it leads to: only a disk knows that
    ");
    insta::assert_snapshot!(explain(&world(), "net.connect", "github.com", &[]), @"
    exit 2
    E_TARGET

      x `github.com` is no host and port
      help: add the port: `github.com:443`
    ");
    insta::assert_snapshot!(explain(&world(), "fs.rename", "/x", &[]), @"
    exit 2
    E_TARGET

      x a rename or hard link has two names
      help: add the new one: --to PATH
    ");
    insta::assert_snapshot!(explain(&world(), "fs.eat", "/x", &[]), @"
    exit 2
    E_EFFECT

      x there is no effect `fs.eat`
      help: did you mean `fs.stat`?
    ");
    insta::assert_snapshot!(explain(&world(), "delete", "/x", &[]), @"
    exit 2
    E_EFFECT

      x there is no effect `delete`
      help: the effects are fs.open, fs.unlink, fs.rmdir, fs.mkdir, fs.mknod, fs.rename, fs.link, fs.symlink, fs.truncate, fs.chmod, fs.chown, fs.utime, fs.xattr, fs.stat, proc.exec, proc.signal, proc.syscall, net.connect, net.bind, net.listen, net.dns, tool.call, infer, heap.read, heap.write, ipc.send
    ");
    insta::assert_snapshot!(explain(&world(), "fs.open", "/x", &["--label", "secret"]), @"
    exit 2
    E_LABEL

      x the policy has no label `secret`
      help: labels are those that its taint rules name
    ");
}

#[test]
fn programs_get_every_rule_that_was_weighed() {
    let told = explain(&world(), "net.connect", "github.com:22", &["--json"]);
    let line = told.lines().find(|line| line.starts_with('{')).unwrap_or_default();
    let value: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    assert_eq!(value["verdict"]["decision"], "Collapse", "{told}");
    assert_eq!(value["assumed_name"], "github.com");
    assert_eq!(value["considered"].as_array().map(Vec::len), Some(3), "{told}");
}

#[test]
fn examples_are_judged_and_the_failed_one_is_explained() {
    insta::assert_snapshot!(world().run(&["policy", "test", "vantio.yaml"]), @"
    exit 3
    ok      fs.open (read)  [WORK]/.env  Collapse
    ok      fs.open (write)  [WORK]/src/x  Permit
    ok      net.connect  github.com:443  Permit
    FAILED  tool.call  github/issues  (vantio.yaml:12:5)
            expected Collapse, got Permit
            tools.allow: github/*  (vantio.yaml:7:17)
    3 passed, 1 failed
    ");
    insta::assert_snapshot!(world().run(&["policy", "test", "preset:open"]), @"
    exit 0
    preset:open: it has no examples; write some under `tests:`
    ");
}

#[test]
fn what_was_mistyped_is_told_as_it_is_written() {
    let advised = |effect: &str, target: &str, more: &[&str]| {
        let told = explain(&world(), effect, target, more);
        let lines = told.lines().filter(|line| line.trim_start().starts_with(['x', 'h'])).map(str::trim);
        lines.collect::<Vec<_>>().join("\n")
    };
    let asked: [(&str, &str, &[&str]); 11] = [
        ("fs.opn", "/x", &[]),
        ("fs.open", "src/main.rs", &[]),
        ("fs.open", "./.env", &[]),
        ("fs.open", "${foo}/x", &[]),
        ("net.connect", "*.pypi.org:443", &[]),
        ("net.connect", "10.0.0.1", &[]),
        ("proc.syscall", "openat", &[]),
        ("fs.unlink", "/x", &["--write"]),
        ("fs.open", "/x", &["--to", "/y"]),
        ("net.dns", "github.com", &["--udp"]),
        ("net.connect", "unix:/run/x", &["--udp"]),
    ];
    let told: Vec<String> =
        asked.into_iter().map(|(effect, target, more)| advised(effect, target, more)).collect();
    insta::assert_snapshot!(told.join("\n"), @"
    x there is no effect `fs.opn`
    help: did you mean `fs.open`?
    x `src/main.rs` is no absolute path
    help: write `${workspace}/src/main.rs`
    x `./.env` is no absolute path
    help: write `${workspace}/.env`
    x there is no variable `${foo}`
    help: the variables are `${workspace}`, `${home}` and `${tmp}`
    x `*.pypi.org` is not a domain name
    help: name one host: no `*` in it
    x `10.0.0.1` is no host and port
    help: add the port: `10.0.0.1:443`
    x the policy does not decide system calls
    help: SPECIFICATION.md lists who answers each
    x --write means nothing here: it is about fs.open
    help: leave --write out
    x --to means nothing here: it is about fs.rename and fs.link
    help: leave --to out
    x --udp means nothing here: it is about connections to HOST:PORT
    help: leave --udp out
    x --udp means nothing here: it is about connections to HOST:PORT
    help: leave --udp out
    ");
}

#[test]
fn localhost_is_this_host() {
    insta::assert_snapshot!(explain(&world(), "net.connect", "localhost:80", &[]), @r#"
    exit 0
    Collapse  net.connect  localhost:80
      why:    nothing in net.allow permits it
      permit: add to net.allow: ["127.0.0.1:80"]

    net.deny
      its one rule is about something else

    net.allow
      its 2 rules are about something else
    "#);
    insta::assert_snapshot!(explain(&world(), "net.dns", "localhost", &[]), @"
    exit 0
    Collapse  net.dns  localhost
      why:    nothing in net.allow permits it
      note:   a connection to 127.0.0.1 needs no name: it needs a rule for the address
      permit: no rule can

    net.deny
      its one rule is about something else

    net.allow
      its 2 rules are about something else
    ");
}

#[test]
fn what_is_watched_and_what_guards_hold_back_says_what_to_do() {
    let world = World::new();
    world.write(
        "vantio.yaml",
        "version: 1\nmode: monitor\nnet: {allow: [x.example]}\n\
         thresholds: [{effect: fs.stat, target: /x, count: 0, within: 10s}]\n\
         taint: {sources: [{label: customers, fs: [/c]}], sinks: [{label: customers, net: ['*']}]}\n\
         order:\n  - {refuse: {effect: net.connect}, unless_after: {effect: proc.exec, target: /t.sh, exit: 0}, since: {effect: fs.open}}\n",
    );
    let head = |effect: &str, target: &str, more: &[&str]| {
        let told = explain(&world, effect, target, more);
        told.lines().skip(1).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    };
    let told = [
        head("fs.open", "/x", &["--write"]),
        head("net.connect", "x.example:443", &["--label", "customers"]),
        head("net.connect", "x.example:443", &[]),
        head("fs.stat", "/x", &[]),
    ];
    insta::assert_snapshot!(told.join("\n"), @r#"
    Permit  fs.open (write)  /x
      why:    mode monitor: permitted and recorded; fs.write would refuse
      mode:   monitor; enforced, it would be Collapse
              nothing in fs.write permits it
      note:   links are not followed; --resolve does
      permit: add to fs.write: ["/x"]
    Permit  net.connect  x.example:443
      why:    mode monitor: permitted and recorded; taint.sinks would refuse
      mode:   monitor; enforced, it would be Collapse
              it carries the label customers, which taint.sinks keeps from here: customers: net *  (vantio.yaml:5:58)
      note:   judged as if x.example had given a public address
      permit: remove the sink of customers: net *
    Permit  net.connect  x.example:443
      why:    mode monitor: permitted and recorded; order would refuse
      mode:   monitor; enforced, it would be Collapse
              order: net.connect: unless proc.exec /t.sh ended with 0 since fs.open  (vantio.yaml:7:5)
      note:   judged as if x.example had given a public address
      permit: run /t.sh until it ends with 0
    Permit  fs.stat  /x
      why:    mode monitor: permitted and recorded; thresholds would refuse
      mode:   monitor; enforced, it would be Collapse
              thresholds: fs.stat /x: 0 within 10s, then collapse  (vantio.yaml:4:14)
      note:   links are not followed; --resolve does
      permit: raise count of the threshold fs.stat /x: 0 within 10s
    "#);
}

#[test]
fn a_policy_of_a_folder_above_is_about_that_folder() {
    let world = world();
    let told = world.shell(
        "mkdir sub && cd sub && $VANTIO policy explain ../vantio.yaml --effect fs.open --target '${workspace}/x'",
    );
    assert!(told.contains("[WORK]/x"), "{told}");
}

#[test]
fn programs_get_advice_in_its_parts() {
    let told = explain(&world(), "fs.open", "/etc/x", &["--json"]);
    let line = told.lines().find(|line| line.starts_with('{')).unwrap_or_default();
    let value: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let advice = serde_json::json!({ "action": "add", "section": "fs.read", "rule": "/etc/x" });
    assert_eq!(value["advice"], advice, "{told}");
}

#[test]
fn advice_is_in_the_words_of_a_policy() {
    let world = world();
    let advised = |effect: &str, target: &str| {
        let told = explain(&world, effect, target, &[]);
        told.lines().find(|line| line.contains("permit:")).unwrap_or_default().trim().to_owned()
    };
    let told = [
        advised("proc.exec", "${workspace}/test.sh"),
        advised("fs.open", "~/.gitconfig"),
        advised("fs.open", "/home"),
        advised("fs.open", "/"),
    ];
    insta::assert_snapshot!(told.join("\n"), @r#"
    permit: add to exec.allow: ["${workspace}/test.sh"]
    permit: add to fs.read: ["~/.gitconfig"]
    permit: add to fs.read: ["/hom[e]"]
    permit: no rule names just this
    "#);
}

#[test]
fn a_rule_is_printed_as_it_is_pasted() {
    let world = world();
    let explained = explain(&world, "proc.exec", "/opt/[x", &[]);
    assert!(explained.contains(r#"permit: add to exec.allow: ["/opt/\\[x"]"#), "{explained}");
    world.write("pasted.yaml", "version: 1\nexec: {allow: [\"/opt/\\\\[x\"]}\n");
    let asked = ["policy", "explain", "pasted.yaml", "--effect", "proc.exec", "--target", "/opt/[x"];
    let permitted = world.run(&asked);
    assert!(permitted.contains(r"why:    exec.allow: /opt/\[x  (pasted.yaml:2:16)"), "{permitted}");
    assert!(explain(&world, "proc.exec", "/opt/x ", &[]).contains("permit: no rule can"));
}
