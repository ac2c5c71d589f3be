//! What metadata must say.

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, FromYaml, list, words};
use crate::route::StringMatch;
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a match of metadata",
    keys: &[
        ("source", "dynamic"),
        ("filter", "my.filter"),
        ("path", "[role]"),
        ("value", "{ string: { exact: admin } }"),
        ("invert", "true"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static VALUE_BLOCK: Block = Block {
    name: "a match of a value",
    keys: &[
        ("null", "true"),
        ("string", "{ exact: admin }"),
        ("bool", "true"),
        ("present", "true"),
        ("list", "{ string: { exact: admin } }"),
        ("or", "[{ bool: true }, { string: { exact: admin } }]"),
    ],
    not_yet: &[],
    hints: &[],
};

const VALUES: [&str; 6] = ["null", "string", "bool", "present", "list", "or"];

/// `metadata`: what filters, or the route, say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataMatch {
    /// `source`: who says it. Default: `dynamic`.
    pub source: MetadataSource,
    /// `filter`: the namespace, usually the name of a filter. Required.
    pub filter: String,
    /// `path`: keys, one inside the other. At least one. Required.
    pub path: Vec<String>,
    /// `value`: what stands there. Required.
    pub value: ValueMatch,
    /// `invert`: takes what would not match. Default: false.
    pub invert: bool,
}

/// `source`: who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetadataSource {
    /// `dynamic`: filters, of this request or connection.
    #[default]
    Dynamic,
    /// `route`: the route, in its `metadata`.
    Route,
}

words!(MetadataSource, "a source of metadata",
    "dynamic" => Self::Dynamic,
    "route" => Self::Route);

/// `value`: what a value must be like; one that is not there is like nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueMatch {
    /// `null: true`: it is null.
    Null,
    /// `string`: it is such a text.
    Text(StringMatch),
    /// `bool`: it is this truth value.
    Bool(bool),
    /// `present`: it is there; `false` takes nothing, as in Envoy.
    Present(bool),
    /// `list`: it is a list, and one of its items is like this.
    List(Box<Self>),
    /// `or`: it is like one of these.
    Or(Vec<Self>),
}

impl FromYaml for MetadataMatch {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            source: MetadataSource::default(),
            filter: String::new(),
            path: Vec::new(),
            value: ValueMatch::placeholder(),
            invert: false,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let path: Spanned<Vec<String>> = fields.required("path");
        if fields.node("path").is_some_and(Node::is_empty_list) {
            let message = "`path` of a match of metadata is empty";
            fields.problems.push(Problem::new(path.span, message));
        }
        Self {
            source: fields.optional("source").unwrap_or_default(),
            filter: fields.required_text("filter").value,
            path: path.value,
            value: fields.required("value").value,
            invert: fields.optional("invert").unwrap_or(false),
        }
    }
}

impl FromYaml for ValueMatch {
    const EXPECTED: &'static str = VALUE_BLOCK.name;

    fn placeholder() -> Self {
        Self::Null
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let before = problems.total();
        let mut fields = VALUE_BLOCK.open(node, problems);
        let chosen = fields.one_of(&VALUES);
        let null: Option<Spanned<bool>> = fields.optional("null");
        let text = fields.optional("string");
        let truth = fields.optional("bool");
        let present = fields.optional("present");
        let list_of: Option<Self> = fields.optional("list");
        let or = fields.optional("or");
        if let Some(null) = null.filter(|null| !null.value) {
            let message = "`null` can only be `true`";
            fields.problems.push(Problem::new(null.span, message));
        }
        if chosen.is_none() && fields.problems.total() == before {
            let problem = Problem::new(fields.at(), "a match of a value is empty");
            let help = format!("it is one of {}", list(VALUES));
            fields.problems.push(problem.help(help));
        }
        text.map(Self::Text)
            .or(truth.map(Self::Bool))
            .or(present.map(Self::Present))
            .or(list_of.map(|item| Self::List(Box::new(item))))
            .or(or.map(Self::Or))
            .unwrap_or(Self::Null)
    }
}
