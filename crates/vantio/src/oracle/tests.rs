use std::path::Path;

use tempfile::TempDir;
use vantio_core::{Access, Effect, Endpoint, Target, Transport};
use vantio_identity::TrustDomain;
use vantio_ledger::{Entry, Filter, Options, Reader};
use vantio_policy::{Bindings, compile};

use super::*;
use crate::{
    approvals::{Reach, Reply},
    run::key::RunKey,
};

struct World {
    folder: TempDir,
    warden: Warden,
}

impl World {
    fn new(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&folder.path().join("ledger.db")).unwrap();
        let warden = Warden::start(ledger, charge(policy)).unwrap();
        Self { folder, warden }
    }

    fn decide(&self, intent: &Intent<'_>) -> Ruling {
        self.warden.decide(intent)
    }

    /// Ends the run and reads what the ledger has of it.
    fn end(self) -> Vec<Entry> {
        self.warden.end(Ending::Exited(0));
        entries(self.folder.path())
    }
}

fn entries(folder: &Path) -> Vec<Entry> {
    let reader = Reader::open(&folder.join("ledger.db")).unwrap();
    reader.verify(&vantio_ledger::Terms::default()).unwrap();
    reader.entries(&Filter::default()).collect::<Result<_, _>>().unwrap()
}

fn charge(policy: &str) -> Charge {
    let program = compile(policy.as_bytes(), "test.yaml").unwrap().program;
    let bindings = Bindings {
        workspace: b"/w".to_vec(),
        home: b"/h".to_vec(),
        tmp: b"/tmp".to_vec(),
        ..Bindings::default()
    };
    let state = State::new(&program, bindings);
    let folder = tempfile::tempdir().unwrap();
    let domain = TrustDomain::open(&folder.path().join("identity"), "vantio.local").unwrap();
    let run_id = RunId::new(1, [7; 10]);
    let key = RunKey::issue(&domain, "test", run_id).unwrap();
    let (svid, seal) = (key.svid(), Arc::new(key));
    Charge {
        run_id,
        program,
        state,
        svid,
        seal,
        home: b"/h".to_vec(),
        start: Value::Null,
        announcement: Announcement::Silent,
        folder: "/none".into(),
    }
}

const POLICY: &str =
    "version: 1\nfs: {read: ['/w'], deny: ['/w/secret']}\nnet: {allow: ['api.example.com:443']}\n";

fn open(path: &str) -> Intent<'_> {
    let target = Target::Path { path: path.as_bytes(), access: Access::Read, subtree: false };
    let syscall = Some(vantio_core::Syscall { number: 257, arguments: [1, 2, 3, 4, 5, u64::MAX] });
    Intent { pid: 7, syscall, ..Intent::new(Effect::FsOpen, target) }
}

fn connect(address: &str) -> Intent<'static> {
    let endpoint = Endpoint { transport: Transport::Tcp, address: address.parse().unwrap(), in_run: false };
    Intent { pid: 7, ..Intent::new(Effect::NetConnect, Target::Endpoint(endpoint)) }
}

fn ops(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.op.as_str()).collect()
}

#[test]
fn a_refusal_is_on_disk_before_it_is_answered() {
    let world = World::new(POLICY);
    assert_eq!(world.decide(&open("/w/secret")), Ruling::Refuse);
    let entries = entries(world.folder.path());
    assert_eq!(ops(&entries), ["run.start", "fs.open"]);
    let anomaly = entries[1].anomaly.as_ref().unwrap();
    assert_eq!((anomaly.syscall_nr, anomaly.syscall_args), (257, [1, 2, 3, 4, 5, u64::MAX]));
    assert_eq!(
        anomaly.agent_svid.spiffe_id(),
        "spiffe://vantio.local/agent/test/run/00000000-0001-7707-8707-070707070707"
    );
    assert_eq!(
        entries[1].response().to_canonical(),
        r#"{"advice":{"action":"remove","rule":"/w/secret","section":"fs.deny"},"cause":"rule","reason":"fs.deny: /w/secret","rule":"/w/secret","section":"fs.deny"}"#
    );
}

#[test]
fn the_same_refusal_within_a_second_is_one_anomaly_with_a_count() {
    let world = World::new(POLICY);
    for _ in 0..5 {
        assert_eq!(world.decide(&open("/w/secret")), Ruling::Refuse);
    }
    assert_eq!(world.decide(&Intent { pid: 8, ..open("/w/secret") }), Ruling::Refuse);
    let entries = world.end();
    assert_eq!(ops(&entries), ["run.start", "fs.open", "fs.open", REFUSAL_REPEATED, "run.end"]);
    assert_eq!(entries[3].response().to_canonical(), r#"{"decision":"Collapse","repeated":4}"#);
    assert_eq!(entries[4].response().to_canonical(), r#"{"observed":0,"permitted":0,"refused":6}"#);
}

#[test]
fn the_same_permit_is_recorded_once_with_a_count() {
    let world = World::new(POLICY);
    for path in ["/w/a", "/w/b", "/w/a", "/w/a"] {
        assert_eq!(world.decide(&open(path)), Ruling::Permit);
    }
    let entries = world.end();
    assert_eq!(ops(&entries), ["run.start", "fs.open", "fs.open", PERMIT_REPEATED, "run.end"]);
    assert!(entries.iter().all(|entry| entry.anomaly.is_none()));
    assert_eq!(entries[4].response().to_canonical(), r#"{"observed":0,"permitted":4,"refused":0}"#);
}

#[test]
fn monitoring_permits_and_records_what_would_have_been_refused() {
    let world = World::new(&format!("{POLICY}mode: monitor\n"));
    assert_eq!(world.decide(&open("/w/secret")), Ruling::Permit);
    let entries = world.end();
    assert_eq!(entries[1].decision, Some(Decision::Permit));
    let text = entries[1].response().to_canonical();
    assert!(text.starts_with(r#"{"cause":"observed","would_refuse":{"#), "{text}");
    assert!(text.contains(r#""reason":"fs.deny: /w/secret""#), "{text}");
    assert_eq!(entries[2].response().to_canonical(), r#"{"observed":1,"permitted":1,"refused":0}"#);
}

#[test]
fn a_name_opens_the_addresses_it_gave_until_it_is_forgotten() {
    let world = World::new(POLICY);
    let intent = connect("93.184.216.34:443");
    assert_eq!(world.decide(&intent), Ruling::Refuse);
    world.warden.learn("api.example.com", &["93.184.216.34".parse().unwrap()], Duration::from_mins(1));
    assert!(world.warden.would_permit(&intent));
    assert_eq!(world.warden.stale_names("93.184.216.34".parse().unwrap()), Vec::<String>::new());
    world.warden.forget("api.example.com");
    assert!(!world.warden.would_permit(&intent));
    world.warden.learn("api.example.com", &["93.184.216.34".parse().unwrap()], Duration::ZERO);
    assert_eq!(world.warden.stale_names("93.184.216.34".parse().unwrap()), ["api.example.com"]);
}

/// The file is replaced by one that is no ledger, so that the next commit fails.
fn break_ledger(folder: &Path) {
    for name in ["ledger.db-wal", "ledger.db-shm"] {
        drop(std::fs::remove_file(folder.join(name)));
    }
    let path = folder.join("ledger.db");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(0).unwrap();
    std::io::Write::write_all(&mut &file, &[0xff; 8192]).unwrap();
}

#[test]
fn without_its_ledger_the_run_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let options = Options { busy: Duration::from_millis(50), ..Options::default() };
    let warden = Warden::start(Ledger::open_with(&path, options).unwrap(), charge(POLICY)).unwrap();
    break_ledger(folder.path());
    assert_eq!(warden.decide(&open("/w/secret")), Ruling::Kill);
    // What would be permitted ends it as well, now that nothing can be written down.
    assert_eq!(warden.decide(&open("/w/a")), Ruling::Kill);
}

#[test]
fn the_kill_switch_ends_the_run_and_is_recorded() {
    let world = World::new(POLICY);
    world.warden.set_killed();
    assert_eq!(world.decide(&open("/w/a")), Ruling::Kill);
    let entries = world.end();
    assert_eq!(entries[1].anomaly.as_ref().unwrap().oracle_decision, Decision::KillSwitch);
}

/// [`POLICY`], where what is in `/w/held` waits.
fn holding() -> String {
    format!("{POLICY}hold: [{{effect: fs.open, target: /w/held}}]\n")
}

/// Answers the only question that waits.
fn say(warden: &Warden, approves: bool) -> bool {
    let questions = warden.holds().list();
    assert_eq!(questions.len(), 1, "{questions:?}");
    let question = &questions[0];
    let reply = Reply {
        question: question.id.clone(),
        intent_hash: question.intent_hash.clone(),
        policy_hash: question.policy_hash.clone(),
        approves,
        reach: Reach::Once,
        who: None,
        reason: None,
    };
    warden.holds().answer(reply, 0).is_ok()
}

#[test]
fn a_question_and_its_answer_are_on_disk_before_anybody_goes_on() {
    let world = World::new(&holding());
    let intent = open("/w/held/a");
    assert_eq!(world.decide(&intent), Ruling::Wait);
    assert!(!world.warden.is_settled(intent.pid));
    let waiting = entries(world.folder.path());
    assert_eq!((ops(&waiting), waiting[1].decision), (vec!["run.start", "fs.open"], Some(Decision::Hold)));
    assert!(say(&world.warden, true));
    assert_eq!(ops(&entries(world.folder.path())), ["run.start", "fs.open", "hold.answer"]);
    assert!(world.warden.is_settled(intent.pid));
    assert_eq!(world.decide(&intent), Ruling::Permit);
    world.warden.answers(intent.pid);
    assert_eq!(world.decide(&intent), Ruling::Wait, "one answer is for one call");
    let entries = world.end();
    assert_eq!(
        ops(&entries),
        ["run.start", "fs.open", "hold.answer", "fs.open", "fs.open", "hold.answer", "run.end"]
    );
    let reason = entries[3].response().text("reason").unwrap();
    assert_eq!(
        reason,
        "hold: fs.open /w/held: whoever started the run approves within 5m: approved by user 0"
    );
    assert_eq!(entries[5].request().text("answer"), Some("withdrawn"));
}

#[test]
fn an_approval_settles_the_hold_and_nothing_else() {
    let world = World::new(&holding());
    let intent = open("/w/held/a");
    assert_eq!(world.decide(&intent), Ruling::Wait);
    assert!(say(&world.warden, true));
    world.warden.set_killed();
    assert_eq!(world.decide(&intent), Ruling::Kill);
}

#[test]
fn without_its_ledger_nobody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { busy: Duration::from_millis(50), ..Options::default() };
    let ledger = Ledger::open_with(&folder.path().join("ledger.db"), options).unwrap();
    let warden = Warden::start(ledger, charge(&holding())).unwrap();
    break_ledger(folder.path());
    assert_eq!(warden.decide(&open("/w/secret")), Ruling::Kill);
    assert_eq!(warden.decide(&open("/w/held/a")), Ruling::Kill);
    assert!(warden.holds().list().is_empty());
}

#[test]
fn what_comes_without_a_call_is_answered_for_a_while() {
    let policy = "version: 1\nnet: {allow: ['udp://10.0.0.1:53', dns.example]}\nhold: [{effect: [net.connect, net.dns]}]\n";
    let world = World::new(policy);
    let endpoint =
        Endpoint { transport: Transport::Udp, address: "10.0.0.1:53".parse().unwrap(), in_run: false };
    let datagram = Intent::new(Effect::NetConnect, Target::Endpoint(endpoint));
    let name = Intent::new(Effect::NetDns, Target::Name("dns.example"));
    for (intent, approves, ruling) in [(datagram, true, Ruling::Permit), (name, false, Ruling::Refuse)] {
        assert_eq!(world.decide(&intent), Ruling::Wait);
        assert_eq!(world.decide(&intent), Ruling::Wait);
        assert!(say(&world.warden, approves));
        for pid in 0..3 {
            assert_eq!(world.decide(&Intent { pid, ..intent }), ruling);
        }
    }
    // A call that is about the same as the datagrams that were approved needs no answer of its own.
    let call = Intent { pid: 9, syscall: Some(vantio_core::Syscall::default()), ..datagram };
    assert_eq!(world.decide(&call), Ruling::Permit);
}
