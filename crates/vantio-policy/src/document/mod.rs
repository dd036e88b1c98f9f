//! Documents: from what people write to a [`PolicyProgram`].

mod beside;
mod codes;
mod error;
mod help;
mod json_schema;
mod present;
mod presets;
mod render;
mod schema;
mod source;
mod source_map;
mod tree;
mod value;
mod values;

pub use beside::{ApiModels, Example, Include, Llm, LlmMode, LocalModels, Manifest};
pub use codes::ERROR_CODES;
pub use error::{Place, PolicyError, Problem};
pub use json_schema::json_schema;
pub use present::Present;
pub use presets::{PRESETS, preset};
pub use render::{render, render_program};
pub use source_map::{Origin, Position, SourceMap};
pub use value::Value;

pub(crate) use values::nearest;

use std::sync::Arc;

use crate::PolicyProgram;

/// A compiled document.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What the document means by itself, without what it includes.
    pub program: PolicyProgram,
    /// Where in the document its rules stand.
    pub source_map: SourceMap,
    /// Which keys it has.
    pub present: Present,
    /// What the document expects of the policy.
    pub tests: Vec<Example>,
    /// What the document includes, in its order; empty once that is in the program.
    pub includes: Vec<Include>,
    /// Where models are; those named may be asked.
    pub llm: Option<Llm>,
}

/// Compiles a document. Its format is what the ending of `file_name` says: JSON, TOML, or
/// YAML for every other; errors call it by that name.
///
/// # Errors
///
/// Everything that is wrong with the document, as far as it can be told at once.
pub fn compile(source: &[u8], file_name: &str) -> Result<Compiled, PolicyError> {
    let mut source = source::Source::new(source, file_name)?;
    let root = tree::parse(&mut source).map_err(|problem| source.error(vec![*problem]))?;
    let mut compiled = schema::compile(&source, root.as_ref())?;
    compiled.source_map.set_file(&Arc::from(file_name));
    compiled.present = Present::of(&source, root.as_ref());
    Ok(compiled)
}

/// The manifest that a document is, `None` for any other: one whose key `authority` names
/// the policy.
///
/// # Errors
///
/// The document cannot be read, or is a manifest with something wrong in it.
pub fn manifest(source: &[u8], file_name: &str) -> Result<Option<Manifest>, PolicyError> {
    let mut source = source::Source::new(source, file_name)?;
    let root = tree::parse(&mut source).map_err(|problem| source.error(vec![*problem]))?;
    schema::manifest(&source, root.as_ref())
}

/// An error about one place of a document that was read before.
pub(crate) fn problem_in(source: &[u8], file_name: &str, problem: Problem) -> PolicyError {
    match source::Source::new(source, file_name) {
        Ok(source) => source.error(vec![problem]),
        Err(error) => error,
    }
}
