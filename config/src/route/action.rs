//! What a route does with a request.

use std::time::Duration;

use crate::defaults::ROUTE_TIMEOUT;
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml, words};
use crate::route::destination::Destination;
use crate::route::hash_policy::HashPolicy;
use crate::route::mirror::MirrorPolicy;
use crate::route::retry::RetryPolicy;
use crate::route::rewrite::{HostRewrite, PathRewrite, host_or_path};
use crate::source::{Span, Spanned};
use crate::yaml::Node;

pub(crate) static REDIRECT_BLOCK: Block = Block {
    name: "`redirect`",
    keys: &[
        ("https_redirect", "true"),
        ("scheme_redirect", "https"),
        ("host_redirect", "www.example"),
        ("port_redirect", "8443"),
        ("path_redirect", "/new"),
        ("prefix_rewrite", "/new"),
        (
            "regex_rewrite",
            "{ pattern: '^/old/(.*)$', substitution: '/\\1' }",
        ),
        ("response_code", "moved_permanently"),
        ("strip_query", "true"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static DIRECT_RESPONSE_BLOCK: Block = Block {
    name: "`direct_response`",
    keys: &[("status", "404"), ("body", "not here")],
    not_yet: &[],
    hints: &[],
};

/// What a route does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteAction {
    /// `cluster`: it goes there.
    Forward(Forward),
    /// `redirect`: the client is sent elsewhere.
    Redirect(Redirect),
    /// `direct_response`: it is answered at once.
    DirectResponse(DirectResponse),
}

/// `cluster` and what stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// `cluster`, `weighted_clusters` or `cluster_header`: where to.
    pub destination: Destination,
    /// `timeout`: from the end of the request to the end of the response; 0
    /// waits without end. Default: 15s.
    pub timeout: Duration,
    /// `idle_timeout`: how long nothing may move in the stream; 0 waits without
    /// end. Default: the listener's `stream_idle_timeout`.
    pub idle_timeout: Option<Duration>,
    /// `prefix_rewrite`, `regex_rewrite` or `path_template_rewrite`: how the path
    /// changes. Default: not at all.
    pub path_rewrite: Option<PathRewrite>,
    /// `host_rewrite`, `host_rewrite_header` or `auto_host_rewrite`: how the
    /// authority changes. Default: not at all.
    pub host_rewrite: Option<HostRewrite>,
    /// `connect`: what happens to CONNECT, whatever the listener's `upgrades` say.
    /// Default: it is passed on if they have it.
    pub connect: Option<Connect>,
    /// `hash_policy`: what the endpoint depends on, with `ring_hash` and `maglev`.
    /// Default: nothing.
    pub hash_policy: Vec<HashPolicy>,
    /// `retry_policy`: when a request is sent once more. Default: the virtual host's.
    pub retry_policy: Option<Box<RetryPolicy>>,
    /// `request_mirror_policies`: where copies of requests go. Default: the virtual
    /// host's.
    pub request_mirror_policies: Option<Vec<MirrorPolicy>>,
    /// `max_stream_duration`: for request and response together; 0 is without end.
    /// Default: 0.
    pub max_stream_duration: Duration,
}

/// `connect`: what happens to a request for a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connect {
    /// `pass_on`: the endpoint answers it.
    PassOn,
    /// `terminate`: it is answered here, and the endpoint gets what is in the
    /// tunnel.
    Terminate,
}

words!(Connect, "a way to treat CONNECT",
    "pass_on" => Self::PassOn, "terminate" => Self::Terminate);

impl Forward {
    /// The clusters that are named.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = &Spanned<String>> {
        let mirrors = self.request_mirror_policies.iter().flatten();
        self.destination
            .clusters()
            .chain(mirrors.map(|mirror| &mirror.cluster))
    }

    /// A plain way there.
    pub(crate) fn to(destination: Destination) -> Self {
        Self {
            destination,
            timeout: ROUTE_TIMEOUT,
            idle_timeout: None,
            path_rewrite: None,
            host_rewrite: None,
            connect: None,
            hash_policy: Vec::new(),
            retry_policy: None,
            request_mirror_policies: None,
            max_stream_duration: Duration::ZERO,
        }
    }

    /// `destination`: the key that says where to.
    pub(super) fn read(destination: &str, fields: &mut Fields<'_, '_>) -> Self {
        Self {
            destination: Destination::read(destination, fields),
            timeout: fields.optional("timeout").unwrap_or(ROUTE_TIMEOUT),
            idle_timeout: fields.optional("idle_timeout"),
            path_rewrite: PathRewrite::read(
                fields,
                &["prefix_rewrite", "regex_rewrite", "path_template_rewrite"],
            ),
            host_rewrite: HostRewrite::read(fields),
            connect: fields.optional("connect"),
            hash_policy: fields.optional("hash_policy").unwrap_or_default(),
            retry_policy: fields.optional("retry_policy").map(Box::new),
            request_mirror_policies: fields.optional("request_mirror_policies"),
            max_stream_duration: fields.optional("max_stream_duration").unwrap_or_default(),
        }
    }
}

/// `redirect`: where the client is sent; what is not named stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Redirect {
    /// `scheme_redirect`, or `https_redirect: true` for `https`.
    pub scheme: Option<String>,
    /// `host_redirect`
    pub host: Option<String>,
    /// `port_redirect`
    pub port: Option<u16>,
    /// `path_redirect`, `prefix_rewrite` or `regex_rewrite`.
    pub path: Option<RedirectPath>,
    /// `response_code`. Default: `moved_permanently`.
    pub code: RedirectCode,
    /// `strip_query`: whether the query is dropped. Default: false.
    pub strip_query: bool,
}

/// How the path of a redirect is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectPath {
    /// `path_redirect`: this one, and this query if it has one.
    Whole(String),
    /// `prefix_rewrite` or `regex_rewrite`, as in a route.
    Rewrite(PathRewrite),
}

/// `redirect.response_code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedirectCode {
    /// `moved_permanently`: 301.
    #[default]
    MovedPermanently,
    /// `found`: 302.
    Found,
    /// `see_other`: 303.
    SeeOther,
    /// `temporary_redirect`: 307.
    TemporaryRedirect,
    /// `permanent_redirect`: 308.
    PermanentRedirect,
}

words!(RedirectCode, "a code for redirects",
    "moved_permanently" => Self::MovedPermanently,
    "found" => Self::Found,
    "see_other" => Self::SeeOther,
    "temporary_redirect" => Self::TemporaryRedirect,
    "permanent_redirect" => Self::PermanentRedirect);

impl RedirectCode {
    /// The status.
    pub fn status(self) -> u16 {
        match self {
            Self::MovedPermanently => 301,
            Self::Found => 302,
            Self::SeeOther => 303,
            Self::TemporaryRedirect => 307,
            Self::PermanentRedirect => 308,
        }
    }
}

impl FromYaml for Redirect {
    const EXPECTED: &'static str = REDIRECT_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = REDIRECT_BLOCK.open(node, problems);
        fields.one_of(&["https_redirect", "scheme_redirect"]);
        let https = fields.optional("https_redirect").unwrap_or(false);
        let scheme = host_or_path(&mut fields, "scheme_redirect");
        fields.one_of(&["path_redirect", "prefix_rewrite", "regex_rewrite"]);
        let whole = host_or_path(&mut fields, "path_redirect").map(RedirectPath::Whole);
        let path = match PathRewrite::read(&mut fields, &["prefix_rewrite", "regex_rewrite"]) {
            Some(rewrite) => Some(RedirectPath::Rewrite(rewrite)),
            None => whole,
        };
        Self {
            scheme: scheme.or_else(|| https.then(|| "https".to_owned())),
            host: host_or_path(&mut fields, "host_redirect"),
            port: fields.optional("port_redirect"),
            path,
            code: fields.optional("response_code").unwrap_or_default(),
            strip_query: fields.optional("strip_query").unwrap_or(false),
        }
    }
}

/// `direct_response`: an answer without an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectResponse {
    /// `status`, from 200 to 599. Required.
    pub status: u16,
    /// `body`: its text. Default: empty.
    pub body: Vec<u8>,
}

impl FromYaml for DirectResponse {
    const EXPECTED: &'static str = DIRECT_RESPONSE_BLOCK.name;

    fn placeholder() -> Self {
        Self {
            status: 200,
            body: Vec::new(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = DIRECT_RESPONSE_BLOCK.open(node, problems);
        fields.require("status");
        let status = fields.valid::<u16>("status");
        if let Some(status) = &status {
            check_status(status.value, status.span, fields.problems);
        }
        Self {
            status: status.map_or(200, |status| status.value),
            body: fields.optional::<String>("body").unwrap_or_default().into(),
        }
    }
}

/// Notes a status that no final response has.
pub(crate) fn check_status(status: u16, span: Span, problems: &mut Problems) {
    if !(200..600).contains(&status) {
        let message = format!("`{status}` is not the status of a response");
        problems.push(Problem::new(span, message).help("it is from 200 to 599"));
    }
}
