//! The JSON Schema (2020-12) of a policy, from the keys that the parser knows.

use vantio_core::Effect;

use super::{
    Value,
    schema::keys::{self, Key, Mapping, Needs, Shape, Text},
};

/// What the keys of the schema are called.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The JSON Schema of a policy. What it refuses the parser refuses, and it says where; the
/// parser refuses more: what no schema can say, such as a class that is not closed.
pub fn json_schema() -> Value {
    let mut entries = vec![("$schema", Value::text(DIALECT)), ("title", Value::text("Vantio policy"))];
    entries.extend(mapping(&keys::POLICY));
    entries.push(("examples", Value::List(vec![whole_example()])));
    entries.push(("$defs", Value::map(Text::ALL.into_iter().map(|text| (text.name(), text.schema())))));
    Value::map(entries)
}

type Entries = Vec<(&'static str, Value)>;

/// A small policy.
fn whole_example() -> Value {
    let list = |key, texts: &[&str]| Value::map([(key, Value::texts(texts.iter().copied()))]);
    Value::map([
        ("version", Value::Integer(1)),
        (
            "fs",
            Value::map([
                ("read", Value::texts(["/usr", "/etc"])),
                ("write", Value::texts(["${workspace}"])),
                ("deny", Value::texts(["${credentials}", "**/.env"])),
            ]),
        ),
        ("exec", list("allow", &["git", "/usr/bin/python3"])),
        ("net", list("allow", &["github.com", "*.pypi.org:443"])),
    ])
}

fn mapping(mapping: &Mapping) -> Entries {
    let required = mapping.keys.iter().filter(|key| key.is_required).map(|key| key.name);
    let mut entries = vec![
        ("description", Value::text(mapping.about)),
        ("type", Value::text("object")),
        ("properties", Value::map(mapping.keys.iter().map(|key| (key.name, property(key))))),
        ("required", Value::texts(required)),
        ("additionalProperties", Value::Boolean(false)),
    ];
    let each = |names: &[&str]| -> Value {
        names.iter().map(|name| Value::map([("required", Value::texts([*name]))])).collect()
    };
    match mapping.needs {
        Needs::Nothing => {}
        Needs::One(names) => entries.push(("oneOf", each(names))),
        Needs::Some(names) => entries.push(("anyOf", each(names))),
    }
    entries
}

fn property(key: &Key) -> Value {
    let mut entries = vec![("title", Value::text(key.name)), ("description", Value::text(key.about))];
    let own = shape(&key.shape);
    entries.extend(own.into_iter().filter(|(name, _)| *name != "description"));
    Value::map(entries)
}

fn shape(shape: &Shape) -> Entries {
    match shape {
        Shape::Version => {
            vec![("enum", Value::List(vec![Value::Integer(1), Value::text("1"), Value::text("1.0")]))]
        }
        Shape::Boolean => vec![("type", Value::text("boolean"))],
        Shape::Integer(first, last) => vec![
            ("type", Value::text("integer")),
            ("minimum", Value::Integer(*first)),
            ("maximum", Value::Integer(*last)),
        ],
        Shape::Cost => {
            let number = [("type", Value::text("number")), ("minimum", Value::Integer(0))];
            let text =
                [("type", Value::text("string")), ("pattern", Value::text(r"^[0-9]+(\.[0-9]{1,6})?$"))];
            vec![
                ("anyOf", Value::List(vec![Value::map(number), Value::map(text)])),
                ("examples", Value::texts(["2.50"])),
            ]
        }
        Shape::Text(text) => vec![("$ref", Value::Text(format!("#/$defs/{}", text.name())))],
        Shape::Choice(names) => vec![("enum", Value::texts(names.iter().copied()))],
        Shape::List(element, limit) => vec![
            ("type", Value::text("array")),
            ("items", Value::map(self::shape(element))),
            ("maxItems", Value::Integer(*limit as u64)),
        ],
        Shape::Mapping(keys) => mapping(keys),
        Shape::Variables => vec![
            ("type", Value::text("object")),
            ("propertyNames", Value::map([("pattern", Value::text("^[!-<>-~]{1,256}$"))])),
            ("additionalProperties", Value::map([("type", Value::text("string"))])),
        ],
        Shape::Effects(names) => vec![
            ("type", Value::text("object")),
            ("propertyNames", Value::map(self::shape(&Shape::Text(Text::Effect)))),
            ("additionalProperties", Value::map(self::shape(&Shape::Choice(names)))),
        ],
        Shape::Either(shapes) => {
            vec![("anyOf", shapes.iter().map(|shape| Value::map(self::shape(shape))).collect())]
        }
    }
}

/// What a path begins with.
const ANCHOR: &str = r"(/|~/|\*\*/|\$\{(workspace|home|tmp)\}(/|$))";

impl Text {
    const ALL: [Self; 18] = [
        Self::Name,
        Self::Path,
        Self::DeniedPath,
        Self::Program,
        Self::Network,
        Self::Domain,
        Self::Named,
        Self::Model,
        Self::VariablePattern,
        Self::Label,
        Self::Role,
        Self::Effect,
        Self::Duration,
        Self::Size,
        Self::Share,
        Self::Target,
        Self::Include,
        Self::Plain,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Path => "path",
            Self::DeniedPath => "denied_path",
            Self::Program => "program",
            Self::Network => "network",
            Self::Domain => "domain",
            Self::Named => "named",
            Self::Model => "model",
            Self::VariablePattern => "variable",
            Self::Label => "label",
            Self::Role => "role",
            Self::Effect => "effect",
            Self::Duration => "duration",
            Self::Size => "size",
            Self::Share => "share",
            Self::Target => "target",
            Self::Include => "include",
            Self::Plain => "text",
        }
    }

    const fn about(self) -> &'static str {
        match self {
            Self::Name => "The name of a policy.",
            Self::Path => {
                "A path: it begins with `/`, `~/`, a variable or `**/`; `*`, `?` and classes stay within a component."
            }
            Self::DeniedPath => "A path, or `${credentials}` for all that is known to hold credentials.",
            Self::Program => "A program: a bare name that `PATH` finds, or a path.",
            Self::Network => {
                "A name, an address, a block of addresses or `unix:PATH`, with ports after a colon."
            }
            Self::Domain => "A name, an address or a block of addresses, with ports after a colon.",
            Self::Named => "The name of a tool, model or type; `*` stands for any characters.",
            Self::Model => "The name of one model.",
            Self::VariablePattern => "The name of a variable; `*` and `?` are wildcards.",
            Self::Label => "The name of a label.",
            Self::Role => "The name of a role.",
            Self::Effect => "A kind of action.",
            Self::Duration => "A whole number and its unit.",
            Self::Size => "A whole number and its unit, a power of 1024.",
            Self::Share => "Percent of one processor.",
            Self::Target => "A pattern of the effect's kind.",
            Self::Include => "`preset:NAME`, or a file relative to this one.",
            Self::Plain => "A text.",
        }
    }

    const fn examples(self) -> &'static [&'static str] {
        match self {
            Self::Name => &["web-team"],
            Self::Path => &["/usr", "${workspace}", "~/.cache/**", "**/*.log"],
            Self::DeniedPath => &["${credentials}", "**/.env", "~/.ssh"],
            Self::Program => &["git", "/usr/bin/python3", "${workspace}/bin/**"],
            Self::Network => &[
                "github.com",
                "*.pypi.org:443",
                "10.0.0.0/8:5432",
                "unix:/run/postgresql/**",
                "udp://10.0.0.53:53",
            ],
            Self::Domain => &["github.com", "*.pypi.org:443"],
            Self::Named => &["file_read", "github/*"],
            Self::Model => &["llama3.1:70b"],
            Self::VariablePattern => &["CI", "OPENAI_*"],
            Self::Label => &["secret"],
            Self::Role => &["security-engineer"],
            Self::Effect => &["fs.unlink", "net.connect"],
            Self::Duration => &["500ms", "10s", "5m", "2h", "7d"],
            Self::Size => &["512MiB", "2GiB"],
            Self::Share => &["150%"],
            Self::Target => &["${workspace}/src/**", "*.corp.example"],
            Self::Include => &["preset:workspace", "./more.yaml"],
            Self::Plain => &[],
        }
    }

    fn schema(self) -> Value {
        let mut entries = vec![("description", Value::text(self.about()))];
        if self == Self::Effect {
            entries.push(("enum", Value::texts(Effect::ALL.iter().map(|effect| effect.name()))));
            return Value::map(entries);
        }
        entries.push(("type", Value::text("string")));
        entries.push(("minLength", Value::Integer(1)));
        entries.push(("maxLength", Value::Integer(self.max_length())));
        entries.extend(self.pattern().map(|pattern| ("pattern", Value::Text(pattern))));
        if self == Self::Domain {
            entries.push(("not", Value::map([("pattern", Value::text("^(unix:|udp://)"))])));
        }
        if !self.examples().is_empty() {
            entries.push(("examples", Value::texts(self.examples().iter().copied())));
        }
        Value::map(entries)
    }

    const fn max_length(self) -> u64 {
        match self {
            Self::Name | Self::Named | Self::VariablePattern => 256,
            Self::Label | Self::Role => 64,
            Self::Duration | Self::Size | Self::Share => 32,
            _ => 4096,
        }
    }

    fn pattern(self) -> Option<String> {
        Some(match self {
            Self::Path => format!("^{ANCHOR}"),
            Self::DeniedPath => format!(r"^({ANCHOR}|\$\{{credentials\}}$)"),
            Self::Model => "^[^*]*$".to_owned(),
            Self::VariablePattern => r"^[^=\[\]{}\\]+$".to_owned(),
            Self::Label | Self::Role => "^[A-Za-z0-9._-]+$".to_owned(),
            Self::Duration => "^[0-9]+(ms|s|m|h|d)$".to_owned(),
            Self::Size => "^[0-9]+(K|M|G|T)iB$".to_owned(),
            Self::Share => "^[0-9]+%$".to_owned(),
            Self::Domain => r"^\S+$".to_owned(),
            _ => return None,
        })
    }
}
