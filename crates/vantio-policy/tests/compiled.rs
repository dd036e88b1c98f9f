//! The compiled form: no allocation while deciding, work that hardly grows with the number
//! of rules, and verdicts that can be checked against the policy's hash.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fmt::Write as _,
    hint::black_box,
    net::SocketAddr,
    time::Instant,
};

use vantio_core::{Access, Cause, Decision, Effect, Endpoint, Intent, Target, Transport, Verdict};
use vantio_policy::{
    Bindings, EvidenceError, PolicyProgram, ProvenCause, State, compile, decide, evidence, judge,
    verify_evidence,
};

/// The system's allocator, counting what a thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged.
#[allow(unsafe_code, reason = "an allocator is unsafe to implement")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps what `GlobalAlloc::alloc` demands.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps what `GlobalAlloc::dealloc` demands.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A policy of about `size` rules, as a large one is: mostly names, some wildcards, hosts.
fn policy(size: usize) -> (PolicyProgram, State) {
    let count = size / 10;
    let list = |rule: &dyn Fn(usize) -> String, count: usize| {
        (0..count).fold(String::new(), |mut text, index| {
            write!(text, "'{}',", rule(index)).unwrap();
            text
        })
    };
    let source = format!(
        "version: 1\nfs:\n  read: [/usr, /etc, '${{workspace}}', {}]\n  write: ['${{workspace}}', {}]\n  deny: ['**/.env', '**/*.pem', '**/id_*', ~/.ssh, {}]\nexec: {{allow: [git, '/usr/bin/*', {}]}}\nnet: {{allow: ['*.pypi.org:443', '10.0.0.0/8:5432', {}], deny: ['*.internal']}}\ntools: {{allow: ['github/*', {}], deny: [shell_exec]}}\n",
        list(&|index| format!("/srv/data{}/set{index}/**", index % 50), count * 3),
        list(&|index| format!("${{workspace}}/out/build{index}/*.o"), count),
        list(&|index| format!("~/secrets/place{index}/key"), count * 2),
        list(&|index| format!("/opt/tools/tool{index}/bin/*"), count),
        list(&|index| format!("host{index}.example{}.com:443", index % 100), count * 2),
        list(&|index| format!("server{index}/call"), count),
    );
    let program = compile(source.as_bytes(), "policy.yaml").unwrap().program;
    let mut state = State::new(&program, bindings());
    state.learn_name("files.pypi.org", "151.101.0.223".parse().unwrap(), 0);
    (program, state)
}

fn bindings() -> Bindings {
    Bindings {
        workspace: b"/home/u/project".to_vec(),
        home: b"/home/u".to_vec(),
        tmp: b"/tmp".to_vec(),
        aliases: vec![(b"/bin".to_vec(), b"/usr/bin".to_vec())],
        programs: vec![("git".into(), vec![b"/usr/bin/git".to_vec()])],
        host_addresses: vec!["192.168.1.2".parse().unwrap()],
    }
}

fn intents() -> Vec<(&'static str, Intent<'static>)> {
    let at = |path: &'static str, access, subtree| Target::Path { path: path.as_bytes(), access, subtree };
    let endpoint = |address: &str| {
        let address: SocketAddr = address.parse().unwrap();
        Target::Endpoint(Endpoint { transport: Transport::Tcp, address, in_run: false })
    };
    let open = |path, access| Intent::new(Effect::FsOpen, at(path, access, false));
    vec![
        ("read a file of the system", open("/usr/lib/python3/dist-packages/yaml/loader.py", Access::Read)),
        ("write in the workspace", open("/home/u/project/src/parser/tokens.rs", Access::Write)),
        ("read one of many folders", open("/srv/data7/set7/part/0001.csv", Access::Read)),
        ("read what is denied", open("/home/u/secrets/place3/key", Access::Read)),
        ("read what nothing mentions", open("/var/lib/something/else/entirely.db", Access::Read)),
        ("run a program", Intent::new(Effect::ProcExec, at("/usr/bin/git", Access::Read, false))),
        ("remove a folder", Intent::new(Effect::FsRmdir, at("/home/u/project/out", Access::Write, true))),
        (
            "rename a folder",
            Intent::new(
                Effect::FsRename,
                Target::Paths { from: b"/home/u/project/a", to: b"/home/u/project/b", subtree: true },
            ),
        ),
        ("connect by a name", Intent::new(Effect::NetConnect, endpoint("151.101.0.223:443"))),
        ("connect by an address", Intent::new(Effect::NetConnect, endpoint("10.1.2.3:5432"))),
        ("connect to a stranger", Intent::new(Effect::NetConnect, endpoint("8.8.8.8:443"))),
        ("resolve a name", Intent::new(Effect::NetDns, Target::Name("host7.example7.com"))),
        ("call a tool", Intent::new(Effect::ToolCall, Target::Named("github/create_issue"))),
    ]
}

#[test]
fn deciding_allocates_nothing() {
    let (program, state) = policy(300);
    for (name, intent) in intents() {
        let before = ALLOCATIONS.get();
        black_box(decide(&program, &state, black_box(&intent)));
        assert_eq!(ALLOCATIONS.get(), before, "{name}");
    }
}

#[test]
fn every_verdict_of_a_large_policy_can_be_checked_against_its_hash() {
    let (program, state) = policy(10_000);
    let decoded = PolicyProgram::decode(&program.encode()).unwrap();
    assert_eq!(decoded.hash(), program.hash());
    for (name, intent) in intents() {
        let bytes = evidence(&program, &state, &intent);
        let names: Vec<&str> = match intent.target {
            Target::Endpoint(endpoint) => state.names_of(endpoint.address.ip()).collect(),
            _ => Vec::new(),
        };
        let proven = verify_evidence(&bytes, program.hash(), &bindings(), &names, &intent).unwrap();
        let cause = match proven.cause {
            ProvenCause::Rule { section, index } => {
                Cause::Rule { section, text: program.rules(section)[index as usize].text() }
            }
            ProvenCause::Unmatched(section) => Cause::Unmatched(section),
            ProvenCause::Always(text) => Cause::Always(text),
        };
        let verdict = Verdict { decision: proven.decision, cause };
        assert_eq!(verdict, judge(&program, &state, &intent), "{name}");
        assert!(bytes.len() < 20_000, "{name}: {} bytes", bytes.len());
    }
}

#[test]
fn evidence_needs_what_the_run_was_bound_to() {
    let (program, state) = policy(100);
    let intent = Intent::new(
        Effect::FsOpen,
        Target::Path { path: b"/home/u/project/x", access: Access::Write, subtree: false },
    );
    let bytes = evidence(&program, &state, &intent);
    let check = |bindings: Bindings| verify_evidence(&bytes, program.hash(), &bindings, &[], &intent);
    assert_eq!(check(bindings()).unwrap().decision, Decision::Permit);
    let elsewhere = Bindings { workspace: b"/home/u/other".to_vec(), ..bindings() };
    assert_ne!(check(elsewhere).map(|proven| proven.decision), Ok(Decision::Permit));
    let more = Bindings { tmp: b"/home/u/project".to_vec(), ..bindings() };
    assert_eq!(check(more), Err(EvidenceError::Incomplete));
}

#[test]
fn more_wildcards_than_are_followed_at_once_refuse() {
    let rules = (1..=70).map(|length| format!("'/d/{}*/x'", "a".repeat(length)));
    let rules = rules.collect::<Vec<_>>().join(", ");
    let program =
        compile(format!("version: 1\nfs: {{read: [/, {rules}]}}").as_bytes(), "policy.yaml").unwrap();
    let state = State::new(&program.program, bindings());
    let open = |path: &str| {
        let target = Target::Path { path: path.as_bytes(), access: Access::Read, subtree: false };
        decide(&program.program, &state, &Intent::new(Effect::FsOpen, target))
    };
    assert!(open("/d/aaaa/x").is_permit());
    let refused = open(&format!("/d/{}/x", "a".repeat(80)));
    assert_eq!(refused.decision, Decision::Collapse);
    assert!(matches!(refused.cause, Cause::Always(_)), "{refused:?}");
}

#[test]
#[ignore = "prints measurements"]
fn print_times() {
    const ROUNDS: u32 = 500;
    for size in [100, 1000, 10_000] {
        let (program, state) = policy(size);
        println!("{size} rules");
        let mut all = 0.0;
        for (name, intent) in intents() {
            // The least of many short measurements is what a busy machine leaves alone.
            let mut least = f64::INFINITY;
            for _ in 0..400 {
                let started = Instant::now();
                for _ in 0..ROUNDS {
                    black_box(decide(&program, &state, black_box(&intent)));
                }
                least = least.min(started.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
            }
            all += least;
            println!("  {least:7.1} ns  {name}");
        }
        println!("  {:7.1} ns  mean", all / f64::from(intents().len() as u32));
        println!(
            "  {:7.1} ns  read in as many folders as there are rules for, in turn",
            in_turn(&program, &state, size)
        );
        let intent = &intents()[2].1;
        let started = Instant::now();
        let bytes = evidence(&program, &state, intent);
        let made = started.elapsed();
        let started = Instant::now();
        verify_evidence(&bytes, program.hash(), &bindings(), &[], intent).unwrap();
        println!("  evidence of {} bytes made in {made:?}, checked in {:?}", bytes.len(), started.elapsed());
        let started = Instant::now();
        PolicyProgram::decode(&program.encode()).unwrap();
        println!("  decoded in {:?}", started.elapsed());
    }
}

/// The time of one decision where each is for another rule, so that caches help less.
fn in_turn(program: &PolicyProgram, state: &State, size: usize) -> f64 {
    let count = size / 10 * 3;
    let paths: Vec<String> = (0..count)
        .map(|index| format!("/srv/data{}/set{}/part/1.csv", index * 7 % 50, index * 7 % count))
        .collect();
    let mut least = f64::INFINITY;
    for _ in 0..50 {
        let started = Instant::now();
        for path in &paths {
            let target = Target::Path { path: path.as_bytes(), access: Access::Read, subtree: false };
            black_box(decide(program, state, black_box(&Intent::new(Effect::FsOpen, target))));
        }
        least = least.min(started.elapsed().as_secs_f64() * 1e9 / f64::from(count as u32));
    }
    least
}
