//! What to write instead of a rule that is none.

use vantio_core::Section;

use super::{codes, schema::Error, values::nearest};
use crate::{
    credentials, glob,
    named::NamedError,
    net::NetError,
    path::{PathPattern, PatternError, without_space},
    rule::RuleError,
};

const VARIABLES: &[&str] = &["workspace", "home", "tmp"];

pub(super) fn rule_error(section: Section, text: &str, error: &RuleError) -> Error {
    let (code, help) = match error {
        RuleError::Path(PatternError::UnknownVariable(name)) if is_stray_element(section, name) => {
            let message = format!("`{}` stands only in `fs.deny` and in guards", credentials::ELEMENT);
            return Error::new(codes::PATH, message).help("name the files that are meant");
        }
        RuleError::Path(error) => (codes::PATH, path_help(section, "", text, error)),
        RuleError::Net(NetError::Path(error)) => {
            (codes::PATH, path_help(section, "unix:", text.strip_prefix("unix:").unwrap_or(text), error))
        }
        RuleError::Net(error) => (codes::NET, net_help(error)),
        RuleError::Named(error) => (codes::NAMED, named_help(*error).to_owned()),
        RuleError::ProgramWildcard => (codes::EXEC, as_path(text)),
        RuleError::RelativeProgram if text.split('/').any(|name| name == "..") => {
            (codes::EXEC, "write the path that it leads to".to_owned())
        }
        RuleError::RelativeProgram => (codes::EXEC, format!("write `${{workspace}}/{}`", relative(text))),
    };
    Error::new(code, error.to_string()).help(help)
}

/// A bare name with wildcards in it, as a path with them; where they make no pattern, as what they are in a name.
fn as_path(name: &str) -> String {
    if PathPattern::parse(&format!("/usr/bin/{name}")).is_ok() {
        return format!("write a path, such as `/usr/bin/{name}`, or `**/{name}`");
    }
    let mut literal = String::new();
    glob::write_literal(name.as_bytes(), &mut literal);
    format!("write a path, such as `/usr/bin/{literal}`, or `**/{literal}` (in single quotes)")
}

fn named_help(error: NamedError) -> &'static str {
    match error {
        NamedError::Empty => "remove it, or write a name; `*` stands for any characters",
        NamedError::TooLong => "write `*` for a part of it",
        NamedError::WhiteSpace => "write the name as the tool or model has it",
        NamedError::Stars => "write a single `*`, which stands for any characters",
    }
}

/// What to write instead of a path; `prefix` stands before it in the rule.
fn path_help(section: Section, prefix: &str, path: &str, error: &PatternError) -> String {
    match error {
        PatternError::Empty => "remove it, or write a path".to_owned(),
        PatternError::Anchor => anchored(prefix, path),
        PatternError::WhiteSpace => {
            format!("write `{prefix}{}`; a space that belongs to a name is `[ ]`", without_space(path))
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
fn anchored(prefix: &str, path: &str) -> String {
    match path {
        "~" | "$HOME" => format!("write `{prefix}~/`"),
        "*" | "**" => {
            format!("write `{prefix}/` for everything, or `{prefix}/**` for everything below the root")
        }
        _ if path.split('/').any(|name| name == "..") => "write the path that it leads to".to_owned(),
        _ if path.starts_with("$HOME/") => format!("write `{prefix}~{}`", &path["$HOME".len()..]),
        _ if path.starts_with('~') => "the home of another user is written as an absolute path".to_owned(),
        _ if path.starts_with('*') => format!("write `{prefix}**/{path}`"),
        _ => {
            let path = relative(path);
            format!("write `{prefix}${{workspace}}/{path}`, or `{prefix}**/{path}` for every folder")
        }
    }
}

fn relative(path: &str) -> &str {
    path.trim_start_matches("./")
}

/// Whether the variable of credentials stands where there is none.
fn is_stray_element(section: Section, name: &str) -> bool {
    section != Section::FsDeny && element_name() == name
}

/// The name of the variable that stands for credentials.
fn element_name() -> &'static str {
    credentials::ELEMENT.trim_start_matches("${").trim_end_matches('}')
}

fn unknown_variable(section: Section, name: &str) -> String {
    let element = element_name();
    if section == Section::FsDeny && name == element {
        return format!("write `{}` alone", credentials::ELEMENT);
    }
    let denied = (section == Section::FsDeny).then_some(element);
    let names: Vec<&str> = VARIABLES.iter().copied().chain(denied).collect();
    nearest(name, &names).map_or_else(
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
