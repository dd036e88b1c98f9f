//! Many at once: what is alike is one question, and what does not wait goes on.

use crate::{
    PATIENCE, POLICY, Run, answer,
    common::{World, eventually, parse},
    entries, id, question, questions, questions_when, world,
};

/// Opens one file in many threads.
fn opens_in_threads(count: usize) -> String {
    format!(
        "
threading.stack_size(128 * 1024)
results = []
def open_it():
    try: results.append(os.open('held/a', os.O_RDONLY))
    except PermissionError: results.append(-1)
threads = [threading.Thread(target=open_it) for _ in range({count})]
for thread in threads: thread.start()
for thread in threads: thread.join()
refused = results.count(-1)
print(len(results) - refused, refused)
"
    )
}

#[test]
fn twenty_five_that_are_alike_are_one_question() {
    let world = world();
    let run = Run::python(&world, POLICY, &opens_in_threads(25));
    let found = questions_when(&world, |found| found.len() == 1 && found[0]["waiting"] == 25);
    assert_eq!(found[0]["asked"], 25, "{found:#?}");
    let told = world.ask(&["approve", id(&found[0]), "--json"]);
    assert_eq!(parse(&told)["approved"][0]["waited"], 25, "{told}");
    run.prints("25 0");
    let holds = entries(&world, &["fs.open"]).into_iter().filter(|(_, verdict)| verdict == "Hold").count();
    assert_eq!((holds, entries(&world, &["hold.answer"]).len()), (1, 1));
}

#[test]
fn what_is_too_many_to_wait_is_refused() {
    let world = world();
    let run = Run::python(&world, POLICY, &opens_in_threads(260));
    let found = questions_when(&world, |found| found.len() == 1 && found[0]["waiting"] == 256);
    // Whoever comes after the answer would ask again.
    let refused = || {
        let verdicts = entries(&world, &["fs.open"]);
        verdicts.iter().filter(|(_, verdict)| verdict == "Collapse").count()
    };
    assert!(eventually(PATIENCE, || refused() == 4), "{} were refused", refused());
    world.ask(&["approve", id(&found[0])]);
    run.prints("256 4");
    let why = world.ask(&["why", "last"]);
    assert!(why.contains("too many calls wait for an answer already"), "{why}");
}

#[test]
fn other_threads_go_on() {
    let world = world();
    let script = "
waiting = threading.Thread(target=lambda: os.unlink('held/a'))
waiting.start()
sys.stdin.readline()
for n in range(200):
    with open(f'free{n}', 'w') as file: file.write('x')
    os.unlink(f'free{n}')
print(waiting.is_alive(), os.path.exists('held/a'), flush=True)
os.mkdir('held/new')
waiting.join()
print(sorted(os.listdir('held')))
";
    let mut run = Run::python(&world, POLICY, script);
    let first = question(&world);
    run.tell();
    // It got as far as to what waits as well.
    let found = questions(&world, 2);
    let second = found.iter().find(|question| question["id"] != first["id"]).unwrap();
    world.ask(&["approve", id(second)]);
    questions(&world, 1);
    world.ask(&["approve", id(&first)]);
    run.prints("True True\n['b', 'c', 'new']");
}

#[test]
fn every_worker_is_free_while_calls_wait() {
    let world = world();
    let script = "
def open_it(n):
    os.open(f'held/{n}', os.O_RDONLY | os.O_CREAT)
threads = [threading.Thread(target=open_it, args=(n,)) for n in range(40)]
for thread in threads: thread.start()
sys.stdin.readline()
for n in range(100): open(f'free{n}', 'w').close()
print('free', flush=True)
for thread in threads: thread.join()
print(len(os.listdir('held')))
";
    let mut run = Run::python(&world, POLICY, script);
    questions(&world, 40);
    run.tell();
    // Nothing is answered before it has made its files: it would hang here.
    let is_free = || world.ask(&["ledger", "list", "--limit", "0", "--op", "fs.open"]).contains("/free99");
    assert!(eventually(PATIENCE, is_free), "what needs no answer waits");
    world.ask(&["approve", "--all"]);
    run.prints("free\n43");
}

#[test]
fn two_runs_wait_by_themselves() {
    let (world, script) = (world(), "cat held/a || echo kept");
    let runs = [Run::shell(&world, POLICY, script), Run::shell(&world, POLICY, script)];
    let found = questions(&world, 2);
    assert_ne!(found[0]["run"], found[1]["run"]);
    assert_ne!(found[0]["id"], found[1]["id"]);
    assert_eq!(found[0]["intent_hash"], found[1]["intent_hash"]);
    let run = found[0]["run"].as_str().unwrap();
    let own = parse(&world.ask(&["approvals", run, "--json"]));
    assert_eq!(own["approvals"].as_array().unwrap().len(), 1, "{own:#}");
    world.ask(&["approve", "--all", "--run", run]);
    answer(&world, "deny", &[]);
    let mut printed: Vec<String> = runs.into_iter().map(|run| run.end().stdout).collect();
    printed.sort();
    assert_eq!(printed, ["a\n", "kept\n"]);
}

#[test]
fn lists_of_runs_tell_how_many_wait() {
    let world = World::new();
    world.write("held/a", "");
    let run = Run::shell(&world, POLICY, "cat held/a");
    question(&world);
    let runs = parse(&world.ask(&["ps", "--json"]));
    assert_eq!(runs["runs"][0]["waiting"], 1, "{runs:#}");
    assert!(world.ask(&["ps"]).contains("1 to answer"));
    answer(&world, "approve", &[]);
    run.prints("");
}
