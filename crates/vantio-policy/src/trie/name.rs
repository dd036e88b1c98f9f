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

/// Where the components of a path end, one after the other.
pub(super) struct Ends<'p> {
    path: &'p [u8],
    /// Where the bytes begin that `slashes` are of.
    base: usize,
    /// One bit for each slash that was not given yet, among 64 bytes.
    slashes: u64,
}

impl<'p> Ends<'p> {
    /// Of a path that begins with a slash; `None` where a NUL is in its first 64 bytes.
    #[inline]
    pub(super) fn new(path: &'p [u8]) -> Option<Self> {
        let slashes = slashes(path.get(..64).unwrap_or(path))?;
        Some(Self { path, base: 0, slashes: slashes & !1 })
    }

    /// Where the next component ends; `None` where a NUL comes before.
    #[inline]
    pub(super) fn next(&mut self) -> Option<usize> {
        while self.slashes == 0 {
            // INVARIANT: `base` is below the length, so that nothing overflows.
            let base = self.base.wrapping_add(64);
            let Some(block) = self.path.get(base..).filter(|block| !block.is_empty()) else {
                return Some(self.path.len());
            };
            (self.base, self.slashes) = (base, slashes(block.get(..64).unwrap_or(block))?);
        }
        let end = self.base.wrapping_add(self.slashes.trailing_zeros() as usize);
        self.slashes &= self.slashes.wrapping_sub(1);
        Some(end)
    }
}

/// One bit for each slash among at most 64 bytes; `None` where one is a NUL.
#[inline]
fn slashes(block: &[u8]) -> Option<u64> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const LOWS: u64 = u64::from_ne_bytes([0x7f; 8]);
    let (mut slashes, mut nuls) = (0, 0);
    let mut add = |word: [u8; 8], start: usize| {
        let word = u64::from_le_bytes(word);
        nuls |= word.wrapping_sub(ONES) & !word & !LOWS;
        let other = word ^ u64::from_ne_bytes([b'/'; 8]);
        // The highest bit of each byte that is a slash; then these bits, side by side.
        let found = !((other & LOWS).wrapping_add(LOWS) | other | LOWS) >> 7;
        slashes |= (found.wrapping_mul(0x0102_0408_1020_4080) >> 56).wrapping_shl(start as u32);
    };
    let (words, rest) = block.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        add(*word, index * 8);
    }
    match block.last_chunk() {
        _ if rest.is_empty() => {}
        // Some of it for a second time.
        Some(last) => add(*last, block.len() - 8),
        None => {
            let mut word = [0xff; 8];
            word[..rest.len()].copy_from_slice(rest);
            add(word, 0);
        }
    }
    (nuls == 0).then_some(slashes)
}

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
    fn every_component_ends_where_a_slash_or_the_path_does() {
        for length in 2..200 {
            for step in 1..70 {
                let mut path = vec![b'a'; length];
                path.iter_mut().step_by(step).for_each(|byte| *byte = b'/');
                let mut ends = Ends::new(&path).unwrap();
                let expected = (1..length).filter(|place| path[*place] == b'/').chain([length; 2]);
                for end in expected {
                    assert_eq!(ends.next(), Some(end), "{length} {step}");
                }
                for place in 1..length {
                    let mut path = path.clone();
                    path[place] = 0;
                    let found = Ends::new(&path)
                        .and_then(|mut ends| (0..=length).try_for_each(|_| ends.next().map(|_| ())));
                    assert_eq!(found, None, "{length} {step} {place}");
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
