//! Taint sinks, order, holds, the kill switch and the modes.

use alloc::vec::Vec;

use vantio_core::{
    Access, Cause, Decision, Effect, Endpoint, Intent, Labels, Reversibility, Section, Target,
};

use super::{Case, at, connect, entry, exec, guards, guards_of, open, scope};
use crate::{
    flow::{Channel, End, Ended, Process},
    guard::model::{Event, Guards, HoldRule, KillSwitch, OrderRule},
};

const OTHER: Labels = Labels::single(0);
const SECRET: Labels = Labels::single(1);

fn net_sink(label: Option<u8>, targets: &[&str]) -> Guards {
    let sink = entry(label, scope(&[Effect::NetConnect, Effect::NetDns], None, targets));
    guards_of(Vec::new(), Vec::from([sink]), Vec::new())
}

#[test]
fn a_label_is_kept_from_its_sink_only() {
    let case = Case::new(net_sink(Some(1), &["*"]));
    let verdict = case.ask(&at(connect("192.0.2.1:443"), 0, SECRET.union(OTHER)));
    assert_eq!(verdict.decision, Decision::Collapse);
    assert_eq!(verdict.cause, Cause::Tainted { label: "secret", sink: "secret: net *" });
    assert!(case.ask(&at(connect("192.0.2.1:443"), 0, OTHER)).is_permit());
    assert!(case.ask(&at(connect("192.0.2.1:443"), 0, Labels::NONE)).is_permit());
    assert!(case.ask(&at(open("/w/x", Access::Write), 0, SECRET)).is_permit());
}

#[test]
fn a_sink_without_label_refuses_every_label() {
    let case = Case::new(net_sink(None, &["*"]));
    for (labels, name) in [(OTHER, "other"), (SECRET, "secret"), (Labels::single(63), "unknown")] {
        let verdict = case.ask(&at(connect("192.0.2.1:443"), 0, labels));
        assert_eq!(verdict.cause, Cause::Tainted { label: name, sink: "every label: net *" });
    }
}

#[test]
fn a_sink_covers_an_address_by_every_name_and_form_that_it_has() {
    let mut case = Case::new(net_sink(Some(1), &["example.com", "192.0.2.0/24:443"]));
    let asks = |case: &Case, address| case.ask(&at(connect(address), 0, SECRET)).is_permit();
    assert!(asks(&case, "203.0.114.7:80"));
    case.state.learn_name("other.org", "203.0.114.7".parse().unwrap(), 9);
    case.state.learn_name("api.example.com", "203.0.114.7".parse().unwrap(), 9);
    assert!(!asks(&case, "203.0.114.7:80"));
    assert!(!asks(&case, "192.0.2.9:443"));
    assert!(!asks(&case, "[::ffff:192.0.2.9]:443"));
    assert!(asks(&case, "192.0.2.9:80"));
    let ask = |name| case.ask(&at(Intent::new(Effect::NetDns, Target::Name(name)), 0, SECRET)).is_permit();
    assert!(!ask("example.com") && !ask("a.b.example.com") && ask("example.org"));
}

#[test]
fn a_sink_stays_one_when_its_name_leads_elsewhere() {
    let mut case = Case::new(net_sink(Some(1), &["example.com"]));
    for name in ["api.example.com", "other.org"] {
        case.state.learn_name(name, "203.0.114.7".parse().unwrap(), 9);
        case.state.forget(name);
    }
    case.state.learn_name("other.org", "203.0.114.8".parse().unwrap(), 9);
    case.state.forget("other.org");
    let asks = |address| case.ask(&at(connect(address), 0, SECRET)).is_permit();
    assert!(!asks("203.0.114.7:80") && asks("203.0.114.8:80"));
    assert_eq!(case.state.names_of("203.0.114.7".parse().unwrap()).next(), None);
}

#[test]
fn the_run_itself_is_no_sink() {
    let case = Case::new(net_sink(Some(1), &["*"]));
    let mut intent = at(connect("127.0.0.1:8080"), 0, SECRET);
    if let Target::Endpoint(endpoint) = intent.target {
        intent.target = Target::Endpoint(Endpoint { in_run: true, ..endpoint });
    }
    assert!(case.ask(&intent).is_permit());
    let socket = at(Intent::new(Effect::NetConnect, Target::Unix(b"/run/agent.sock")), 0, SECRET);
    assert!(!case.ask(&socket).is_permit());
}

#[test]
fn a_guard_on_a_file_holds_for_the_directory_that_is_moved_with_it() {
    let rule = HoldRule {
        scope: scope(&[Effect::FsRename, Effect::FsRmdir], None, &["/w/keep/file"]),
        approvers: Vec::new(),
        timeout_ms: 300_000,
    };
    let case = Case::new(Guards { hold: [rule].into(), ..guards() });
    let rename = |from: &'static [u8], to: &'static [u8], subtree| {
        case.ask(&Intent::new(Effect::FsRename, Target::Paths { from, to, subtree })).decision
    };
    assert_eq!(rename(b"/w/keep", b"/w/kept", true), Decision::Hold);
    assert_eq!(rename(b"/w/new", b"/w/keep/file", false), Decision::Hold);
    assert_eq!(rename(b"/w/other", b"/w/kept", true), Decision::Permit);
    let verdict = case.ask(&Intent::new(
        Effect::FsRmdir,
        Target::Path { path: b"/w/keep", access: Access::Write, subtree: true },
    ));
    assert_eq!(verdict.decision, Decision::Hold);
    assert_eq!(
        verdict.cause,
        Cause::Rule {
            section: Section::Hold,
            text: "fs.rmdir, fs.rename /w/keep/file: whoever started the run approves within 5m"
        }
    );
}

#[test]
fn what_is_about_reading_holds_for_an_open_that_may_do_both() {
    let rule = |access| HoldRule {
        scope: scope(&[Effect::FsOpen], Some(access), &["/w/x"]),
        approvers: Vec::new(),
        timeout_ms: 1,
    };
    let case = |access| Case::new(Guards { hold: [rule(access)].into(), ..guards() });
    let (reading, writing) = (case(Access::Read), case(Access::Write));
    assert_eq!(reading.ask(&open("/w/x", Access::Read)).decision, Decision::Hold);
    assert_eq!(reading.ask(&open("/w/x", Access::Write)).decision, Decision::Hold);
    assert_eq!(writing.ask(&open("/w/x", Access::Read)).decision, Decision::Permit);
    assert_eq!(writing.ask(&open("/w/x", Access::Write)).decision, Decision::Hold);
}

fn push_after_tests(exit: Option<u8>) -> Case {
    let rule = OrderRule {
        refuse: scope(&[Effect::NetConnect], None, &["192.0.2.1:443"]),
        unless_after: Event { scope: scope(&[Effect::ProcExec], None, &["/w/test.sh"]), exit },
        since: scope(&[Effect::FsOpen], Some(Access::Write), &["/w/src/**"]),
    };
    Case::new(Guards { order: [rule].into(), ..guards() })
}

#[test]
fn order_is_kept_from_the_last_change_on() {
    let mut case = push_after_tests(None);
    let push = connect("192.0.2.1:443");
    assert_eq!(
        case.ask(&push).cause,
        Cause::Rule {
            section: Section::Order,
            text: "net.connect 192.0.2.1:443: unless proc.exec /w/test.sh since fs.open to write /w/src/**"
        }
    );
    assert!(case.act(&connect("192.0.2.2:443")));
    assert!(case.act(&exec("/w/test.sh")) && case.act(&push));
    assert!(case.act(&open("/w/src/a", Access::Read)) && case.act(&push));
    assert!(case.act(&open("/w/src/a", Access::Write)) && !case.act(&push));
    assert!(case.act(&exec("/w/test.sh.old")) && !case.act(&push));
    assert!(case.act(&exec("/w/test.sh")) && case.act(&push));
}

#[test]
fn order_asks_how_a_program_ended_and_what_changed_while_it_ran() {
    let mut case = push_after_tests(Some(0));
    let push = connect("192.0.2.1:443");
    let ended = |case: &Case, status| Ended {
        programs: [b"/w/test.sh".to_vec(), b"/usr/bin/dash".to_vec()].into(),
        executed: case.state.moment(),
        status,
    };
    let (passes, fails) = (ended(&case, Some(0)), ended(&case, Some(1)));
    assert!(case.act(&exec("/w/test.sh")) && !case.act(&push));
    for status in [&fails, &ended(&case, None), &Ended { programs: Vec::new(), ..passes.clone() }] {
        case.state.ended(&case.program, status, &mut Vec::new);
        assert!(!case.act(&push));
    }
    case.state.ended(&case.program, &passes, &mut Vec::new);
    assert!(case.act(&push));
    // A change while the tests run is not tested.
    let early = ended(&case, Some(0));
    assert!(case.act(&exec("/w/test.sh")) && case.act(&open("/w/src/a", Access::Write)));
    case.state.ended(&case.program, &early, &mut Vec::new);
    assert!(!case.act(&push));
}

#[test]
fn a_file_that_stays_open_for_writing_is_not_tested() {
    let mut case = push_after_tests(Some(0));
    let passes = Ended { programs: [b"/w/test.sh".to_vec()].into(), executed: 0, status: Some(0) };
    let end = |path: &str, writes| End {
        process: Process { pid: 7, started: 0 },
        channel: Channel::Path(path.into()),
        reads: true,
        writes,
    };
    let push = connect("192.0.2.1:443");
    case.state.ended(&case.program, &passes, &mut || [end("/w/src/a", true)].into());
    assert!(!case.act(&push));
    // A descriptor on its way between two processes may be one of such a file.
    let in_flight = End { channel: Channel::InFlight, ..end("", false) };
    case.state.ended(&case.program, &passes, &mut || [in_flight.clone()].into());
    assert!(!case.act(&push));
    let harmless = [end("/w/src/a", false), end("/w/log", true)];
    case.state.ended(&case.program, &passes, &mut || harmless.to_vec());
    assert!(case.act(&push));
}

#[test]
fn a_file_is_changed_by_any_of_its_names() {
    let mut case = push_after_tests(None);
    let (push, test) = (connect("192.0.2.1:443"), exec("/w/test.sh"));
    let paths = |effect, from: &'static [u8], to: &'static [u8], subtree| {
        Intent::new(effect, Target::Paths { from, to, subtree })
    };
    for intent in [
        paths(Effect::FsLink, b"/w/src/a", b"/tmp/d/b", false),
        paths(Effect::FsLink, b"/tmp/d/b", b"/tmp/d/c", false),
        paths(Effect::FsRename, b"/tmp/d", b"/tmp/e", true),
        paths(Effect::FsLink, b"/tmp/other", b"/w/src/new", false),
    ] {
        assert!(case.act(&intent));
    }
    for name in ["/tmp/d/b", "/tmp/e/b", "/tmp/e/c", "/tmp/other", "/w/src/a"] {
        assert!(case.act(&test) && case.act(&push), "{name}");
        assert!(case.act(&open(name, Access::Read)) && case.act(&push), "{name}");
        assert!(case.act(&open(name, Access::Write)) && !case.act(&push), "{name}");
    }
    assert!(case.act(&test) && case.act(&open("/tmp/e/x", Access::Write)) && case.act(&push));
}

#[test]
fn the_kill_switch_of_a_policy_answers_everything() {
    let kill_switch = KillSwitch { is_active: true, ..KillSwitch::default() };
    for mode in ["enforce", "monitor", "learn"] {
        let guards = Guards { kill_switch: kill_switch.clone(), ..guards() };
        let case = Case::with(&alloc::format!("mode: {mode}\nfs: {{read: [/]}}"), guards);
        for intent in [open("/a", Access::Read), open("relative", Access::Write), exec("/bin/sh")] {
            assert_eq!(case.ask(&intent).decision, Decision::KillSwitch);
        }
    }
}

#[test]
fn monitor_observes_what_guards_refuse_and_hold() {
    let hold =
        HoldRule { scope: scope(&[Effect::FsUnlink], None, &[]), approvers: Vec::new(), timeout_ms: 1 };
    let guards = Guards { hold: [hold].into(), ..net_sink(Some(1), &["*"]) };
    let case = Case::with("mode: monitor\nfs: {write: [/]}\nbudgets: {wall_ms: 10}", guards);
    let tainted = at(connect("192.0.2.1:443"), 0, SECRET);
    assert_eq!(case.ask(&tainted).cause, Cause::Observed(Section::NetAllow));
    let unlink =
        Intent::new(Effect::FsUnlink, Target::Path { path: b"/x", access: Access::Write, subtree: false });
    assert_eq!(case.ask(&unlink).cause, Cause::Observed(Section::Hold));
    // A budget is none of the rules that are observed.
    assert_eq!(case.ask(&at(unlink, 11, Labels::NONE)).cause, Cause::Budget("wall_ms"));
    assert_eq!(case.ask(&at(tainted, 11, SECRET)).cause, Cause::Budget("wall_ms"));
}

#[test]
fn learning_opens_no_sink_and_only_what_can_be_taken_back() {
    let sink = entry(Some(1), scope(&[Effect::FsOpen], Some(Access::Write), &["/share/**"]));
    let mut guards = guards_of(Vec::new(), Vec::from([sink]), Vec::new());
    let learn = |guards: &Guards| Case::with("mode: learn", guards.clone());
    let write = open("/share/x", Access::Write);
    assert_eq!(learn(&guards).ask(&write).cause, Cause::Observed(Section::FsWrite));
    assert!(matches!(learn(&guards).ask(&at(write, 0, SECRET)).cause, Cause::Tainted { .. }));
    assert!(!learn(&guards).ask(&connect("192.0.2.1:443")).is_permit());
    guards.reversibility.insert(Effect::FsOpen, Reversibility::Irreversible);
    guards.reversibility.insert(Effect::NetConnect, Reversibility::Reversible);
    assert_eq!(learn(&guards).ask(&write).cause, Cause::Unmatched(Section::FsWrite));
    assert_eq!(learn(&guards).ask(&connect("192.0.2.1:443")).cause, Cause::Observed(Section::NetAllow));
}

#[test]
fn guards_make_themselves_known_to_whoever_binds_names() {
    let sanitizer = entry(Some(1), scope(&[Effect::ProcExec], None, &["redact", "~/bin/clean"]));
    let case = Case::new(guards_of(Vec::new(), Vec::new(), Vec::from([sanitizer])));
    assert!(case.program.bare_programs().any(|name| name == "redact"));
    let bindings = crate::Bindings { home: b"/home/u".to_vec(), ..crate::Bindings::default() };
    assert!(case.program.literal_prefixes(&bindings).contains(&b"/home/u/bin/clean".to_vec()));
}

#[test]
fn learning_holds_only_what_cannot_be_taken_back() {
    let hold =
        HoldRule { scope: scope(&[Effect::FsUnlink], None, &[]), approvers: Vec::new(), timeout_ms: 1 };
    let connects = HoldRule { scope: scope(&[Effect::NetConnect], None, &[]), ..hold.clone() };
    let document = "mode: learn\nfs: {write: [/]}\nnet: {allow: ['0.0.0.0/0:*']}";
    let case = Case::with(document, Guards { hold: [connects, hold].into(), ..guards() });
    let unlink =
        Intent::new(Effect::FsUnlink, Target::Path { path: b"/x", access: Access::Write, subtree: false });
    assert_eq!(case.ask(&unlink).cause, Cause::Observed(Section::Hold));
    assert_eq!(case.ask(&connect("192.0.2.1:443")).decision, Decision::Hold);
}
