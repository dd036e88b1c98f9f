//! Characters that hide in text: CVE-2021-42574 ("Trojan Source") and what
//! Unicode's UTS 39 and UAX 31 say about invisible ones.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read},
};

use super::super::escape::is_hidden;

/// How a file is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// What its name says is text: all of it, wherever such a character stands.
    Source,
    /// Anything else: what is whole text, as far as [`LARGEST_OTHER`].
    Other,
}

/// The lines with hidden characters, as digests.
#[derive(Default)]
pub(super) struct Lines {
    found: HashSet<u64>,
    is_too_much: bool,
}

impl Lines {
    /// True when there is a line that `earlier` does not have, or so many
    /// that it cannot be told.
    pub(super) fn has_more_than(&self, earlier: &Self) -> bool {
        self.is_too_much || !self.found.is_subset(&earlier.found)
    }

    /// True when there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty() && !self.is_too_much
    }
}

/// Reads a file to its end and keeps no more than a piece of it in memory.
pub(super) fn lines(mut file: impl Read, manner: Manner) -> io::Result<Lines> {
    let mut lines = Lines::default();
    let mut piece = Vec::with_capacity(PIECE);
    let mut place = Place { offset: 0, is_first: true };
    let (mut encoding, mut is_over) = (None, false);
    while !is_over {
        let filled = piece.len();
        (&mut file).take((PIECE - filled) as u64).read_to_end(&mut piece)?;
        is_over = piece.len() < PIECE;
        if manner == Manner::Other && place.offset == 0 && is_binary(&piece) {
            break;
        }
        let wide = *encoding.get_or_insert_with(|| Wide::of(&piece));
        if let Some(wide) = wide {
            if manner == Manner::Source {
                judge(&wide.decode(&piece), true, &mut lines);
            }
            piece.clear();
        } else {
            // A line that is longer than a piece is looked at in parts, cut between characters.
            let end = if is_over { piece.len() } else { cut(&piece) };
            let whole = piece[..end].split(|byte| *byte == b'\n');
            whole.for_each(|line| look(line, manner, &mut place, &mut lines));
            piece.drain(..end);
        }
        place.offset += PIECE as u64;
        let is_far = match manner {
            Manner::Source => place.offset > LARGEST_SOURCE,
            Manner::Other => place.offset > LARGEST_OTHER,
        };
        if is_far || lines.found.len() > MOST_LINES {
            lines.is_too_much = manner == Manner::Source || lines.found.len() > MOST_LINES;
            break;
        }
    }
    Ok(lines)
}

/// What git takes for no text, by its first bytes.
fn is_binary(start: &[u8]) -> bool {
    start[..start.len().min(8000)].contains(&0)
}

struct Place {
    offset: u64,
    is_first: bool,
}

fn look(line: &[u8], manner: Manner, place: &mut Place, lines: &mut Lines) {
    let is_first = std::mem::take(&mut place.is_first);
    let is_plain =
        line.is_ascii() && !(manner == Manner::Source && line.iter().any(|byte| is_hiding_control(*byte)));
    if is_plain {
        return;
    }
    // A byte order mark hides nothing at the beginning.
    let line = if is_first { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
    let text = match (std::str::from_utf8(line), manner) {
        (Ok(text), Manner::Source) => text.into(),
        (Ok(text), Manner::Other) if !text.contains('\0') => text.into(),
        (Err(_), Manner::Source) => String::from_utf8_lossy(line),
        _ => return,
    };
    judge(&text, manner == Manner::Source, lines);
}

fn judge(text: &str, with_controls: bool, lines: &mut Lines) {
    if hides(text, with_controls) {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        lines.found.insert(hasher.finish());
    }
}

/// True when a character hides itself, or what stands around it.
pub(super) fn hides(text: &str, with_controls: bool) -> bool {
    let mut before = ['\0'; 2];
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let after = rest.peek().copied().unwrap_or('\0');
        let hidden = match character {
            '\0'..='\x7f' => with_controls && is_hiding_control(character as u8),
            // Joiners belong to emoji and to the scripts whose letters they shape.
            '\u{200c}' | '\u{200d}' => {
                !(is_shaped(before[1]) && is_shaped(after) || is_emoji(before[1]) && is_emoji(after))
            }
            '\u{fe0f}' => !(is_emoji(before[1]) || after == '\u{20e3}'),
            '\u{fe0e}' => !is_emoji(before[1]),
            // Programs draw with it.
            '\u{2800}' => false,
            other => is_hidden(other),
        };
        if hidden {
            return true;
        }
        before = [before[1], character];
    }
    false
}

/// Escape, backspace, delete: a terminal that shows the file obeys them.
const fn is_hiding_control(byte: u8) -> bool {
    matches!(byte, 0x08 | 0x1b | 0x7f)
}

const fn is_emoji(character: char) -> bool {
    matches!(character, '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{2bff}'
        | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{fe0f}' | '\u{1f000}'..='\u{1faff}')
}

/// Letters of Arabic, Syriac, the scripts of India and their neighbours.
const fn is_shaped(character: char) -> bool {
    matches!(character, '\u{620}'..='\u{64a}' | '\u{64b}'..='\u{65f}' | '\u{66e}'..='\u{6d3}' | '\u{6fa}'..='\u{7ff}' | '\u{840}'..='\u{dff}')
}

/// Text of two bytes a character.
#[derive(Clone, Copy)]
enum Wide {
    Little,
    Big,
}

impl Wide {
    fn of(text: &[u8]) -> Option<Self> {
        match text {
            [0xff, 0xfe, ..] => Some(Self::Little),
            [0xfe, 0xff, ..] => Some(Self::Big),
            _ => None,
        }
    }

    fn decode(self, bytes: &[u8]) -> String {
        let units = bytes.chunks_exact(2).map(|pair| match self {
            Self::Little => u16::from_le_bytes([pair[0], pair[1]]),
            Self::Big => u16::from_be_bytes([pair[0], pair[1]]),
        });
        let text: String =
            char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)
    }
}

/// Where to cut a piece that goes on: after its last line, else before its
/// last character.
fn cut(piece: &[u8]) -> usize {
    if let Some(end) = piece.iter().rposition(|byte| *byte == b'\n') {
        return end + 1;
    }
    let back = piece.iter().rev().take(4).position(|byte| !matches!(byte, 0x80..=0xbf));
    piece.len() - back.map_or(0, |back| back + 1)
}

const PIECE: usize = 256 * 1024;
const LARGEST_SOURCE: u64 = 1 << 30;
/// Beyond this, what is not called like text is not looked at.
const LARGEST_OTHER: u64 = 64 << 20;
const MOST_LINES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn has(text: &[u8], manner: Manner) -> bool {
        !lines(text, manner).unwrap().is_empty()
    }

    #[test]
    fn what_hides_is_found_wherever_it_stands() {
        for hidden in [
            "\u{202e}",
            "\u{2066}",
            "\u{200b}",
            "a\u{200d}b",
            "\u{ad}",
            "\u{3164}",
            "\u{e0041}",
            "\u{fe01}",
            "\u{e0101}",
            "\u{2028}",
            "\u{61c}",
            "a\u{feff}",
            "\x1b[8m",
            "\u{9b}",
        ] {
            for (before, after) in [(0, 0), (PIECE - 1, 0), (PIECE - 2, PIECE), (3 * PIECE + 7, 2 * PIECE)] {
                let text = [&vec![b'x'; before][..], hidden.as_bytes(), &vec![b'y'; after]].concat();
                assert!(has(&text, Manner::Source), "{hidden:?} {before} {after}");
            }
        }
    }

    #[test]
    fn what_people_write_is_not() {
        for text in [
            "plain",
            "\u{feff}with a mark",
            "Größe €",
            "👩\u{200d}💻 ❤\u{fe0f} 1\u{fe0f}\u{20e3}",
            "می\u{200c}خواهم",
            "क्\u{200d}ष",
            "日本語",
            "a\tb\r\n",
        ] {
            assert!(!has(text.as_bytes(), Manner::Source), "{text:?}");
        }
    }

    #[test]
    fn a_program_or_picture_may_hold_any_bytes_and_source_may_not() {
        let bytes = b"\x7fELF\0\xff\xe2\x80\xae\xff";
        assert!(!has(bytes, Manner::Other) && has(bytes, Manner::Source));
        assert!(has("text \u{202e}".as_bytes(), Manner::Other));
        // Between two line feeds of a compiled program, anything may look like a line.
        let compiled = [b"\xcb\r\r\n\0\0\0\0\n".as_slice(), "a\u{202e}\n".as_bytes()].concat();
        assert!(!has(&compiled, Manner::Other) && has(&compiled, Manner::Source));
        let wide: Vec<u8> = "\u{feff}a\u{202e}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(has(&wide, Manner::Source));
    }

    #[test]
    fn only_new_lines_count() {
        let of = |text: &str| lines(text.as_bytes(), Manner::Source).unwrap();
        let (one, two) = (of("a\u{200b}\nplain\n"), of("other\na\u{200b}\n"));
        assert!(!two.has_more_than(&one));
        assert!(of("a\u{200b}\nb\u{200b}\n").has_more_than(&one));
    }
}
