//! YAML 1.2.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use super::{Builder, MAX_DEPTH, Node, lower_first};
use crate::document::{
    codes,
    error::Problem,
    source::{FORMATS, Source, Span},
    values::Kind,
};

pub(super) fn read(source: &Source) -> Result<Option<Node>, Box<Problem>> {
    if let Some(problem) = control_character(source) {
        return Err(Box::new(problem));
    }
    let offsets = Offsets::new(source.text);
    let mut reader = Reader { builder: Builder::new(source), documents: 0 };
    for event in Parser::new_from_str(source.text) {
        let (event, span) = event.map_err(|error| Box::new(syntax(source, &offsets, &error)))?;
        reader.take(event, offsets.byte(span.start.index())..offsets.byte(span.end.index()))?;
    }
    Ok(reader.builder.root)
}

struct Reader<'a> {
    builder: Builder<'a>,
    documents: usize,
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Box<Problem>> {
        match event {
            Event::DocumentStart(_) => self.document(&span)?,
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &span)?;
                let is_plain = style == ScalarStyle::Plain;
                if is_plain && text == "<<" && self.builder.expects_key() {
                    let help = "write the keys out; an anchor may stand for a whole list";
                    return self.fail(codes::MERGE_KEY, "merge keys are not supported", &span, help);
                }
                let kind = Kind::of(&text, is_plain);
                self.builder.scalar(text.into_owned(), kind, span, anchor)?;
            }
            Event::SequenceStart(anchor, tag) => self.begin(false, tag.is_some(), &span, anchor)?,
            Event::MappingStart(anchor, tag) => self.begin(true, tag.is_some(), &span, anchor)?,
            Event::SequenceEnd | Event::MappingEnd => self.builder.end(span.end)?,
            Event::Alias(anchor) => self.builder.alias(anchor, span)?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn document(&mut self, span: &Span) -> Result<(), Box<Problem>> {
        self.documents += 1;
        if self.documents > 1 {
            let help = "keep one policy in a file";
            return self.fail(codes::DOCUMENTS, "a file has a second document", span, help);
        }
        Ok(())
    }

    fn begin(&mut self, is_map: bool, has_tag: bool, span: &Span, anchor: usize) -> Result<(), Box<Problem>> {
        self.refuse_tag(has_tag, span)?;
        self.builder.begin(is_map, span, anchor)
    }

    fn refuse_tag(&self, has_tag: bool, span: &Span) -> Result<(), Box<Problem>> {
        if !has_tag {
            return Ok(());
        }
        let help = "remove the tag; quotes make a string";
        self.fail(codes::TAG, "tags are not supported", span, help)
    }

    fn fail(&self, code: &'static str, message: &str, span: &Span, help: &str) -> Result<(), Box<Problem>> {
        Err(Box::new(self.builder.problem(code, message, span, Some(help))))
    }
}

/// For each character its byte: the parser counts characters. Empty when every character
/// is one byte.
struct Offsets {
    bytes: Vec<u32>,
    end: usize,
}

impl Offsets {
    fn new(text: &str) -> Self {
        let bytes = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(offset, _)| offset as u32).collect()
        };
        Self { bytes, end: text.len() }
    }

    fn byte(&self, character: usize) -> usize {
        if self.bytes.is_empty() {
            return character.min(self.end);
        }
        self.bytes.get(character).map_or(self.end, |offset| *offset as usize)
    }
}

/// The parser takes NUL for the end of the text: what follows would not be read.
fn control_character(source: &Source) -> Option<Problem> {
    let is_control =
        |character: char| character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{85}');
    let (index, character) = source.text.char_indices().find(|(_, character)| is_control(*character))?;
    let message = format!("a policy has the control character U+{:04X} in it", u32::from(character));
    let span = index..index + character.len_utf8();
    Some(source.problem(codes::CONTROL, &message, &span, Some("remove it")))
}

/// What the parser could not read, with the likely mistake.
fn syntax(source: &Source, offsets: &Offsets, error: &ScanError) -> Problem {
    let index = error.marker().index();
    let span = offsets.byte(index)..offsets.byte(index + 1);
    let place = source.place(&span);
    let line = source.line(place.line);
    let indent = &line[..line.len() - line.trim_start().len()];
    let info = error.info();
    let (code, message, help) = if source.is_like_toml() {
        (codes::SYNTAX, format!("not YAML: {}", lower_first(info)), Some(FORMATS))
    } else if indent.contains('\t') || info.contains("tab") {
        (codes::TAB, "a tab indents a line".to_owned(), Some("indent with spaces"))
    } else if info.contains("unknown anchor") {
        let help = "write it as \"*.example.com\": without quotes it is an alias, which names no anchor here";
        (codes::ALIAS, "a value that begins with `*` needs quotes".to_owned(), Some(help))
    } else if info.contains("recursion limit") {
        let message = format!("a policy nests more than {MAX_DEPTH} levels");
        (codes::TOO_DEEP, message, Some("a policy needs six levels at most"))
    } else {
        let is_flow =
            info.contains("mapping values") || line.contains(['[', '{', '*', '&', '!', '@', '`', '%']);
        let help = "a value with `{`, `[`, `*`, `&`, `!`, `%`, `@` or `: ` in it is written in quotes";
        (codes::SYNTAX, format!("not YAML: {}", lower_first(info)), is_flow.then_some(help))
    };
    source.problem(code, &message, &span, help)
}
