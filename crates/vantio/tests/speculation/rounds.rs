//! Many forks, denied one after another, of one run.

use std::{collections::BTreeSet, process::Stdio, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    PATIENCE, Run, answer, answer_after,
    common::{World, eventually, finish, parse},
    entries, policy, world,
};

/// Tries what is held as often as it is told; a fork does something by chance instead.
const SCRIPT: &str = r"
import random
for round in range(int(sys.argv[1])):
    if attempt('held/a') == 'opened':
        random.seed(os.getpid() * 7919 + round)
        while True:
            chance = random.randrange(9)
            name = f'made-{random.randrange(4)}'
            try:
                if chance == 0: write(name, 'x' * random.randrange(100000))
                elif chance == 1: os.mkdir(name)
                elif chance == 2: os.rename(name, 'held/' + name)
                elif chance == 3: os.unlink('held/' + random.choice('bc'))
                elif chance == 4: subprocess.run(['/bin/sh', '-c', f'echo > {name}; (setsid sleep 50 &) ; true'])
                elif chance == 5 and os.fork() == 0: time.sleep(random.random()); os._exit(0)
                elif chance == 6: print('never seen', flush=True)
                elif chance == 7: write('/tmp/' + name, 'x')
                elif chance == 8: threading.Thread(target=time.sleep, args=(0.1,)).start()
            except (OSError, subprocess.SubprocessError): pass
            time.sleep(random.random() / 20)
    sys.stdin.readline()
print(sorted(os.listdir('.')), sorted(os.listdir('held')), os.listdir('/tmp'))
";

fn rounds(count: usize) {
    let world = world();
    world.write("script.py", format!("{}{SCRIPT}", crate::PRELUDE));
    let program = ["/usr/bin/python3", "-B", "script.py", &count.to_string()];
    let mut run = Run::with_input(&world, &policy(), &program, Stdio::piped());
    let mut before = None;
    for round in 0..count {
        answer_after(&world, Duration::from_millis(round as u64 * 37 % 120), "deny");
        let is_gone = eventually(PATIENCE, || entries(&world, "fork.end").len() > round);
        assert!(is_gone, "round {round}");
        // The program is alone, and there are the mounts and descriptors that there were after the first round but for
        // those of threads that came to work, and stay.
        let mut holds = [0; 3];
        let is_clean = eventually(PATIENCE, || {
            holds = run.holds();
            let first: [usize; 3] = *before.get_or_insert(holds);
            holds[0] == 1 && holds[1] == first[1] && holds[2] <= first[2] + 8
        });
        assert!(is_clean, "round {round}: {holds:?} after {before:?}");
        run.tell();
    }
    let outcome = run.end();
    outcome.assert_success();
    assert_eq!(outcome.stdout.trim(), "['held', 'script.py'] ['a', 'b', 'c'] []", "{}", outcome.describe());
    assert!(world.changes().is_empty(), "{:#?}", world.changes());
    assert_eq!(entries(&world, "fork.end"), vec!["rolled back"; count]);
}

/// The answer comes just when the run is about to go on as a fork, which is a quarter of a second after the question.
#[test]
fn an_answer_at_any_moment_is_for_one_call() {
    answers(24, |round| 160 + 6 * round);
    // Once a fork is the run there are no others: a run has only one that is approved.
    for step in 0..20 {
        answers(3, |_| 236 + 2 * step);
    }
}

/// Answers `count` calls, each when it has waited for so many milliseconds.
fn answers(count: usize, moment: impl Fn(u64) -> u64) {
    let world = world();
    for step in 0..count {
        world.write(&format!("held/{step}"), "");
    }
    let script = format!(
        "for step in range({count}):\n    print(step, attempt(f'held/{{step}}'), file=open('log', 'a'))\nprint(open('log').read())"
    );
    let run = Run::python(&world, &policy(), &script);
    let mut known = BTreeSet::new();
    for round in 0..count {
        let verb = if round % 3 == 0 { "deny" } else { "approve" };
        loop {
            let question = next_question(&world, &known);
            thread::sleep(Duration::from_millis(moment(round as u64)));
            known.insert(question["id"].to_string());
            let told = finish(&mut world.vantio([verb, question["id"].as_str().unwrap()]));
            // What a fork has asked that is gone by now is not asked any more.
            if !told.stderr.starts_with("E_APPROVAL_UNKNOWN") {
                told.assert_success();
                break;
            }
        }
    }
    let expected = (0..count).map(|step| match step % 3 {
        0 => format!("{step} Permission denied"),
        _ => format!("{step} opened"),
    });
    run.prints(&expected.collect::<Vec<_>>().join("\n"));
}

/// The first question that is not known.
fn next_question(world: &World, known: &BTreeSet<String>) -> Value {
    let mut found = None;
    let is_asked = eventually(PATIENCE, || {
        let list = parse(&world.ask(&["approvals", "--json"]));
        let is_new = |question: &&Value| !known.contains(&question["id"].to_string());
        found = list["approvals"].as_array().unwrap().iter().find(is_new).cloned();
        found.is_some()
    });
    assert!(is_asked, "no question but {known:?}");
    found.unwrap()
}

/// A signal comes just when the run is about to go on as a fork.
#[test]
fn a_signal_at_any_moment_is_heard() {
    let script = "\
signal.signal(signal.SIGUSR1, lambda *_: print('heard', flush=True))
print(attempt('held/a'))";
    for step in 0..20 {
        let world = world();
        let run = Run::python(&world, &policy(), script);
        let question = next_question(&world, &BTreeSet::new());
        thread::sleep(Duration::from_millis(236 + 2 * step));
        let pid = question["pids"][0].as_i64().and_then(|pid| Pid::from_raw(i32::try_from(pid).unwrap()));
        kill_process(pid.unwrap(), Signal::USR1).unwrap();
        thread::sleep(Duration::from_millis(100));
        answer(&world, "approve", &question);
        run.prints("heard\nopened");
    }
}

#[test]
fn fifty_forks_leave_nothing_behind() {
    rounds(50);
}

#[test]
#[ignore = "takes minutes"]
fn five_hundred_forks_leave_nothing_behind() {
    rounds(500);
}
