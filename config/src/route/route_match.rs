//! Which requests a route takes.

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml};
use crate::route::check_regex;
use crate::route::header_match::HeaderMatch;
use crate::source::{Span, Spanned};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`match`",
    keys: &[
        ("prefix", "/"),
        ("path", "/health"),
        ("path_separated_prefix", "/api"),
        ("regex", "'/users/[0-9]+'"),
        ("connect", "true"),
        ("case_sensitive", "false"),
        ("headers", "[{ name: x-canary, present: true }]"),
    ],
    not_yet: &[],
    hints: &[("safe_regex", "regex", "write `regex: '...'`")],
};

const PATHS: [&str; 5] = [
    "prefix",
    "path",
    "path_separated_prefix",
    "regex",
    "connect",
];

/// `match`: which requests a route takes; everything in it must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMatch {
    /// `prefix`, `path`, `path_separated_prefix` or `regex`: the path, without
    /// its query; or `connect`. One of them is required.
    pub path: Spanned<PathMatch>,
    /// `case_sensitive`: of the path; without meaning for `regex`. Default:
    /// true.
    pub case_sensitive: bool,
    /// `headers`: what the headers must be like. Default: anything.
    pub headers: Vec<HeaderMatch>,
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
    /// `connect`: there is none, since the method is CONNECT.
    Connect,
}

impl FromYaml for RouteMatch {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            path: Spanned::new(PathMatch::Prefix(String::new()), Span::default()),
            case_sensitive: true,
            headers: Vec::new(),
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
            _ => PathMatch::Prefix(text.value),
        };
        let path = Spanned::new(path, text.span);
        if fields.problems.total() == before {
            check_path(&path, fields.problems);
        }
        Self {
            path,
            case_sensitive: fields.optional("case_sensitive").unwrap_or(true),
            headers: fields.optional("headers").unwrap_or_default(),
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
            headers: fields.optional("headers").unwrap_or_default(),
        }
    }
}

/// Notes what would keep a match from ever matching.
pub(crate) fn check_path(path: &Spanned<PathMatch>, problems: &mut Problems) {
    let (text, what) = match &path.value {
        PathMatch::Regex(pattern) => return check_regex(pattern, path.span, problems),
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
