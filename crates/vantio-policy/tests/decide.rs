//! Verdicts and their causes, one corner at a time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr};

use vantio_core::{Access, Cause, Decision, Effect, Endpoint, Intent, Section, Target, Transport, Verdict};
use vantio_policy::{
    Advice, Bindings, PolicyProgram, State, advise, compile, decide, explain::Subject, judge,
};

fn program(rules: &str) -> PolicyProgram {
    compile(format!("version: 1\n{rules}").as_bytes(), "policy.yaml").unwrap().program
}

fn bindings() -> Bindings {
    Bindings {
        workspace: b"/home/u/w".to_vec(),
        home: b"/home/u/".to_vec(),
        tmp: b"/tmp".to_vec(),
        aliases: vec![
            (b"/bin".to_vec(), b"/usr/bin".to_vec()),
            (b"/home/u/link".to_vec(), b"/data".to_vec()),
        ],
        programs: vec![("git".into(), vec![b"/usr/bin/git".to_vec(), b"/opt/git/bin/git".to_vec()])],
        host_addresses: vec!["198.51.99.7".parse().unwrap()],
    }
}

/// A program with its state.
struct Case {
    program: PolicyProgram,
    state: State,
}

fn case(rules: &str) -> Case {
    let program = program(rules);
    let state = State::new(&program, bindings());
    Case { program, state }
}

impl Case {
    fn ask(&self, effect: Effect, target: Target<'_>) -> Verdict<'_> {
        decide(&self.program, &self.state, &intent(effect, target))
    }

    fn open(&self, path: &str, access: Access) -> Verdict<'_> {
        self.ask(Effect::FsOpen, at(path, access))
    }

    fn connect(&self, address: &str) -> Verdict<'_> {
        self.ask(Effect::NetConnect, endpoint(Transport::Tcp, address))
    }

    fn advice(&self, effect: Effect, target: Target<'_>) -> Option<String> {
        let intent = intent(effect, target);
        advise(&self.state, &intent, &judge(&self.program, &self.state, &intent))
            .map(|advice| advice.to_string())
    }
}

fn intent(effect: Effect, target: Target<'_>) -> Intent<'_> {
    Intent::new(effect, target)
}

fn at(path: &str, access: Access) -> Target<'_> {
    Target::Path { path: path.as_bytes(), access, subtree: false }
}

fn endpoint(transport: Transport, address: &str) -> Target<'static> {
    Target::Endpoint(Endpoint { transport, address: address.parse().unwrap(), in_run: false })
}

fn permit(section: Section, text: &str) -> Verdict<'_> {
    Verdict { decision: Decision::Permit, cause: Cause::Rule { section, text } }
}

fn refuse(section: Section, text: &str) -> Verdict<'_> {
    Verdict { decision: Decision::Collapse, cause: Cause::Rule { section, text } }
}

fn unmatched(section: Section) -> Verdict<'static> {
    Verdict { decision: Decision::Collapse, cause: Cause::Unmatched(section) }
}

#[test]
fn a_verdict_names_the_rule_as_it_was_written() {
    let case = case("fs: {read: ['${home}/docs/'], write: ['~/w//x'], deny: ['/**/.env']}");
    assert_eq!(case.open("/home/u/docs/a", Access::Read), permit(Section::FsRead, "${home}/docs/"));
    assert_eq!(case.open("/home/u/w/x/y", Access::Read), permit(Section::FsWrite, "~/w//x"));
    assert_eq!(case.open("/home/u/docs/.env/x", Access::Read), refuse(Section::FsDeny, "/**/.env"));
    assert_eq!(case.open("/home/u/docs", Access::Write), unmatched(Section::FsWrite));
    for above in ["/", "/home", "/home/u", "/home/u/doc", "/home/u/docs2"] {
        assert_eq!(case.open(above, Access::Read), unmatched(Section::FsRead), "{above}");
    }
}

#[test]
fn paths_that_are_not_canonical_are_refused_in_every_mode() {
    for mode in ["enforce", "monitor", "learn"] {
        let case = case(&format!("mode: {mode}\nfs: {{read: [/], write: [/]}}"));
        for path in ["", "a", "/a/", "//a", "/a//b", "/./a", "/a/..", "/a\0", "//"] {
            let verdict = case.open(path, Access::Read);
            assert_eq!(verdict.decision, Decision::Collapse, "{path:?}");
            assert_eq!(verdict.cause, Cause::Always("the path names nothing in the run"), "{path:?}");
        }
    }
}

#[test]
fn names_that_are_not_utf_8_are_judged_by_their_bytes() {
    let case = case("fs: {read: ['/d/a?b'], deny: ['/d/x*']}");
    let open = |path: &'static [u8]| {
        case.ask(Effect::FsOpen, Target::Path { path, access: Access::Read, subtree: false })
    };
    assert!(open(b"/d/a\xffb").is_permit());
    assert!(!open(b"/d/a\xff\xfeb").is_permit());
    assert!(!open(b"/d/x\xff/y").is_permit());
}

#[test]
fn an_effect_that_is_no_open_is_a_write_whatever_the_plane_says() {
    let case = case("fs: {read: [/]}");
    for effect in [Effect::FsUnlink, Effect::FsChmod, Effect::FsMkdir, Effect::FsTruncate, Effect::FsXattr] {
        assert_eq!(case.ask(effect, at("/a", Access::Read)), unmatched(Section::FsWrite), "{effect}");
    }
}

#[test]
fn names_are_hidden_below_a_deny_only() {
    let case = case("fs: {deny: [~/.ssh, '/d/**']}");
    let stat = |path| case.ask(Effect::FsStat, at(path, Access::Read)).is_permit();
    for path in ["/home/u/.ssh", "/d", "/d/a", "/nowhere"] {
        assert!(stat(path), "{path}");
    }
    for path in ["/home/u/.ssh/id", "/d/a/b"] {
        assert!(!stat(path), "{path}");
    }
    assert!(case.state.may_hide_below(b"/home"));
    assert!(case.state.may_hide_below(b"/d/a/"));
    assert!(!case.state.may_hide_below(b"/usr/lib"));
}

#[test]
fn a_folder_is_listed_by_a_rule_for_all_below_it_and_not_moved_under_a_deny() {
    let case = case("fs: {read: ['/r/**'], write: ['/w/**', '/e'], deny: ['/e/d/**']}");
    assert!(case.open("/r", Access::Read).is_permit());
    assert!(case.open("/w", Access::Read).is_permit());
    assert!(!case.open("/w", Access::Write).is_permit());
    let rename = |from: &str, to: &str, subtree| {
        let target = Target::Paths { from: from.as_bytes(), to: to.as_bytes(), subtree };
        case.ask(Effect::FsRename, target).is_permit()
    };
    assert!(rename("/w/a", "/w/b", true));
    assert!(!rename("/w", "/e/x", true));
    assert!(!rename("/e/d", "/e/x", true));
    assert!(!rename("/e/x", "/e/d", true));
    assert!(!rename("/e", "/w/x", true));
}

#[test]
fn exec_reads_the_program_and_a_file_deny_refuses_it() {
    let case =
        case("exec: {allow: [git, '~/bin/**', /bin/sh], deny: ['**/evil']}\nfs: {deny: [~/bin/secret]}");
    let exec = |path| case.ask(Effect::ProcExec, at(path, Access::Read));
    assert_eq!(exec("/usr/bin/git"), permit(Section::ExecAllow, "git"));
    assert_eq!(exec("/opt/git/bin/git"), permit(Section::ExecAllow, "git"));
    assert_eq!(exec("/usr/local/bin/git"), unmatched(Section::ExecAllow));
    assert_eq!(exec("/usr/bin/sh"), permit(Section::ExecAllow, "/bin/sh"));
    assert_eq!(exec("/home/u/bin/evil"), refuse(Section::ExecDeny, "**/evil"));
    assert_eq!(exec("/home/u/bin/secret"), refuse(Section::FsDeny, "~/bin/secret"));
    assert_eq!(case.open("/usr/bin/git", Access::Read), permit(Section::ExecAllow, "git"));
    assert!(!case.open("/home/u/bin/secret", Access::Read).is_permit());
    let roots = [&b"/bin/sh"[..], b"/home/u/bin", b"/opt/git/bin/git", b"/usr/bin/git", b"/usr/bin/sh"];
    assert_eq!(case.state.exec_roots(), roots);
}

#[test]
fn programs_that_are_denied_by_name_are_told() {
    let case = case("exec: {allow: [/], deny: [git, ~/bin/evil, '/opt/*/x']}");
    let told = [&b"/home/u/bin/evil"[..], b"/opt/git/bin/git", b"/usr/bin/git"];
    assert_eq!(case.state.denied_programs(), told);
}

#[test]
fn aliases_carry_allows_and_denies_along() {
    let case =
        case("fs: {read: [~/link/a], deny: ['~/link/a/*.key', ~/link/a/b]}\nexec: {allow: ['**/x', /usr]}");
    assert!(case.open("/data/a/x", Access::Read).is_permit());
    assert!(!case.open("/data/a/x.key", Access::Read).is_permit());
    assert_eq!(case.state.denied_literals(), [&b"/data/a/b"[..], b"/home/u/link/a/b"]);
    assert_eq!(case.state.exec_roots(), [b"/"]);
    let prefixes = case.program.literal_prefixes(&bindings());
    assert_eq!(prefixes, [&b"/home/u/link/a"[..], b"/home/u/link/a/b", b"/usr"]);
}

#[test]
fn a_variable_without_value_matches_nothing() {
    let program = program("fs: {read: ['${workspace}', ~/]}");
    let state = State::new(&program, Bindings::default());
    for path in ["/", "/a"] {
        assert!(!decide(&program, &state, &intent(Effect::FsOpen, at(path, Access::Read))).is_permit());
    }
}

#[test]
fn monitor_permits_what_rules_refuse_and_learn_what_none_mention() {
    let rules = "fs: {deny: [/d]}\nnet: {allow: ['a.com']}";
    let monitor = case(&format!("mode: monitor\n{rules}"));
    let learn = case(&format!("mode: learn\n{rules}"));
    let observed = |section| Verdict { decision: Decision::Permit, cause: Cause::Observed(section) };
    assert_eq!(monitor.open("/d", Access::Read), observed(Section::FsDeny));
    assert_eq!(monitor.connect("8.8.8.8:443"), observed(Section::NetAllow));
    assert_eq!(learn.open("/x", Access::Write), observed(Section::FsWrite));
    assert_eq!(learn.ask(Effect::ProcExec, at("/x", Access::Read)), observed(Section::ExecAllow));
    assert_eq!(learn.open("/d", Access::Read), refuse(Section::FsDeny, "/d"));
    assert_eq!(learn.connect("8.8.8.8:443"), unmatched(Section::NetAllow));
    assert_eq!(learn.ask(Effect::NetDns, Target::Name("b.com")), unmatched(Section::NetAllow));
    let judged = judge(&monitor.program, &monitor.state, &intent(Effect::FsOpen, at("/d", Access::Read)));
    assert_eq!(judged, refuse(Section::FsDeny, "/d"));
    for case in [monitor, learn] {
        assert!(!case.ask(Effect::ProcSyscall, Target::Syscall("ptrace")).is_permit());
        assert!(!case.ask(Effect::ProcSignal, Target::Process(0)).is_permit());
        assert!(case.ask(Effect::ProcSignal, Target::Process(7)).is_permit());
    }
}

#[test]
fn the_kill_switch_and_a_foreign_state_come_before_everything() {
    let mut case = case("mode: monitor\nfs: {read: [/]}");
    case.state.set_killed(true);
    let killed = Verdict { decision: Decision::KillSwitch, cause: Cause::KillSwitch };
    assert_eq!(case.open("/a", Access::Read), killed);
    case.state.set_killed(false);
    assert!(case.open("/a", Access::Read).is_permit());
    let other = program("fs: {read: [/, /b]}");
    assert!(!decide(&other, &case.state, &intent(Effect::FsOpen, at("/a", Access::Read))).is_permit());
}

#[test]
fn every_effect_refuses_a_target_that_is_not_its_own() {
    let case = case("mode: monitor\nfs: {read: [/], write: [/]}\nexec: {allow: [/]}\nnet: {allow: ['*:*']}");
    for effect in Effect::ALL {
        let is_named = matches!(effect, Effect::ToolCall | Effect::Infer);
        let verdict = case.ask(*effect, if is_named { Target::Name("x") } else { Target::Named("x") });
        let is_free = matches!(effect, Effect::NetBind | Effect::NetListen);
        assert_eq!(verdict.is_permit(), is_free, "{effect}");
    }
}

#[test]
fn a_name_opens_its_addresses_and_nothing_reserved() {
    let mut case = case("net: {allow: ['*.example.com:443', '10.0.0.0/8:443']}");
    let mut learn = |name: &str, address: &str| case.state.learn_name(name, address.parse().unwrap(), 1000);
    learn("a.example.com", "93.184.216.34");
    learn("a.example.com", "127.0.0.1");
    learn("a.example.com", "169.254.169.254");
    learn("a.example.com", "192.168.0.1");
    learn("a.example.com", "198.51.99.7");
    learn("a.example.com", "10.0.0.1");
    learn("other.org", "93.184.216.35");
    assert_eq!(case.connect("93.184.216.34:443"), permit(Section::NetAllow, "*.example.com:443"));
    assert_eq!(case.connect("[::ffff:93.184.216.34]:443"), permit(Section::NetAllow, "*.example.com:443"));
    assert_eq!(case.connect("93.184.216.34:80"), unmatched(Section::NetAllow));
    assert_eq!(case.connect("93.184.216.35:443"), unmatched(Section::NetAllow));
    assert_eq!(case.connect("10.0.0.1:443"), permit(Section::NetAllow, "10.0.0.0/8:443"));
    assert_eq!(case.connect("192.168.0.1:443"), unmatched(Section::NetAllow));
    for (address, reason) in [
        ("127.0.0.1:443", "a name never opens loopback"),
        ("0.0.0.0:443", "a name never opens loopback"),
        ("169.254.169.254:443", "a name never opens link-local addresses"),
        ("198.51.99.7:443", "a name never opens the host's own addresses"),
    ] {
        let expected = Verdict { decision: Decision::Collapse, cause: Cause::Always(reason) };
        assert_eq!(case.connect(address), expected, "{address}");
    }
    case.state.forget("a.example.com");
    assert_eq!(case.connect("93.184.216.34:443"), unmatched(Section::NetAllow));
}

#[test]
fn answers_expire() {
    let mut case = case("net: {allow: ['*']}");
    let address: IpAddr = "1.2.3.4".parse().unwrap();
    case.state.learn_name("a.b", address, 1000);
    case.state.learn_name("a.b", address, 500);
    case.state.learn_name("c.d", address, 2000);
    let stale = |now| case.state.stale_names(address, now).collect::<Vec<_>>();
    assert_eq!(stale(999), Vec::<&str>::new());
    assert_eq!(stale(1000), ["a.b"]);
    assert_eq!(stale(2000), ["a.b", "c.d"]);
    assert_eq!(case.state.names_of(address).collect::<Vec<_>>(), ["a.b", "c.d"]);
}

#[test]
fn datagrams_leave_by_a_udp_rule_and_any_deny_stops_them() {
    let case = case("net: {allow: ['udp://10.0.0.53:53', '10.0.0.54:53'], deny: ['10.0.0.55']}");
    let send = |address| case.ask(Effect::NetConnect, endpoint(Transport::Udp, address)).is_permit();
    assert!(send("10.0.0.53:53"));
    assert!(!send("10.0.0.54:53"));
    assert!(!case.connect("10.0.0.53:53").is_permit());
    let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let inside = Endpoint { transport: Transport::Udp, address, in_run: true };
    assert!(case.ask(Effect::NetConnect, Target::Endpoint(inside)).is_permit());
}

#[test]
fn unix_sockets_need_a_rule_of_their_own() {
    let case = case(
        "net: {allow: ['*:*', 'unix:/run/pg/**'], deny: ['unix:/run/pg/admin']}\nfs: {deny: [/run/pg/x]}",
    );
    let connect = |path: &'static str| case.ask(Effect::NetConnect, Target::Unix(path.as_bytes()));
    assert_eq!(connect("/run/pg/s"), permit(Section::NetAllow, "unix:/run/pg/**"));
    assert_eq!(connect("/run/pg/admin"), refuse(Section::NetDeny, "unix:/run/pg/admin"));
    assert_eq!(connect("/run/pg/x"), refuse(Section::FsDeny, "/run/pg/x"));
    assert_eq!(connect("/run/docker.sock"), unmatched(Section::NetAllow));
    assert!(!connect("\0abstract").is_permit());
    assert!(case.program.opens_unix_sockets());
}

#[test]
fn names_are_resolved_where_some_rule_speaks_of_them() {
    let case = case("net: {allow: ['*.a.com:22', 'b.org'], deny: ['x.a.com', 'b.org:25']}");
    let resolve = |name| case.ask(Effect::NetDns, Target::Name(name)).is_permit();
    assert!(resolve("y.a.com") && resolve("b.org"));
    for name in
        ["a.com", "x.a.com", "z.x.a.com", "c.org", "y.a.com.", "Y.a.com", "", "a b.org", "y.a.com.evil.org"]
    {
        assert!(!resolve(name), "{name}");
    }
}

#[test]
fn advice_is_the_smallest_change() {
    let mut case =
        case("fs: {read: [/r], write: [/w], deny: ['${credentials}', /r/no]}\nnet: {allow: ['a.com:80']}");
    case.state.learn_name("b.com", "93.184.216.34".parse().unwrap(), 0);
    case.state.learn_name("b.com", "10.0.0.9".parse().unwrap(), 0);
    let tcp = |address| case.advice(Effect::NetConnect, endpoint(Transport::Tcp, address));
    let read = |path| case.advice(Effect::FsOpen, at(path, Access::Read));
    assert_eq!(read("/etc/f[1]").as_deref(), Some(r#"add to fs.read: ["/etc/f\\[1\\]"]"#));
    assert_eq!(read("/r/no/x").as_deref(), Some(r#"remove from fs.deny: "/r/no""#));
    assert_eq!(read("/home/u/.ssh/id"), None);
    assert_eq!(read("/r/yes"), None);
    assert_eq!(
        case.advice(Effect::ProcExec, at("/x", Access::Read)).as_deref(),
        Some(r#"add to exec.allow: ["/x"]"#)
    );
    assert_eq!(tcp("93.184.216.34:443").as_deref(), Some(r#"add to net.allow: ["b.com:443"]"#));
    assert_eq!(tcp("10.0.0.9:443").as_deref(), Some(r#"add to net.allow: ["10.0.0.9:443"]"#));
    assert_eq!(tcp("[2001:4860::1]:53").as_deref(), Some(r#"add to net.allow: ["[2001:4860::1]:53"]"#));
    let name = case.advice(Effect::NetDns, Target::Name("c.org"));
    assert_eq!(name.as_deref(), Some(r#"add to net.allow: ["c.org:443"]"#));
    let unix = case.advice(Effect::NetConnect, Target::Unix(b"/run/s"));
    assert_eq!(unix.as_deref(), Some(r#"add to net.allow: ["unix:/run/s"]"#));
    let rename = Target::Paths { from: b"/w/a", to: b"/z/a", subtree: false };
    assert_eq!(case.advice(Effect::FsRename, rename).as_deref(), Some(r#"add to fs.write: ["/z/a"]"#));
    assert_eq!(case.advice(Effect::ProcSyscall, Target::Syscall("bpf")), None);
    for no_rule_can in ["/etc/ends in space ", "/etc/a\u{a0}"] {
        assert_eq!(read(no_rule_can), None, "{no_rule_can:?}");
    }
}

#[test]
fn advice_that_is_followed_permits() {
    let before = case("fs: {read: [/r]}");
    let path = "/we ird/*[x]\\y?";
    let asked = intent(Effect::FsOpen, at(path, Access::Read));
    let verdict = before.ask(asked.effect, asked.target);
    let Some(Advice::Add { section, rule }) = advise(&before.state, &asked, &verdict) else {
        panic!("{verdict:?}")
    };
    assert_eq!(section, Section::FsRead);
    let after = case(&format!("fs: {{read: ['{rule}']}}"));
    assert!(after.open(path, Access::Read).is_permit());
    assert!(!after.open("/we ird/zx\\yy", Access::Read).is_permit());
}

#[test]
fn advice_in_the_words_of_a_policy_permits_as_much() {
    let bindings = Bindings {
        workspace: b"/home/u/w".to_vec(),
        home: b"/home/u".to_vec(),
        tmp: b"/tmp".to_vec(),
        ..Bindings::default()
    };
    let written = |effect, path: &str, is_directory: bool| {
        let subject = Subject::Path { path: path.into(), access: Access::Read, subtree: false };
        let program = compile(b"version: 1\n", "none").unwrap().program;
        let state = State::new(&program, bindings.clone());
        let asked = intent(effect, subject.target());
        let advice = advise(&state, &asked, &judge(&program, &state, &asked))?;
        let Advice::Add { section, rule } = advice.written(effect, &subject, &bindings, |_| is_directory)?
        else {
            panic!("{path}")
        };
        let list = if section == Section::ExecAllow { "exec: {allow" } else { "fs: {read" };
        let document = format!("version: 1\n{list}: ['{rule}']}}\n");
        let program = compile(document.as_bytes(), "advised").unwrap().program;
        let state = State::new(&program, bindings.clone());
        assert!(judge(&program, &state, &asked).is_permit(), "{rule} for {path}");
        let below = format!("{path}/below");
        let below = judge(&program, &state, &intent(effect, at(&below, Access::Read)));
        assert_eq!(below.is_permit(), !is_directory, "{rule} for {path}");
        Some(rule)
    };
    for (path, file, folder) in [
        ("/home", "/home", "/hom[e]"),
        ("/home/u", "~/", "/home/[u]"),
        ("/home/u/w", "${workspace}", "~/[w]"),
        ("/home/u/w/a b*", r"${workspace}/a b\*", r"${workspace}/a b[*]"),
        ("/home/user", "/home/user", "/home/use[r]"),
        ("/tmp/x", "${tmp}/x", "${tmp}/[x]"),
    ] {
        assert_eq!(written(Effect::FsOpen, path, false).as_deref(), Some(file));
        assert_eq!(written(Effect::FsOpen, path, true).as_deref(), Some(folder));
    }
    assert_eq!(written(Effect::ProcExec, "/home/u/w/t.sh", false).as_deref(), Some("${workspace}/t.sh"));
    assert_eq!(written(Effect::FsOpen, "/", true), None);
}

#[test]
fn advice_survives_being_kept_in_its_parts() {
    for (action, list, rule, said) in [
        ("add", "fs.read", "/x", "add to fs.read: [\"/x\"]"),
        ("remove", "fs.deny", "/x", "remove from fs.deny: \"/x\""),
        ("remove", "taint.sinks", "secret: net *", "remove the sink of secret: net *"),
        (
            "remove",
            "order",
            "net.connect: unless proc.exec ${workspace}/test.sh ended with 0 since fs.open to write /w",
            "run ${workspace}/test.sh until it ends with 0",
        ),
        ("remove", "order", "infer: unless proc.exec /a, /b since fs.open", "run /a or /b first"),
        (
            "remove",
            "order",
            "infer: unless tool.call x since fs.open",
            "remove from order: \"infer: unless tool.call x since fs.open\"",
        ),
        (
            "raise",
            "thresholds",
            "fs.unlink: 3 within 10s, then collapse",
            "raise count of the threshold fs.unlink: 3 within 10s",
        ),
        (
            "raise",
            "thresholds",
            "net.connect *: 5 bytes within 1m, then hold",
            "raise bytes of the threshold net.connect *: 5 bytes within 1m",
        ),
        ("raise", "budgets", "calls", "raise budgets.calls"),
        ("raise", "limits", "memory", "raise limits.memory"),
    ] {
        let advice = Advice::from_parts(action, list, rule).unwrap();
        assert_eq!(advice.parts(), (action, list, rule));
        assert_eq!(advice.to_string(), said);
    }
    for (action, list) in [("raise", "fs.read"), ("add", "budgets"), ("keep", "fs.read")] {
        assert_eq!(Advice::from_parts(action, list, "x"), None);
    }
}
