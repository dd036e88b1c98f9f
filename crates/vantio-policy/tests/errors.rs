//! Every error as a person sees it. A changed rendering is a changed interface.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use miette::{GraphicalReportHandler, GraphicalTheme};
use vantio_policy::compile;

fn render(sources: &[&str]) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut rendered = String::new();
    for source in sources {
        let error = compile(source.as_bytes(), "policy.yaml").expect_err(source);
        handler.render_report(&mut rendered, &error).unwrap();
        rendered.push('\n');
    }
    rendered
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
        "version: 1\nname: 12\n",
        "version: 1\nname: ''\n",
        "version: 1\nfs: {read: /usr}\n",
        "version: 1\nfs: {read: }\n",
        "version: 1\nfs: {read: [true]}\n",
        "version: 1\nfs: {read: [{a: b}]}\n",
        "version: 1\nnet: {allow: [*.example.com]}\n",
        "version: 1\nenv: {allow: ['A=1']}\n",
        "version: 1\nenv: {set: {A: 1, 'B=': x}}\n",
        "version: 1\nbudgets: {tokens: -1, calls: 1.5, wall_ms: '9', processes: 18446744073709551616, cost_usd: 1e3}\n",
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
        ]
    ));
}

#[test]
fn programs() {
    insta::assert_snapshot!(render_rules("exec.allow", &["", "py*", "./bin/tool", "bin/tool", "..", " git"]));
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
fn several_at_once() {
    insta::assert_snapshot!(render(&[
        "version: 1\nnmae: x\nfs:\n  read: [usr, /ok]\n  writ: []\nnet:\n  allow: ['x:0']\n"
    ]));
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
