//! `limits`: its keys, and what stands under them.

use super::{
    Compiler, Error, codes,
    keys::{Key, Mapping, Shape, Text, key, mapping},
};
use crate::{
    Limits,
    document::{
        tree::{Content, Node},
        values::{Kind, to_bytes, to_percent, to_u64},
    },
};

const SIZE: Shape = Shape::Either(&[Shape::Integer(1, u64::MAX), Shape::Text(Text::Size)]);
const COUNT: Shape = Shape::Integer(1, COUNT_MAX);
const SHARE: Shape = Shape::Either(&[Shape::Integer(1, CPUS_MAX), Shape::Text(Text::Share)]);

/// More processes or descriptors than any kernel has.
const COUNT_MAX: u64 = 1 << 30;
/// More processors than any machine has.
const CPUS_MAX: u64 = 65_536;

const KEYS: &[Key] = &[
    key("memory", "Memory of all its processes together: bytes, or with a unit.", SIZE),
    key("processes", "Processes and threads alive at one time.", COUNT),
    key("cpu", "Processor time: processors, or percent of one.", SHARE),
    key("disk", "What its changes take on disk: bytes, or with a unit.", SIZE),
    key("open_files", "Descriptors that one process has open.", COUNT),
    key(
        "best_effort",
        "Whether a run goes on where a limit cannot be held; without this it is not started.",
        Shape::Boolean,
    ),
];

/// `limits`
pub(in crate::document) static LIMITS: Mapping = mapping(
    "`limits`",
    "What a run may have at one time. The kernel holds it, and what runs out is recorded.",
    KEYS,
);

impl Compiler<'_> {
    pub(super) fn limits(&mut self, node: &Node) -> Limits {
        let mut values = [None; Limits::NAMES.len()];
        let mut best_effort = false;
        for (key, _, node) in self.known_entries(node, &LIMITS).unwrap_or_default() {
            let value = match key {
                "memory" | "disk" => self.size(node, key),
                "cpu" => self.share(node),
                "best_effort" => {
                    best_effort = self.boolean(node, "limits.best_effort").unwrap_or_default();
                    continue;
                }
                _ => {
                    let absent = format!("leave `{key}` out for no limit");
                    self.integer(node, key, 1..=COUNT_MAX, (codes::NUMBER, &absent))
                }
            };
            if let Some(index) = Limits::NAMES.iter().position(|name| *name == key) {
                values[index] = value;
            }
        }
        Limits::from_values(values, best_effort)
    }

    /// Bytes, more than none.
    fn size(&mut self, node: &Node, key: &str) -> Option<u64> {
        let text = scalar(node);
        let help = match (number(node), to_bytes(text)) {
            (Some(1..), _) => return number(node),
            (None, Some(1..)) => return to_bytes(text),
            (Some(0), _) | (_, Some(0)) => format!("leave `{key}` out for no limit"),
            _ => binary(text).map_or_else(
                || "write bytes, or a whole number and one of the units KiB, MiB, GiB, TiB".to_owned(),
                |meant| format!("units are powers of 1024: `{meant}`"),
            ),
        };
        let message = format!("`{key}` must be a size, such as `512MiB` or `2GiB`");
        self.report(&node.span, Error::new(codes::SIZE, message).help(help));
        None
    }

    /// Percent of one processor, more than none.
    fn share(&mut self, node: &Node) -> Option<u64> {
        let found = match (number(node), to_percent(scalar(node))) {
            (Some(count), _) => count.checked_mul(100),
            (None, percent) => percent,
        };
        if let Some(percent) = found.filter(|percent| (1..=CPUS_MAX * 100).contains(percent)) {
            return Some(percent);
        }
        let message = "`cpu` must be a number of processors, or percent of one";
        let help = "write it as `2`, or as `\"150%\"`; leave it out for no limit";
        self.report(&node.span, Error::new(codes::SIZE, message).help(help));
        None
    }
}

fn scalar(node: &Node) -> &str {
    match &*node.content {
        Content::Scalar { text, .. } => text,
        _ => "",
    }
}

fn number(node: &Node) -> Option<u64> {
    match &*node.content {
        Content::Scalar { text, kind: Kind::Integer } => to_u64(text),
        _ => None,
    }
}

/// What is meant by a size in another spelling.
fn binary(text: &str) -> Option<String> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic() || character == ' ');
    let unit = text[digits.len()..].trim().to_ascii_lowercase();
    let unit = ["KiB", "MiB", "GiB", "TiB"].into_iter().find(|known| {
        let known = known.to_ascii_lowercase();
        unit == known || unit == known[..1] || unit == format!("{}b", &known[..1])
    })?;
    let meant = format!("{digits}{unit}");
    to_bytes(&meant).map(|_| meant)
}
