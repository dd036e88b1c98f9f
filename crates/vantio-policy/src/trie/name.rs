//! Names as look-ups want them: their first bytes as numbers, and a hash.

use super::table::{FIRST, SECOND, mix};

/// Bytes of a name that are compared as numbers.
pub(crate) const SHORT: usize = 16;

/// A component, label, or name of something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<'n> {
    pub(crate) bytes: &'n [u8],
    /// The first [`SHORT`] bytes, the first one lowest; zeros follow a shorter name.
    pub(super) head: u128,
    pub(crate) hash: u64,
}

impl<'n> Name<'n> {
    #[inline]
    pub(crate) fn new(bytes: &'n [u8]) -> Self {
        let head = head(bytes);
        Self { bytes, head, hash: if bytes.len() <= SHORT { short(head) } else { hash(bytes, head) } }
    }

    /// The name that lies in `text` between these places.
    #[expect(clippy::inline_always, reason = "a call for each component costs more than it does")]
    #[inline(always)]
    pub(crate) fn within(text: &'n [u8], from: usize, to: usize) -> Self {
        let bytes = text.get(from..to).unwrap_or_default();
        let window = window(text, from);
        let is_long = bytes.len() >= SHORT;
        let head = if is_long { window } else { window & BELOW[bytes.len() % SHORT] };
        Self { bytes, head, hash: if is_long { hash(bytes, head) } else { short(head) } }
    }

    /// The component of a path that begins at `from`, up to a slash, a NUL or the path's end.
    pub(crate) fn component(path: &'n [u8], from: usize) -> Self {
        const ONES: u128 = u128::from_ne_bytes([1; 16]);
        const HIGHS: u128 = u128::from_ne_bytes([0x80; 16]);
        const SLASHES: u128 = u128::from_ne_bytes([b'/'; 16]);
        let window = window(path, from);
        let slashes = window ^ SLASHES;
        // The lowest bit that is set is that of the first such byte.
        let ends = (window.wrapping_sub(ONES) & !window | slashes.wrapping_sub(ONES) & !slashes) & HIGHS;
        if ends == 0 {
            let bytes = long_component(path, from);
            return Self { bytes, head: window, hash: hash(bytes, window) };
        }
        let head = window & (ends ^ ends.wrapping_sub(1)) >> 8;
        let to = from.wrapping_add(ends.trailing_zeros() as usize / 8);
        Self { bytes: path.get(from..to).unwrap_or_default(), head, hash: short(head) }
    }
}

/// Like the rest here, gives numbers and slices only: a structure that a call gives stands in
/// memory, and every other one of its kind with it.
#[inline(never)]
fn long_component(path: &[u8], from: usize) -> &[u8] {
    let rest = path.get(from..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, 0 | b'/')).unwrap_or(rest.len());
    &rest[..end]
}

/// For each number of bytes, all of their bits.
const BELOW: [u128; SHORT] = {
    let mut below = [0; SHORT];
    let mut length = 1;
    while length < SHORT {
        below[length] = u128::MAX >> (128 - 8 * length);
        length += 1;
    }
    below
};

/// Up to 16 bytes from `from` on, the first one lowest.
#[expect(clippy::inline_always, reason = "a call for each component costs more than it does")]
#[inline(always)]
fn window(text: &[u8], from: usize) -> u128 {
    let whole = from.min(text.len().saturating_sub(SHORT));
    match text.get(whole..).and_then(|rest| rest.first_chunk()) {
        // INVARIANT: `from` is below the length, so that fewer than 128 bits go.
        Some(chunk) => u128::from_le_bytes(*chunk).wrapping_shr(8 * (from.wrapping_sub(whole) as u32 & 15)),
        None => head(text.get(from..).unwrap_or_default()),
    }
}

fn head(bytes: &[u8]) -> u128 {
    if let Some(first) = bytes.first_chunk() {
        return u128::from_le_bytes(*first);
    }
    // Where the two overlap, they are the same.
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let last = u128::from(u64::from_le_bytes(*last)) << (8 * (bytes.len() - 8));
        return u128::from(u64::from_le_bytes(*first)) | last;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let last = u64::from(u32::from_le_bytes(*last)) << (8 * (bytes.len() - 4));
        return u128::from(u64::from(u32::from_le_bytes(*first)) | last);
    }
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u128::from(*byte))
}

#[inline(never)]
fn hash(bytes: &[u8], first: u128) -> u64 {
    let mut hash = short(first);
    for chunk in bytes.chunks(SHORT).skip(1) {
        let word = head(chunk);
        hash = mix(hash ^ word as u64, SECOND ^ (word >> 64) as u64);
    }
    hash
}

/// The hash of a name of at most [`SHORT`] bytes.
#[expect(clippy::inline_always, reason = "a call for each component costs more than it does")]
#[inline(always)]
fn short(head: u128) -> u64 {
    mix(FIRST ^ head as u64, SECOND ^ (head >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;

    #[test]
    fn names_of_every_length_have_their_own_hash() {
        let names: Vec<Vec<u8>> = (0..300).map(|length| vec![b'x'; length]).collect();
        let mut hashes: Vec<u64> = names.iter().map(|name| Name::new(name).hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 300);
    }

    #[test]
    fn a_name_is_the_same_wherever_it_lies() {
        let bytes: Vec<u8> = (0..40).map(|byte| b'a' + byte % 26).collect();
        for length in 1..=bytes.len() {
            let alone = Name::new(&bytes[..length]);
            for before in 0..20 {
                for after in [0, 1, 30] {
                    let text = [&vec![b'/'; before], alone.bytes, &vec![b'/'; after]].concat();
                    let names =
                        [Name::component(&text, before), Name::within(&text, before, before + length)];
                    for name in names {
                        assert_eq!((name.bytes, name.head, name.hash), (alone.bytes, alone.head, alone.hash));
                    }
                }
            }
        }
    }

    #[test]
    fn a_component_ends_at_a_slash_or_a_nul() {
        for path in
            [&b"/a/"[..], b"/a\0b", b"/a/b/c/d/e/f/g/h/i", b"/a\0/\x01\x01\x01\x01\x01\x01\x01\x01\x01"]
        {
            assert_eq!(Name::component(path, 1).bytes, b"a");
        }
        assert_eq!(Name::component(b"/0\x01/", 1).bytes, b"0\x01");
        assert_eq!(Name::component(b"//", 1).bytes, b"");
    }
}
