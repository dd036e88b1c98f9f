//! Manifests: documents that name the policy of an agent.

use super::{Compiler, keys, read::find};
use crate::document::{
    Manifest,
    error::PolicyError,
    source::Source,
    tree::{Content, Node},
};

/// The manifest that a document is; `None` for any other document.
pub(in crate::document) fn manifest(
    source: &Source,
    root: Option<&Node>,
) -> Result<Option<Manifest>, PolicyError> {
    let Some(root) = root.filter(|root| is_manifest(root)) else { return Ok(None) };
    let mut compiler = Compiler::new(source);
    let manifest = compiler.manifest(root);
    compiler.fail_on_problems()?;
    Ok(manifest)
}

pub(super) fn is_manifest(root: &Node) -> bool {
    let Content::Map(pairs) = &*root.content else { return false };
    pairs.iter().any(|(key, _)| matches!(&*key.content, Content::Scalar { text, .. } if text == "authority"))
}

impl Compiler<'_> {
    fn manifest(&mut self, root: &Node) -> Option<Manifest> {
        let entries = self.known_entries(root, &keys::MANIFEST)?;
        let entries = self.known_entries(find(&entries, "authority")?, &keys::AUTHORITY)?;
        let path_node = find(&entries, "policy_path")?;
        let policy_path = self.plain(path_node, "policy_path");
        let audit_log_path =
            find(&entries, "audit_log_path").and_then(|node| self.plain(node, "audit_log_path"));
        let llm = find(&entries, "llm").and_then(|node| self.llm(node));
        let place = self.place(path_node);
        Some(Manifest { policy_path: policy_path?, audit_log_path, llm, place })
    }
}
