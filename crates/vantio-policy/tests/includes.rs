//! Documents that include others.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use miette::{GraphicalReportHandler, GraphicalTheme, ThemeCharacters};
use vantio_core::Section;
use vantio_policy::{
    Compiled, Mode, PolicyError,
    layers::{Included, compile_whole},
};

/// Compiles `main.yaml` of these documents.
fn whole(documents: &[(&str, &str)]) -> Result<Compiled, PolicyError> {
    let documents: BTreeMap<&str, String> =
        documents.iter().map(|(name, text)| (*name, format!("version: 1\n{text}"))).collect();
    let mut find = |text: &str, _: &str| {
        let name = text.trim_start_matches("./");
        let document = documents.get(name).ok_or_else(|| format!("`{text}` does not exist"))?;
        Ok(Included { name: name.to_owned(), document: document.clone().into_bytes() })
    };
    compile_whole(documents["main.yaml"].as_bytes(), "main.yaml", &mut find)
}

fn shown(error: &PolicyError) -> String {
    let theme = GraphicalTheme { characters: ThemeCharacters::ascii(), ..GraphicalTheme::none() };
    let mut text = String::new();
    GraphicalReportHandler::new_themed(theme).with_links(false).render_report(&mut text, error).unwrap();
    text
}

fn texts(compiled: &Compiled, section: Section) -> Vec<&str> {
    compiled.program.rules(section).iter().map(vantio_policy::Rule::text).collect()
}

#[test]
fn lists_are_joined_and_values_are_the_documents_own() {
    let compiled = whole(&[
        (
            "main.yaml",
            "include: [a.yaml, ./b.yaml]\nmode: enforce\nfs: {read: [/usr]}\nbudgets: {calls: 5}\n\
             env: {allow: [A], set: {X: main}}\nreversibility: {net.connect: reversible}\n",
        ),
        (
            "a.yaml",
            "mode: monitor\nfs: {read: [/opt, /usr], deny: ['**/.env']}\nbudgets: {calls: 1, tokens: 7}\n\
             phantom: {commit: never}\nrequire: static\nenv: {allow: [B], set: {X: a, Y: a}}\n\
             taint: {sinks: [{label: b, net: ['*']}], sources: [{label: secret, fs: [/a]}]}\n",
        ),
        (
            "b.yaml",
            "include: [c.yaml]\nnet: {allow: [github.com]}\nphantom: {commit: auto}\nbudgets: {tokens: 9}\n\
             reversibility: {net.connect: unknown, tool.call: irreversible}\nenv: {set: {Y: b}}\n\
             taint: {sources: [{label: alpha, fs: [/b]}], sinks: [{label: secret, net: ['*']}]}\n",
        ),
        ("c.yaml", "name: c\nkill_switch: true\nfs: {write: ['${workspace}']}\n"),
    ])
    .unwrap();
    let alone = whole(&[(
        "main.yaml",
        "name: c\nmode: enforce\nfs: {read: [/opt, /usr], write: ['${workspace}'], deny: ['**/.env']}\n\
         net: {allow: [github.com]}\nbudgets: {calls: 5, tokens: 9}\nphantom: {commit: auto}\n\
         require: static\nenv: {allow: [A, B], set: {X: main, Y: b}}\nkill_switch: true\n\
         reversibility: {net.connect: reversible, tool.call: irreversible}\n\
         taint: {sources: [{label: secret, fs: [/a]}, {label: alpha, fs: [/b]}], \
         sinks: [{label: b, net: ['*']}, {label: secret, net: ['*']}]}\n",
    )])
    .unwrap();
    assert_eq!(compiled.program, alone.program);

    let origin = |section, text| compiled.source_map.origin(section, text).unwrap().to_string();
    assert_eq!(origin(Section::FsRead, "/usr"), "main.yaml:4:13");
    assert_eq!(origin(Section::FsRead, "/opt"), "a.yaml:3:13");
    assert_eq!(origin(Section::FsWrite, "${workspace}"), "c.yaml:4:14");
    assert_eq!(compiled.present.origin("phantom.commit").unwrap().to_string(), "b.yaml:4:11");
}

#[test]
fn a_preset_is_included_by_its_name() {
    let compiled = whole(&[(
        "main.yaml",
        "include: ['preset:read-only']\nname: mine\nmode: learn\nnet: {allow: [github.com]}\n",
    )])
    .unwrap();
    assert_eq!((compiled.program.name(), compiled.program.mode()), (Some("mine"), Mode::Learn));
    assert_eq!(texts(&compiled, Section::ExecAllow), ["/"]);
    let origin = compiled.source_map.origin(Section::ExecAllow, "/").unwrap();
    assert_eq!(&*origin.file, "preset:read-only");
}

#[test]
fn includes_that_lead_nowhere_are_shown_where_they_stand() {
    let error = |documents: &[(&str, &str)]| shown(&whole(documents).unwrap_err());
    insta::assert_snapshot!(error(&[("main.yaml", "include: [a.yaml, none.yaml]\n"), ("a.yaml", "")]), @"
    E_POLICY_INCLUDE

      x `none.yaml` does not exist
       ,-[main.yaml:2:19]
     1 | version: 1
     2 | include: [a.yaml, none.yaml]
       :                   ^^^^|^^^^
       :                       `-- included here
       `----
      help: name a file in the folder of this document or below, or by its whole path
    ");
    insta::assert_snapshot!(
        error(&[
            ("main.yaml", "include: [a.yaml]\n"),
            ("a.yaml", "include:\n  - b.yaml\n"),
            ("b.yaml", "include: [./a.yaml]\n"),
        ]),
        @"
    E_POLICY_INCLUDE

      x a policy includes itself: `main.yaml`, then `a.yaml`, then `b.yaml`, then `a.yaml`
       ,-[b.yaml:2:11]
     1 | version: 1
     2 | include: [./a.yaml]
       :           ^^^^|^^^
       :               `-- included here
       `----
      help: remove one of the includes
    "
    );
    insta::assert_snapshot!(error(&[("main.yaml", "include: [a.yaml]\n"), ("a.yaml", "fs: {raed: []}\n")]), @"
    E_POLICY_UNKNOWN_KEY

      x `fs` has no key `raed`
       ,-[a.yaml:2:6]
     1 | version: 1
     2 | fs: {raed: []}
       :      ^^|^
       :        `-- unknown key
       `----
      help: did you mean `read`?
    ");
}

#[test]
fn includes_are_bounded() {
    let names: Vec<(String, String)> =
        (0..11).map(|index| (format!("{index}.yaml"), format!("include: [{}.yaml]\n", index + 1))).collect();
    let mut documents: Vec<(&str, &str)> =
        names.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    documents.push(("11.yaml", ""));
    documents.push(("main.yaml", "include: [0.yaml]\n"));
    let error = whole(&documents).unwrap_err();
    assert_eq!(error.problems()[0].message, "policies include each other more than 8 deep");
    assert_eq!(error.file_name(), "7.yaml");

    // Each document includes the next one twice: a million documents, but for the bound.
    let names: Vec<(String, String)> = (0..7)
        .map(|index| (format!("{index}.yaml"), format!("include: [{0}.yaml, ./{0}.yaml]\n", index + 1)))
        .collect();
    let mut documents: Vec<(&str, &str)> =
        names.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    documents.push(("7.yaml", ""));
    documents.push(("main.yaml", "include: [0.yaml]\n"));
    let error = whole(&documents).unwrap_err();
    assert_eq!(error.problems()[0].message, "a policy includes more than 64 documents");
}
