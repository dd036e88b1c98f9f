//! Policies that come with Vantio.

/// The presets' names.
pub const PRESETS: &[&str] = &["read-only", "workspace", "open", "learn"];

/// The document of a preset.
pub fn preset(name: &str) -> Option<&'static str> {
    match name {
        "read-only" => Some(include_str!("../../presets/read-only.yaml")),
        "workspace" => Some(include_str!("../../presets/workspace.yaml")),
        "open" => Some(include_str!("../../presets/open.yaml")),
        "learn" => Some(include_str!("../../presets/learn.yaml")),
        _ => None,
    }
}
