//! Shells, version control, package managers and compilers.

use std::{
    fs,
    sync::{Arc, OnceLock},
};

use crate::{
    common::{WORKSPACE, World, finish, server::Http},
    permitting, same, toolchain,
};

fn empty(_: &World) {}

#[test]
fn bash() {
    let script = r#"
set -o pipefail
cat > here.txt <<HERE
home is here
HERE
diff <(sort here.txt) <(echo "home is here") && echo same
for i in {1..20}; do (echo "$i" > "part$i") & done; wait
cat part* | sort -n | md5sum
read -r first < here.txt; echo "$first"
exec 9> kept.txt; echo kept >&9; exec 9>&-
ls | wc -l; mkdir -p deep/er && cd deep/er && pwd -P | sed 's|.*/workspace|workspace|'
cd ../..; rm -r deep; mv here.txt moved.txt; ln -s moved.txt link; readlink link
trap 'echo trapped' USR1; kill -USR1 $$; [[ -t 1 ]] || echo no terminal
printf '%s\n' *.txt; test -e /proc/self/status && echo proc; echo "$BASHPID" | grep -c .
seq 100000 | tail -n 1; false | true; echo "pipe ${PIPESTATUS[0]}"
timeout 0.2 sleep 10; echo "timeout $?"
exit 3"#;
    let (_, governed) = same(empty, WORKSPACE, script);
    let changes = governed.changes();
    assert!(changes.contains(&("added".to_owned(), governed.workspace().join("moved.txt"))), "{changes:?}");
    assert_eq!(changes.len(), 23, "{changes:?}");
}

/// A repository of the host with two branches that conflict.
fn with_origin(world: &World) {
    let script = r"
git init -q -b main ../outside/origin && cd ../outside/origin
seq 100 > numbers; echo one > file; git add -A; git commit -q -m first
git checkout -q -b topic; echo topic >> numbers; git commit -q -a -m topic
git checkout -q main; sed -i 's/^50$/fifty/' numbers; git commit -q -a -m main
git tag v1; git gc -q";
    finish(crate::with_settings(world.command("/bin/bash").args(["-euc", script]))).assert_success();
}

#[test]
fn git_clones_commits_and_rebases() {
    let script = r#"
git clone -q ../outside/origin clone 2>&1 && cd clone || exit 9
git checkout -q topic && git rebase -q main 2>&1; git log --format='%H %s'
for i in 1 2 3; do echo $i > new$i; git add -A; git commit -q -m "new $i"; done
git -c sequence.editor="sed -i '2s/pick/squash/'" -c core.editor=true rebase -q -i HEAD~3 2>&1
git stash list; git status --porcelain; git log --oneline --graph --all | head -n 20
git branch other HEAD~1; git merge -q other; git worktree add -q ../tree v1 2>&1; ls ../tree
git gc -q; git fsck 2>&1; git rev-parse HEAD; git diff v1 --stat"#;
    let (bare, governed) = same(with_origin, WORKSPACE, script);
    // What git would run or read as configuration comes only when it is asked for.
    finish(&mut governed.vantio(["commit", "last"])).assert_code(4);
    governed.ask(&["commit", "last", "--hazards"]);
    let check = "cd clone; git fsck; git status --porcelain; git log --format=%H; git worktree list | wc -l";
    let [expected, actual] = [&bare, &governed].map(|world| world.bare(&["/bin/bash", "-c", check]).stdout);
    assert_eq!(actual, expected);
}

/// A repository of the host with a hook.
fn with_hook(world: &World) {
    let script = r"
git init -q -b main repo && cd repo; echo one > file; git add -A; git commit -q -m first
printf '#!/bin/sh\necho checked; git diff --cached --name-only\n' > .git/hooks/pre-commit
chmod 755 .git/hooks/pre-commit";
    finish(crate::with_settings(world.command("/bin/bash").args(["-euc", script]))).assert_success();
}

#[test]
fn git_runs_the_hooks_that_a_repository_has_and_stashes() {
    let script = r"
cd repo || exit 9; echo two >> file; git commit -q -a -m second 2>&1; git log --format='%H %s'
echo three >> file; git stash -q; cat file; git stash pop -q; git status --porcelain; cat file";
    let (_, governed) = same(with_hook, WORKSPACE, script);
    let why: serde_json::Value = serde_json::from_str(&governed.ask(&["why", "last", "--json"])).unwrap();
    assert_eq!(why["refusals"], serde_json::json!([]));
}

/// A wheel made by hand, so that nothing needs a package index.
const MAKE_WHEEL: &str = r#"
import zipfile
with zipfile.ZipFile("sample-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("sample/__init__.py", "def answer():\n    return 42\n")
    wheel.writestr("sample-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: sample\nVersion: 1.0\n")
    wheel.writestr("sample-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("sample-1.0.dist-info/entry_points.txt", "[console_scripts]\nsample-answer = sample:answer\n")
    wheel.writestr("sample-1.0.dist-info/RECORD", "sample/__init__.py,,\nsample-1.0.dist-info/METADATA,,\nsample-1.0.dist-info/WHEEL,,\nsample-1.0.dist-info/entry_points.txt,,\nsample-1.0.dist-info/RECORD,,\n")
"#;

#[test]
fn python_makes_a_venv_and_pip_installs_a_wheel() {
    let layout = |world: &World| {
        finish(world.command("/usr/bin/python3").args(["-c", MAKE_WHEEL])).assert_success();
    };
    let script = r"
/usr/bin/python3 -m venv venv && venv/bin/pip install --disable-pip-version-check --no-index ./sample-1.0-py3-none-any.whl
venv/bin/python -c 'import sample; print(sample.answer(), sample.__file__)'; venv/bin/sample-answer; echo $?
venv/bin/pip list --disable-pip-version-check | grep sample; venv/bin/pip uninstall -q -y sample; venv/bin/python -c 'import sample' 2>/dev/null; echo $?";
    let (_, governed) = same(layout, WORKSPACE, script);
    let config = governed.workspace().join("venv/pyvenv.cfg");
    assert!(governed.changes().contains(&("added".to_owned(), config)));
}

#[test]
fn python_threads_processes_and_asyncio() {
    let program = r#"
import asyncio, concurrent.futures, multiprocessing, os, pathlib, sqlite3, subprocess, tempfile, threading

def write(number):
    path = pathlib.Path(f"thread{number}")
    path.write_text(str(number * number))
    return int(path.read_text())

def square(number):
    return number * number

async def session(reader, writer):
    writer.write((await reader.readline()).upper())
    await writer.drain()
    writer.close()

async def ask(port, number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"hello {number}\n".encode())
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line.decode().strip()

async def talk():
    server = await asyncio.start_server(session, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        answers = await asyncio.gather(*(ask(port, number) for number in range(50)))
    process = await asyncio.create_subprocess_exec("/bin/echo", "child", stdout=asyncio.subprocess.PIPE)
    return answers, (await process.communicate())[0]

if __name__ == "__main__":
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        print(sum(pool.map(write, range(200))))
    with multiprocessing.Pool(4) as pool:
        print(pool.map(square, range(10)))
    answers, child = asyncio.run(talk())
    print(len(answers), answers[-1], child)
    with tempfile.TemporaryDirectory() as directory:
        connection = sqlite3.connect(os.path.join(directory, "db"))
        connection.execute("create table t (x)"); connection.executemany("insert into t values (?)", [(i,) for i in range(1000)])
        connection.commit()
        print(connection.execute("select sum(x) from t").fetchone())
    print(subprocess.run(["sh", "-c", "exit 7"]).returncode, threading.active_count())
"#;
    let layout = |world: &World| drop(world.write("program.py", program));
    let (_, governed) = same(layout, WORKSPACE, "/usr/bin/python3 -B program.py");
    assert_eq!(governed.changes().len(), 200);
}

/// A package beside the workspace, packed as npm packs it.
fn with_npm_package(world: &World) {
    fs::create_dir_all(world.outside().join("dep")).unwrap();
    let write = |name: &str, text: &str| fs::write(world.outside().join("dep").join(name), text).unwrap();
    write(
        "package.json",
        r#"{"name": "dep", "version": "1.0.0", "main": "index.js", "bin": {"dep-answer": "cli.js"}}"#,
    );
    write("index.js", "module.exports = () => 42;\n");
    write("cli.js", "#!/usr/bin/env node\nconsole.log(require('./index.js')());\n");
    finish(world.command("/usr/bin/npm").args(["pack", "--silent"]).current_dir(world.outside().join("dep")))
        .assert_success();
    world.write("package.json", r#"{"name": "app", "version": "1.0.0"}"#);
    let _ = fs::remove_dir_all(world.home().join(".npm"));
}

#[test]
fn npm_installs_a_tarball() {
    let script = "npm install --silent --offline --no-audit --no-fund ../outside/dep/dep-1.0.0.tgz; echo $?; node -e 'console.log(require(\"dep\")())'; npx --offline dep-answer; ls node_modules/.bin; grep -c resolved package-lock.json";
    let (_, governed) = same(with_npm_package, WORKSPACE, script);
    let changes = governed.changes();
    assert!(changes.iter().any(|(_, path)| path.ends_with("node_modules/dep/index.js")), "{changes:?}");
}

#[test]
fn npm_installs_from_a_registry() {
    let pack = World::new();
    with_npm_package(&pack);
    let tarball = fs::read(pack.outside().join("dep/dep-1.0.0.tgz")).unwrap();
    let address: Arc<OnceLock<String>> = Arc::default();
    let own = Arc::clone(&address);
    let registry = Http::serving(move |path| {
        let metadata = || METADATA.replace("ADDRESS", own.get().map_or("", String::as_str)).into_bytes();
        if path.contains("/-/") { tarball.clone() } else { metadata() }
    });
    address.set(registry.address.to_string()).unwrap();
    let script = format!(
        "npm install --silent --no-audit --no-fund --registry {} dep; echo $?; node -e 'console.log(require(\"dep\")())'",
        registry.url("/")
    );
    let layout = |world: &World| drop(world.write("package.json", r#"{"name": "app", "version": "1.0.0"}"#));
    same(layout, &permitting(&[registry.address.to_string()]), &script);
    assert!(registry.requests().len() >= 4, "{:?}", registry.requests());
}

/// What a registry says about the package.
const METADATA: &str = r#"{"name": "dep", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {"name": "dep",
  "version": "1.0.0", "main": "index.js", "dist": {"tarball": "http://ADDRESS/dep/-/dep-1.0.0.tgz"}}}}"#;

#[test]
fn cargo_builds_a_crate_with_a_build_script_and_a_macro() {
    let layout = |world: &World| {
        world.write("app/Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\nmacros = { path = \"../macros\" }\n");
        world.write("app/build.rs", "fn main() { std::fs::write(std::path::Path::new(&std::env::var(\"OUT_DIR\").unwrap()).join(\"made.rs\"), \"const MADE: u32 = 40;\").unwrap(); }\n");
        world.write("app/src/main.rs", "include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\"));\nfn main() { println!(\"{}\", MADE + macros::two!()); }\n#[test]\nfn adds() { assert_eq!(MADE + macros::two!(), 42); }\n");
        world.write("macros/Cargo.toml", "[package]\nname = \"macros\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[lib]\nproc-macro = true\n");
        world.write("macros/src/lib.rs", "use proc_macro::TokenStream;\n#[proc_macro]\npub fn two(_: TokenStream) -> TokenStream { \"2\".parse().unwrap() }\n");
    };
    let script = format!(
        "export PATH={}/bin:$PATH CARGO_HOME=$HOME/.cargo; cd app; cargo build --quiet --offline; echo $?; target/debug/app; cargo test --quiet --offline 2>&1 | grep -c 'test result: ok'; cargo clean --quiet; ls",
        toolchain()
    );
    same(layout, WORKSPACE, &script);
}

#[test]
fn make_builds_in_parallel() {
    let layout = |world: &World| {
        for number in 0..24 {
            world.write(
                &format!("part{number}.c"),
                format!("int part{number}(void) {{ return {number}; }}\n"),
            );
        }
        let calls: Vec<_> = (0..24).map(|number| format!("part{number}()")).collect();
        let declarations: Vec<_> = (0..24).map(|number| format!("int part{number}(void);")).collect();
        let declarations = declarations.join("\n");
        let sum = calls.join(" + ");
        world.write(
            "main.c",
            format!(
                "#include <stdio.h>\n{declarations}\nint main(void) {{ printf(\"%d\\n\", {sum}); return 6; }}\n"
            ),
        );
        world.write("Makefile", "OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))\nprogram: $(OBJECTS)\n\tcc -o $@ $^\nclean:\n\trm -f *.o program\n");
    };
    let (_, governed) = same(
        layout,
        WORKSPACE,
        "make --silent -j4 && make -j4 --silent; ./program; echo $?; ls *.o | wc -l; ar rcs all.a *.o && nm all.a | grep -c ' T '",
    );
    let program = governed.workspace().join("program");
    assert!(governed.changes().contains(&("added".to_owned(), program)));
}

#[test]
fn tar_cp_rsync_like_tools_keep_what_they_copy() {
    let script = r"
mkdir tree; echo x > tree/file; ln tree/file tree/link; ln -s file tree/symlink; mkfifo tree/fifo; chmod 4711 tree/file
tar cf tree.tar tree && mkdir copy && tar xpf tree.tar -C copy && find copy -printf '%P %y %m %n %l\n' | sort
cp -a tree again && find again -printf '%P %y %m %l\n' | sort; stat -c %h again/file
touch -d '2020-01-01' again/file; find again -newermt 2021-01-01 -type f | sort; du -s --apparent-size again | cut -f1
dd if=/dev/zero of=zeros bs=1M count=3 status=none; gzip -k zeros; gunzip -c zeros.gz | cmp - zeros && echo equal
flock lock -c 'echo locked'; mktemp -d | grep -c /tmp/; df . > /dev/null && echo df";
    same(empty, WORKSPACE, script);
}

#[test]
fn a_program_starts_at_once_after_it_was_written() {
    // While others compete for the processor, whoever opened the file for it is late to close it.
    let script = r#"
for i in 1 2 3; do (while :; do :; done) & done; trap 'kill $(jobs -p)' EXIT
/usr/bin/python3 - <<'PYTHON'
import os
program = open("/bin/true", "rb").read()
for round in range(300):
    name = f"program-{round % 3}"
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o755)
    os.write(file, program)
    os.close(file)
    child = os.posix_spawn(name, [name], {})
    assert os.waitpid(child, 0)[1] == 0
print("started")
PYTHON"#;
    let (_, governed) = same(empty, WORKSPACE, script);
    assert_eq!(governed.changes().len(), 3);
}
