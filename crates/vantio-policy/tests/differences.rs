//! What one policy allows that another does not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use vantio_policy::{Change, compile, differences};

/// The differences, one in a line: `+` for what the second allows, `-` for what it refuses; a
/// rule of the second is marked.
fn told(first: &str, second: &str) -> String {
    let [first, second] = [first, second]
        .map(|text| compile(format!("version: 1\n{text}").as_bytes(), "p.yaml").unwrap().program);
    let lines: Vec<String> = differences(&first, &second)
        .iter()
        .map(|difference| {
            let sign = if difference.change == Change::Widens { '+' } else { '-' };
            let mark = if difference.is_in_second { "" } else { "  (first)" };
            format!("{sign} {}: {}{mark}", difference.key, difference.text)
        })
        .collect();
    lines.join("\n")
}

#[test]
fn spellings_and_what_is_covered_make_no_difference() {
    assert_eq!(
        told(
            "fs: {read: [/usr, /usr/lib], write: ['${workspace}']}\nnet: {allow: ['*.pypi.org:443']}",
            "fs: {read: [/usr/, '${workspace}'], write: ['${workspace}/']}\nnet: {allow: ['*.PyPI.org:443']}",
        ),
        ""
    );
    // A rule that is covered already adds nothing.
    assert_eq!(told("exec: {allow: [/usr]}", "exec: {allow: [/usr, /usr/bin/*]}"), "");
    assert_eq!(
        told("taint: {sinks: [{label: a, net: [example.com]}]}", "taint: {sinks: [{net: ['*', x.org]}]}"),
        "- taint.sinks: every label: net *, x.org"
    );
}

#[test]
fn rules_limits_modes_and_guards_are_told() {
    insta::assert_snapshot!(
        told(
            "fs: {read: [/usr], write: ['${workspace}/src'], deny: ['**/.env', ~/.ssh]}\n\
             exec: {allow: [git]}\nnet: {allow: ['*.example.com'], deny: ['*.internal']}\n\
             env: {allow: ['NPM_*'], deny: ['*_KEY'], set: {LANG: C}}\n\
             budgets: {calls: 5, tokens: 9, cost_usd: '2.5'}\ninfer: {max_tokens: 100}\n\
             phantom: {commit: never, view: snapshot, checkpoint: {exec: true, writes: 9, approval: true}, speculate: off}\nrequire: notify\n\
             taint: {sources: [user_input], sinks: [{net: ['*']}]}\n\
             thresholds: [{effect: fs.unlink, count: 9, within: 10s}]\n\
             hold: [{effect: net.connect, target: '*.corp.example', timeout: 5m}]\n\
             kill_switch: {active: true, approvers: [ciso], quorum: 2}\n",
            "fs: {read: [/usr/lib, /etc], write: ['${workspace}'], deny: [~/.ssh/id_rsa]}\n\
             exec: {allow: [git, /usr/bin/make]}\nnet: {allow: ['a.example.com:1-500']}\n\
             env: {allow: [NPM_TOKEN, FOO], set: {LANG: de}}\n\
             budgets: {calls: 6, cost_usd: '2'}\nmode: monitor\nrequire: static\nphantom: {speculate: auto}\n\
             taint: {sanitizers: [html_escape]}\n\
             thresholds: [{effect: fs.unlink, count: 10, within: 10s}]\n\
             kill_switch: {approvers: [ciso, intern], quorum: 1}\nreversibility: {net.connect: reversible}\n",
        ),
        @"
    + fs.read: /etc
    + fs.write: ${workspace}
    + fs.deny: **/.env  (first)
    + fs.deny: ~/.ssh  (first)
    + exec.allow: /usr/bin/make
    + net.allow: a.example.com:1-500
    + net.deny: *.internal  (first)
    + env.allow: FOO
    + env.deny: *_KEY  (first)
    + env.set: LANG=de
    + budgets.tokens: 9 → no limit
    + budgets.calls: 5 → 6
    + infer.max_tokens: 100 → no limit
    + mode: enforce → monitor
    + phantom.commit: never → review
    + phantom.view: snapshot → live
    + phantom.checkpoint.exec: true → false
    + phantom.checkpoint.approval: true → false
    + phantom.checkpoint.writes: 9 → never
    + phantom.speculate: off → auto
    + taint.sources: untrusted: tools user_input  (first)
    + taint.sinks: every label: net *  (first)
    + taint.sanitizers: untrusted: tools html_escape
    + thresholds: fs.unlink: 9 → 10 within 10s
    + hold: net.connect *.corp.example: whoever started the run approves within 5m  (first)
    + kill_switch: set → not set
    + kill_switch.quorum: 2 → 1
    + kill_switch.approvers: intern
    + require: notify → static
    + reversibility: net.connect
    - fs.read: /usr  (first)
    - net.allow: *.example.com  (first)
    - env.allow: NPM_*  (first)
    - env.set: LANG=C  (first)
    - budgets.cost_usd: 2.500000 → 2.000000
    "
    );
}
