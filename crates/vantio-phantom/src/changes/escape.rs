//! Names as people may safely see them.

use std::fmt;

/// Bytes printed so that they cannot move the cursor, hide, or reorder what
/// stands around them: control and bidirectional characters and bytes that are
/// not UTF-8 are written as escapes.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

/// A line of text, likewise: a backslash and a tab in it stay what they are.
#[derive(Clone, Copy, Debug)]
pub struct EscapedText<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_kept = |character| character != '\\' && !is_hidden(character);
        escape(self.0, formatter, is_kept)
    }
}

impl fmt::Display for EscapedText<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, formatter, |character| character == '\t' || !is_hidden(character))
    }
}

fn escape(bytes: &[u8], formatter: &mut fmt::Formatter<'_>, is_kept: impl Fn(char) -> bool) -> fmt::Result {
    use fmt::Write as _;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                kept if is_kept(kept) => formatter.write_char(kept)?,
                '\\' => formatter.write_str("\\\\")?,
                '\n' => formatter.write_str("\\n")?,
                '\t' => formatter.write_str("\\t")?,
                '\r' => formatter.write_str("\\r")?,
                hidden => write!(formatter, "\\u{{{:x}}}", hidden as u32)?,
            }
        }
        for byte in chunk.invalid() {
            write!(formatter, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

/// Controls, the format characters that are invisible or change the direction of text (Unicode UAX #9, and
/// zero-width ones), variation selectors, and letters that look like nothing.
pub(crate) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e007f}' | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_deceive_is_spelled_out() {
        let name = b"a\x1b[2J\xe2\x80\xaegpj.exe\n\xff\\";
        assert_eq!(Escaped(name).to_string(), r"a\u{1b}[2J\u{202e}gpj.exe\n\xff\\");
        assert_eq!(EscapedText(b"a\\d\t\x1b\xff").to_string(), "a\\d\t\\u{1b}\\xff");
        assert_eq!(Escaped("Größe €".as_bytes()).to_string(), "Größe €");
        assert_eq!(
            Escaped("a\u{3164}\u{fe0f}\u{2800}\u{e0101}".as_bytes()).to_string(),
            r"a\u{3164}\u{fe0f}\u{2800}\u{e0101}"
        );
    }
}
