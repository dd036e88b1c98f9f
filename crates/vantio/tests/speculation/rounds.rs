//! Many forks, denied one after another, of one run.

use std::{process::Stdio, thread, time::Duration};

use crate::{Run, answer, entries, going_on, policy, world};

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
        let question = going_on(&world);
        thread::sleep(Duration::from_millis(round as u64 * 37 % 120));
        answer(&world, "deny", &question);
        let is_gone =
            crate::common::eventually(crate::PATIENCE, || entries(&world, "fork.end").len() > round);
        assert!(is_gone, "round {round}");
        // The program is alone, and there are the mounts and descriptors that there were after the first round but for
        // those of threads that came to work, and stay.
        let mut holds = [0; 3];
        let is_clean = crate::common::eventually(crate::PATIENCE, || {
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

#[test]
fn fifty_forks_leave_nothing_behind() {
    rounds(50);
}

#[test]
#[ignore = "takes minutes"]
fn five_hundred_forks_leave_nothing_behind() {
    rounds(500);
}
