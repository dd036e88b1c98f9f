//! Documents that are written: a program as a document, and the JSON Schema.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, sync::LazyLock};

use jsonschema::Validator;
use proptest::{prelude::*, sample::Index};
use serde_json::{Map, Value, json};
use vantio_core::Effect;
use vantio_policy::{PRESETS, compile, json_schema, preset, render, render_program};

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(&json_schema().to_json()).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    jsonschema::draft202012::new(&schema).unwrap()
});

fn is_policy(document: &Value) -> bool {
    compile(document.to_string().as_bytes(), "policy.json").is_ok()
}

fn texts(choices: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::collection::vec(prop::sample::select(choices), 0..4).prop_map(Value::from)
}

const PATHS: &[&str] = &[
    "/usr",
    "/a b",
    "${workspace}",
    "~/x/**",
    "**/.env",
    "/[!a-z]*/?",
    "/x\\*",
    "/é\u{2028}😀",
    "${tmp}/y/",
    "/",
];
const DENIED: &[&str] = &["${credentials}", "~/.ssh", "**/.env", "/tmp/krb5cc*"];
const PROGRAMS: &[&str] = &["git", "/usr/bin/python3", "no", "${workspace}/bin/**", "**/sudo", "["];
const NETWORK: &[&str] = &[
    "github.com",
    "*.pypi.org:443",
    "*",
    "*:22",
    "10.0.0.0/8:5432",
    "[2001:db8::]/32",
    "[::1]:80,443",
    "unix:/run/x y/**",
    "udp://10.0.0.53:53",
    "BÜCHER.example",
    "a.b:1000-2000",
];
const DOMAINS: &[&str] = &["*.github.com", "example.com:*", "127.0.0.1:8080"];
const NAMES: &[&str] = &["file_read", "github/*", "*", "llama3.1:70b", "a b", "\"quoted\\\""];
const ROLES: &[&str] = &["ciso", "security-engineer", "a.b_c"];
const DURATIONS: &[&str] = &["500ms", "1500ms", "10s", "60s", "5m", "2h", "7d", "366d"];

/// A mapping of some of these keys.
fn some(entries: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let entries: Vec<_> =
        entries.into_iter().map(|(key, value)| (Just(key), prop::option::of(value))).collect();
    entries
        .prop_map(|entries| {
            let present = entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
            Value::Object(present.collect())
        })
        .boxed()
}

fn one_of(choices: &'static [&'static str]) -> BoxedStrategy<Value> {
    prop::sample::select(choices).prop_map(Value::from).boxed()
}

fn number() -> BoxedStrategy<Value> {
    prop_oneof![Just(0_u64), Just(1), any::<u64>(), Just(u64::MAX)].prop_map(Value::from).boxed()
}

/// The entries of a scope, as a mapping to which others can be added.
fn scope() -> BoxedStrategy<Value> {
    let families: [(&[&str], &[&str]); 4] = [
        (&["fs.open", "fs.unlink", "fs.stat"], &["/usr", "~/x/**", "**/.env", "${credentials}"]),
        (&["proc.exec"], PROGRAMS),
        (&["net.connect", "net.dns", "net.bind"], NETWORK),
        (&["tool.call", "infer", "heap.read", "ipc.send"], NAMES),
    ];
    let untargeted = prop::collection::vec(prop::sample::select(Effect::ALL), 1..4).prop_map(
        |effects| json!({"effect": effects.iter().map(|effect| effect.name()).collect::<Vec<_>>()}),
    );
    let targeted = prop::sample::select(families.to_vec()).prop_flat_map(|(effects, targets)| {
        let targets = prop_oneof![
            prop::sample::select(targets).prop_map(Value::from),
            prop::collection::vec(prop::sample::select(targets), 1..4).prop_map(Value::from),
        ];
        (prop::sample::select(effects), targets)
            .prop_map(|(effect, target)| json!({"effect": effect, "target": target}))
    });
    let accessed = prop::sample::select(vec!["read", "write"])
        .prop_map(|access| json!({"effect": ["fs.open", "fs.chmod"], "access": access}));
    prop_oneof![untargeted, targeted, accessed].boxed()
}

fn with(scope: BoxedStrategy<Value>, others: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    (scope, others)
        .prop_map(|(mut scope, others)| {
            scope.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
            scope
        })
        .boxed()
}

fn list(element: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop::collection::vec(element, 0..3).prop_map(Value::from).boxed()
}

fn taint() -> BoxedStrategy<Value> {
    let labels = || prop::option::of(prop::sample::select(vec!["secret", "untrusted", "b.c"]));
    let entry = move |keys: Vec<(&'static str, &'static [&'static str])>| {
        let keyed = prop::sample::select(keys).prop_flat_map(|(key, choices)| {
            prop::collection::vec(prop::sample::select(choices), 0..4)
                .prop_map(move |texts| json!({key: texts}))
        });
        let mapping = (keyed, labels()).prop_map(|(mut entry, label)| {
            if let Some(label) = label {
                entry["label"] = label.into();
            }
            entry
        });
        list(prop_oneof![mapping, prop::sample::select(NAMES).prop_map(Value::from)].boxed())
    };
    let all: Vec<(&str, &[&str])> = vec![
        ("fs", DENIED),
        ("net", NETWORK),
        ("exec", PROGRAMS),
        ("tools", NAMES),
        ("infer", NAMES),
        ("heap", NAMES),
    ];
    some(vec![
        ("sources", entry(all.clone())),
        ("sinks", entry(all)),
        ("sanitizers", entry(vec![("exec", PROGRAMS), ("tools", NAMES)])),
    ])
}

fn guards() -> Vec<(&'static str, BoxedStrategy<Value>)> {
    let measure = prop_oneof![Just("count"), Just("bytes"), Just("distinct")];
    let limit = (measure, number(), one_of(DURATIONS))
        .prop_map(|(measure, limit, within)| json!({measure: limit, "within": within}));
    let threshold = with(scope(), with(limit.boxed(), some(vec![("then", one_of(&["collapse", "hold"]))])));
    let approval = some(vec![("approvers", texts(ROLES).boxed()), ("timeout", one_of(DURATIONS))]);
    let exec = some(vec![("exit", (0_u8..).prop_map(Value::from).boxed())]);
    let event = prop_oneof![
        scope(),
        exec.prop_map(|exit| {
            let mut event = json!({"effect": "proc.exec", "target": "${workspace}/test.sh"});
            event.as_object_mut().unwrap().extend(exit.as_object().unwrap().clone());
            event
        })
    ];
    let order = (scope(), event, scope())
        .prop_map(|(refuse, after, since)| json!({"refuse": refuse, "unless_after": after, "since": since}));
    let kill_switch = some(vec![
        ("active", any::<bool>().prop_map(Value::from).boxed()),
        ("approvers", texts(ROLES).boxed()),
        ("quorum", (1_u64..=64).prop_map(Value::from).boxed()),
        ("window", one_of(DURATIONS)),
    ]);
    let reversibility = prop::collection::btree_map(
        prop::sample::select(Effect::ALL).prop_map(|effect| effect.name().to_owned()),
        one_of(&["none", "reversible", "compensatable", "irreversible", "unknown"]),
        0..3,
    );
    vec![
        ("taint", taint()),
        ("thresholds", list(threshold)),
        ("hold", list(with(scope(), approval))),
        ("order", list(order.boxed())),
        ("kill_switch", prop_oneof![any::<bool>().prop_map(Value::from), kill_switch].boxed()),
        ("reversibility", reversibility.prop_map(|map| Value::Object(Map::from_iter(map))).boxed()),
        ("require", one_of(&["audit", "static", "notify", "kernel"])),
    ]
}

fn lists() -> Vec<(&'static str, BoxedStrategy<Value>)> {
    let budgets = ["tokens", "calls", "inference_ms", "file_bytes", "network_bytes", "wall_ms", "processes"];
    let mut budgets: Vec<(&str, BoxedStrategy<Value>)> =
        budgets.into_iter().map(|key| (key, number())).collect();
    budgets.push(("cost_usd", prop_oneof![Just(json!("2.50")), Just(json!(0.25)), Just(json!(3))].boxed()));
    let size = || prop_oneof![Just(json!("2GiB")), Just(json!(1)), Just(json!("7KiB"))].boxed();
    let count = || (1..100_u64).prop_map(Value::from).boxed();
    let limits = vec![
        ("memory", size()),
        ("processes", count()),
        ("cpu", prop_oneof![Just(json!("150%")), Just(json!(2))].boxed()),
        ("disk", size()),
        ("open_files", count()),
        ("best_effort", any::<bool>().prop_map(Value::from).boxed()),
    ];
    let variables = json!({"LANG": "C.UTF-8", "A-B": "x\ty\u{7f}", "no": "yes"});
    vec![
        ("name", one_of(&["a: b", "web-team", "12"])),
        ("mode", one_of(&["enforce", "monitor", "learn"])),
        (
            "fs",
            some(vec![
                ("read", texts(PATHS).boxed()),
                ("write", texts(PATHS).boxed()),
                ("deny", texts(DENIED).boxed()),
            ]),
        ),
        ("exec", some(vec![("allow", texts(PROGRAMS).boxed()), ("deny", texts(PROGRAMS).boxed())])),
        ("net", some(vec![("allow", texts(NETWORK).boxed()), ("deny", texts(NETWORK).boxed())])),
        ("domains", some(vec![("allow", texts(DOMAINS).boxed()), ("deny", texts(DOMAINS).boxed())])),
        ("tools", some(vec![("allow", texts(NAMES).boxed()), ("deny", texts(NAMES).boxed())])),
        ("infer", some(vec![("models", texts(NAMES).boxed()), ("max_tokens", number())])),
        (
            "env",
            some(vec![
                ("allow", texts(&["CI", "OPENAI_*"]).boxed()),
                ("deny", texts(&["*_TOKEN"]).boxed()),
                ("set", Just(variables).boxed()),
            ]),
        ),
        ("budgets", some(budgets)),
        ("limits", some(limits)),
        ("phantom", some(vec![("commit", one_of(&["review", "auto", "never"]))])),
    ]
}

fn beside() -> Vec<(&'static str, BoxedStrategy<Value>)> {
    let test = some(vec![("access", one_of(&["read", "write"]))]);
    let test = with(
        Just(json!({"effect": "fs.open", "target": "${workspace}/.env", "expect": "Collapse"})).boxed(),
        test,
    );
    let llm = json!({
        "mode": "hybrid",
        "local": {"device": "/dev/vport0p1", "default_model": "llama3.1:70b", "timeout_ms": 30000},
        "api": {"provider": "anthropic", "endpoint": "https://api.anthropic.com/v1", "model": "claude", "secret_name": "KEY"},
    });
    vec![
        ("include", texts(&["preset:workspace", "./more.yaml"]).boxed()),
        ("tests", list(test)),
        ("llm", prop_oneof![Just(json!({"mode": "local"})), Just(llm)].boxed()),
    ]
}

/// A policy with any of its keys.
fn document() -> impl Strategy<Value = Value> {
    let versions = prop_oneof![Just(json!(1)), Just(json!("1")), Just(json!("1.0")), Just(json!(1.0))];
    let keys = lists().into_iter().chain(guards()).chain(beside()).collect();
    (versions, some(keys)).prop_map(|(version, mut document)| {
        document["version"] = version;
        document
    })
}

/// Every value in a document, by its JSON pointer.
fn pointers(value: &Value, prefix: &str, found: &mut Vec<String>) {
    found.push(prefix.to_owned());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{prefix}/{index}"), found);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                pointers(member, &format!("{prefix}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_program_as_a_document_is_the_same_program(document in document()) {
        let compiled = compile(document.to_string().as_bytes(), "policy.json");
        let compiled = compiled.map_err(|error| TestCaseError::fail(format!("{error:?} {document}")))?;
        for value in [render(&compiled), render_program(&compiled.program)] {
            for (text, name) in [(value.to_yaml(), "a.yaml"), (value.to_json(), "a.json"), (value.to_json_lines(), "a.json")] {
                let again = compile(text.as_bytes(), name);
                let again = again.map_err(|error| TestCaseError::fail(format!("{error:?}\n{text}")))?;
                prop_assert_eq!(&again.program, &compiled.program, "{}", text);
            }
        }
        let again = compile(render(&compiled).to_yaml().as_bytes(), "a.yaml").unwrap();
        let tests = |tests: &[vantio_policy::Example]| tests.iter().map(|test| (test.effect, test.access, test.target.clone(), test.expect)).collect::<Vec<_>>();
        prop_assert_eq!(tests(&again.tests), tests(&compiled.tests));
        prop_assert_eq!(&again.llm, &compiled.llm);
        prop_assert_eq!(again.includes.len(), compiled.includes.len());
        let rendered: Value = serde_json::from_str(&render(&compiled).to_json()).unwrap();
        prop_assert!(SCHEMA.is_valid(&rendered), "{:?} {}", SCHEMA.validate(&rendered), rendered);
    }

    #[test]
    fn the_schema_accepts_what_the_parser_accepts(document in document()) {
        prop_assert!(is_policy(&document));
        prop_assert!(SCHEMA.is_valid(&document), "{:?} {}", SCHEMA.validate(&document), document);
    }

    #[test]
    fn the_schema_and_the_parser_refuse_wrong_types(document in document(), at: Index, wrong in 0_usize..4) {
        let mut found = Vec::new();
        pointers(&document, "", &mut found);
        let pointer = at.get(&found);
        let mut document = document.clone();
        *document.pointer_mut(pointer).unwrap() = [json!([[[]]]), json!({"?": 0}), json!(-1.5), json!(null)][wrong].clone();
        prop_assert!(!is_policy(&document), "{pointer} {document}");
        prop_assert!(!SCHEMA.is_valid(&document), "{pointer} {document}");
    }

    #[test]
    fn the_schema_and_the_parser_refuse_unknown_keys(document in document(), at: Index) {
        let mut found = Vec::new();
        pointers(&document, "", &mut found);
        found.retain(|pointer| document.pointer(pointer).is_some_and(Value::is_object));
        let pointer = at.get(&found);
        let mut document = document.clone();
        // Neither the value of a variable, nor a class of reversibility, nor known elsewhere.
        document.pointer_mut(pointer).unwrap()["unheard_of"] = json!([]);
        prop_assert!(!is_policy(&document), "{pointer} {document}");
        prop_assert!(!SCHEMA.is_valid(&document), "{pointer} {document}");
    }
}

#[test]
fn presets_are_rendered_and_valid() {
    for name in PRESETS {
        let program = compile(preset(name).unwrap().as_bytes(), name).unwrap().program;
        let rendered = render_program(&program);
        assert_eq!(compile(rendered.to_yaml().as_bytes(), "a.yaml").unwrap().program, program);
        assert!(SCHEMA.is_valid(&serde_json::from_str(&rendered.to_json()).unwrap()), "{name}");
    }
}

#[test]
fn the_examples_of_the_schema_are_policies() {
    let schema: Value = serde_json::from_str(&json_schema().to_json()).unwrap();
    for example in schema["examples"].as_array().unwrap() {
        assert!(is_policy(example) && SCHEMA.is_valid(example), "{example}");
    }
}

#[test]
fn the_schema_in_the_documentation_is_this_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy.schema.json");
    let committed = fs::read_to_string(path).unwrap_or_default();
    let help = "run `vantio policy schema > docs/policy.schema.json`";
    assert!(committed == json_schema().to_json_lines(), "docs/policy.schema.json is another: {help}");
}
