//! Reading canonical JSON without building it.
//!
//! What a [`Scanner`] accepts is the canonical text (RFC 8785) of some value
//! whose numbers are integers of at most 53 bits, and nothing else: so a text
//! that was scanned to its end needs no second look.

use std::cmp::Ordering;

use vantio_core::{Decision, Hash, RunId, json::MAX_INTEGER};

use super::MAX_DEPTH;
use crate::Malformed;

/// A position in a canonical text.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    pub fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// How many bytes were stepped over.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Steps over `literal`, if it comes next.
    // With the length known, no call is needed to compare.
    #[inline]
    pub fn skip<const N: usize>(&mut self, literal: &[u8; N]) -> bool {
        let is_next = self.rest().first_chunk() == Some(literal);
        if is_next {
            self.at += N;
        }
        is_next
    }

    /// Steps over `literal`, which must come next.
    #[inline]
    pub fn expect<const N: usize>(&mut self, literal: &[u8; N]) -> Result<(), Malformed> {
        if self.skip(literal) { Ok(()) } else { Err(Malformed::NotCanonical) }
    }

    /// The text must end here.
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.rest().is_empty() { Ok(()) } else { Err(Malformed::NotCanonical) }
    }

    /// Steps over a value, and returns its text.
    pub fn value(&mut self) -> Result<&'t str, Malformed> {
        let start = self.at;
        // An entry's values may be inside an object around them.
        self.skip_value(MAX_DEPTH + 1)?;
        Ok(&self.text[start..self.at])
    }

    /// Steps over a string, and returns its text between the quotes, escapes included.
    pub fn string(&mut self) -> Result<&'t str, Malformed> {
        self.expect(b"\"")?;
        let start = self.at;
        loop {
            self.at += plain_length(self.rest());
            match self.rest().first() {
                Some(b'"') => break,
                Some(b'\\') => self.skip_escape()?,
                _ => return Err(Malformed::NotCanonical),
            }
        }
        let inside = &self.text[start..self.at];
        self.at += 1;
        Ok(inside)
    }

    /// `true` or `false`.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        let is_true = self.skip(b"true");
        if !is_true {
            self.expect(b"false")?;
        }
        Ok(is_true)
    }

    /// An integer.
    pub fn integer(&mut self) -> Result<i64, Malformed> {
        let is_negative = self.skip(b"-");
        let digits = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = &self.text[self.at..self.at + digits];
        self.at += digits;
        let has_one_text = match text.as_bytes() {
            [b'0'] => !is_negative,
            [b'1'..=b'9', ..] => true,
            _ => false,
        };
        let number = text.parse::<u64>().ok().filter(|number| has_one_text && *number <= MAX_INTEGER);
        let number = number.ok_or(Malformed::NotCanonical)?.cast_signed();
        Ok(if is_negative { -number } else { number })
    }

    /// A number of type `u32`, called `name`.
    pub fn u32(&mut self, name: &'static str) -> Result<u32, Malformed> {
        u32::try_from(self.integer()?).map_err(|_| Malformed::Field(name))
    }

    /// A digest, called `name`.
    pub fn hash(&mut self, name: &'static str) -> Result<Hash, Malformed> {
        self.hex(name).map(Hash)
    }

    /// Bytes in lower-case hexadecimal, called `name`.
    pub fn hex<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N], Malformed> {
        let text = self.sized_string(2 * N, name)?;
        from_hex(text.as_bytes()).ok_or(Malformed::Field(name))
    }

    /// A string of `length` bytes, called `name`, each of which the caller looks at: so nothing here looks
    /// for the end of it.
    fn sized_string(&mut self, length: usize, name: &'static str) -> Result<&'t str, Malformed> {
        let start = self.at + 1;
        let end = start + length;
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) == Some(&b'"')
            && bytes.get(end) == Some(&b'"')
            && let Some(inside) = self.text.get(start..end)
        {
            self.at = end + 1;
            return Ok(inside);
        }
        let text = self.string()?;
        if text.len() == length { Ok(text) } else { Err(Malformed::Field(name)) }
    }

    /// A run's identifier.
    pub fn run_id(&mut self) -> Result<RunId, Malformed> {
        let text = self.sized_string(36, "run_id")?.as_bytes();
        let mut digits = [0; 32];
        let mut to = 0;
        for (from, length) in [(0, 8), (9, 4), (14, 4), (19, 4), (24, 12)] {
            digits[to..to + length].copy_from_slice(&text[from..from + length]);
            to += length;
        }
        let has_dashes = [8, 13, 18, 23].iter().all(|place| text[*place] == b'-');
        let id = from_hex(&digits).filter(|_| has_dashes).and_then(RunId::from_bytes);
        id.ok_or(Malformed::Field("run_id"))
    }

    /// A verdict, called `name`.
    pub fn decision(&mut self, name: &'static str) -> Result<Decision, Malformed> {
        const ALL: [Decision; 4] =
            [Decision::Permit, Decision::Collapse, Decision::KillSwitch, Decision::Hold];
        let text = self.string()?;
        ALL.into_iter().find(|decision| decision.name() == text).ok_or(Malformed::Field(name))
    }

    /// A time in RFC 3339, in UTC with nanoseconds, called `name`. Such texts
    /// sort as their times do.
    pub fn time(&mut self, name: &'static str) -> Result<&'t str, Malformed> {
        const SHAPE: &[u8; 30] = b"0000-00-00T00:00:00.000000000Z";
        let text = self.sized_string(SHAPE.len(), name)?;
        let fits = |byte: u8, shape: u8| if shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
        // Without a way out inside, so that many bytes are looked at at once.
        let is_shaped = text.bytes().zip(SHAPE).fold(true, |all, (byte, shape)| all & fits(byte, *shape));
        let number = |from: usize, to: usize| {
            text.as_bytes()[from..to]
                .iter()
                .fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0'))
        };
        let is_time = is_shaped
            && (1..=days_in_month(number(0, 4), number(5, 7))).contains(&number(8, 10))
            && number(11, 13) < 24
            && number(14, 16) < 60
            && number(17, 19) < 60;
        if is_time { Ok(text) } else { Err(Malformed::Field(name)) }
    }

    fn rest(&self) -> &'t [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// Steps over an escape that no shorter writing could replace.
    fn skip_escape(&mut self) -> Result<(), Malformed> {
        self.at += match self.rest() {
            [_, b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [_, b'u', b'0', b'0', high @ (b'0' | b'1'), low, ..] => {
                let low = digit(*low);
                if low > 15 || matches!((high - b'0') << 4 | low, 8..=10 | 12 | 13) {
                    return Err(Malformed::NotCanonical);
                }
                6
            }
            _ => return Err(Malformed::NotCanonical),
        };
        Ok(())
    }

    // The depth bounds the recursion.
    fn skip_value(&mut self, depth: usize) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed::NotCanonical)?;
        match self.rest().first() {
            Some(b'n') => self.expect(b"null"),
            Some(b't') => self.expect(b"true"),
            Some(b'f') => self.expect(b"false"),
            Some(b'"') => self.string().map(drop),
            Some(b'[') => self.skip_sequence(b']', |scanner| scanner.skip_value(depth)),
            Some(b'{') => {
                let mut before = None;
                self.skip_sequence(b'}', |scanner| {
                    let key = scanner.string()?;
                    if before.replace(key).is_some_and(|before| compare_keys(before, key) != Ordering::Less) {
                        return Err(Malformed::NotCanonical);
                    }
                    scanner.expect(b":")?;
                    scanner.skip_value(depth)
                })
            }
            _ => self.integer().map(drop),
        }
    }

    /// Steps over what has been seen to open, its items, and what closes it.
    fn skip_sequence(
        &mut self,
        close: u8,
        mut skip_item: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.at += 1;
        if self.rest().first() == Some(&close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            skip_item(self)?;
            let next = self.rest().first();
            if next != Some(&close) && next != Some(&b',') {
                return Err(Malformed::NotCanonical);
            }
            self.at += 1;
            if next == Some(&close) {
                return Ok(());
            }
        }
    }
}

/// The bytes of lower-case hexadecimal digits, two each.
fn from_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // Without a table or a way out inside, so that many digits are read at once.
    let mut is_hex = true;
    for (byte, digits) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = digits.map(digit);
        is_hex &= (high | low) < 16;
        *byte = high << 4 | low & 15;
    }
    is_hex.then_some(bytes)
}

/// 0 for a month that there is not.
const fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

/// How many bytes at the beginning are neither a quote, nor a backslash, nor a control character:
/// eight at a time.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    const QUOTES: u64 = ONES * b'"' as u64;
    const BACKSLASHES: u64 = ONES * b'\\' as u64;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGH;
    let mut length = 0;
    for chunk in bytes.chunks_exact(8) {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        let special = below(word ^ QUOTES, 1) | below(word ^ BACKSLASHES, 1) | below(word, 0x20);
        if special != 0 {
            // The lowest mark is right; a borrow makes wrong ones only above it.
            return length + special.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let is_plain = |byte: &&u8| !matches!(byte, b'"' | b'\\' | 0..0x20);
    length + bytes[length..].iter().take_while(is_plain).count()
}

/// The value of a lower-case hexadecimal digit; of any other byte, 255.
fn digit(byte: u8) -> u8 {
    let [number, letter] = [byte.wrapping_sub(b'0'), byte.wrapping_sub(b'a')];
    if number < 10 {
        number
    } else if letter < 6 {
        10 + letter
    } else {
        u8::MAX
    }
}

/// The order of RFC 8785, section 3.2.3, of keys as they are written.
fn compare_keys(one: &str, other: &str) -> Ordering {
    let is_plain = |byte: u8| byte.is_ascii() && byte != b'\\';
    for (one_byte, other_byte) in one.bytes().zip(other.bytes()) {
        if one_byte == b'\\' || one_byte != other_byte {
            // What stands for itself before the first escape decides by itself.
            if is_plain(one_byte) && is_plain(other_byte) {
                return one_byte.cmp(&other_byte);
            }
            return compare_units(one, other);
        }
    }
    one.len().cmp(&other.len())
}

fn compare_units(one: &str, other: &str) -> Ordering {
    let units = |text| unescaped(text).encode_utf16().collect::<Vec<_>>();
    units(one).cmp(&units(other))
}

/// The string that `inside` stands for between quotes.
pub(crate) fn unescaped(inside: &str) -> String {
    let mut string = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        string.push(match character {
            '\\' => match characters.next() {
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('u') => {
                    let digits = characters.by_ref().take(4).filter_map(|digit| digit.to_digit(16));
                    char::from_u32(digits.fold(0, |code, digit| code << 4 | digit)).unwrap_or_default()
                }
                other => other.unwrap_or_default(),
            },
            other => other,
        });
    }
    string
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_canonical(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.value().is_ok() && scanner.finish().is_ok()
    }

    #[test]
    fn canonical_texts_are_accepted() {
        for text in [
            "null",
            "true",
            "[false,0,-1,9007199254740991]",
            "{}",
            "[]",
            r#"{"\r":1,"1":[],"a":{"b":"\u001f/"}}"#,
            "{\"\u{20ac}\":1,\"\u{1f600}\":2,\"\u{fb33}\":3}",
            r#""\"\\\b\f\n\r\t""#,
            "\"\u{7f}\"",
        ] {
            assert!(is_canonical(text), "{text}");
        }
    }

    #[test]
    fn other_texts_of_the_same_values_are_not() {
        for text in [
            "",
            " null",
            "null ",
            "nul",
            "[1, 2]",
            "[1,]",
            "[,1]",
            "01",
            "-0",
            "1.0",
            "1e3",
            "9007199254740992",
            "-9007199254740992",
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"a":1}"#,
            "{\"\u{fb33}\":1,\"\u{1f600}\":2}",
            r#""\/""#,
            r#""\u0041""#,
            r#""\u001F""#,
            r#""\u000a""#,
            r#""\u00e9""#,
            "\"\n\"",
            r#""unended"#,
            r#""\"#,
        ] {
            assert!(!is_canonical(text), "{text}");
        }
    }

    #[test]
    fn a_special_byte_is_found_wherever_it_is() {
        for special in [b'"', b'\\', 0, 1, 0x1f] {
            for (before, after) in [(b'a', b'b'), (0xff, 0x80), (0x20, 0x21), (0x7f, 0x23)] {
                for place in 0..20 {
                    let mut bytes = [before; 20];
                    bytes[place] = special;
                    bytes[place + 1..].fill(after);
                    assert_eq!(plain_length(&bytes), place, "{special:#x} among {before:#x}");
                }
                assert_eq!(plain_length(&[before; 20]), 20);
            }
        }
    }

    #[test]
    fn keys_are_in_the_order_of_their_utf_16() {
        let keys = [
            "",
            "1",
            "a",
            "aa",
            "ab",
            "b",
            "\\\\",
            "\\\"",
            "\\n",
            "\\u0001",
            "\\u001f",
            "a\\n",
            "a\\\\",
            "a\\\\b",
            "~",
            "\u{7f}",
            "\u{80}",
            "\u{e9}",
            "e\u{301}",
            "\u{20ac}",
            "\u{fb33}",
            "\u{1f600}",
            "a\u{1f600}",
            "a\u{ffff}",
            "\u{20ac}a",
        ];
        for (one, other) in keys.iter().flat_map(|one| keys.map(|other| (*one, other))) {
            assert_eq!(compare_keys(one, other), compare_units(one, other), "{one} and {other}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(is_canonical(&nested(MAX_DEPTH + 1)));
        assert!(!is_canonical(&nested(MAX_DEPTH + 2)));
        assert!(!is_canonical(&"[".repeat(100_000)));
    }

    #[test]
    fn times_have_one_writing() {
        let time = |text: &str| Scanner::new(text).time("time").is_ok();
        assert!(time("\"2026-01-02T03:04:05.000000006Z\""));
        for text in [
            "\"2026-01-02T03:04:05Z\"",
            "\"2026-13-02T03:04:05.000000006Z\"",
            "\"2026-01-00T03:04:05.000000006Z\"",
            "\"2026-02-29T03:04:05.000000006Z\"",
            "\"2026-01-02T24:04:05.000000006Z\"",
            "\"2026-01-02t03:04:05.000000006Z\"",
            "\"2026-01-02T03:04:60.000000006Z\"",
            "\"+026-01-02T03:04:05.000000006Z\"",
        ] {
            assert!(!time(text), "{text}");
        }
    }
}
