//! What the targets share: texts in documents, bindings, and the evaluator that the
//! tests compare `decide` with.

pub mod dice;
#[path = "../../crates/vantio-policy/tests/reference/evaluator/mod.rs"]
pub mod evaluator;
#[path = "../../crates/vantio-policy/tests/reference/generator.rs"]
pub mod generator;
#[path = "../../crates/vantio-policy/tests/reference/question.rs"]
pub mod question;

use vantio_core::Section;
use vantio_policy::{Bindings, PolicyProgram, State, compile};

/// Values for every variable.
pub fn bindings() -> Bindings {
    Bindings {
        workspace: b"/home/u/w".to_vec(),
        home: b"/home/u".to_vec(),
        tmp: b"/tmp".to_vec(),
        aliases: vec![(b"/bin".to_vec(), b"/usr/bin".to_vec())],
        programs: vec![("git".into(), vec![b"/usr/bin/git".to_vec()])],
        host_addresses: Vec::new(),
    }
}

/// Reads a document. What is a policy survives its bytes; what is none has an error that
/// points into the document and can be shown.
pub fn read_document(bytes: &[u8], file_name: &str) -> Option<PolicyProgram> {
    match compile(bytes, file_name) {
        Ok(compiled) => {
            let program = compiled.program;
            assert_eq!(PolicyProgram::decode(&program.encode()).as_ref(), Ok(&program));
            State::new(&program, bindings());
            Some(program)
        }
        Err(error) => {
            assert!(!error.problems().is_empty());
            for place in error.problems().iter().filter_map(|problem| problem.place.as_ref()) {
                assert!(place.bytes.start <= place.bytes.end && place.bytes.end <= bytes.len());
            }
            assert!(!format!("{:?}", miette::Report::new(error)).is_empty());
            None
        }
    }
}

/// `text` in double quotes, as JSON and YAML read it alike.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            other if u32::from(other) <= 0xffff => quoted.push_str(&format!("\\u{:04x}", u32::from(other))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// The document whose only rule is `text`.
pub fn document(section: Section, text: &str) -> String {
    let (key, list) = section.name().split_once('.').expect("a list is below a key");
    format!("version: 1\n{key}: {{{list}: [{}]}}\n", quoted(text))
}

/// Reads `text` as the only rule of `section`. What is a rule has one canonical text,
/// which is a rule of the same meaning, and survives its bytes.
pub fn read_rule(section: Section, text: &str) -> Option<PolicyProgram> {
    let program = compile(document(section, text).as_bytes(), "policy.yaml").ok()?.program;
    let canonical = program.rules(section)[0].canonical();
    let again = compile(document(section, &canonical).as_bytes(), "policy.yaml");
    let again = again.unwrap_or_else(|error| panic!("{text:?} as {canonical:?}: {error:?}")).program;
    assert_eq!(again.rules(section)[0].canonical(), canonical, "{text:?}");
    assert_eq!(again.hash(), program.hash(), "{text:?} as {canonical:?}");
    assert_eq!(PolicyProgram::decode(&program.encode()).as_ref(), Ok(&program), "{text:?}");
    Some(program)
}

/// The text before the first line break, and the bytes after it.
pub fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let rest = bytes.get(end + 1..).unwrap_or_default();
    Some((std::str::from_utf8(&bytes[..end]).ok()?, rest))
}
