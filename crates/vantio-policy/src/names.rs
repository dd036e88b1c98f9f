//! Domain names, compared by label.

use alloc::string::String;

/// Bytes of a name in its text form (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;
/// Bytes of one label.
const MAX_LABEL: usize = 63;

/// Whether `name` is lower-case A-labels without a trailing dot; underscores are
/// permitted, as service names have them.
pub(crate) fn is_canonical(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && name.split('.').all(is_canonical_label)
}

fn is_canonical_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

/// Whether `name` lies one or more labels below `ancestor`.
pub(crate) fn is_below(name: &str, ancestor: &str) -> bool {
    name.strip_suffix(ancestor).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// Lower-cases an ASCII name; `None` for any other.
pub(crate) fn lower_ascii(name: &str) -> Option<String> {
    name.is_ascii().then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_compared_whole() {
        assert!(is_below("api.github.com", "github.com"));
        assert!(is_below("a.b.github.com", "github.com"));
        for name in ["github.com", "notgithub.com", ".github.com", "github.com.evil.org"] {
            assert!(!is_below(name, "github.com"), "{name}");
        }
    }

    #[test]
    fn names_that_are_not_canonical_are_told() {
        for name in ["a", "_dmarc.example.com", "xn--bcher-kva.example", "1.2.3.x"] {
            assert!(is_canonical(name), "{name}");
        }
        for name in ["", ".", "a.", ".a", "a..b", "A", "a b", "bücher", &"a".repeat(64), &"a.".repeat(127)] {
            assert!(!is_canonical(name), "{name}");
        }
    }
}
