//! Names of tools and models: `*` is any characters.

/// Whether the whole name is matched, trying every length for every `*`.
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.chars().next() {
        None => name.is_empty(),
        Some('*') => {
            let starts = name.char_indices().map(|(start, _)| start).chain([name.len()]);
            starts.into_iter().any(|start| matches(&pattern[1..], &name[start..]))
        }
        Some(first) => {
            name.strip_prefix(first).is_some_and(|rest| matches(&pattern[first.len_utf8()..], rest))
        }
    }
}
