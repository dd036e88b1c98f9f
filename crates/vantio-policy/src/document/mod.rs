//! Documents: from what people write to a [`PolicyProgram`].

mod beside;
mod error;
mod help;
mod presets;
mod schema;
mod source;
mod source_map;
mod tree;
mod values;

pub use beside::{ApiModels, Example, Include, Llm, LlmMode, LocalModels, Manifest};
pub use error::{Place, PolicyError, Problem};
pub use presets::{PRESETS, preset};
pub use source_map::{Position, SourceMap};

use crate::PolicyProgram;

/// A compiled document.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What the document means by itself, without what it includes.
    pub program: PolicyProgram,
    /// Where in the document its rules stand.
    pub source_map: SourceMap,
    /// What the document expects of the policy.
    pub tests: Vec<Example>,
    /// What the document includes, in its order.
    pub includes: Vec<Include>,
    /// Where models are; those named may be asked.
    pub llm: Option<Llm>,
}

/// Compiles a document of YAML 1.2, of which JSON is a part. `file_name` is what
/// errors call it.
///
/// # Errors
///
/// Everything that is wrong with the document, as far as it can be told at once.
pub fn compile(source: &[u8], file_name: &str) -> Result<Compiled, PolicyError> {
    let source = source::Source::new(source, file_name)?;
    let root = tree::parse(&source).map_err(|problem| source.error(vec![*problem]))?;
    schema::compile(&source, root.as_ref())
}

/// The manifest that a document is, `None` for any other: one whose key `authority` names
/// the policy.
///
/// # Errors
///
/// The document cannot be read, or is a manifest with something wrong in it.
pub fn manifest(source: &[u8], file_name: &str) -> Result<Option<Manifest>, PolicyError> {
    let source = source::Source::new(source, file_name)?;
    let root = tree::parse(&source).map_err(|problem| source.error(vec![*problem]))?;
    schema::manifest(&source, root.as_ref())
}
