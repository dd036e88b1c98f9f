//! What to write instead of a rule that is none.

use vantio_core::Section;

use super::{codes, schema::Error, values::nearest};
use crate::{credentials, named::NamedError, net::NetError, path::PatternError, rule::RuleError};

const VARIABLES: &[&str] = &["workspace", "home", "tmp"];

pub(super) fn rule_error(section: Section, text: &str, error: &RuleError) -> Error {
    let (code, help) = match error {
        RuleError::Path(error) | RuleError::Net(NetError::Path(error)) => {
            (codes::PATH, path_help(section, text, error))
        }
        RuleError::Net(error) => (codes::NET, net_help(error)),
        RuleError::Named(error) => (codes::NAMED, named_help(*error).to_owned()),
        RuleError::ProgramWildcard => {
            (codes::EXEC, format!("write a path, such as `/usr/bin/{text}`, or `**/{text}`"))
        }
        RuleError::RelativeProgram => (codes::EXEC, format!("write `${{workspace}}/{}`", relative(text))),
    };
    Error::new(code, error.to_string()).help(help)
}

fn named_help(error: NamedError) -> &'static str {
    match error {
        NamedError::Empty => "remove it, or write a name; `*` stands for any characters",
        NamedError::TooLong => "write `*` for a part of it",
        NamedError::WhiteSpace => "write the name as the tool or model has it",
        NamedError::Stars => "write a single `*`, which stands for any characters",
    }
}

fn path_help(section: Section, text: &str, error: &PatternError) -> String {
    let path = text.strip_prefix("unix:").unwrap_or(text);
    match error {
        PatternError::Empty => "remove it, or write a path".to_owned(),
        PatternError::Anchor => anchored(path),
        PatternError::WhiteSpace => {
            format!("write `{}`; a space that belongs to a name is `[ ]`", path.trim())
        }
        PatternError::Control => "write `?` for a character that cannot be shown".to_owned(),
        PatternError::DotDot => "write the path that it leads to".to_owned(),
        PatternError::UnknownVariable(name) => unknown_variable(section, name),
        PatternError::GluedVariable => "put a `/` after the closing brace".to_owned(),
        PatternError::UnclosedVariable => "close it with `}`".to_owned(),
        PatternError::Braces if path.contains("${") => {
            "a variable stands only at the beginning of a path".to_owned()
        }
        PatternError::Braces => "write one rule for each alternative; `\\{` is a brace in a name".to_owned(),
        PatternError::GluedStars => "write `**` between slashes, as in `/a/**/b`, or a single `*`".to_owned(),
        PatternError::TrailingBackslash => "write `\\\\` for a backslash in a name".to_owned(),
        PatternError::StrayBracket => "write `\\]` for a bracket in a name".to_owned(),
        PatternError::EmptyClass => {
            "write the characters between the brackets; `\\]` is a bracket".to_owned()
        }
        PatternError::UnclosedClass => "close it with `]`, or write `\\[` for a bracket in a name".to_owned(),
        PatternError::CaretClass => "write `[!` instead of `[^`".to_owned(),
        PatternError::ReversedRange => "write the smaller character first".to_owned(),
        PatternError::TooLong | PatternError::TooManyComponents => "write a shorter pattern".to_owned(),
    }
}

/// What a path was meant to be that begins with nothing known.
fn anchored(path: &str) -> String {
    match path {
        "~" | "$HOME" => "write `~/`".to_owned(),
        "*" | "**" => "write `/` for everything, or `/**` for everything below the root".to_owned(),
        _ if path.starts_with("$HOME/") => format!("write `~{}`", &path["$HOME".len()..]),
        _ if path.starts_with('~') => "the home of another user is written as an absolute path".to_owned(),
        _ if path.starts_with('*') => format!("write `**/{path}`"),
        _ => {
            format!("write `${{workspace}}/{}`, or `**/{}` for every folder", relative(path), relative(path))
        }
    }
}

fn relative(path: &str) -> &str {
    path.trim_start_matches("./")
}

fn unknown_variable(section: Section, name: &str) -> String {
    if credentials::ELEMENT.contains(name) && name.len() > 3 {
        let element = credentials::ELEMENT;
        return match section {
            Section::FsDeny => format!("write `{element}` alone"),
            _ => format!("`{element}` stands only in `fs.deny` and in guards"),
        };
    }
    nearest(name, VARIABLES).map_or_else(
        || "the variables are `${workspace}`, `${home}` and `${tmp}`".to_owned(),
        |variable| format!("did you mean `${{{variable}}}`?"),
    )
}

fn net_help(error: &NetError) -> String {
    match error {
        NetError::Empty => "remove it, or write a name, an address or `unix:PATH`".to_owned(),
        NetError::WhiteSpace => "remove it".to_owned(),
        NetError::TooLong => "a name has at most 253 bytes".to_owned(),
        NetError::Scheme(fix)
        | NetError::UrlPath(fix)
        | NetError::Unbracketed(fix)
        | NetError::HostBits(fix)
        | NetError::Mapped(fix)
        | NetError::Localhost(fix) => format!("write `{fix}`"),
        NetError::Port(_) | NetError::ReversedPorts(_) => {
            "write `:443`, `:80,443`, `:8000-8100`, or `:*` for every port".to_owned()
        }
        NetError::Wildcard => "write `*.example.com` for every name below `example.com`".to_owned(),
        NetError::Name(_) => {
            "a name is labels of letters, digits, `-` and `_`, of 1 to 63 bytes, between dots".to_owned()
        }
        NetError::Address(_) => "write four decimal numbers without leading zeros, as `10.0.0.1`".to_owned(),
        NetError::Bracket => "write `[2001:db8::1]:443`".to_owned(),
        NetError::Length(_) => "write `/0` to `/32` for IPv4, `/0` to `/128` for IPv6".to_owned(),
        NetError::Unspecified(loopback) => {
            format!("write `{loopback}` for this host, or a block such as `0.0.0.0/0` for every address")
        }
        NetError::Path(_) => String::new(),
    }
}
