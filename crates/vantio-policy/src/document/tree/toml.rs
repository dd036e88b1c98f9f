//! TOML 1.1.

use toml::{
    Spanned,
    de::{DeTable, DeValue, Error},
};

use super::{Builder, MAX_DEPTH, Node, lower_first};
use crate::document::{
    codes,
    error::Problem,
    source::{Source, Span},
    values::Kind,
};

pub(super) fn read(source: &Source) -> Result<Option<Node>, Box<Problem>> {
    let table = DeTable::parse(source.text).map_err(|error| Box::new(syntax(source, &error)))?;
    if table.get_ref().is_empty() {
        return Ok(None);
    }
    let mut builder = Builder::new(source);
    add_table(&mut builder, table.get_ref(), &(0..source.text.len()))?;
    Ok(builder.root)
}

fn add_table(builder: &mut Builder, table: &DeTable, span: &Span) -> Result<(), Box<Problem>> {
    builder.begin(true, span, 0)?;
    for (key, value) in table {
        builder.scalar(key.get_ref().to_string(), Kind::String, key.span(), 0)?;
        add_value(builder, value)?;
    }
    builder.end(span.end)
}

/// Nests no deeper than [`Builder::begin`] lets it.
fn add_value(builder: &mut Builder, value: &Spanned<DeValue>) -> Result<(), Box<Problem>> {
    let span = value.span();
    let (text, kind) = match value.get_ref() {
        DeValue::String(text) => (text.to_string(), Kind::String),
        DeValue::Integer(number) => (number.to_string(), Kind::Integer),
        DeValue::Float(number) => (number.to_string(), Kind::Float),
        DeValue::Boolean(value) => (value.to_string(), Kind::Boolean),
        DeValue::Datetime(time) => (time.to_string(), Kind::Time),
        DeValue::Table(table) => return add_table(builder, table, &span),
        DeValue::Array(elements) => {
            builder.begin(false, &span, 0)?;
            for element in elements {
                add_value(builder, element)?;
            }
            return builder.end(span.end);
        }
    };
    builder.scalar(text, kind, span, 0)
}

/// What the parser could not read, with the likely mistake.
fn syntax(source: &Source, error: &Error) -> Problem {
    let message = error.message().lines().next().unwrap_or_default();
    let span = error.span().unwrap_or(0..0);
    let span = span.start..span.end.max(span.start + 1);
    if message.contains("duplicate key") {
        let key = source.text.get(span.clone()).unwrap_or_default();
        let message = format!("the key `{key}` stands twice");
        return source.problem(codes::DUPLICATE_KEY, &message, &span, Some("join the two"));
    }
    if message.contains("recursion limit") || message.contains("max recursion depth") {
        let message = format!("a policy nests more than {MAX_DEPTH} levels");
        return source.problem(codes::TOO_DEEP, &message, &span, Some("a policy needs six levels at most"));
    }
    if message.contains("expected `=`") {
        return source.problem(
            codes::SYNTAX,
            &format!("not TOML: {message}"),
            &span,
            Some("write `key = value`"),
        );
    }
    let help = "strings are in quotes, lists in brackets: read = [\"/usr\", \"/etc\"]";
    source.problem(codes::SYNTAX, &format!("not TOML: {}", lower_first(message)), &span, Some(help))
}
