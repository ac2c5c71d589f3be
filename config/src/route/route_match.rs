//! Which requests a route takes.

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml};
use crate::route::check_regex;
use crate::route::header_match::HeaderMatch;
use crate::route::path_template::PathTemplate;
use crate::route::query_match::QueryMatch;
use crate::source::{Span, Spanned};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`match`",
    keys: &[
        ("prefix", "/"),
        ("path", "/health"),
        ("path_separated_prefix", "/api"),
        ("regex", "'/users/[0-9]+'"),
        ("path_template", "'/users/{id}/**'"),
        ("connect", "true"),
        ("case_sensitive", "false"),
        ("methods", "[GET, HEAD]"),
        ("headers", "[{ name: x-canary, present: true }]"),
        ("query_parameters", "[{ name: debug, exact: '1' }]"),
    ],
    not_yet: &[],
    hints: &[
        ("safe_regex", "regex", "write `regex: '...'`"),
        (
            "runtime_fraction",
            "",
            "a part of the requests goes elsewhere by `weighted_clusters`",
        ),
        ("method", "methods", "write `methods: [GET]`"),
    ],
};

const PATHS: [&str; 6] = [
    "path_template",
    "prefix",
    "path",
    "path_separated_prefix",
    "regex",
    "connect",
];

/// `match`: which requests a route takes; everything in it must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMatch {
    /// `prefix`, `path`, `path_separated_prefix`, `regex` or `path_template`: the path,
    /// without its query; or `connect`. One of them is required.
    pub path: Spanned<PathMatch>,
    /// `case_sensitive`: of the path; without meaning for `regex` and
    /// `path_template`. Default: true.
    pub case_sensitive: bool,
    /// `methods`: one of these, as they are written. Default: any.
    pub methods: Vec<String>,
    /// `headers`: what the headers must be like. Default: anything.
    pub headers: Vec<HeaderMatch>,
    /// `query_parameters`: what the query must be like. Default: anything.
    pub query_parameters: Vec<QueryMatch>,
}

/// What a path must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// `prefix`: what it starts with, byte for byte; starts with `/`. `/api`
    /// matches `/apis` too.
    Prefix(String),
    /// `path`: the whole of it.
    Exact(String),
    /// `path_separated_prefix`: what it starts with, up to a `/` or the end.
    /// `/api` matches `/api/x`, not `/apis`.
    SeparatedPrefix(String),
    /// `regex`: a regular expression for the whole of it.
    Regex(String),
    /// `path_template`: segments: `*` stands for any one, `**` at the end for any number,
    /// `{name}` for one that `path_template_rewrite` can name, `{name=a/*}` for several.
    Template(String),
    /// `connect`: there is none, since the method is CONNECT.
    Connect,
}

impl FromYaml for RouteMatch {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            path: Spanned::new(PathMatch::Prefix(String::new()), Span::default()),
            case_sensitive: true,
            methods: Vec::new(),
            headers: Vec::new(),
            query_parameters: Vec::new(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let key = fields.one_of(&PATHS).unwrap_or("prefix");
        if key == "connect" {
            return Self::connect(&mut fields);
        }
        let before = fields.problems.total();
        let text: Spanned<String> = fields.required(key);
        let path = match key {
            "path" => PathMatch::Exact(text.value),
            "path_separated_prefix" => PathMatch::SeparatedPrefix(text.value),
            "regex" => PathMatch::Regex(text.value),
            "path_template" => PathMatch::Template(text.value),
            _ => PathMatch::Prefix(text.value),
        };
        let path = Spanned::new(path, text.span);
        if fields.problems.total() == before {
            check_path(&path, fields.problems);
        }
        Self {
            path,
            case_sensitive: fields.optional("case_sensitive").unwrap_or(true),
            methods: fields.optional("methods").unwrap_or_default(),
            headers: fields.optional("headers").unwrap_or_default(),
            query_parameters: fields.optional("query_parameters").unwrap_or_default(),
        }
    }
}

impl RouteMatch {
    fn connect(fields: &mut Fields<'_, '_>) -> Self {
        let connect = fields.valid::<bool>("connect");
        if let Some(connect) = connect.as_ref().filter(|connect| !connect.value) {
            let problem = Problem::new(connect.span, "`connect` can only be `true`");
            let help = "a route with a path takes no CONNECT in any case";
            fields.problems.push(problem.help(help));
        }
        Self {
            path: Spanned::new(PathMatch::Connect, fields.key_span("connect")),
            case_sensitive: fields.optional("case_sensitive").unwrap_or(true),
            methods: fields.optional("methods").unwrap_or_default(),
            headers: fields.optional("headers").unwrap_or_default(),
            query_parameters: fields.optional("query_parameters").unwrap_or_default(),
        }
    }
}

/// Notes what would keep a match from ever matching.
pub(crate) fn check_path(path: &Spanned<PathMatch>, problems: &mut Problems) {
    let (text, what) = match &path.value {
        PathMatch::Regex(pattern) => return check_regex(pattern, path.span, problems),
        PathMatch::Template(template) => {
            if let Err(error) = PathTemplate::parse(template) {
                problems.push(Problem::new(path.span, error.to_string()));
            }
            return;
        }
        PathMatch::Connect => return,
        PathMatch::Exact(text) => (text, "path"),
        PathMatch::Prefix(text) | PathMatch::SeparatedPrefix(text) => (text, "prefix"),
    };
    let problem = if !text.starts_with('/') {
        let message = match what {
            "path" => "a path starts with `/`",
            _ => "the prefix of a path starts with `/`",
        };
        Problem::new(path.span, message).help(format!("write `/{text}`"))
    } else if text.contains(['?', '#']) {
        let message = format!("a {what} with `?` or `#` never matches");
        Problem::new(path.span, message).help("only the path is compared, without the query")
    } else if text.ends_with('/') && matches!(path.value, PathMatch::SeparatedPrefix(_)) {
        let message = "a `path_separated_prefix` does not end with `/`";
        let without = text.trim_end_matches('/');
        Problem::new(path.span, message).help(if without.is_empty() {
            "write `prefix: /` to match every path".to_owned()
        } else {
            format!("write `{without}`, which matches `{without}/` too")
        })
    } else {
        return;
    };
    problems.push(problem);
}
