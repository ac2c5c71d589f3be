//! Parser events to a tree.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, StrInput, StructureStyle, Tag};

use crate::error::Problem;
use crate::limits::MAX_NESTING;
use crate::problems::Problems;
use crate::source::Span;
use crate::yaml::budget::{Budget, Size};
use crate::yaml::node::{Entry, Key, Node, Scalar, Value};
use crate::yaml::syntax;

/// The root of the only document in `text`. `None` if there is no document or
/// one that cannot be read on; the latter is in `problems` then.
pub(crate) fn compose(text: &str, problems: &mut Problems) -> Option<Node> {
    let options = granit_parser::options! {
        flow_nesting_limit: MAX_NESTING,
        block_nesting_limit: MAX_NESTING,
        emit_unresolved_aliases: true,
        emit_comments: false,
    };
    let mut composer = Composer {
        text,
        parser: Parser::new_from_str_with_options(text, options),
        problems,
        anchors: HashMap::new(),
        budget: Budget::default(),
        tag_span: None,
        open_brackets: Vec::new(),
    };
    match composer.document() {
        Ok(root) => root,
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

struct Composer<'t, 'p> {
    text: &'t str,
    parser: Parser<'t, StrInput<'t>>,
    problems: &'p mut Problems,
    anchors: HashMap<usize, (Node, Size)>,
    budget: Budget,
    /// The tag of the latest event.
    tag_span: Option<Span>,
    /// The `[` and `{` that are not closed yet.
    open_brackets: Vec<Span>,
}

/// An error after which the text cannot be read on.
type Step<T> = Result<T, Problem>;

impl<'t> Composer<'t, '_> {
    fn next(&mut self) -> Step<(Event<'t>, Span)> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let bytes = |span: &granit_parser::Span| {
                    let range = span.byte_range().unwrap_or_default();
                    Span::new(range.start, range.end)
                };
                self.tag_span = span.tag_span().as_ref().map(bytes);
                Ok((event, bytes(&span)))
            }
            Some(Err(error)) => {
                let bracket = self.open_brackets.last().copied();
                Err(syntax::problem(self.text, &error, bracket))
            }
            None => {
                let end = Span::new(self.text.len(), self.text.len());
                Err(Problem::new(end, "the file ends too early"))
            }
        }
    }

    fn document(&mut self) -> Step<Option<Node>> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(Problem::new(span, "a second document starts here")
                        .help("a configuration is one document: remove the `---`"));
                }
                Event::DocumentStart(..) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, span, None)?.0);
                }
                other => return Err(unexpected(&other, span)),
            }
        }
    }

    /// The node that starts with `event`; `key` is the place of the key it
    /// belongs to.
    fn node(&mut self, event: Event<'t>, span: Span, key: Option<Span>) -> Step<(Node, Size)> {
        self.budget.add(Size::NODE, span)?;
        let tag_span = self.tag_span.unwrap_or(span);
        let (mut node, size, anchor, tag) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let size = Size {
                    bytes: text.len(),
                    ..Size::NODE
                };
                let scalar = Scalar {
                    text: text.into_owned(),
                    quoted: style != ScalarStyle::Plain || tag.as_deref().is_some_and(is_string),
                };
                (Node::scalar_at(scalar, span), size, anchor, tag)
            }
            Event::SequenceStart(style, anchor, tag) => {
                let open = self.enter(style, span);
                let (node, size) = self.sequence(span, key)?;
                self.leave(open);
                (node, size.deeper(), anchor, tag)
            }
            Event::MappingStart(style, anchor, tag) => {
                let open = self.enter(style, span);
                let (node, size) = self.mapping(span, key)?;
                self.leave(open);
                (node, size.deeper(), anchor, tag)
            }
            Event::Alias(anchor) => return self.alias(anchor, span),
            Event::UnresolvedAlias(name) => {
                let message = format!("no anchor `&{name}` stands before this alias");
                self.problems.push(Problem::new(span, message));
                return Ok((Node::broken(span), Size::default()));
            }
            other => return Err(unexpected(&other, span)),
        };
        if let Some(tag) = tag.filter(|tag| !is_known(tag)) {
            let message = format!("the YAML tag `{}` is not known", tag.original());
            let problem = Problem::new(tag_span, message);
            self.problems.push(problem.help("remove the tag"));
            node.value = Value::Broken;
        }
        if anchor != 0 {
            // The copy that is kept for aliases counts like one of them.
            self.budget.add(size, span)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok((node, size))
    }

    /// Goes into a collection; gives what [`Composer::leave`] goes back to.
    fn enter(&mut self, style: StructureStyle, span: Span) -> usize {
        let open = self.open_brackets.len();
        self.budget.depth += 1;
        if style == StructureStyle::Flow {
            self.open_brackets.push(span);
        }
        open
    }

    fn leave(&mut self, open: usize) {
        self.budget.depth -= 1;
        self.open_brackets.truncate(open);
    }

    fn sequence(&mut self, open: Span, key: Option<Span>) -> Step<(Node, Size)> {
        let mut items: Vec<Node> = Vec::new();
        let mut size = Size::NODE;
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                let last = items.last().map(|item| item.span);
                let span = collection_span(open, last, span);
                let at = key.unwrap_or(span);
                let value = Value::Sequence(items);
                return Ok((Node { value, span, at }, size));
            }
            let (item, added) = self.node(event, span, None)?;
            size = size.plus(added);
            items.push(item);
        }
    }

    fn mapping(&mut self, open: Span, key: Option<Span>) -> Step<(Node, Size)> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut places: HashMap<String, Span> = HashMap::new();
        let mut size = Size::NODE;
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                let last = entries.last().map(|entry| entry.value.span);
                let span = collection_span(open, last, span);
                let first = entries.first().map(|entry| entry.key.span);
                let at = key.or(first).unwrap_or(span);
                let value = Value::Mapping(entries);
                return Ok((Node { value, span, at }, size));
            }
            let (key, added) = self.node(event, span, None)?;
            size = size.plus(added);
            let key_span = key.span;
            let (event, span) = self.next()?;
            let (value, added) = self.node(event, span, Some(key_span))?;
            size = size.plus(added);
            if let Some(key) = self.key(key, &mut places) {
                entries.push(Entry { key, value });
            }
        }
    }

    /// The key, unless it is of no use.
    fn key(&mut self, node: Node, places: &mut HashMap<String, Span>) -> Option<Key> {
        let span = node.span;
        let Value::Scalar(scalar) = node.value else {
            let problem = Problem::new(span, "a list or mapping cannot be a key");
            self.problems.push(problem);
            return None;
        };
        if scalar.text == "<<" && !scalar.quoted {
            let problem = Problem::new(span, "merge keys (`<<`) are not part of YAML 1.2")
                .help("an alias can stand for a whole value: `key: *name`");
            self.problems.push(problem);
            return None;
        }
        if let Some(first) = places.insert(scalar.text.clone(), span) {
            let message = format!("the key `{}` is there twice", scalar.text);
            let problem = Problem::new(span, message).related(first, "it stands here already");
            self.problems.push(problem);
            places.insert(scalar.text, first);
            return None;
        }
        Some(Key {
            text: scalar.text,
            span,
        })
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Step<(Node, Size)> {
        let Some((node, size)) = self.anchors.get(&anchor) else {
            let problem = Problem::new(span, "this alias stands inside of its own anchor");
            self.problems.push(problem);
            return Ok((Node::broken(span), Size::default()));
        };
        let size = *size;
        let node = node.clone();
        self.budget.add(size, span)?;
        Ok((node, size))
    }
}

/// Whether a tag makes its scalar a string.
fn is_string(tag: &Tag) -> bool {
    tag.is_yaml_core_schema_tag("str") || tag.original() == "!"
}

/// Whether a tag is of YAML's own schema. What it says is not heeded, strings
/// aside: the reader of the key knows better what it expects.
fn is_known(tag: &Tag) -> bool {
    let core = ["null", "bool", "int", "float", "map", "seq"];
    is_string(tag) || core.iter().any(|name| tag.is_yaml_core_schema_tag(name))
}

/// From the opening event to the closing bracket, or to the end of the last
/// child, since a block is "closed" by whatever follows it.
fn collection_span(open: Span, last: Option<Span>, close: Span) -> Span {
    let end = if close.end > close.start {
        close.end
    } else {
        last.map_or(open.end, |last| last.end.max(open.end))
    };
    Span::new(open.start, end)
}

/// The parser's grammar rules these out; an error is still better than a panic.
fn unexpected(event: &Event<'_>, span: Span) -> Problem {
    Problem::new(span, format!("unexpected YAML event {event:?}"))
}
