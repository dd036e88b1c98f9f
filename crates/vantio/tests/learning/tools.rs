//! Tools that nobody changed: shells, Python, npm, cargo, git.

use std::{
    io::Write as _,
    net::{TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use crate::{
    LEARN, closes,
    common::{World, finish, which},
    learning, with_files,
};

#[test]
fn a_shell_script_with_pipes_and_temporary_files() {
    let script = r#"
set -eu
mkdir -p build/parts
for name in src/*.txt; do sort "$name" > "build/parts/$(basename "$name")"; done
cat build/parts/* | sort -n | uniq > build/all
scratch=$(mktemp -d); cp build/all "$scratch/copy"; wc -l < "$scratch/copy"; rm -r "$scratch"
mv build/all build/numbers; ln -s numbers build/latest; rm -r build/parts
ls build; head -n 2 build/latest"#;
    let world = with_files(&[
        ("src/a.txt", "3\n1\n"),
        ("src/b.txt", "2\n1\n"),
        ("src/c.txt", "5\n"),
        (".env", "K=1\n"),
    ]);
    let round = closes(world, LEARN, &["/bin/bash", "-c", script], |_| {});
    let written: Vec<&str> =
        round.rules("fs.write").into_iter().filter(|rule| !rule.starts_with("/dev/")).collect();
    assert_eq!(written, ["${tmp}", "${workspace}/build"], "{}", round.document());
    assert!(round.rules("exec.allow").contains(&"sort"), "{}", round.document());
    assert_eq!(round.rules("net.allow"), Vec::<&str>::new());
    // What the script did not need stays closed, and so does all beside its folder.
    for script in ["cat .env", "echo x > src/new.txt", "python3 -c 0", "cat ../outside/secret"] {
        round.world.secret();
        let outcome = round.world.run(round.document(), &["/bin/bash", "-c", script]);
        assert!(!outcome.status.success(), "{script}: {}", outcome.describe());
    }
}

#[test]
fn a_python_program_with_modules_and_a_subprocess() {
    let program = "import json, os, subprocess, tempfile, tokenize, secrets\nfrom lib import total\n\
        os.makedirs('out', exist_ok=True)\nwith open('out/total.json', 'w') as file:\n    json.dump(total.of('data'), file)\n\
        with tempfile.NamedTemporaryFile() as file:\n    file.write(b'x')\n\
        print(subprocess.check_output(['/usr/bin/wc', '-c', 'out/total.json'], text=True).strip())\n";
    let module = "import os\ndef of(folder):\n    return sum(int(open(os.path.join(folder, name)).read()) for name in os.listdir(folder))\n";
    let files = [
        ("main.py", program),
        ("lib/__init__.py", ""),
        ("lib/total.py", module),
        ("data/one", "1"),
        ("data/two", "2"),
        ("data/three", "3"),
    ];
    let round = closes(with_files(&files), LEARN, &["/usr/bin/python3", "main.py"], |_| {});
    // Its script, a folder of modules and one of data: enough for the workspace, to read.
    assert!(round.rules("fs.read").contains(&"${workspace}"), "{}", round.document());
    assert!(round.rules("fs.write").contains(&"${workspace}/out"), "{}", round.document());
}

#[test]
fn git_commits_in_a_repository() {
    let world = World::new();
    let make = "git init -q -b main && echo one > file && git add -A && git commit -q -m first";
    finish(settings(world.command("/bin/bash").args(["-c", make]))).assert_success();
    let script = "echo two >> file && git add -A && git commit -q -m second && git log --format=%s && git status --short";
    closes(world, LEARN, &["/bin/bash", "-c", script], |command| {
        settings(command);
    });
}

#[test]
fn cargo_builds_a_crate_with_a_dependency_and_a_build_script() {
    let files = [
        (
            "Cargo.toml",
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\ndep = { path = \"dep\" }\n",
        ),
        ("build.rs", "fn main() { println!(\"cargo::rustc-env=WORD=built\"); }\n"),
        ("src/main.rs", "fn main() { println!(\"{} {}\", dep::word(), env!(\"WORD\")); }\n"),
        ("dep/Cargo.toml", "[package]\nname = \"dep\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
        ("dep/src/lib.rs", "pub fn word() -> &'static str { \"well\" }\n"),
    ];
    let toolchain = toolchain();
    let script = format!("export PATH={toolchain}/bin:$PATH; cargo build --offline -q && target/debug/app");
    let round = closes(with_files(&files), LEARN, &["/bin/bash", "-c", &script], |_| {});
    assert_eq!(round.enforced.stdout, "well built\n");
    // Cargo makes `target` under a random name, and renames it: that takes a rule for the workspace.
    assert!(round.rules("fs.write").contains(&"${workspace}"), "{}", round.document());
    let runs = round.rules("exec.allow");
    assert!(runs.contains(&"${workspace}/target/debug/build/app-*/build-script-build"), "{runs:?}");
}

#[test]
fn npm_installs_a_package_from_the_registry() {
    let registry = registry();
    let Some(address) = address(&registry) else {
        // Past the test harness; `cargo xtask test` counts these lines.
        let _ = writeln!(
            std::io::stdout(),
            "SKIP npm_installs_a_package_from_the_registry: {registry} cannot be reached"
        );
        return;
    };
    let domain = registry.split_once('.').unwrap().1;
    // Where the registry has a private address, a rule for its name is not enough.
    let policy = learning(&[format!("*.{domain}:443"), format!("{address}:443")]);
    let world = with_files(&[("package.json", "{\"name\": \"x\", \"version\": \"1.0.0\"}\n")]);
    let npm = which("npm").to_string_lossy().into_owned();
    let program = [npm.as_str(), "install", "--no-audit", "--no-fund", "--loglevel=error", "is-odd@3.0.1"];
    let round = closes(world, &policy, &program, |command| {
        command.env("npm_config_update_notifier", "false");
    });
    // A name is not widened on the evidence of one.
    assert!(
        round.rules("net.allow").iter().any(|rule| *rule == format!("{registry}:443")),
        "{}",
        round.document()
    );
    assert!(!round.document().contains(&format!("*.{domain}")), "{}", round.document());
}

/// The host of the registry that npm is set to.
fn registry() -> String {
    let asked = finish(std::process::Command::new("npm").args(["config", "get", "registry"]));
    let url = &asked.assert_success().stdout;
    url.trim().trim_start_matches("https://").trim_end_matches('/').to_owned()
}

/// An address of the registry, when it answers.
fn address(registry: &str) -> Option<std::net::IpAddr> {
    let address = (registry, 443).to_socket_addrs().ok()?.next()?;
    TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    Some(address.ip())
}

/// Settings without which two runs of git differ by themselves.
fn settings(command: &mut std::process::Command) -> &mut std::process::Command {
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_DATE"), "2024-05-06T07:08:09Z");
        command
            .env(format!("GIT_{who}_NAME"), "Tester")
            .env(format!("GIT_{who}_EMAIL"), "tester@example.com");
    }
    command
}

/// The folder of the Rust toolchain that this suite was built with.
fn toolchain() -> String {
    std::env::var("VANTIO_TEST_TOOLCHAIN").unwrap_or_else(|_| {
        let mut rustc = std::process::Command::new("rustc");
        finish(rustc.args(["--print", "sysroot"])).assert_success().stdout.trim().to_owned()
    })
}
