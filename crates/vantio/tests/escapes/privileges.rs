//! Programs that would run as somebody else, programs that the policy closes, and the terminal.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::{
    attack,
    common::{CLOSED, World, binary, finish},
};

#[test]
fn setuid_programs_gain_nothing() {
    let world = World::new();
    attack(&world, CLOSED, include_str!("attacks/privileges.py"), &[]);
}

#[test]
fn a_closed_program_runs_by_no_detour() {
    let world = World::new();
    let closed =
        format!("{CLOSED}# id is closed\n").replace("exec: {allow:", "exec: {deny: [/usr/bin/id], allow:");
    let script = r#"
import subprocess

def output(*command):
    return "uid=" in subprocess.run(command, capture_output=True, text=True, timeout=20).stdout

def from_memory():
    with open("/usr/bin/id", "rb") as program:
        handle = os.memfd_create("id")
        os.write(handle, program.read())
    return output(f"/proc/self/fd/{handle}")

def by_descriptor():
    handle = os.open("/usr/bin/id", os.O_PATH)
    child = os.fork()
    if child == 0:
        try:
            os.execve(handle, ["id"], {})
        finally:
            os._exit(9)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

attempt("by path", lambda: output("/usr/bin/id"))
attempt("by symlink", lambda: (os.symlink("/usr/bin/id", "link"), output("./link"))[1])
attempt("by the loader", lambda: output("/lib64/ld-linux-x86-64.so.2", "/usr/bin/id"))
attempt("by a shell", lambda: output("/bin/sh", "-c", "id"))
attempt("by env", lambda: output("/usr/bin/env", "id"))
attempt("by descriptor", by_descriptor)
attempt("by proc", lambda: output(f"/proc/self/root/usr/bin/id"))
"#;
    attack(&world, &closed, script, &[]);
    world.assert_refused("proc.exec", "/usr/bin/id");
}

#[test]
fn a_program_is_judged_that_a_loader_or_a_script_makes_of_another() {
    let world = World::new();
    let closed = format!("{CLOSED}# echo is closed\n")
        .replace("exec: {allow:", "exec: {deny: [\"/usr/bin/ech*\"], allow:");
    let script = r##"
import glob, subprocess
LOADER = "/lib64/ld-linux-x86-64.so.2"
assert subprocess.run([LOADER, "--library-path", "/nowhere", "--inhibit-cache", "/bin/true"]).returncode in (0, 127)
assert subprocess.run([LOADER, "/bin/true"]).returncode == 0
assert "libc.so" in subprocess.run(["/usr/bin/ldd", "/bin/true"], capture_output=True, text=True).stdout

def output(*command, **environment):
    run = subprocess.run([*command, "uid="], capture_output=True, text=True, timeout=20, env=environment or None)
    return "uid=" in run.stdout

def script(name, line, mode):
    with open(name, "w") as file:
        file.write(line + "\n")
    os.chmod(name, mode)
    return f"./{name}"

os.mkdir("-d")
os.symlink("/usr/bin/echo", "-d/echo")
os.symlink("/usr/bin/true", "echo")
attempt("a folder that looks like an option", lambda: output(LOADER, "-d/echo", "/bin/true"))
attempt("a value that looks like a program", lambda: output(LOADER, "--library-path", "/bin/true", "/usr/bin/echo"))
attempt("an option of newer loaders", lambda: output(LOADER, "--argv0", "/bin/true", "/usr/bin/echo"))
attempt("a question after an option", lambda: output(LOADER, "--library-path", "/usr/bin", "--version"))
attempt("a name among the libraries", lambda: output(LOADER, "echo", LD_LIBRARY_PATH="/usr/bin"))
attempt("a loader by a loader", lambda: output(LOADER, LOADER, "/usr/bin/echo"))
attempt("a loader of a script", lambda: output(script("loads", f"#!{LOADER} /usr/bin/echo", 0o755)))
attempt("a script of a script", lambda: output(script("again", "#!./loads", 0o755)))
attempt("a script that nobody may read", lambda: output(script("closed", "#!/usr/bin/echo", 0o111)))
"##;
    attack(&world, &closed, script, &[]);
    world.assert_refused("proc.exec", "/usr/bin/echo");
    for why in ["an unknown option of a loader: --argv0", "a loader's program without its folder: echo"] {
        world.assert_refused("proc.exec", why);
    }
    world.assert_refused("proc.exec", "a loader behind another file: ");
}

#[test]
fn a_script_needs_its_interpreter_too() {
    let world = World::new();
    let script = world.write("script", "#!/usr/bin/perl\nprint \"REACHED\\n\";\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let policy = CLOSED.replace("exec: {allow:", "exec: {deny: [/usr/bin/perl], allow:");
    let outcome = world.run(&policy, &["/bin/sh", "-c", "./script; echo $?"]);
    assert!(!outcome.stdout.contains("REACHED"), "{}", outcome.describe());
    assert!(outcome.stdout.ends_with("126\n"), "{}", outcome.describe());
    world.assert_refused("proc.exec", "perl");
}

#[test]
fn the_terminal_takes_no_typing_from_the_run() {
    let world = World::new();
    let script = "import fcntl, os\nfor request, argument in ((0x5412, b'x'), (0x541c, b'\\x03'), (0x541c, b'\\x02')):\n    for fd in (0, os.open('/dev/tty', os.O_RDWR)):\n        try:\n            fcntl.ioctl(fd, request, argument)\n            print('REACHED', request)\n        except OSError as error:\n            print('refused', error)\nprint('DONE')\n";
    world.write("type.py", script);
    world.governed(CLOSED, &[]);
    let policy = world.path().join("policy.yaml");
    let line =
        format!("{} run --policy {} -- /usr/bin/python3 type.py", binary().display(), policy.display());
    let mut terminal = world.command("/usr/bin/script");
    let outcome = finish(terminal.args(["-qec", &line, "/dev/null"]));
    assert!(outcome.stdout.contains("refused"), "{}", outcome.describe());
    assert!(outcome.stdout.contains("DONE"), "{}", outcome.describe());
    assert!(!outcome.stdout.contains("REACHED"), "{}", outcome.describe());
}

#[test]
fn credentials_in_the_environment_do_not_pass() {
    let world = World::new();
    let mut command: Command = world.governed(CLOSED, &["/usr/bin/env"]);
    for name in ["AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "OPENAI_API_KEY", "DB_PASSWORD", "SSH_AUTH_SOCK"] {
        command.env(name, "must-not-pass");
    }
    let outcome = finish(command.env("EDITOR", "vi"));
    outcome.assert_success();
    assert!(!outcome.stdout.contains("must-not-pass"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("EDITOR=vi"), "{}", outcome.stdout);
}
