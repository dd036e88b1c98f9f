//! Domain names, compared by label.

use alloc::string::String;

/// Bytes of a name in its text form (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;
/// Bytes of one label.
const MAX_LABEL: usize = 63;

/// The labels of a name, the last first, as the places where they begin and end.
#[derive(Debug)]
pub(crate) struct Labels<'n> {
    name: &'n [u8],
    /// Where the labels end that were not given yet.
    end: Option<usize>,
    /// One bit for each dot among the first 64 bytes.
    dots: u64,
}

impl<'n> Labels<'n> {
    /// Of a canonical name.
    pub(crate) fn new(name: &'n str) -> Self {
        let name = name.as_bytes();
        Self { name, end: Some(name.len()), dots: look(name).dots }
    }

    /// The name.
    pub(crate) const fn name(&self) -> &'n [u8] {
        self.name
    }
}

impl Iterator for Labels<'_> {
    type Item = (usize, usize);

    #[inline]
    fn next(&mut self) -> Option<(usize, usize)> {
        let end = self.end?;
        let dot = if end <= LOOKED {
            let dots = self.dots & u64::MAX.checked_shr(LOOKED as u32 - end as u32).unwrap_or(0);
            dots.checked_ilog2().map(|dot| dot as usize)
        } else {
            self.name.get(..end)?.iter().rposition(|byte| *byte == b'.')
        };
        self.end = dot;
        Some((dot.map_or(0, |dot| dot + 1), end))
    }
}

/// Whether `name` is lower-case A-labels without a trailing dot; underscores are
/// permitted, as service names have them.
pub(crate) fn is_canonical(name: &str) -> bool {
    canonical(name).is_some()
}

/// The labels of a name, if [`is_canonical`] holds.
pub(crate) fn canonical(name: &str) -> Option<Labels<'_>> {
    let bytes = name.as_bytes();
    let look = look(bytes);
    let is_canonical = if (1..LOOKED).contains(&bytes.len()) {
        // A label is shorter than the name, and so than the bound.
        let outermost = 1 | 1 << (bytes.len() - 1);
        look.is_plain && look.dots & (look.dots << 1 | outermost) == 0
    } else {
        !bytes.is_empty() && bytes.len() <= MAX_NAME && name.split('.').all(is_canonical_label)
    };
    is_canonical.then_some(Labels { name: bytes, end: Some(bytes.len()), dots: look.dots })
}

/// Bytes that are looked at together.
const LOOKED: usize = 64;

/// What the first [`LOOKED`] bytes of a name have.
struct Look {
    /// One bit for each dot.
    dots: u64,
    /// Whether they are letters, digits, hyphens, underscores and dots, of those of a label.
    is_plain: bool,
}

#[inline]
fn look(name: &[u8]) -> Look {
    let name = name.get(..LOOKED).unwrap_or(name);
    let mut look = Look { dots: 0, is_plain: true };
    let mut add = |word: [u8; 8], start: usize| {
        let (dots, is_plain) = look_at(u64::from_le_bytes(word));
        look.dots |= dots << start;
        look.is_plain &= is_plain;
    };
    let (words, rest) = name.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        add(*word, index * 8);
    }
    match name.last_chunk() {
        _ if rest.is_empty() => {}
        // Some of it for a second time.
        Some(last) => add(*last, name.len() - 8),
        None => {
            let mut word = [b'a'; 8];
            word[..rest.len()].copy_from_slice(rest);
            add(word, 0);
        }
    }
    look
}

/// The dots among eight bytes, and whether all are plain.
#[inline]
const fn look_at(word: u64) -> (u64, bool) {
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    /// For each byte below 0x80 its highest bit, where the byte is in the range.
    const fn within(word: u64, first: u8, last: u8) -> u64 {
        // No byte carries over into the next: each sum is below 0x100.
        let from = word.wrapping_add(u64::from_ne_bytes([0x80 - first; 8]));
        let beyond = word.wrapping_add(u64::from_ne_bytes([0x7f - last; 8]));
        from & !beyond & HIGHS
    }
    let low = word & !HIGHS;
    let dots = within(low, b'.', b'.');
    let plain = within(low, b'a', b'z') | within(low, b'0', b'9') | within(low, b'_', b'_');
    let plain = plain | within(low, b'-', b'.');
    // Gathers the highest bits of the bytes, the first one lowest.
    let dots = (dots & !word) >> 7;
    (dots.wrapping_mul(0x0102_0408_1020_4080) >> 56, plain & !word == HIGHS)
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
    use alloc::format;

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
    fn labels_are_given_from_the_last_on() {
        for name in ["a", "a.b", "example.com", "a.b.c.d.e.f.g.h", "x-1_2.eu.api.example.com"] {
            for before in ["", "long.", &"y.".repeat(20), &"z".repeat(63), &"0123456789.".repeat(15)] {
                let name = format!("{before}{name}");
                let found = Labels::new(&name).map(|(start, end)| &name[start..end]);
                assert!(found.eq(name.rsplit('.')), "{name}");
            }
        }
    }

    #[test]
    fn every_byte_of_a_name_is_looked_at() {
        let slow = |name: &str| {
            !name.is_empty() && name.len() <= MAX_NAME && name.split('.').all(is_canonical_label)
        };
        for length in 0..130 {
            let plain = "a".repeat(length);
            assert_eq!(is_canonical(&plain), slow(&plain), "{plain}");
            for position in 0..length {
                for character in "\0-./09:@AZ_`az{\u{7f}\u{80}\u{e1}".chars() {
                    let name = format!("{}{character}{}", &plain[..position], &plain[position + 1..]);
                    assert_eq!(is_canonical(&name), slow(&name), "{name:?}");
                }
            }
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
