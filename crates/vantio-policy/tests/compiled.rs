//! The compiled form: no allocation while deciding, and work that hardly grows with the
//! number of rules.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fmt::Write as _,
    hint::black_box,
    net::SocketAddr,
    time::Instant,
};

use vantio_core::{Access, Effect, Endpoint, Intent, Target, Transport};
use vantio_policy::{Bindings, PolicyProgram, State, compile, decide};

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
        "version: 1\nfs:\n  read: [/usr, /etc, '${{workspace}}', {}]\n  write: ['${{workspace}}', {}]\n  deny: ['**/.env', '**/*.pem', '**/id_*', ~/.ssh, {}]\nexec: {{allow: [git, '/usr/bin/*', {}]}}\nnet: {{allow: ['*.pypi.org:443', '10.0.0.0/8:5432', {}], deny: ['*.internal']}}\n",
        list(&|index| format!("/srv/data{}/set{index}/**", index % 50), count * 3),
        list(&|index| format!("${{workspace}}/out/build{index}/*.o"), count),
        list(&|index| format!("~/secrets/place{index}/key"), count * 2),
        list(&|index| format!("/opt/tools/tool{index}/bin/*"), count),
        list(&|index| format!("host{index}.example{}.com:443", index % 100), count * 2),
    );
    let program = compile(source.as_bytes(), "policy.yaml").unwrap().program;
    let bindings = Bindings {
        workspace: b"/home/u/project".to_vec(),
        home: b"/home/u".to_vec(),
        tmp: b"/tmp".to_vec(),
        aliases: vec![(b"/bin".to_vec(), b"/usr/bin".to_vec())],
        programs: vec![("git".into(), vec![b"/usr/bin/git".to_vec()])],
        host_addresses: vec!["192.168.1.2".parse().unwrap()],
    };
    let mut state = State::new(&program, bindings);
    state.learn_name("files.pypi.org", "151.101.0.223".parse().unwrap(), 0);
    (program, state)
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
#[ignore = "prints measurements"]
fn print_times() {
    const ROUNDS: u32 = 200_000;
    for size in [100, 1000, 10_000] {
        let (program, state) = policy(size);
        println!("{size} rules");
        let mut all = 0.0;
        for (name, intent) in intents() {
            let started = Instant::now();
            for _ in 0..ROUNDS {
                black_box(decide(&program, &state, black_box(&intent)));
            }
            let each = started.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS);
            all += each;
            println!("  {each:7.1} ns  {name}");
        }
        println!("  {:7.1} ns  mean", all / f64::from(intents().len() as u32));
    }
}
