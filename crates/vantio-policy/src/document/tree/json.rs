//! JSON (RFC 8259), with places. Nothing more than the grammar is read, and all of it but
//! the escape of half a surrogate pair, which is no character.

use super::{Builder, Node};
use crate::document::{
    codes,
    error::Problem,
    source::{Source, Span},
    values::Kind,
};

type Read<T> = Result<T, Box<Problem>>;

pub(super) fn read(source: &Source) -> Read<Option<Node>> {
    let mut reader = Reader { builder: Builder::new(source), text: source.text, at: 0, open: Vec::new() };
    reader.skip_space();
    if reader.at == reader.text.len() {
        return Ok(None);
    }
    reader.document()?;
    Ok(reader.builder.root)
}

struct Reader<'a> {
    builder: Builder<'a>,
    text: &'a str,
    /// The byte that is read next.
    at: usize,
    /// Where the lists and maps begin that are open, and whether they are maps.
    open: Vec<(usize, bool)>,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// A value, or the end of the list.
    FirstElement,
    Key,
    /// A key, or the end of the map.
    FirstKey,
    /// A comma, or the end of what is open.
    More,
}

impl Reader<'_> {
    fn document(&mut self) -> Read<()> {
        let mut next = Next::Value;
        loop {
            self.skip_space();
            next = match (next, self.peek()) {
                (Next::FirstElement, Some(b']')) | (Next::FirstKey, Some(b'}')) => self.close()?,
                (Next::Value | Next::FirstElement, _) => self.value()?,
                (Next::Key | Next::FirstKey, _) => self.key()?,
                (Next::More, _) => match self.more()? {
                    Some(next) => next,
                    None => return Ok(()),
                },
            };
        }
    }

    fn value(&mut self) -> Read<Next> {
        let start = self.at;
        match self.peek() {
            Some(byte @ (b'{' | b'[')) => {
                let is_map = byte == b'{';
                self.builder.begin(is_map, &(start..start + 1), 0)?;
                self.open.push((start, is_map));
                self.at += 1;
                Ok(if is_map { Next::FirstKey } else { Next::FirstElement })
            }
            Some(b'"') => {
                let text = self.string()?;
                self.builder.scalar(text, Kind::String, start..self.at, 0)?;
                Ok(Next::More)
            }
            _ => self.word(),
        }
    }

    fn key(&mut self) -> Read<Next> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return match self.peek() {
                Some(b'}') => self.trailing_comma(),
                Some(b'/' | b'#') => self.comment(self.word_span()),
                None => self.unclosed(),
                _ => {
                    let help = "write `\"key\": value`";
                    self.fail("a key is written in double quotes", self.word_span(), help)
                }
            };
        }
        let text = self.string()?;
        self.builder.scalar(text, Kind::String, start..self.at, 0)?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return self.fail("a key is followed by `:`", self.word_span(), "write `\"key\": value`");
        }
        self.at += 1;
        Ok(Next::Value)
    }

    /// What follows a value; `None` at the end of the document.
    fn more(&mut self) -> Read<Option<Next>> {
        let Some((_, is_map)) = self.open.last().copied() else {
            if self.at == self.text.len() {
                return Ok(None);
            }
            if matches!(self.peek(), Some(b'}' | b']' | b',')) {
                return self.fail("nothing is open here", self.word_span(), "remove it");
            }
            let message = "something stands after the end";
            return self.fail(message, self.word_span(), "keep one policy in a file");
        };
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(Some(if is_map { Next::Key } else { Next::Value }))
            }
            Some(b'}') if is_map => self.close().map(Some),
            Some(b']') if !is_map => self.close().map(Some),
            None => self.unclosed(),
            Some(_) => {
                let end = if is_map { '}' } else { ']' };
                let message = format!("`,` or `{end}` is missing");
                self.fail(&message, self.word_span(), "put a comma between the two, or close what is open")
            }
        }
    }

    fn close(&mut self) -> Read<Next> {
        self.at += 1;
        self.open.pop();
        self.builder.end(self.at)?;
        Ok(Next::More)
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Read<Next> {
        let span = self.word_span();
        let word = &self.text[span.clone()];
        let kind = match word {
            "true" | "false" => Kind::Boolean,
            "null" => Kind::Null,
            _ => match number(word) {
                Some(kind) => kind,
                None => return self.no_value(word, span),
            },
        };
        let text = word.to_owned();
        self.at = span.end;
        self.builder.scalar(text, kind, span, 0)?;
        Ok(Next::More)
    }

    /// The characters up to the next space or sign of JSON: at least one, where there is one.
    fn word_span(&self) -> Span {
        let rest = &self.text[self.at..];
        let is_end = |character: char| character.is_whitespace() || ",:[]{}\"".contains(character);
        let first = rest.chars().next().map_or(0, char::len_utf8);
        self.at..self.at + rest.find(is_end).unwrap_or(rest.len()).max(first)
    }

    fn string(&mut self) -> Read<String> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let is_special = |byte: u8| byte == b'"' || byte == b'\\' || byte < 0x20;
            let plain = rest.bytes().position(is_special).unwrap_or(rest.len());
            text.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(b'\n' | b'\r') | None => {
                    return self.fail(
                        "a string is not closed",
                        start..self.at,
                        "close it with `\"` in the same line",
                    );
                }
                Some(byte) => {
                    let message = format!("a string has the control character U+{byte:04X} in it");
                    let help = format!("write `\\u{byte:04x}`, or remove it");
                    return self.fail(&message, self.at..self.at + 1, &help);
                }
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        let start = self.at;
        self.at += 2;
        let character = match self.text.as_bytes().get(start + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.code_point(start),
            _ => {
                let length = self.text[start..].chars().take(2).map(char::len_utf8).sum::<usize>();
                let help = "write `\\\\` for a backslash";
                return self.fail("an escape is not known", start..start + length, help);
            }
        };
        Ok(character)
    }

    /// The character of an escape `\uXXXX`, or of two that are a pair.
    fn code_point(&mut self, start: usize) -> Read<char> {
        let first = self.four_digits(start)?;
        let point = if (0xD800..0xDC00).contains(&first) && self.text[self.at..].starts_with("\\u") {
            self.at += 2;
            let second = self.four_digits(self.at - 2)?;
            let is_pair = (0xDC00..0xE000).contains(&second);
            is_pair.then(|| 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
        } else {
            Some(first)
        };
        if let Some(character) = point.and_then(char::from_u32) {
            return Ok(character);
        }
        let help = "write both halves, as in `\\ud83d\\ude00`, or the character itself";
        self.fail("an escape is half a character", start..self.at, help)
    }

    fn four_digits(&mut self, start: usize) -> Read<u32> {
        let digits = self.text.get(self.at..self.at + 4).unwrap_or_default();
        if digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            self.at += 4;
            // INVARIANT: four hexadecimal digits are a number.
            return Ok(u32::from_str_radix(digits, 16).unwrap_or_default());
        }
        let help = "write four hexadecimal digits, as in `\\u00e9`";
        self.fail("an escape has no four digits", start..self.at, help)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    fn no_value<T>(&self, word: &str, span: Span) -> Read<T> {
        let lower = word.to_ascii_lowercase();
        match word.as_bytes().first() {
            None => self.unclosed(),
            Some(b']' | b'}') => self.trailing_comma(),
            Some(b'\'') => self.fail("a string is in single quotes", span, "write it in double quotes"),
            Some(b'/' | b'#') => self.comment(span),
            Some(b',') => {
                self.fail("a value is missing before `,`", span, "write the value, or remove the comma")
            }
            _ if matches!(lower.as_str(), "true" | "false" | "null") => {
                self.fail(&format!("`{word}` is no value"), span, &format!("write `{lower}`"))
            }
            Some(b'0'..=b'9' | b'-' | b'+' | b'.') => {
                let help = "a number is as `10` or `2.5`, without leading zeros, `+` or `_`";
                self.fail(&format!("`{word}` is not a number"), span, help)
            }
            _ => self.fail("a string is not in quotes", span, &format!("write \"{word}\"")),
        }
    }

    fn comment<T>(&self, span: Span) -> Read<T> {
        self.fail("JSON has no comments", span, "remove it, or write the policy in YAML")
    }

    fn trailing_comma<T>(&self) -> Read<T> {
        let before = self.text[..self.at].trim_end();
        let comma = before.len().saturating_sub(1)..before.len();
        if before.ends_with(',') {
            self.fail("a comma stands after the last element", comma, "remove the comma")
        } else {
            self.fail("a value is missing", self.at..self.at + 1, "write the value")
        }
    }

    fn unclosed<T>(&self) -> Read<T> {
        let (start, is_map) = self.open.last().copied().unwrap_or((self.at, true));
        let (begin, end) = if is_map { ('{', '}') } else { ('[', ']') };
        let message = format!("`{begin}` is not closed");
        self.fail(&message, start..start + 1, &format!("add `{end}`"))
    }

    fn fail<T>(&self, message: &str, span: Span, help: &str) -> Read<T> {
        let message = format!("not JSON: {message}");
        Err(Box::new(self.builder.problem(codes::SYNTAX, &message, &span, Some(help))))
    }
}

/// What kind of number a word is.
fn number(word: &str) -> Option<Kind> {
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    let (mantissa, exponent) = unsigned
        .split_once(['e', 'E'])
        .map_or((unsigned, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) =
        mantissa.split_once('.').map_or((mantissa, None), |(whole, fraction)| (whole, Some(fraction)));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent = exponent.map(|exponent| exponent.strip_prefix(['-', '+']).unwrap_or(exponent));
    let is_number = are_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(are_digits)
        && exponent.is_none_or(are_digits);
    let is_integer = fraction.is_none() && exponent.is_none();
    is_number.then_some(if is_integer { Kind::Integer } else { Kind::Float })
}
