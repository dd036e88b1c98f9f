//! Every error as a person sees it. A changed rendering is a changed interface.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use miette::{GraphicalReportHandler, GraphicalTheme};
use vantio_policy::{ERROR_CODES, PolicyError, compile, manifest};

fn render(sources: &[&str]) -> String {
    render_in("policy.yaml", sources)
}

fn render_in(name: &str, sources: &[&str]) -> String {
    let errors = sources.iter().map(|source| compile(source.as_bytes(), name).expect_err(source));
    render_errors(errors)
}

fn render_errors(errors: impl IntoIterator<Item = PolicyError>) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut rendered = String::new();
    for error in errors {
        handler.render_report(&mut rendered, &error).unwrap();
        rendered.push('\n');
    }
    rendered
}

/// What is wrong with documents whose lines are too long to be shown.
fn tell(sources: impl IntoIterator<Item = String>) -> String {
    let mut told = String::new();
    for source in sources {
        let error = compile(source.as_bytes(), "policy.yaml").expect_err("no policy");
        for problem in error.problems() {
            let help = problem.help.as_deref().unwrap_or("nothing");
            writeln!(told, "{}: {}\n  help: {help}", problem.code, problem.message).unwrap();
        }
    }
    told
}

/// A document with one rule in the list.
fn rule(list: &str, text: &str) -> String {
    let (section, key) = list.split_once('.').unwrap();
    format!("version: 1\n{section}:\n  {key}:\n    - '{text}'\n")
}

fn render_rules(list: &str, texts: &[&str]) -> String {
    let sources: Vec<String> = texts.iter().map(|text| rule(list, text)).collect();
    render(&sources.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn documents() {
    insta::assert_snapshot!(render(&[
        "",
        "# only a comment\n",
        "- version\n",
        "mode: enforce\n",
        "version: 2\n",
        "version: [1]\n",
        "version: 1\n---\nversion: 1\n",
        "version: 1\nfs:\n\tread: [/usr]\n",
        "version: 1\nfs: {read: [/usr}\n",
        "version: 1\nname: !!binary x\n",
        "version: 1\nfs:\n  <<: {read: [/usr]}\n",
    ]));
}

#[test]
fn keys() {
    insta::assert_snapshot!(render(&[
        "version: 1\nfiles: {}\n",
        "version: 1\nfs: {wirte: [/x]}\n",
        "version: 1\nmode: enforce\nmode: learn\n",
        "version: 1\n? [a]\n: b\n",
    ]));
}

#[test]
fn values() {
    insta::assert_snapshot!(render(&[
        "version: 1\nmode: enfroce\n",
        "version: 1\nphantom: {commit: later}\n",
        "version: 1\nphantom: {checkpoint: true}\n",
        "version: 1\nphantom: {checkpoint: {exec: 1}}\n",
        "version: 1\nphantom: {checkpoint: {writes: 0}}\n",
        "version: 1\nname: 12\n",
        "version: 1\nname: ''\n",
        "version: 1\nfs: {read: /usr}\n",
        "version: 1\nfs: {read: }\n",
        "version: 1\nfs: {read: [true]}\n",
        "version: 1\nfs: {read: [{a: b}]}\n",
        "version: 1\nfs: {read: [~]}\n",
        "version: 1\nbudgets: {wall_ms: 10s}\n",
        "version: 1\nnet: {allow: [*.example.com]}\n",
        "version: 1\nenv: {allow: ['A=1']}\n",
        "version: 1\nenv: {set: {A: 1, 'B=': x}}\n",
        "version: 1\nbudgets: {tokens: -1, calls: 1.5, wall_ms: '9', processes: 18446744073709551616, cost_usd: 1e3}\n",
    ]));
}

#[test]
fn limits() {
    insta::assert_snapshot!(render(&[
        "version: 1\nlimits: {memory: 2GB}\n",
        "version: 1\nlimits: {memory: 0, disk: 1.5GiB}\n",
        "version: 1\nlimits: {memory: 99999999999TiB}\n",
        "version: 1\nlimits: {processes: 0, open_files: 1k}\n",
        "version: 1\nlimits: {cpu: 1.5}\n",
        "version: 1\nlimits: {cpu: '0%', best_effort: maybe}\n",
        "version: 1\nlimits: {files: 3}\n",
    ]));
}

#[test]
fn paths() {
    insta::assert_snapshot!(render_rules(
        "fs.read",
        &[
            "",
            "src/main.rs",
            "./src",
            "*.log",
            "~",
            "~other/x",
            "$HOME/x",
            " /usr ",
            "/usr/a /./ //",
            "/a/../b",
            "/a/{b,c}",
            "/a/${tmp}",
            "/a**",
            "/a\\",
            "/a]",
            "/[]",
            "/[a",
            "/[^a]",
            "/[z-a]",
            "${wrokspace}/x",
            "${PWD}/x",
            "${home}x",
            "${home",
            "${credentials}",
            "${workspace}/${credentials}",
            "../x",
        ]
    ));
    insta::assert_snapshot!(
        "paths_denied",
        render_rules("fs.deny", &["../x", "${credential}", "${credentials}/x"])
    );
}

#[test]
fn programs() {
    let wrong = render_rules("exec.allow", &["[z", "a{b"]);
    assert!(wrong.contains(r"such as `/usr/bin/\[z`, or `**/\[z`"), "{wrong}");
    assert!(wrong.contains(r"such as `/usr/bin/a\{b`"), "{wrong}");
    insta::assert_snapshot!(render_rules(
        "exec.allow",
        &["", "py*", "./bin/tool", "bin/tool", "../tool", "..", " git", "python3 -m foo"]
    ));
}

#[test]
fn addresses() {
    insta::assert_snapshot!(render_rules(
        "net.allow",
        &[
            "",
            "a b",
            "https://github.com/x",
            "github.com/x",
            "github.com:",
            "github.com:0",
            "github.com:99999",
            "github.com:90-80",
            "a*.example.com",
            "-_-..x",
            "010.0.0.1",
            "0x7f000001",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "2001:db8::1",
            "[2001:db8::1",
            "[::ffff:10.0.0.1]:80",
            "0.0.0.0:80",
            "localhost:8080",
            "unix:run/x.sock",
        ]
    ));
}

#[test]
fn names() {
    insta::assert_snapshot!(render_rules("tools.allow", &["", " x", "a**b"]));
}

#[test]
fn domains() {
    insta::assert_snapshot!(render_rules(
        "domains.allow",
        &["unix:/run/x.sock", "udp://1.1.1.1:53", "https://x"]
    ));
}

#[test]
fn taint() {
    insta::assert_snapshot!(render(&[
        "version: 1\ntaint: {source: [a]}\n",
        "version: 1\ntaint: {sources: user_input}\n",
        "version: 1\ntaint:\n  sources:\n    - label: secret\n",
        "version: 1\ntaint:\n  sinks:\n    - {label: 'top secret', net: ['*']}\n",
        "version: 1\ntaint:\n  sinks:\n    - {lable: secret, net: ['*']}\n",
        "version: 1\ntaint:\n  sinks:\n    - {label: secret, fs: [src]}\n",
        "version: 1\ntaint:\n  sinks: [12]\n",
        "version: 1\ntaint:\n  sanitizers:\n    - {net: [x.example]}\n",
    ]));
}

#[test]
fn scopes() {
    insta::assert_snapshot!(render(&[
        "version: 1\nhold: 1\n",
        "version: 1\nhold:\n  - target: /x\n",
        "version: 1\nhold:\n  - effect: fs.unlnk\n",
        "version: 1\nhold:\n  - effect: delete\n",
        "version: 1\nhold:\n  - effect: []\n",
        "version: 1\nhold:\n  - {effect: fs.open, target: []}\n",
        "version: 1\nhold:\n  - {effect: fs.open, target: src}\n",
        "version: 1\nhold:\n  - {effect: [fs.open, infer], target: /x}\n",
        "version: 1\nhold:\n  - {effect: proc.signal, target: '1'}\n",
        "version: 1\nhold:\n  - {effect: infer, access: write}\n",
        "version: 1\nhold:\n  - {effect: fs.open, access: wirte}\n",
    ]));
}

#[test]
fn guards() {
    insta::assert_snapshot!(render(&[
        "version: 1\nthresholds:\n  - {effect: infer, within: 10s}\n",
        "version: 1\nthresholds:\n  - {effect: infer, count: 1, bytes: 2, within: 10s}\n",
        "version: 1\nthresholds:\n  - {effect: infer, count: 1}\n",
        "version: 1\nthresholds:\n  - {effect: infer, count: many, within: 10}\n",
        "version: 1\nthresholds:\n  - {effect: infer, count: 1, within: 0s}\n",
        "version: 1\nthresholds:\n  - {effect: infer, count: 1, within: 1w, then: refuse}\n",
        "version: 1\nthresholds:\n  - {effect: infer, count: 1, within: 400d}\n",
        "version: 1\nhold:\n  - {effect: infer, approvers: [the boss], timeout: soon}\n",
        "version: 1\norder:\n  - refuse: {effect: infer}\n    unless: {effect: proc.exec}\n",
        "version: 1\norder:\n  - refuse: {effect: infer}\n    unless_after: {effect: fs.open, exit: 0}\n    since: {effect: fs.open}\n",
        "version: 1\norder:\n  - refuse: {effect: infer}\n    unless_after: {effect: proc.exec, exit: 256}\n    since: infer\n",
        "version: 1\nkill_switch: yes\n",
        "version: 1\nkill_switch: {active: 'true', quorum: 0}\n",
        "version: 1\nrequire: kernal\n",
        "version: 1\nreversibility: {net.conect: reversible}\n",
        "version: 1\nreversibility: {net.connect: undoable}\n",
        "version: 1\ninfer: {max_tokens: -1}\n",
    ]));
}

#[test]
fn what_stands_beside_the_program() {
    insta::assert_snapshot!(render(&[
        "version: 1\ninclude: [preset:workspaces]\n",
        "version: 1\ninclude: ['https://example.com/policy.yaml']\n",
        "version: 1\ninclude: ./more.yaml\n",
        "version: 1\ntests:\n  - {effect: fs.open, target: /x, expect: deny}\n",
        "version: 1\ntests:\n  - {effect: fs.open, target: /x, expect: collapse}\n",
        "version: 1\ntests:\n  - {effect: fs.open}\n",
        "version: 1\ntests:\n  - {effect: fs.open, target: x, expect: Permit}\n",
        "version: 1\ntests:\n  - {effect: net.connect, target: github.com, expect: Permit}\n",
        "version: 1\nllm: {local: {default_model: x}}\n",
        "version: 1\nllm: {mode: local, local: {default_model: 'llama*', device: a, device_path: b}}\n",
        "version: 1\nllm: {mode: api, api: {provider: '', api_key: x}}\n",
        "authority: {policy_path: policy.yaml}\n",
    ]));
}

#[test]
fn manifests() {
    let read = |source: &str| manifest(source.as_bytes(), "manifest.yaml");
    let sources = [
        "authority: {}\n",
        "authority: {policy: policy.yaml}\n",
        "authority: {policy_path: ''}\n",
        "authority: {policy_path: p.yaml}\nversion: 1\n",
    ];
    let wrong = sources.map(|source| read(source).expect_err(source));
    let source = "authority:\n  policy_path: policies/agent.yaml\n";
    let named = read(source).unwrap().unwrap();
    let reason = "no such file or directory";
    let missing = named.unusable(source.as_bytes(), "manifest.yaml", "policies/agent.yaml", reason);
    insta::assert_snapshot!(render_errors(wrong.into_iter().chain([missing])));
}

#[test]
fn yaml() {
    insta::assert_snapshot!(render(&[
        "version: 1\nfs: {read: &a [*a]}\n",
        "version: 1\nname: \"\u{1b}[2J\"\n",
        "version: 1\n\"\\e[2J\\u202e\\n\": x\nnet: {allow: [\"\u{202e}moc\"]}\n",
        "version: 1\nexec: {allow: [git, {a: b}]}\n",
        "version: 1\nfs: [read]\n",
        "version: 1\nname: a: b\n",
        "version = 1\n[fs]\nread = ['/usr']\n",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
    ]));
}

#[test]
fn json() {
    insta::assert_snapshot!(render_in(
        "policy.json",
        &[
            "{\"version\": 1,}",
            "{\"version\": 1, \"fs\": {\"read\": [\"/usr\",]}}",
            "{'version': 1}",
            "{version: 1}",
            "{\"version\" 1}",
            "{\"version\": 1 \"name\": \"x\"}",
            "{\"version\": 1, \"name\": x}",
            "{\"version\": 1, \"name\": 'x'}",
            "{\"version\": 1, // one\n}",
            "{\"version\": 01}",
            "{\"version\": True}",
            "{\"version\": }",
            "{\"version\": ,}",
            "{\"version\": 1",
            "{\"fs\": {\"read\": [\"/usr\"",
            "{\"version\": 1}}",
            "{\"name\": \"x}",
            "{\"name\": \"a\tb\"}",
            "{\"name\": \"\\x\"}",
            "{\"name\": \"\\u12\"}",
            "{\"name\": \"\\ud83d\"}",
            "{\"version\": 1, \"version\": 1}",
            "{\"name\": \"x\"}",
            "{\"version\": 1, \"fs\": [], \"exec\": {\"allow\": {}}, \"name\": {}}",
        ]
    ));
}

#[test]
fn toml() {
    insta::assert_snapshot!(render_in(
        "policy.toml",
        &[
            "version: 1\n",
            "version = 1\nname = web\n",
            "version = 1\nfs.read = ['/usr'\n",
            "version = 1\nversion = 1\n",
            "version = 1\n[fs]\nread = ['/usr']\n[fs]\n",
            "version = 1\nname = 1979-05-27\n",
            "name = 'x'\n",
            "version = 1\nfs = []\nexec.allow = {}\n",
            "version = 1\nnet.allow = ['x:0']\n",
            "",
        ]
    ));
}

#[test]
fn sizes() {
    let long = |list: &str, text: &str| rule(list, text);
    let list = |element: &str, count: usize| vec![element; count].join(", ");
    let labels: Vec<String> = (0..65).map(|label| format!("{{label: l{label}, tools: [x]}}")).collect();
    let bomb = format!("a: &a [{}]\nb: [{}]", list("x", 1000), list("*a", 11));
    insta::assert_snapshot!(tell([
        "#".repeat((1 << 20) + 1),
        long("fs.read", &format!("/{}", "x".repeat(4096))),
        long("fs.read", &"/*".repeat(61)),
        long("exec.allow", &"x".repeat(4097)),
        long("net.allow", &"x".repeat(4097)),
        long("tools.allow", &"x".repeat(257)),
        format!("version: 1\nname: {}", "x".repeat(257)),
        format!("version: 1\nhold: [{}]", list("{effect: infer}", 257)),
        format!("version: 1\ntaint: {{sources: [{}]}}", labels.join(", ")),
        format!("version: 1\nfs: {{read: [{}]}}", list("x", 70_000)),
        format!("version: 1\nfs: {{read: [{}]}}", list("/x", 20_000)),
        bomb,
    ]));
}

#[test]
fn bytes_that_are_no_text() {
    let error = compile(b"version: 1\nname: \xff", "policy.yaml").unwrap_err();
    insta::assert_snapshot!(render_errors([error]));
}

#[test]
fn several_at_once() {
    insta::assert_snapshot!(render(&[
        "version: 1\nnmae: x\nfs:\n  read: [usr, /ok]\n  writ: []\nnet:\n  allow: ['x:0']\n"
    ]));
}

#[test]
fn more_than_can_be_read_at_once_is_said_to_be_more() {
    let told = |count: usize| {
        let source = format!("version: 1\nfs: {{read: [{}]}}\n", vec!["x"; count].join(", "));
        compile(source.as_bytes(), "p.yaml").unwrap_err().to_string()
    };
    assert_eq!(told(20), "`p.yaml` has 20 problems");
    assert_eq!(told(21), "`p.yaml` has more than 20 problems; these are the first 20");
}

#[test]
fn fields_say_what_the_rendering_says() {
    let error = compile("version: 1\nfs:\n  read: [é, /usr]\n".as_bytes(), "p.yaml").unwrap_err();
    let [problem] = error.problems() else { panic!("{error:?}") };
    let place = problem.place.as_ref().unwrap();
    assert_eq!((problem.code, place.line, place.column), ("E_POLICY_PATH", 3, 10));
    assert_eq!(place.bytes, 24..26);
    assert_eq!(error.file_name(), "p.yaml");
}

/// A code that no snapshot shows is an error that nobody has read as its reader would.
#[test]
fn every_code_is_shown() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots");
    let shown: String = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("errors__")))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let is_shown =
        |code: &str| shown.split(|c: char| !(c.is_ascii_uppercase() || c == '_')).any(|word| word == code);
    let missing: Vec<&&str> = ERROR_CODES.iter().filter(|code| !is_shown(code)).collect();
    assert!(missing.is_empty(), "no snapshot shows {missing:?}");
}
