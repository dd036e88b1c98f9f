//! Whatever is decided in whatever order comes out the same from the ledger.

use std::{path::Path, sync::Arc, thread, time::Duration};

use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;
use vantio_core::{
    Access, Becomes, Context, Decision, Effect, Endpoint, Intent, RunId, Target, Transport,
    json::{Key, Value},
};
use vantio_identity::TrustDomain;
use vantio_ledger::{Entry, Filter, Ledger, Options, Reader};
use vantio_phantom::{Ending, Oracle as _, Ruling};
use vantio_policy::{Bindings, State, compile};

use super::{Past, Report, replay};
use crate::{
    approvals::{Announcement, Reach, Reply},
    oracle::{Charge, Warden, bindings_value},
    run::key::RunKey,
};

const LISTS: &str = "version: 1
fs: {read: [/w], write: [/w], deny: [/w/secret]}
net: {allow: ['api.test:443', '10.0.0.1:80', '10.0.0.2:80']}
";

const PAST: &str = "thresholds:
- {effect: fs.open, access: write, bytes: 500, within: 3ms}
- {effect: fs.unlink, count: 2, within: 2ms}
- {effect: net.connect, distinct: 1, within: 4ms, then: hold}
budgets: {file_bytes: 2000, wall_ms: 20}
";

const FLOWS: &str = "order:
- refuse: {effect: net.connect, target: '10.0.0.1:80'}
  unless_after: {effect: fs.open, target: /w/a}
  since: {effect: fs.open, access: write, target: /w/b}
taint:
  sources: [{label: one, fs: [/w/c]}, {label: two, fs: [/w/d]}]
  sinks: [{label: one, net: ['10.0.0.2']}, {label: two, net: [api.test]}]
";

const HOLDS: &str = "hold:
- {effect: fs.unlink, target: [/w/a, /w/b]}
- {effect: fs.open, access: write, target: /w, timeout: 1s}
- {effect: fs.open, target: /w/c}
- {effect: net.connect, target: '10.0.0.1'}
";

/// Something that happens in a run.
#[derive(Clone, Debug)]
enum Event {
    Open { path: usize, access: Access, bytes: u64 },
    Unlink(usize),
    Connect(usize),
    Learn(usize),
    Forget,
    Pause,
}

const PATHS: [&str; 6] = ["/w/a", "/w/b", "/w/c", "/w/d", "/w/secret", "/x"];
const ADDRESSES: [&str; 4] = ["10.0.0.1:80", "10.0.0.2:80", "93.184.216.34:443", "93.184.216.35:443"];

fn event() -> impl Strategy<Value = Event> {
    let access = prop_oneof![Just(Access::Read), Just(Access::Write)];
    prop_oneof![
        4 => (0..PATHS.len(), access, 0_u64..300).prop_map(|(path, access, bytes)| Event::Open { path, access, bytes }),
        2 => (0..PATHS.len()).prop_map(Event::Unlink),
        3 => (0..ADDRESSES.len()).prop_map(Event::Connect),
        1 => (2..ADDRESSES.len()).prop_map(Event::Learn),
        1 => Just(Event::Forget),
        1 => Just(Event::Pause),
    ]
}

fn happen(warden: &Warden, event: &Event) -> Option<Ruling> {
    happen_to(warden, event, 7)
}

/// It happens to a thread; what waits is answered, each time otherwise.
fn happen_to(warden: &Warden, event: &Event, pid: u32) -> Option<Ruling> {
    let path = |path: usize, access| Target::Path { path: PATHS[path].as_bytes(), access, subtree: false };
    let intent = match *event {
        Event::Open { path: index, access, bytes } => Intent {
            context: Context { bytes, ..Context::default() },
            becomes: (access == Access::Write && bytes % 2 == 1).then_some(Becomes::Length(0)),
            ..Intent::new(Effect::FsOpen, path(index, access))
        },
        Event::Unlink(index) => Intent::new(Effect::FsUnlink, path(index, Access::Write)),
        Event::Connect(index) => {
            let address = ADDRESSES[index].parse().unwrap();
            let endpoint = Endpoint { transport: Transport::Tcp, address, in_run: false };
            Intent::new(Effect::NetConnect, Target::Endpoint(endpoint))
        }
        Event::Learn(index) => {
            let address: std::net::SocketAddr = ADDRESSES[index].parse().unwrap();
            warden.learn("api.test", &[address.ip()], Duration::from_mins(1));
            return None;
        }
        Event::Forget => {
            warden.forget("api.test");
            return None;
        }
        Event::Pause => {
            thread::sleep(Duration::from_millis(1));
            return None;
        }
    };
    let intent = Intent { pid, syscall: Some(vantio_core::Syscall::default()), ..intent };
    loop {
        match warden.decide(&intent) {
            Ruling::Wait => answer(warden),
            ruling => {
                warden.answers(pid);
                return Some(ruling);
            }
        }
    }
}

fn answer(warden: &Warden) {
    for question in warden.holds().list() {
        let turn = question.id.bytes().fold(0, |sum: u32, byte| sum + u32::from(byte));
        let reach = match turn % 4 {
            0 => Reach::Session,
            1 if question.effect.starts_with("fs.") => Reach::Pattern("/w/**".to_owned()),
            _ => Reach::Once,
        };
        let reply = Reply {
            question: question.id,
            intent_hash: question.intent_hash,
            policy_hash: question.policy_hash,
            approves: turn % 3 > 0,
            reach,
            who: None,
            reason: (turn % 2 == 0).then(|| "because".to_owned()),
        };
        // Another thread may have been quicker.
        let _ = warden.holds().answer(reply, 0);
    }
}

struct World {
    folder: TempDir,
    warden: Warden,
    charge: (RunId, vantio_policy::PolicyProgram),
}

impl World {
    fn new(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = compile(policy.as_bytes(), "test.yaml").unwrap().program;
        let bindings = Bindings { workspace: b"/w".to_vec(), tmp: b"/tmp".to_vec(), ..Bindings::default() };
        let domain = TrustDomain::open(&folder.path().join("identity"), "vantio.local").unwrap();
        let run_id = RunId::new(1, [7; 10]);
        let key = RunKey::issue(&domain, "test", run_id).unwrap();
        let start = Value::object([("bindings", bindings_value(&bindings))]);
        let state = State::new(&program, bindings);
        let charge = Charge {
            run_id,
            program: program.clone(),
            state,
            svid: key.svid(),
            seal: Arc::new(key),
            home: b"/h".to_vec(),
            start,
            announcement: Announcement::Silent,
            folder: "/none".into(),
        };
        let ledger = Ledger::open_with(&folder.path().join("ledger.db"), Options::default()).unwrap();
        Self { warden: Warden::start(ledger, charge).unwrap(), charge: (run_id, program), folder }
    }

    fn end(self) -> Report {
        self.end_with(|_| {})
    }

    /// Ends the run, and decides again: its verdicts and what waited, as many as there were.
    fn end_same(self, decided: usize) {
        let mut held = 0;
        let report = self.end_with(|entries| {
            held = entries.iter().filter(|entry| entry.decision == Some(Decision::Hold)).count();
        });
        assert_same(&report, decided + held);
    }

    /// Ends the run, changes its entries, and decides again.
    fn end_with(self, change: impl FnOnce(&mut Vec<Entry>)) -> Report {
        self.warden.end(Ending::Exited(0));
        let (run_id, program) = self.charge;
        let mut entries = entries(self.folder.path());
        change(&mut entries);
        replay(Past { run_id, program, entries: Box::new(entries.into_iter().map(Ok)) }).unwrap()
    }
}

fn entries(folder: &Path) -> Vec<Entry> {
    let reader = Reader::open(&folder.join("ledger.db")).unwrap();
    reader.entries(&Filter::default()).collect::<Result<_, _>>().unwrap()
}

/// Every verdict came out as it was, and all that were given were decided again or counted; but for
/// those of which only what was open elsewhere could tell.
fn assert_same(report: &Report, decided: usize) {
    let json = report.to_json();
    let mut open_elsewhere = 0;
    for undecided in json["undecided"].as_array().unwrap() {
        let reason = undecided["reason"].as_str().unwrap();
        assert!(reason.starts_with("it rests on what other processes had open"), "{json:#}");
        open_elsewhere += undecided["count"].as_u64().unwrap();
    }
    assert_eq!(report.exit_code(), 0, "{json:#}");
    assert_eq!(report.decided + report.repeated + open_elsewhere, decided as u64, "{json:#}");
    assert!(report.has_ended);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_was_decided_comes_out_the_same(
        events in vec(event(), 1..80),
        parts in prop_oneof![
            Just(String::new()), Just(PAST.to_owned()), Just(FLOWS.to_owned()), Just(HOLDS.to_owned()),
            Just(format!("{PAST}{HOLDS}")), Just(format!("{FLOWS}{HOLDS}")),
        ],
        mode in prop_oneof![Just("enforce"), Just("monitor"), Just("learn")],
    ) {
        let world = World::new(&format!("{LISTS}{parts}mode: {mode}\n"));
        let decided = events.iter().filter_map(|event| happen(&world.warden, event)).count();
        world.end_same(decided);
    }
}

#[test]
fn what_several_threads_ask_at_once_comes_out_the_same() {
    for parts in [PAST.to_owned(), format!("{PAST}{FLOWS}"), format!("{PAST}{HOLDS}")] {
        let world = World::new(&format!("{LISTS}{parts}"));
        let decided: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4_usize)
                .map(|seed| {
                    let warden = &world.warden;
                    scope.spawn(move || {
                        let events = (0..300_usize).map(|step| match (step * 7 + seed * 3) % 5 {
                            0 | 1 => Event::Open { path: (step + seed) % 2, access: Access::Write, bytes: 9 },
                            2 => Event::Unlink(step % 3),
                            3 => Event::Connect((step + seed) % 2),
                            _ => Event::Open { path: 0, access: Access::Read, bytes: 0 },
                        });
                        let pid = 7 + u32::try_from(seed).unwrap();
                        events.filter_map(|event| happen_to(warden, &event, pid)).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        world.end_same(decided);
    }
}

#[test]
fn nothing_is_added_to_what_needs_nothing() {
    let world = World::new(LISTS);
    happen(&world.warden, &Event::Unlink(0));
    happen(&world.warden, &Event::Unlink(4));
    let entries = entries(world.folder.path());
    assert_eq!(entries.len(), 3);
    for entry in entries {
        let Value::Object(response) = entry.response() else { continue };
        assert!(!response.contains_key(&Key("moment".into())), "{}", entry.response().to_canonical());
    }
}

#[test]
fn the_kill_switch_is_set_again() {
    let world = World::new(LISTS);
    world.warden.set_killed();
    assert_eq!(happen(&world.warden, &Event::Unlink(0)), Some(Ruling::Kill));
    assert_same(&world.end(), 1);
}

#[test]
fn what_comes_after_a_hole_is_not_decided_again() {
    let counts = "thresholds: [{effect: fs.open, access: write, count: 9, within: 1h}]\n";
    let world = World::new(&format!("{LISTS}{counts}"));
    for path in [0, 1, 0] {
        happen(&world.warden, &Event::Open { path, access: Access::Write, bytes: 9 });
    }
    let report = world.end_with(|entries| drop(entries.remove(2)));
    let json = report.to_json();
    assert_eq!((report.decided, &json["undecided"][0]["count"]), (1, &1.into()), "{json:#}");
}

#[test]
fn a_refusal_may_be_written_down_after_what_happened_since() {
    let thresholds = "thresholds:
- {effect: fs.unlink, count: 1, within: 1h}
- {effect: fs.open, count: 9, within: 1h}
";
    let world = World::new(&format!("{LISTS}{thresholds}"));
    let open = Event::Open { path: 0, access: Access::Write, bytes: 9 };
    let rulings = [Event::Unlink(0), Event::Unlink(1), open].map(|event| happen(&world.warden, &event));
    assert_eq!(rulings, [Ruling::Permit, Ruling::Refuse, Ruling::Permit].map(Some));
    assert_same(&world.end_with(|entries| entries.swap(2, 3)), 3);
}

#[test]
fn a_permit_without_the_answer_that_it_names_is_not_decided_again() {
    let world = World::new(&format!("{LISTS}{HOLDS}"));
    happen(&world.warden, &Event::Unlink(0));
    let report = world.end_with(|entries| entries.retain(|entry| entry.op != "hold.answer"));
    let json = report.to_json();
    let reason = json["undecided"][0]["reason"].as_str().unwrap();
    assert_eq!((report.decided, reason), (1, "the answer that it rests on is not in the ledger"), "{json:#}");
}
