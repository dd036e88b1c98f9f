//! What a fork changed is in the run as if it had been changed there.

use std::{fs, thread, time::Duration};

use crate::{
    Run, answer, answer_after,
    common::{World, finish, is_root},
    entries, going_on, policy, world,
};

/// Changes files in every way, and tells so.
const CHANGES: &str = r"
print(attempt('held/a'), flush=True)
open('added', 'a').write('agent\n')
os.unlink('removed')
os.rename('renamed', 'other')
os.unlink('folder/in'); os.rmdir('folder')
os.chmod('mode', 0o600)
";

const NAMES: [&str; 4] = ["added", "removed", "renamed", "mode"];

/// The host changes what the fork has changed; what the run has changed then is no longer what it was made from.
#[test]
fn what_the_host_changed_meanwhile_is_a_conflict() {
    let world = world();
    for name in NAMES.iter().chain(&["folder/in"]) {
        world.write(name, "one\n");
    }
    let run = Run::python(&world, &policy(), CHANGES);
    let question = going_on(&world);
    thread::sleep(Duration::from_millis(600));
    for name in NAMES.iter().chain(&["folder/new"]) {
        world.write(name, "the host's\n");
    }
    answer(&world, "approve", &question);
    run.prints("opened");
    assert_eq!(entries(&world, "fork.end"), ["adopted"]);
    let outcome = finish(&mut world.vantio(["commit", "last"]));
    outcome.assert_code(4);
    for name in NAMES.iter().chain(&["folder/new"]) {
        let path = world.workspace().join(name);
        assert_eq!(fs::read_to_string(&path).unwrap(), "the host's\n", "{}", outcome.describe());
        let told = format!("conflict: {}: the host changed it", path.display());
        assert!(outcome.stdout.contains(&told), "{}", outcome.describe());
    }
}

/// What a fork found is nothing to its original, which comes to it later.
#[test]
fn what_the_host_changed_before_the_original_did_is_none() {
    let world = world();
    world.write("added", "one\n");
    let script = r"
if attempt('held/a') == 'opened':
    open('added', 'a').write('fork\n')
    time.sleep(100)
open('added', 'a').write('original\n')
";
    let run = Run::python(&world, &policy(), script);
    let question = going_on(&world);
    thread::sleep(Duration::from_millis(600));
    world.write("added", "two\n");
    answer(&world, "deny", &question);
    run.prints("");
    assert_eq!(entries(&world, "fork.end"), ["rolled back"]);
    finish(&mut world.vantio(["commit", "last"])).assert_success();
    assert_eq!(fs::read_to_string(world.workspace().join("added")).unwrap(), "two\noriginal\n");
}

/// A parent has a file open that its tool appends to: both go on with the same file.
#[test]
fn a_file_that_a_parent_has_open_is_the_same_file() {
    let world = world();
    let script = r"
import logging
logging.basicConfig(filename='log', level=logging.INFO, format='%(message)s')
logging.info('agent: starts')
subprocess.run(['/bin/sh', '-c', 'rm held/a; echo tool >> log; chmod 640 log'])
logging.info('agent: ends')
time.sleep(0.5)
print(open('log').read(), oct(os.stat('log').st_mode))
";
    let run = Run::python(&world, &policy(), script);
    answer_after(&world, Duration::from_millis(600), "approve");
    run.prints("agent: starts\ntool\nagent: ends\n 0o100640");
    assert_eq!(entries(&world, "fork.end"), ["adopted"]);
}

/// As a file in memory, too.
#[test]
fn a_file_that_a_parent_has_in_memory_is_the_same_file() {
    let world = world();
    world.write("shared", "one\n");
    let script = r"
with open('shared', 'r+b') as file: memory = mmap.mmap(file.fileno(), 4)
subprocess.run(['/bin/sh', '-c', 'rm held/a; echo two > shared'])
print(memory[:])
";
    let run = Run::python(&world, &policy(), script);
    answer_after(&world, Duration::from_millis(600), "approve");
    run.prints("b'two\\n'");
    assert_eq!(entries(&world, "fork.end"), ["adopted"]);
}

/// What a parent writes goes to the file that it has open, whatever that is called by then.
#[test]
fn a_file_that_a_parent_has_open_keeps_its_new_name() {
    let world = world();
    let script = r"
file = open('log', 'a', buffering=1)
file.write('one\n')
subprocess.run(['/bin/sh', '-c', 'rm held/a; mv log log.1; echo new > log'])
file.write('two\n')
print(open('log').read(), open('log.1').read())
";
    let run = Run::python(&world, &policy(), script);
    answer_after(&world, Duration::from_millis(600), "approve");
    run.prints("new\n one\ntwo");
    assert_eq!(entries(&world, "fork.end"), ["rolled back"]);
}

/// Access lists, of whoever runs the tests.
const LISTS: &str = r"
import struct
def grant(name, kind):
    none, own = 0xffffffff, os.getuid()
    list = [(1, 6, none), (2, 6, own), (4, 0, none), (16, 6, none), (32, 0, none)]
    os.setxattr(name, 'system.posix_acl_' + kind, struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *entry) for entry in list))
";

/// What has access lists, and what has none beside it.
const LISTED: &str = r"
for name in ('added', 'mode', 'times'):
    write(name, 'one\n'); os.chmod(name, 0o660); grant(name, 'access')
write('moved', 'x'); write('plain', 'x'); os.chmod('moved', 0o640)
os.mkdir('folder'); write('folder/old', 'x'); os.chmod('folder/old', 0o640)
os.mkdir('bare')
grant('folder', 'default')
os.setxattr('folder', 'user.kept', b'1')
grant('.', 'default')
";

/// The fork changes all that, and later tells what is there.
const LISTED_CHANGES: &str = r"
print(attempt('held/a'), flush=True)
open('added', 'a').write('two\n'); os.chmod('mode', 0o660); os.utime('times', (1, 1))
open('folder/old', 'a').write('two\n'); os.rename('moved', 'folder/moved')
write('folder/new', 'x'); os.mkdir('folder/made'); os.chmod('folder', 0o750)
write('new', 'x'); write('bare/new', 'x'); open('plain', 'a').write('two\n')
if asked: time.sleep(1.5)
os.remove('script.py')
for folder, folders, files in sorted(os.walk('.')):
    for name in sorted([''] + files):
        path = os.path.join(folder, name)
        attributes = {name: os.getxattr(path, name).hex() for name in sorted(os.listxattr(path))}
        print(path, oct(os.stat(path).st_mode), attributes)
";

#[test]
fn access_lists_are_carried_over() {
    let python = |world: &World, script: &str| {
        world.write("script.py", format!("{}{LISTS}{script}", crate::PRELUDE));
        ["/usr/bin/python3", "-B", "script.py"]
    };
    let bare = world();
    bare.bare(&python(&bare, LISTED)).assert_success();
    let expected = bare.bare(&python(&bare, &format!("asked = False{LISTED_CHANGES}"))).stdout;
    assert_eq!(expected.matches("posix_acl_access").count(), 6, "{expected}");
    let world = world();
    world.bare(&python(&world, LISTED)).assert_success();
    let run = Run::new(&world, &policy(), &python(&world, &format!("asked = True{LISTED_CHANGES}")));
    answer_after(&world, Duration::from_millis(600), "approve");
    run.prints(&expected);
    assert_eq!(entries(&world, "fork.end"), ["adopted"]);
}

/// A capability, or an entry for somebody unknown in the run, cannot be copied into memory.
#[test]
fn a_file_that_cannot_be_copied_waits_for_the_answer() {
    let world = world();
    world.write("odd", "one\n");
    let give = if is_root() {
        "os.setxattr('odd', 'security.capability', bytes.fromhex('0100000200040000000000000000000000000000'))"
    } else {
        "os.getuid = lambda: 12345\ngrant('odd', 'access')"
    };
    world.write("give.py", format!("{}{LISTS}{give}", crate::PRELUDE));
    world.bare(&["/usr/bin/python3", "give.py"]).assert_success();
    let script = r"
print(attempt('held/a'), flush=True)
os.chmod('odd', 0o640)
open('odd', 'a').write('two\n')
print(oct(os.stat('odd').st_mode), open('odd').read())
";
    let run = Run::python(&world, &policy(), script);
    answer_after(&world, Duration::from_millis(600), "approve");
    run.prints("opened\n0o100640 one\ntwo");
    assert_eq!(entries(&world, "fork.end"), ["adopted"]);
}

#[test]
fn what_the_workspace_and_tmp_look_like_is_carried_over() {
    let world = world();
    let script = r"
print(attempt('held/a'), flush=True)
os.chmod('.', 0o750); os.chmod('/tmp', 0o700); os.utime('.', (1e9, 1e9))
time.sleep(1.5)
for path in '.', '/tmp': print(oct(os.stat(path).st_mode))
print(os.stat('.').st_mtime)
";
    let run = Run::python(&world, &policy(), script);
    answer_after(&world, Duration::from_millis(600), "approve");
    run.prints("opened\n0o40750\n0o40700\n1000000000.0");
    assert_eq!(entries(&world, "fork.end"), ["adopted"]);
}

/// An ordinary user's folder that is closed to its owner.
#[test]
fn what_is_in_a_closed_folder_is_carried_over() {
    let world = world();
    world.write("closed/old", "x");
    let script = r"
os.chmod('closed', 0o500); os.chmod('.', 0o500)
print(attempt('held/a'), flush=True)
os.chmod('.', 0o700); os.chmod('closed', 0o700)
os.remove('closed/old'); write('closed/new', 'x'); write('new', 'x'); os.chmod('new', 0o400)
os.chmod('closed', 0o500); os.chmod('.', 0o500)
time.sleep(1.5)
print(os.listdir('closed'), sorted(os.listdir('.')), oct(os.stat('closed').st_mode), oct(os.stat('.').st_mode))
";
    let run = Run::python(&world, &policy(), script);
    answer_after(&world, Duration::from_millis(600), "approve");
    run.prints("opened\n['new'] ['closed', 'held', 'new', 'script.py'] 0o40500 0o40500");
    assert_eq!(entries(&world, "fork.end"), ["adopted"]);
}
