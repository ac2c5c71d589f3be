//! Which cluster a request goes to.

use std::time::Duration;

use crate::defaults::ROUTE_TIMEOUT;
use crate::error::Problem;
use crate::not_yet::NotYet;
use crate::problems::Problems;
use crate::read::{Block, FromYaml, mismatch};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a route",
    keys: &[
        ("match", "{ prefix: / }"),
        ("cluster", "web"),
        ("timeout", "15s"),
    ],
    not_yet: &[("filters", NotYet::RouteFilters)],
    hints: &[
        (
            "prefix",
            "match",
            "`prefix` belongs into `match`: `match: { prefix: / }`",
        ),
        (
            "route",
            "cluster",
            "what stands under `route` in Envoy stands beside `match` here",
        ),
    ],
};

pub(crate) static MATCH_BLOCK: Block = Block {
    name: "`match`",
    keys: &[("prefix", "/")],
    not_yet: &[],
    hints: &[],
};

/// `routes[]`: requests that match go to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `match`: which requests. Required.
    pub matches: RouteMatch,
    /// `cluster`: the name of one of the `clusters`. Required.
    pub cluster: Spanned<String>,
    /// `timeout`: from the end of the request to the end of the response; 0
    /// waits without end. Default: 15s.
    pub timeout: Duration,
}

/// `match`: which requests a route takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMatch {
    /// `prefix`: what the path starts with, byte for byte; starts with `/`.
    /// `/api` matches `/apis` too. Required.
    pub prefix: Spanned<String>,
}

/// The prefix of a path.
struct Prefix(String);

impl FromYaml for Route {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            matches: RouteMatch::placeholder(),
            cluster: FromYaml::placeholder(),
            timeout: ROUTE_TIMEOUT,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            matches: fields.required("match").value,
            cluster: fields.required_text("cluster"),
            timeout: fields.optional("timeout").unwrap_or(ROUTE_TIMEOUT),
        }
    }
}

impl FromYaml for RouteMatch {
    const EXPECTED: &'static str = MATCH_BLOCK.name;

    fn placeholder() -> Self {
        Self {
            prefix: FromYaml::placeholder(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = MATCH_BLOCK.open(node, problems);
        let prefix: Spanned<Prefix> = fields.required("prefix");
        Self {
            prefix: Spanned::new(prefix.value.0, prefix.span),
        }
    }
}

impl FromYaml for Prefix {
    const EXPECTED: &'static str = "a path prefix such as `/api`";

    fn placeholder() -> Self {
        Self(String::new())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some(text) = node.text() else {
            return mismatch(node, problems);
        };
        if !text.starts_with('/') {
            let message = "the prefix of a path starts with `/`";
            let problem = Problem::new(node.span, message);
            problems.push(problem.help(format!("write `/{text}`")));
        } else if text.contains(['?', '#']) {
            let message = "a prefix with `?` or `#` never matches";
            let problem = Problem::new(node.span, message);
            problems.push(problem.help("only the path is compared, without the query"));
        }
        Self(text.to_owned())
    }
}
