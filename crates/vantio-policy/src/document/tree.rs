//! From the events of the YAML parser to a tree of nodes with places, within limits.

use std::{collections::HashMap, rc::Rc};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use super::{
    error::Problem,
    source::{Source, Span},
};

/// Levels that a document may nest.
const MAX_DEPTH: usize = 32;
/// Nodes that a document may have, aliases expanded.
const MAX_NODES: usize = 16_384;
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
    Scalar { text: String, is_plain: bool },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// The document's root, `None` for an empty document.
pub(super) fn parse(source: &Source) -> Result<Option<Node>, Box<Problem>> {
    let mut builder = Builder {
        source,
        open: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        documents: 0,
        size: 0,
        text: 0,
    };
    for event in Parser::new_from_str(source.text) {
        let (event, span) = event.map_err(|error| Box::new(syntax(source, &error)))?;
        let span = span.start.index()..span.end.index();
        builder.take(event, span)?;
    }
    Ok(builder.root)
}

struct Builder<'a> {
    source: &'a Source<'a>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    documents: usize,
    size: usize,
    text: usize,
}

/// A list or map whose end has not come.
struct Open {
    anchor: usize,
    start: usize,
    is_map: bool,
    children: Vec<Node>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Box<Problem>> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Box::new(self.problem(
                        "E_POLICY_DOCUMENTS",
                        "a file has a second document",
                        &span,
                        Some("keep one policy in a file"),
                    )));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &span)?;
                let length = text.len();
                let content =
                    Content::Scalar { text: text.into_owned(), is_plain: style == ScalarStyle::Plain };
                self.add(Node { content: Rc::new(content), span, size: 1, depth: 1, text: length }, anchor)?;
            }
            Event::SequenceStart(anchor, tag) => self.begin(anchor, tag.is_some(), false, span)?,
            Event::MappingStart(anchor, tag) => self.begin(anchor, tag.is_some(), true, span)?,
            Event::SequenceEnd | Event::MappingEnd => self.end(&span)?,
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    let node = Node { span, ..node.clone() };
                    self.add(node, 0)?;
                }
                None => {
                    return Err(Box::new(self.problem(
                        "E_POLICY_ALIAS",
                        "an alias stands inside what it names",
                        &span,
                        None,
                    )));
                }
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn begin(&mut self, anchor: usize, has_tag: bool, is_map: bool, span: Span) -> Result<(), Box<Problem>> {
        self.refuse_tag(has_tag, &span)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(Box::new(self.too_deep(&span)));
        }
        self.open.push(Open { anchor, start: span.start, is_map, children: Vec::new() });
        Ok(())
    }

    fn end(&mut self, span: &Span) -> Result<(), Box<Problem>> {
        // INVARIANT: the parser closes only what it opened.
        let Some(open) = self.open.pop() else { return Ok(()) };
        let depth = 1 + open.children.iter().map(|child| child.depth).max().unwrap_or(0);
        let size = 1 + open.children.iter().map(|child| child.size).sum::<usize>();
        let text = open.children.iter().map(|child| child.text).sum();
        let span = open.start..span.end.max(open.start);
        let content =
            if open.is_map { Content::Map(pairs(open.children)) } else { Content::List(open.children) };
        // Its children are counted already.
        self.size -= size - 1;
        self.text -= text;
        self.add(Node { content: Rc::new(content), span, size, depth, text }, open.anchor)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Box<Problem>> {
        self.size += node.size;
        self.text += node.text;
        if self.text > MAX_TEXT {
            let message = format!("a policy has more than {MAX_TEXT} bytes of text, aliases expanded");
            return Err(Box::new(self.problem(
                "E_POLICY_TOO_LARGE",
                &message,
                &node.span,
                Some("use fewer aliases"),
            )));
        }
        if self.size > MAX_NODES {
            let message = format!("a policy has more than {MAX_NODES} nodes, aliases expanded");
            let help = "write shorter lists, or use fewer aliases";
            return Err(Box::new(self.problem("E_POLICY_TOO_LARGE", &message, &node.span, Some(help))));
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

    fn refuse_tag(&self, has_tag: bool, span: &Span) -> Result<(), Box<Problem>> {
        if !has_tag {
            return Ok(());
        }
        let help = "remove the tag; quotes make a string";
        Err(Box::new(self.problem("E_POLICY_TAG", "tags are not supported", span, Some(help))))
    }

    fn too_deep(&self, span: &Span) -> Problem {
        let message = format!("a policy nests more than {MAX_DEPTH} levels");
        self.problem("E_POLICY_TOO_DEEP", &message, span, Some("a policy needs three levels"))
    }

    fn problem(&self, code: &'static str, message: &str, span: &Span, help: Option<&str>) -> Problem {
        Problem {
            code,
            message: message.to_owned(),
            help: help.map(str::to_owned),
            label: "here".to_owned(),
            place: Some(self.source.place(span)),
        }
    }
}

fn pairs(children: Vec<Node>) -> Vec<(Node, Node)> {
    let mut children = children.into_iter();
    std::iter::from_fn(|| Some((children.next()?, children.next()?))).collect()
}

/// What the parser could not read, with the likely mistake.
fn syntax(source: &Source, error: &ScanError) -> Problem {
    let index = error.marker().index();
    let place = source.place(&(index..index + 1));
    let line = source.line(place.line);
    let indent = &line[..line.len() - line.trim_start().len()];
    let info = error.info();
    let (code, message, help) = if indent.contains('\t') || info.contains("tab") {
        ("E_POLICY_TAB", "a tab indents a line".to_owned(), Some("indent with spaces"))
    } else if info.contains("unknown anchor") {
        let help = "a value that begins with `*` is written in quotes: \"*.example.com\"";
        ("E_POLICY_ALIAS", "an alias names no anchor".to_owned(), Some(help))
    } else if info.contains("recursion limit") {
        let message = format!("a policy nests more than {MAX_DEPTH} levels");
        ("E_POLICY_TOO_DEEP", message, Some("a policy needs three levels"))
    } else {
        let is_flow = line.contains(['[', '{', '*', '&', '!', '@', '`', '%']);
        let help = "a value with `{`, `[`, `*`, `&`, `!`, `%`, `@` or `: ` in it is written in quotes";
        ("E_POLICY_SYNTAX", format!("not YAML: {}", lower_first(info)), is_flow.then_some(help))
    };
    let help = help.map(str::to_owned);
    Problem { code, message, help, label: "here".to_owned(), place: Some(place) }
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}
