//! From the text of a document to a tree of nodes with places, within limits. Each format
//! has a reader; behind all of them stands one tree.

mod json;
mod toml;
mod yaml;

use std::{collections::HashMap, rc::Rc};

use super::{
    codes,
    error::Problem,
    source::{Format, Source, Span},
    values::Kind,
};

/// Levels that a document may nest.
const MAX_DEPTH: usize = 32;
/// Nodes that a document may have.
const MAX_NODES: usize = 65_536;
/// Nodes that aliases may add to them.
const MAX_ALIASED: usize = 10_000;
/// Bytes that its scalars may have, aliases expanded.
const MAX_TEXT: usize = 4 << 20;

/// A node and where it, or the alias that stands for it, is.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) content: Rc<Content>,
    pub(super) span: Span,
    /// Nodes in it, itself included, and the levels they nest.
    size: usize,
    depth: usize,
    /// Bytes of the scalars in it.
    text: usize,
}

#[derive(Debug)]
pub(super) enum Content {
    Scalar { text: String, kind: Kind },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// The document's root, `None` for an empty document. What begins with `{` is read as
/// JSON where it is JSON, whatever its name.
pub(super) fn parse(source: &mut Source) -> Result<Option<Node>, Box<Problem>> {
    match source.format {
        Format::Json => json::read(source),
        Format::Toml => toml::read(source),
        Format::Yaml if source.text.trim_start().starts_with('{') => {
            if let Ok(root) = json::read(source) {
                source.format = Format::Json;
                return Ok(root);
            }
            yaml::read(source)
        }
        Format::Yaml => yaml::read(source),
    }
}

/// Takes what a reader finds, in the order of the document.
struct Builder<'a> {
    source: &'a Source<'a>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    size: usize,
    aliased: usize,
    text: usize,
}

/// A list or map whose end has not come.
struct Open {
    anchor: usize,
    start: usize,
    is_map: bool,
    children: Vec<Node>,
}

impl<'a> Builder<'a> {
    fn new(source: &'a Source<'a>) -> Self {
        let (open, anchors) = (Vec::new(), HashMap::new());
        Self { source, open, anchors, root: None, size: 0, aliased: 0, text: 0 }
    }

    /// A scalar, or the key of a map. An `anchor` of 0 is none.
    fn scalar(&mut self, text: String, kind: Kind, span: Span, anchor: usize) -> Result<(), Box<Problem>> {
        let length = text.len();
        let content = Rc::new(Content::Scalar { text, kind });
        self.add(Node { content, span, size: 1, depth: 1, text: length }, anchor)
    }

    /// The beginning of a list or a map.
    fn begin(&mut self, is_map: bool, span: &Span, anchor: usize) -> Result<(), Box<Problem>> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Box::new(self.too_deep(span)));
        }
        self.open.push(Open { anchor, start: span.start, is_map, children: Vec::new() });
        Ok(())
    }

    /// The end of what was begun last.
    fn end(&mut self, end: usize) -> Result<(), Box<Problem>> {
        // INVARIANT: the readers close only what they opened.
        let Some(open) = self.open.pop() else { return Ok(()) };
        let depth = 1 + open.children.iter().map(|child| child.depth).max().unwrap_or(0);
        let size = 1 + open.children.iter().map(|child| child.size).sum::<usize>();
        let text = open.children.iter().map(|child| child.text).sum();
        let span = open.start..end.max(open.start);
        let content =
            if open.is_map { Content::Map(pairs(open.children)) } else { Content::List(open.children) };
        // Its children are counted already.
        self.size -= size - 1;
        self.text -= text;
        self.add(Node { content: Rc::new(content), span, size, depth, text }, open.anchor)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Box<Problem>> {
        let Some(node) = self.anchors.get(&anchor) else {
            let message = "an alias stands inside what it names";
            return Err(Box::new(self.problem(codes::ALIAS, message, &span, Some("write the value out"))));
        };
        self.aliased += node.size;
        let node = Node { span, ..node.clone() };
        self.add(node, 0)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Box<Problem>> {
        self.size += node.size;
        self.text += node.text;
        let large = if self.text > MAX_TEXT {
            Some((
                format!("a policy has more than {MAX_TEXT} bytes of text, aliases expanded"),
                "use fewer aliases",
            ))
        } else if self.aliased > MAX_ALIASED {
            Some((format!("aliases stand for more than {MAX_ALIASED} nodes"), "use fewer aliases"))
        } else if self.size > MAX_NODES {
            Some((format!("a policy has more than {MAX_NODES} nodes"), "write shorter lists"))
        } else {
            None
        };
        if let Some((message, help)) = large {
            return Err(Box::new(self.problem(codes::TOO_LARGE, &message, &node.span, Some(help))));
        }
        if self.open.len() + node.depth > MAX_DEPTH {
            return Err(Box::new(self.too_deep(&node.span)));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }

    /// Whether the next scalar is the key of a map.
    fn expects_key(&self) -> bool {
        self.open.last().is_some_and(|open| open.is_map && open.children.len().is_multiple_of(2))
    }

    fn too_deep(&self, span: &Span) -> Problem {
        let message = format!("a policy nests more than {MAX_DEPTH} levels");
        self.problem(codes::TOO_DEEP, &message, span, Some("a policy needs six levels at most"))
    }

    fn problem(&self, code: &'static str, message: &str, span: &Span, help: Option<&str>) -> Problem {
        self.source.problem(code, message, span, help)
    }
}

fn pairs(children: Vec<Node>) -> Vec<(Node, Node)> {
    let mut children = children.into_iter();
    std::iter::from_fn(|| Some((children.next()?, children.next()?))).collect()
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}
