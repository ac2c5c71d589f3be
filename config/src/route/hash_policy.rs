//! What of a request decides on its endpoint.

use std::time::Duration;

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a hash policy",
    keys: &[
        ("header", "{ header_name: x-user }"),
        ("cookie", "{ name: session, ttl: 1h }"),
        ("connection_properties", "{ source_ip: true }"),
        ("query_parameter", "{ name: user }"),
        ("terminal", "true"),
    ],
    not_yet: &[],
    hints: &[(
        "source_ip",
        "connection_properties",
        "write `connection_properties: { source_ip: true }`",
    )],
};

pub(crate) static HEADER_BLOCK: Block = Block {
    name: "the hash policy `header`",
    keys: &[("header_name", "x-user")],
    not_yet: &[],
    hints: &[("name", "header_name", "it is `header_name` here")],
};

pub(crate) static COOKIE_BLOCK: Block = Block {
    name: "the hash policy `cookie`",
    keys: &[("name", "session"), ("ttl", "1h"), ("path", "/")],
    not_yet: &[],
    hints: &[],
};

pub(crate) static CONNECTION_BLOCK: Block = Block {
    name: "the hash policy `connection_properties`",
    keys: &[("source_ip", "true")],
    not_yet: &[],
    hints: &[],
};

pub(crate) static QUERY_BLOCK: Block = Block {
    name: "the hash policy `query_parameter`",
    keys: &[("name", "user")],
    not_yet: &[],
    hints: &[],
};

/// `hash_policy[]`: a part of what the endpoint depends on: Envoy's `HashPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashPolicy {
    /// `header`, `cookie`, `connection_properties` or `query_parameter`: one of
    /// them. Required.
    pub source: HashSource,
    /// `terminal`: those that follow do not count, if this one is there. Default:
    /// false.
    pub terminal: bool,
}

/// Where a hash comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashSource {
    /// `header`: the values of this header.
    Header(String),
    /// `cookie`: the value of a cookie.
    Cookie(CookieHash),
    /// `connection_properties`, with `source_ip`: the client's IP address.
    SourceIp,
    /// `query_parameter`: the first value of this parameter.
    QueryParameter(String),
}

/// `cookie`: a cookie that decides on the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieHash {
    /// `name`: of the cookie. Required.
    pub name: String,
    /// `ttl`: how long a client that has none is to keep the one that it then gets;
    /// 0 is until it ends. Default: it gets none.
    pub ttl: Option<Duration>,
    /// `path`: where the client is to send it. Default: where it is.
    pub path: String,
}

impl FromYaml for HashPolicy {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            source: HashSource::SourceIp,
            terminal: false,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let header = fields.optional::<HeaderHash>("header");
        let cookie = fields.optional::<CookieHash>("cookie");
        fields.optional::<ConnectionHash>("connection_properties");
        let query = fields.optional::<QueryHash>("query_parameter");
        let sources = [
            "header",
            "cookie",
            "connection_properties",
            "query_parameter",
        ];
        if fields.one_of(&sources).is_none() {
            fields.require("header");
        }
        let header = header.map(|header| HashSource::Header(header.0));
        let cookie = cookie.map(HashSource::Cookie);
        let query = query.map(|query| HashSource::QueryParameter(query.0));
        Self {
            source: header.or(cookie).or(query).unwrap_or(HashSource::SourceIp),
            terminal: fields.optional("terminal").unwrap_or(false),
        }
    }
}

/// The hash policy `header`
struct HeaderHash(String);

impl FromYaml for HeaderHash {
    const EXPECTED: &'static str = HEADER_BLOCK.name;

    fn placeholder() -> Self {
        Self(String::new())
    }

    /// `header_name`: in any case. Required.
    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = HEADER_BLOCK.open(node, problems);
        Self(fields.required_text("header_name").value)
    }
}

impl FromYaml for CookieHash {
    const EXPECTED: &'static str = COOKIE_BLOCK.name;

    fn placeholder() -> Self {
        Self {
            name: String::new(),
            ttl: None,
            path: String::new(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = COOKIE_BLOCK.open(node, problems);
        let name = fields.required_text("name");
        let path: Option<Spanned<String>> = fields.optional("path");
        for text in [Some(&name), path.as_ref()].into_iter().flatten() {
            check_cookie(text, fields.problems);
        }
        Self {
            name: name.value,
            ttl: fields.optional("ttl"),
            path: path.map(|path| path.value).unwrap_or_default(),
        }
    }
}

/// Notes what no name or path of a cookie has (RFC 6265, 4.1.1).
pub(crate) fn check_cookie(text: &Spanned<String>, problems: &mut Problems) {
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, ';' | ',' | '"');
    if !text.chars().all(fits) {
        let message = format!("`{}` cannot be in a cookie", text.value);
        problems.push(Problem::new(text.span, message));
    }
}

/// The hash policy `connection_properties`
struct ConnectionHash;

impl FromYaml for ConnectionHash {
    const EXPECTED: &'static str = CONNECTION_BLOCK.name;

    fn placeholder() -> Self {
        Self
    }

    /// `source_ip`: `true`. Required.
    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = CONNECTION_BLOCK.open(node, problems);
        fields.require("source_ip");
        if let Some(is_wanted) = fields.valid::<bool>("source_ip")
            && !is_wanted.value
        {
            let problem = Problem::new(is_wanted.span, "`source_ip` is all there is");
            fields.problems.push(problem.help("remove the policy"));
        }
        Self
    }
}

/// The hash policy `query_parameter`
struct QueryHash(String);

impl FromYaml for QueryHash {
    const EXPECTED: &'static str = QUERY_BLOCK.name;

    fn placeholder() -> Self {
        Self(String::new())
    }

    /// `name`: of the parameter, as it is in the path. Required.
    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = QUERY_BLOCK.open(node, problems);
        Self(fields.required_text("name").value)
    }
}
