//! What happens to a request.

mod action;
mod cors;
mod destination;
mod hash_policy;
mod header_match;
mod header_mutation;
mod mirror;
mod path_template;
mod query_match;
mod retry;
mod rewrite;
mod route_filter;
mod route_match;

pub use action::{
    Connect, DirectResponse, Forward, Redirect, RedirectCode, RedirectPath, RouteAction,
};
pub use cors::Cors;
pub use destination::{Destination, WeightedCluster};
pub use hash_policy::{CookieHash, HashPolicy, HashSource};
pub use header_match::{HeaderMatch, HeaderMatcher, StringMatch, TextMatcher};
pub use header_mutation::{AppendAction, HeaderMutations, HeaderToAdd};
pub use mirror::MirrorPolicy;
pub use path_template::{PathTemplate, PathTemplateError};
pub use query_match::{QueryMatch, QueryMatcher};
pub use retry::{RetryOn, RetryPolicy};
pub use rewrite::{HostRewrite, PathRewrite, RegexRewrite};
pub use route_filter::{FilterSetting, RouteFilter, RouteFilters};
pub use route_match::{PathMatch, RouteMatch};

pub(crate) use action::{DIRECT_RESPONSE_BLOCK, REDIRECT_BLOCK, check_status};
pub(crate) use cors::{BLOCK as CORS_BLOCK, STRING_MATCH_BLOCK};
pub(crate) use destination::{BLOCK as WEIGHTED_CLUSTER_BLOCK, check_weights};
pub(crate) use hash_policy::{
    BLOCK as HASH_POLICY_BLOCK, CONNECTION_BLOCK as CONNECTION_HASH_BLOCK,
    COOKIE_BLOCK as COOKIE_HASH_BLOCK, HEADER_BLOCK as HEADER_HASH_BLOCK,
    QUERY_BLOCK as QUERY_HASH_BLOCK, check_cookie,
};
pub(crate) use header_match::{
    BLOCK as HEADER_MATCH_BLOCK, RANGE_BLOCK, Range, TEXT_MATCHERS, text_match,
};
pub(crate) use header_mutation::{
    BLOCK as HEADER_TO_ADD_BLOCK, check_name, check_value, read_value,
};
pub(crate) use mirror::BLOCK as MIRROR_BLOCK;
pub(crate) use query_match::BLOCK as QUERY_MATCH_BLOCK;
pub(crate) use retry::{BLOCK as RETRY_BLOCK, read_retry_on};
pub(crate) use rewrite::{REGEX_REWRITE_BLOCK, check_host_or_path};
pub(crate) use route_filter::BLOCK as ROUTE_FILTER_BLOCK;
pub(crate) use route_match::{BLOCK as MATCH_BLOCK, check_path};

use crate::error::Problem;
use crate::metadata::Metadata;
use crate::problems::Problems;
use crate::read::{Block, ByteSize, Fields, FromYaml};
use crate::source::{Span, Spanned};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a route",
    keys: &[
        ("name", "api"),
        ("match", "{ prefix: / }"),
        ("cluster", "web"),
        (
            "weighted_clusters",
            "[{ name: web, weight: 90 }, { name: canary, weight: 10 }]",
        ),
        ("cluster_header", "x-cluster"),
        ("timeout", "15s"),
        ("idle_timeout", "1m"),
        ("prefix_rewrite", "/"),
        ("path_template_rewrite", "'/v2/{id}'"),
        (
            "regex_rewrite",
            "{ pattern: '^/old/(.*)$', substitution: '/\\1' }",
        ),
        ("host_rewrite", "web.example"),
        ("host_rewrite_header", "x-host"),
        ("auto_host_rewrite", "true"),
        ("connect", "terminate"),
        ("hash_policy", "[{ header: { header_name: x-user } }]"),
        ("retry_policy", "{ retry_on: 5xx }"),
        ("redirect", "{ https_redirect: true }"),
        ("direct_response", "{ status: 404 }"),
        ("metadata", "{ my.filter: { key: value } }"),
        ("buffer_limit", "1MiB"),
        (
            "request_mirror_policies",
            "[{ cluster: shadow, fraction: 10% }]",
        ),
        ("max_stream_duration", "1h"),
        ("max_request_bytes", "10MiB"),
        (
            "cors",
            "{ allow_origin_string_match: [{ suffix: .shop.example }] }",
        ),
        ("filters", "{ auth: { disabled: true } }"),
        ("request_headers_to_add", "[{ key: x-a, value: b }]"),
        ("request_headers_to_remove", "[x-internal]"),
        ("response_headers_to_add", "[{ key: x-a, value: b }]"),
        ("response_headers_to_remove", "[x-internal]"),
    ],
    not_yet: &[],
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

/// What a route can do with a request: the keys, one of which is there.
const ACTIONS: [&str; 5] = [
    "cluster",
    "weighted_clusters",
    "cluster_header",
    "redirect",
    "direct_response",
];

/// Keys that say more about `cluster`.
const FORWARD_KEYS: [&str; 13] = [
    "request_mirror_policies",
    "max_stream_duration",
    "path_template_rewrite",
    "retry_policy",
    "connect",
    "hash_policy",
    "timeout",
    "idle_timeout",
    "prefix_rewrite",
    "regex_rewrite",
    "host_rewrite",
    "host_rewrite_header",
    "auto_host_rewrite",
];

/// `routes[]`: what happens to requests that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `name`: what filters see as `xds.route_name`. Default: empty.
    pub name: String,
    /// `match`: which requests. Required.
    pub matches: RouteMatch,
    /// `cluster`, `redirect` or `direct_response`. Required.
    pub action: RouteAction,
    /// `metadata`: for filters. Default: empty.
    pub metadata: Metadata,
    /// `buffer_limit`: bytes that one filter may hold of a body. Default: the
    /// listener's.
    pub buffer_limit: Option<usize>,
    /// `max_request_bytes`: of a request's body; a longer one is answered with 413.
    /// Default: no limit.
    pub max_request_bytes: Option<u64>,
    /// `cors`: which pages of other origins may read responses. Default: the virtual
    /// host's.
    pub cors: Option<Cors>,
    /// `filters`: what requests meet of the listener's filters, by the route that they
    /// take when they come. Default: all, as they are.
    pub filters: RouteFilters,
    /// How headers change.
    pub headers: HeaderMutations,
}

impl Route {
    /// The clusters that requests may go to, as far as they are named.
    pub fn clusters(&self) -> impl Iterator<Item = &Spanned<String>> {
        let forward = match &self.action {
            RouteAction::Forward(forward) => Some(forward),
            RouteAction::Redirect(_) | RouteAction::DirectResponse(_) => None,
        };
        forward.into_iter().flat_map(Forward::clusters)
    }
}

impl FromYaml for Route {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            name: String::new(),
            matches: RouteMatch::placeholder(),
            action: RouteAction::Forward(Forward::to(Destination::Cluster(Spanned::placeholder()))),
            metadata: Metadata::default(),
            buffer_limit: None,
            max_request_bytes: None,
            cors: None,
            filters: RouteFilters::default(),
            headers: HeaderMutations::default(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let matches: RouteMatch = fields.required("match").value;
        let action = action(&mut fields);
        let at = fields.key_span("path_template_rewrite");
        if let Some(problem) = check_template_rewrite(&matches, &action, at) {
            fields.problems.push(problem);
        }
        if let RouteAction::Forward(forward) = &action
            && forward.connect.is_some()
            && matches.path.value != PathMatch::Connect
        {
            let message = "`connect` has no effect on a route that takes no CONNECT";
            let problem = Problem::new(fields.key_span("connect"), message);
            let help = "write `match: { connect: true }`";
            fields.problems.push(problem.help(help));
        }
        Self {
            name: fields.optional("name").unwrap_or_default(),
            matches,
            action,
            metadata: fields.optional("metadata").unwrap_or_default(),
            buffer_limit: fields
                .optional::<ByteSize>("buffer_limit")
                .map(|size| usize::try_from(size.0).unwrap_or(usize::MAX)),
            max_request_bytes: fields
                .optional::<ByteSize>("max_request_bytes")
                .map(ByteSize::bytes),
            cors: fields.optional("cors"),
            filters: fields.optional("filters").unwrap_or_default(),
            headers: HeaderMutations::read(&mut fields),
        }
    }
}

/// Variables in a rewrite that the path of the match does not have; `at`: where to
/// point when there are none at all.
pub(crate) fn check_template_rewrite(
    matches: &RouteMatch,
    action: &RouteAction,
    at: Span,
) -> Option<Problem> {
    let RouteAction::Forward(Forward {
        path_rewrite: Some(PathRewrite::Template(rewrite)),
        ..
    }) = action
    else {
        return None;
    };
    let PathMatch::Template(template) = &matches.path.value else {
        let message = "`path_template_rewrite` has no effect without a `path_template`";
        let problem = Problem::new(at, message);
        return Some(problem.help("write `match: { path_template: '/users/{id}' }`"));
    };
    // What is wrong with the template itself is noted already.
    let template = PathTemplate::parse(template).ok()?;
    let error = template.substitution(&rewrite.value).err()?;
    Some(Problem::new(rewrite.span, error.to_string()))
}

fn action(fields: &mut Fields<'_, '_>) -> RouteAction {
    match fields.one_of(&ACTIONS) {
        Some(chosen @ ("redirect" | "direct_response")) => {
            for key in FORWARD_KEYS {
                if fields.node(key).is_some() {
                    let message = format!("`{key}` has no effect beside `{chosen}`");
                    let problem = Problem::new(fields.key_span(key), message);
                    fields
                        .problems
                        .push(problem.help("it belongs to a `cluster`"));
                }
            }
            if chosen == "redirect" {
                let redirect = fields.optional("redirect");
                RouteAction::Redirect(redirect.unwrap_or_else(Redirect::placeholder))
            } else {
                let answer = fields.optional("direct_response");
                RouteAction::DirectResponse(answer.unwrap_or_else(DirectResponse::placeholder))
            }
        }
        chosen => RouteAction::Forward(Forward::read(chosen.unwrap_or("cluster"), fields)),
    }
}

/// Notes what is wrong with a regular expression.
pub(crate) fn check_regex(pattern: &str, span: Span, problems: &mut Problems) {
    if let Err(error) = regex::bytes::Regex::new(pattern) {
        // Its report draws the pattern over several lines; the last says why.
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default();
        let reason = reason.trim_start_matches("error: ");
        let message = format!("not a regular expression: {reason}");
        problems.push(Problem::new(span, message));
    }
}
