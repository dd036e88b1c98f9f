//! What several policies permit together.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{fmt::Write as _, net::SocketAddr};

use proptest::{prelude::*, sample::subsequence};
use vantio_core::{Access, Cause, Effect, Endpoint, Intent, Section, Target, Transport, Verdict};
use vantio_policy::{
    Bindings, Change, Checkpointing, CommitMode, Mode, Speculation, State, Viewing, compile, differences,
    judge,
    layers::{Layer, LayerKind, Merged, environment, merge},
};

use LayerKind::{CommandLine, Managed, Project, User};

fn layer(kind: LayerKind, document: &str) -> Layer {
    let name = format!("{}.yaml", kind.name().replace(' ', "-"));
    let compiled = compile(format!("version: 1\n{document}").as_bytes(), &name).unwrap();
    Layer { kind, name, compiled: compiled.into() }
}

fn bindings() -> Bindings {
    Bindings {
        workspace: b"/home/u/w".to_vec(),
        home: b"/home/u".to_vec(),
        tmp: b"/tmp".to_vec(),
        aliases: vec![
            (b"/bin".to_vec(), b"/usr/bin".to_vec()),
            (b"/home/u/w/link".to_vec(), b"/etc".to_vec()),
        ],
        programs: vec![
            ("git".into(), vec![b"/usr/bin/git".to_vec()]),
            ("tool".into(), vec![b"/home/u/w/tool".to_vec()]),
        ],
        host_addresses: vec!["9.9.9.9".parse().unwrap()],
    }
}

fn merged(layers: &[(LayerKind, &str)]) -> Merged {
    let layers: Vec<Layer> = layers.iter().map(|(kind, document)| layer(*kind, document)).collect();
    merge(&layers, &bindings()).unwrap()
}

fn texts(merged: &Merged, section: Section) -> Vec<&str> {
    merged.program.rules(section).iter().map(vantio_policy::Rule::text).collect()
}

/// Every rule with its layer and place, then what was dropped.
fn told(merged: &Merged) -> String {
    let mut told = String::new();
    for section in vantio_policy::PolicyProgram::SECTIONS {
        for rule in merged.program.rules(section) {
            let (layer, origin) = merged.rule_origin(section, rule.text()).unwrap();
            let kind = merged.layers[layer].kind.name();
            writeln!(told, "{section}: {}  # {kind} {}", rule.text(), origin.unwrap()).unwrap();
        }
    }
    for dropped in &merged.dropped {
        let (own, by) = (&merged.layers[dropped.layer], &merged.layers[dropped.by]);
        let origin = merged.dropped_origin(dropped).unwrap();
        let (section, text, by_section) = (dropped.section, &dropped.text, dropped.by_section);
        let (own, by) = (own.kind.name(), by.kind.name());
        writeln!(told, "dropped {section}: {text}  # {own} {origin}, by {by_section} of {by}").unwrap();
    }
    told
}

#[test]
fn one_layer_means_what_its_document_means() {
    let document = "fs: {read: [/, '/bin/**'], write: ['${workspace}/link']}\nexec: {allow: [git, none]}\n\
        env: {allow: [CI], set: {A: b}}\nbudgets: {calls: 3}\nphantom: {commit: auto}\nmode: learn\n";
    for kind in [Managed, CommandLine, Project, User] {
        let alone = layer(kind, document);
        let merged = merge(std::slice::from_ref(&alone), &bindings()).unwrap();
        assert_eq!(merged.program, alone.compiled.program);
        assert_eq!(merged.dropped, []);
        assert_eq!(&environment(&[alone]), merged.program.env());
    }
    assert!(merge(&[], &bindings()).is_err());
}

#[test]
fn a_lower_layer_keeps_what_lies_within_the_higher_one() {
    let both = merged(&[
        (
            Project,
            "fs: {read: ['/usr/lib', '/opt', '${workspace}'], write: ['${workspace}/src', '~/x']}\n\
             exec: {allow: [git, tool, /usr/bin/python3]}\nnet: {allow: ['*.pypi.org', '10.0.0.1:22']}",
        ),
        (
            Managed,
            "fs: {read: [/usr], write: ['${workspace}'], deny: ['**/.env']}\nexec: {allow: [/usr, /bin/**]}\n\
             net: {allow: ['*:*'], deny: ['*.corp']}",
        ),
    ]);
    insta::assert_snapshot!(told(&both), @"
    fs.read: /usr/lib  # project project.yaml:2:13
    fs.read: ${workspace}  # project project.yaml:2:33
    fs.write: ${workspace}/src  # project project.yaml:2:58
    fs.deny: **/.env  # managed managed.yaml:2:52
    exec.allow: /usr/bin/python3  # project project.yaml:3:27
    exec.allow: git  # project project.yaml:3:16
    net.allow: *.pypi.org  # project project.yaml:4:15
    net.deny: *.corp  # managed managed.yaml:4:30
    dropped fs.write: ${workspace}  # managed managed.yaml:2:28, by fs.write of project
    dropped fs.write: ~/x  # project project.yaml:2:78, by fs.write of managed
    dropped exec.allow: /bin/**  # managed managed.yaml:3:22, by exec.allow of project
    dropped exec.allow: /usr  # managed managed.yaml:3:16, by exec.allow of project
    dropped exec.allow: tool  # project project.yaml:3:21, by exec.allow of managed
    dropped net.allow: *:*  # managed managed.yaml:4:15, by net.allow of project
    dropped net.allow: 10.0.0.1:22  # project project.yaml:4:29, by net.allow of managed
    dropped fs.read: /usr  # managed managed.yaml:2:13, by fs.read of project
    dropped fs.read: /opt  # project project.yaml:2:25, by fs.read of managed
    ");
}

#[test]
fn reading_is_not_widened_by_what_implies_it() {
    let both = merged(&[
        (Managed, "fs: {read: ['/usr/lib', '${workspace}']}"),
        (Project, "fs: {write: [/, '${workspace}/src']}\nexec: {allow: [git, tool, /usr/lib/x]}"),
    ]);
    // Of a rule that goes further, what may be read is kept.
    assert_eq!(texts(&both, Section::FsWrite), ["/usr/lib", "${workspace}", "${workspace}/src"]);
    assert_eq!(texts(&both, Section::ExecAllow), ["/usr/lib/x", "tool"]);
    let (layer, origin) = both.rule_origin(Section::FsWrite, "/usr/lib").unwrap();
    assert_eq!((layer, origin.unwrap().to_string()), (0, "managed.yaml:2:13".to_owned()));

    // What one layer lets be written, and the other only read, can be read.
    let both = merged(&[
        (Managed, "fs: {read: [/usr], write: ['${workspace}']}"),
        (Project, "fs: {read: [/], write: []}"),
    ]);
    assert_eq!(texts(&both, Section::FsRead), ["/usr", "${workspace}"]);
    assert_eq!(texts(&both, Section::FsWrite), [""; 0]);
}

#[test]
fn links_and_names_are_compared_by_where_they_lead() {
    let both = merged(&[
        (Managed, "fs: {write: ['${workspace}']}\nexec: {allow: [/usr/bin, /bin]}"),
        (Project, "fs: {write: ['${workspace}/link/x', '/home/u/w/y']}\nexec: {allow: [git, tool, /bin/ls]}"),
    ]);
    assert_eq!(texts(&both, Section::FsWrite), ["/home/u/w/y"]);
    assert_eq!(texts(&both, Section::ExecAllow), ["/bin/ls", "git"]);
}

#[test]
fn a_layer_below_the_base_opens_nothing_and_one_above_may() {
    let open = "net: {allow: ['*:*']}";
    assert_eq!(texts(&merged(&[(CommandLine, "name: a"), (Project, open)]), Section::NetAllow), [""; 0]);
    assert_eq!(texts(&merged(&[(Project, "name: a"), (User, open)]), Section::NetAllow), [""; 0]);
    assert_eq!(texts(&merged(&[(Project, "name: a"), (Managed, open)]), Section::NetAllow), ["*:*"]);
    // Silence is no opinion.
    assert_eq!(texts(&merged(&[(Managed, "name: a"), (Project, open)]), Section::NetAllow), ["*:*"]);
    assert_eq!(texts(&merged(&[(Project, open), (User, "name: a")]), Section::NetAllow), ["*:*"]);
    // An empty list is one.
    assert_eq!(texts(&merged(&[(Project, open), (User, "net: {allow: []}")]), Section::NetAllow), [""; 0]);
}

#[test]
fn the_strictest_word_wins() {
    let all = merged(&[
        (User, "mode: enforce\nbudgets: {calls: 9, tokens: 5}\nphantom: {commit: never}"),
        (Project, "mode: monitor\nname: project\nbudgets: {calls: 3}\nphantom: {commit: auto}"),
        (Managed, "mode: learn\nbudgets: {calls: 7, cost_usd: '2.5'}"),
    ]);
    assert_eq!((all.program.mode(), all.program.commit_mode()), (Mode::Enforce, CommitMode::Never));
    let budgets = all.program.budgets();
    assert_eq!((budgets.calls, budgets.tokens, budgets.cost_micro_usd), (Some(3), Some(5), Some(2_500_000)));
    assert_eq!(all.program.name(), Some("project"));
    let origin = |key| {
        let (layer, origin) = all.setting_origin(key).unwrap();
        format!("{} {}", all.layers[layer].kind.name(), origin.unwrap())
    };
    assert_eq!(origin("budgets.calls"), "project project.yaml:4:11");
    assert_eq!(origin("budgets.cost_usd"), "managed managed.yaml:3:21");
    assert_eq!(origin("mode"), "user user.yaml:2:1");

    // Rules that nobody said are only observed are enforced, whatever a lower layer says.
    for (higher, lower) in [(Managed, Project), (Project, User)] {
        assert_eq!(merged(&[(higher, "name: a"), (lower, "mode: monitor")]).program.mode(), Mode::Enforce);
    }
    assert_eq!(merged(&[(Project, "mode: learn"), (User, "name: a")]).program.mode(), Mode::Learn);
    let commit = |layers: &[_]| merged(layers).program.commit_mode();
    assert_eq!(commit(&[(Managed, "name: a"), (Project, "phantom: {commit: auto}")]), CommitMode::Auto);
    assert_eq!(commit(&[(Project, "name: a"), (User, "phantom: {commit: auto}")]), CommitMode::Review);
    // Who sees nothing of what comes later sees less: any layer may ask for that, and none for the opposite.
    let viewing = |layers: &[_]| merged(layers).program.viewing();
    let (live, snapshot) = ("phantom: {view: live}", "phantom: {view: snapshot}");
    assert_eq!(viewing(&[(Managed, live), (User, snapshot)]), Viewing::Snapshot);
    assert_eq!(viewing(&[(Project, snapshot), (User, live)]), Viewing::Snapshot);
    assert_eq!(viewing(&[(Project, "name: a"), (User, live)]), Viewing::Live);
    // A checkpoint takes nothing from anybody: a lower layer may ask for more, and none for fewer.
    let checkpointing = |layers: &[_]| merged(layers).program.checkpointing();
    let both = Checkpointing { exec: true, writes: Some(5), approval: true };
    let [more, fewer] = [
        "phantom: {checkpoint: {exec: true, writes: 5}}",
        "phantom: {checkpoint: {exec: false, writes: 9, approval: true}}",
    ];
    assert_eq!(checkpointing(&[(Managed, more), (User, fewer)]), both);
    assert_eq!(checkpointing(&[(Managed, fewer), (User, more)]), both);
    // Who says nothing has nothing against going on while held; whoever says so has the run wait.
    let speculation = |layers: &[_]| merged(layers).program.speculation();
    let [off, auto] = ["phantom: {speculate: off}", "phantom: {speculate: auto}"];
    assert_eq!(speculation(&[(Managed, "name: a"), (User, auto)]), Speculation::Auto);
    assert_eq!(speculation(&[(Managed, off), (User, auto)]), Speculation::Off);
    assert_eq!(speculation(&[(Managed, auto), (User, off)]), Speculation::Off);
}

#[test]
fn variables_are_narrowed_too() {
    let layers = [
        layer(Managed, "env: {deny: ['LD_*'], allow: ['NPM_*', CI_TOKEN], set: {LANG: C, LD_X: own}}"),
        layer(Project, "env: {deny: [FOO], allow: [NPM_TOKEN, '*'], set: {LANG: de, LD_PRELOAD: x, A: b}}"),
        layer(User, "env: {set: {A: c, FOO: d, B: e}}"),
    ];
    let env = environment(&layers);
    assert_eq!(env.allow().collect::<Vec<_>>(), ["CI_TOKEN", "NPM_*", "NPM_TOKEN"]);
    assert_eq!(env.deny().collect::<Vec<_>>(), ["FOO", "LD_*"]);
    assert_eq!(env.set().collect::<Vec<_>>(), [("A", "b"), ("B", "e"), ("LANG", "C"), ("LD_X", "own")]);
    // As for every list, a layer below the base opens nothing.
    // A bare name in a policy means nothing that a lower one says.
    let led = environment(&[
        layer(CommandLine, "env: {set: {A: b}}"),
        layer(Project, "env: {set: {PATH: /nowhere, LD_PRELOAD: x, LD_LIBRARY_PATH: y, C: d}}"),
    ]);
    assert_eq!(led.set().collect::<Vec<_>>(), [("A", "b"), ("C", "d")]);
    let own = environment(&[layer(Project, "env: {set: {PATH: /own}}")]);
    assert_eq!(own.set().collect::<Vec<_>>(), [("PATH", "/own")]);
    let closed = environment(&[layer(Project, "name: a"), layer(User, "env: {allow: ['*']}")]);
    assert_eq!(closed.allow().count(), 0);
}

#[test]
fn every_guard_holds_and_lower_ones_loosen_none() {
    let alone = |document: &str| layer(Project, document).compiled.program.clone();
    let both = merged(&[
        (
            Managed,
            "taint: {sources: [{label: b, fs: [/x]}], sinks: [{label: b, net: ['*']}], sanitizers: [wash]}\n\
             thresholds: [{effect: fs.unlink, count: 9, within: 10s}]\nrequire: static\n\
             kill_switch: {approvers: [ciso], quorum: 2, window: 5m}\nreversibility: {tool.call: reversible}\n",
        ),
        (
            Project,
            "taint: {sources: [{label: a, fs: [/y]}], sinks: [{net: [x.org]}], sanitizers: [{label: b, tools: [z]}]}\n\
             thresholds: [{effect: fs.unlink, count: 9, within: 10s}, {effect: infer, count: 1, within: 1s}]\n\
             hold: [{effect: net.connect, timeout: 5m}]\nrequire: notify\n\
             kill_switch: {active: true, approvers: [intern], quorum: 1, window: 1m}\n\
             reversibility: {tool.call: none, net.connect: none, fs.open: unknown}\n",
        ),
    ]);
    let expected = alone(
        "taint: {sources: [{label: b, fs: [/x]}, {label: a, fs: [/y]}], \
         sinks: [{label: b, net: ['*']}, {net: [x.org]}], sanitizers: [wash]}\n\
         thresholds: [{effect: fs.unlink, count: 9, within: 10s}, {effect: infer, count: 1, within: 1s}]\n\
         hold: [{effect: net.connect, timeout: 5m}]\nrequire: notify\n\
         kill_switch: {active: true, approvers: [ciso], quorum: 2, window: 1m}\n\
         reversibility: {tool.call: reversible, fs.open: unknown}\n",
    );
    assert_eq!(vantio_policy::differences(&both.program, &expected), []);
    assert_eq!(both.program, expected);
    assert_eq!(
        both.source_map()
            .origin(Section::Hold, "net.connect: whoever started the run approves within 5m")
            .unwrap()
            .to_string(),
        "project.yaml:4:8"
    );
    let origins: Vec<String> = (0..2)
        .map(|index| both.element_origin(Section::TaintSources, index).unwrap().1.unwrap().to_string())
        .collect();
    assert_eq!(origins, ["project.yaml:2:19", "managed.yaml:2:19"]);

    // Where no layer above has anything to wash off, a lower one may say what washes.
    let lower =
        merged(&[(Managed, "name: a"), (Project, "taint: {sinks: [{net: ['*']}], sanitizers: [wash]}")]);
    assert_eq!(
        vantio_policy::differences(
            &lower.program,
            &alone("name: a\ntaint: {sinks: [{net: ['*']}], sanitizers: [wash]}")
        ),
        []
    );
}

#[test]
fn more_than_one_policy_may_have_is_refused() {
    let many = |from: usize| {
        let labels: Vec<String> =
            (from..from + 40).map(|number| format!("{{label: l{number}, fs: [/x]}}")).collect();
        layer(
            if from == 0 { Managed } else { Project },
            &format!("taint: {{sources: [{}]}}\n", labels.join(", ")),
        )
    };
    assert!(merge(&[many(0)], &bindings()).is_ok());
    let error = merge(&[many(0), many(40)], &bindings()).unwrap_err();
    assert_eq!(error.to_string(), "the layers have more than 64 labels together");
    assert_eq!(error.code(), "E_POLICY_LAYERS");
}

const PATHS: [&str; 14] = [
    "/",
    "/usr",
    "/usr/**",
    "/usr/bin/*",
    "/bin",
    "/etc",
    "${workspace}",
    "${workspace}/**",
    "${workspace}/link",
    "${workspace}/src",
    "~/w/*",
    "**/.env",
    "/home/**",
    "/tmp",
];
const PROGRAMS: [&str; 6] = ["git", "tool", "none", "/usr/bin/**", "/bin", "${workspace}"];
const NETWORK: [&str; 9] = [
    "*:*",
    "*",
    "a.example",
    "*.example:*",
    "10.0.0.0/8:*",
    "10.0.0.1:22",
    "8.8.8.8:1-100",
    "udp://*:53",
    "unix:/run/**",
];
const LISTS: [(&str, &[&str]); 7] = [
    ("fs: {read", &PATHS),
    ("write", &PATHS),
    ("deny", &PATHS),
    ("exec: {allow", &PROGRAMS),
    ("deny", &PROGRAMS),
    ("net: {allow", &NETWORK),
    ("deny", &NETWORK),
];

/// A document with some of the lists, each with a few rules.
fn document() -> impl Strategy<Value = String> {
    let list = |(_, pool): (&str, &'static [&'static str])| {
        prop::option::weighted(0.7, subsequence(pool.to_vec(), 0..=4))
    };
    let denies = |(_, pool): (&str, &'static [&'static str])| {
        prop::option::weighted(0.2, subsequence(pool[1..].to_vec(), 0..=1))
    };
    let [read, write, deny, exec, exec_deny, net, net_deny] = LISTS;
    (list(read), list(write), denies(deny), list(exec), denies(exec_deny), list(net), denies(net_deny))
        .prop_map(|(read, write, deny, exec, exec_deny, net, net_deny)| {
            let map = |key: &str, lists: &[(&str, Option<Vec<&str>>)]| {
                let lists: Vec<String> = lists
                    .iter()
                    .filter_map(|(key, list)| list.as_ref().map(|list| format!("{key}: {}", flow(list))))
                    .collect();
                if lists.is_empty() { String::new() } else { format!("{key}: {{{}}}\n", lists.join(", ")) }
            };
            let fs = map("fs", &[("read", read), ("write", write), ("deny", deny)]);
            let exec = map("exec", &[("allow", exec), ("deny", exec_deny)]);
            let net = map("net", &[("allow", net), ("deny", net_deny)]);
            format!("{fs}{exec}{net}name: x\n")
        })
}

fn flow(list: &[&str]) -> String {
    let quoted: Vec<String> = list.iter().map(|text| format!("'{text}'")).collect();
    format!("[{}]", quoted.join(", "))
}

fn state(layer: &Layer) -> State {
    state_of(&layer.compiled.program)
}

fn state_of(program: &vantio_policy::PolicyProgram) -> State {
    let mut state = State::new(program, bindings());
    for (name, address) in [("a.example", "8.8.4.4"), ("b.example", "10.0.0.1"), ("c.org", "9.9.9.9")] {
        state.learn_name(name, address.parse().unwrap(), u64::MAX);
    }
    state
}

const TARGETS: [&str; 14] = [
    "/",
    "/usr",
    "/usr/bin",
    "/usr/bin/git",
    "/usr/bin/x",
    "/bin/ls",
    "/etc",
    "/etc/passwd",
    "/home/u/w",
    "/home/u/w/tool",
    "/home/u/w/link/x",
    "/home/u/w/src/.env",
    "/home/u/y",
    "/tmp/a",
];

fn intents() -> Vec<Intent<'static>> {
    let mut intents = Vec::new();
    for target in TARGETS {
        let path = target.as_bytes();
        let on = |access, subtree| Target::Path { path, access, subtree };
        intents.push(Intent::new(Effect::FsOpen, on(Access::Read, false)));
        intents.push(Intent::new(Effect::FsOpen, on(Access::Write, false)));
        intents.push(Intent::new(Effect::FsRmdir, on(Access::Write, true)));
        intents.push(Intent::new(Effect::ProcExec, on(Access::Read, false)));
        intents.push(Intent::new(Effect::FsStat, on(Access::Read, false)));
        for to in ["/usr/bin/x", "/home/u/w/src", "/tmp/b"] {
            let target = Target::Paths { from: path, to: to.as_bytes(), subtree: true };
            intents.push(Intent::new(Effect::FsRename, target));
        }
    }
    for address in ["8.8.8.8", "8.8.4.4", "10.0.0.1", "10.1.1.1", "9.9.9.9", "127.0.0.1"] {
        for (port, transport) in [(22, Transport::Tcp), (443, Transport::Tcp), (53, Transport::Udp)] {
            let address = SocketAddr::new(address.parse().unwrap(), port);
            let endpoint = Endpoint { transport, address, in_run: false };
            intents.push(Intent::new(Effect::NetConnect, Target::Endpoint(endpoint)));
        }
    }
    for name in ["a.example", "b.example", "c.org"] {
        intents.push(Intent::new(Effect::NetDns, Target::Name(name)));
    }
    intents.push(Intent::new(Effect::NetConnect, Target::Unix(b"/run/x")));
    intents
}

/// The list that has to permit an intent.
fn list_of(intent: &Intent<'_>) -> Option<Section> {
    match (intent.effect, intent.target) {
        (Effect::FsStat, _) => None,
        (Effect::FsOpen, Target::Path { access: Access::Read, .. }) => Some(Section::FsRead),
        (Effect::ProcExec, _) => Some(Section::ExecAllow),
        (Effect::NetConnect | Effect::NetDns, _) => Some(Section::NetAllow),
        _ => Some(Section::FsWrite),
    }
}

fn is_denied(verdict: &Verdict<'_>) -> bool {
    matches!(verdict.cause, Cause::Rule { .. }) && !verdict.is_permit()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_layers_permit_together_each_permits_that_speaks_of_it(
        documents in prop::collection::vec(document(), 2..=4),
        first in 0..2_usize,
    ) {
        let kinds = [Managed, CommandLine, Project, User];
        let layers: Vec<Layer> =
            documents.iter().zip(&kinds[first..]).map(|(document, kind)| layer(*kind, document)).collect();
        let merged = merge(&layers, &bindings()).unwrap();
        let state_of_merged = state_of(&merged.program);
        let states: Vec<State> = layers.iter().map(state).collect();
        let base = layers.iter().position(|layer| layer.kind != Managed).unwrap();
        for intent in intents() {
            if !judge(&merged.program, &state_of_merged, &intent).is_permit() {
                continue;
            }
            let list = list_of(&intent);
            for (layer, state) in layers.iter().zip(&states) {
                let present = &layer.compiled.present;
                let verdict = judge(&layer.compiled.program, state, &intent);
                prop_assert!(!is_denied(&verdict), "{intent:?} is denied by {}", layer.name);
                if list.is_none_or(|list| present.has_list(list)) {
                    prop_assert!(verdict.is_permit(), "{intent:?}: {} {verdict:?}", layer.name);
                }
                if let (Target::Path { path, .. }, true) = (intent.target, present.has_list(Section::FsRead))
                    && list.is_some()
                {
                    let target = Target::Path { path, access: Access::Read, subtree: false };
                    let read = judge(&layer.compiled.program, state, &Intent::new(Effect::FsOpen, target));
                    prop_assert!(read.is_permit(), "reading for {intent:?}: {} {read:?}", layer.name);
                }
            }
            let is_managed = list.is_some_and(|list| {
                layers.iter().any(|layer| layer.kind == Managed && layer.compiled.present.has_list(list))
            });
            let alone = judge(&layers[base].compiled.program, &states[base], &intent);
            let implied = list == Some(Section::FsRead);
            prop_assert!(is_managed || implied || alone.is_permit(), "{intent:?}: the base {alone:?}");
        }
    }

    #[test]
    fn a_difference_is_told_where_there_is_one(first in document(), second in document()) {
        let [first, second] = [first, second].map(|document| layer(Project, &document).compiled.program.clone());
        let told = differences(&first, &second);
        prop_assert_eq!(differences(&first, &first), []);
        let here = Bindings { aliases: Vec::new(), ..bindings() };
        let [a, b] = [&first, &second].map(|program| State::new(program, here.clone()));
        for intent in intents().into_iter().filter(|intent| intent.effect != Effect::FsRename) {
            let by_first = judge(&first, &a, &intent).is_permit();
            let by_second = judge(&second, &b, &intent).is_permit();
            let has = |change| told.iter().any(|difference| difference.change == change);
            prop_assert!(by_first || !by_second || has(Change::Widens), "{intent:?}");
            prop_assert!(by_second || !by_first || has(Change::Narrows), "{intent:?}");
        }
    }
}
