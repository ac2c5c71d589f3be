//! Routes by the host that a request is for.

use crate::error::Problem;
use crate::metadata::Metadata;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::route::{Cors, HeaderMutations, MirrorPolicy, RetryPolicy, Route, RouteFilters};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a virtual host",
    keys: &[
        ("name", "shop"),
        ("domains", "[shop.example]"),
        ("routes", "[{ match: { prefix: / }, cluster: web }]"),
        ("metadata", "{ my.filter: { key: value } }"),
        ("retry_policy", "{ retry_on: 5xx }"),
        ("include_request_attempt_count", "true"),
        ("include_attempt_count_in_response", "true"),
        ("request_mirror_policies", "[{ cluster: shadow }]"),
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
    hints: &[],
};

/// The name of the virtual host that `routes` of a listener stand for.
pub(crate) const DEFAULT_NAME: &str = "default";

/// `virtual_hosts[]`: what happens to requests for some hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualHost {
    /// `name`: unique in its listener. Required.
    pub name: Spanned<String>,
    /// `domains`: `shop.example`, `*.example`, `shop.*` or `*`, with the port
    /// if the request names one. No two virtual hosts have the same. The whole
    /// name comes first, then the longest `*.example`, then the longest
    /// `shop.*`, then `*`. At least one. Required.
    pub domains: Vec<Spanned<String>>,
    /// `routes`: the first that matches is taken; a request that none matches
    /// is answered with 404. Default: none.
    pub routes: Vec<Route>,
    /// `metadata`: for filters. Default: empty.
    pub metadata: Metadata,
    /// `retry_policy`: of routes that have none themselves. Default: none.
    pub retry_policy: Option<RetryPolicy>,
    /// `include_request_attempt_count`: whether `x-envoy-attempt-count` tells endpoints
    /// which attempt it is. Default: false.
    pub include_request_attempt_count: bool,
    /// `include_attempt_count_in_response`: whether it tells clients how many there
    /// have been. Default: false.
    pub include_attempt_count_in_response: bool,
    /// `request_mirror_policies`: where copies of requests go, of routes that do not say
    /// so themselves. Default: nowhere.
    pub request_mirror_policies: Vec<MirrorPolicy>,
    /// `cors`: of routes that have none themselves. Default: none.
    pub cors: Option<Cors>,
    /// `filters`: what the requests of its routes meet of the listener's filters.
    /// Default: all, as they are.
    pub filters: RouteFilters,
    /// How headers change.
    pub headers: HeaderMutations,
}

impl VirtualHost {
    /// For every host.
    pub(crate) fn of_routes(routes: Spanned<Vec<Route>>) -> Self {
        Self {
            name: Spanned::new(DEFAULT_NAME.to_owned(), routes.span),
            domains: vec![Spanned::new("*".to_owned(), routes.span)],
            routes: routes.value,
            ..Self::placeholder()
        }
    }

    /// Whether [`VirtualHost::of_routes`] would give the same.
    pub(crate) fn is_plain(&self) -> bool {
        let is_any = |domains: &[Spanned<String>]| domains.len() == 1 && domains[0].value == "*";
        let plain = Self {
            name: Spanned::new(DEFAULT_NAME.to_owned(), self.name.span),
            domains: self.domains.clone(),
            routes: self.routes.clone(),
            ..Self::placeholder()
        };
        is_any(&self.domains) && *self == plain
    }
}

impl FromYaml for VirtualHost {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            name: Spanned::placeholder(),
            domains: Vec::new(),
            routes: Vec::new(),
            metadata: Metadata::default(),
            retry_policy: None,
            include_request_attempt_count: false,
            include_attempt_count_in_response: false,
            request_mirror_policies: Vec::new(),
            cors: None,
            filters: RouteFilters::default(),
            headers: HeaderMutations::default(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let domains: Spanned<Vec<Spanned<String>>> = fields.required("domains");
        if fields.node("domains").is_some_and(Node::is_empty_list) {
            let problem = Problem::new(domains.span, "a virtual host needs at least one domain");
            fields
                .problems
                .push(problem.help("`*` stands for every host"));
        }
        for domain in &domains.value {
            check_domain(domain, fields.problems);
        }
        Self {
            name: fields.required_text("name"),
            domains: domains.value,
            routes: fields.optional("routes").unwrap_or_default(),
            metadata: fields.optional("metadata").unwrap_or_default(),
            retry_policy: fields.optional("retry_policy"),
            include_request_attempt_count: fields
                .optional("include_request_attempt_count")
                .unwrap_or(false),
            include_attempt_count_in_response: fields
                .optional("include_attempt_count_in_response")
                .unwrap_or(false),
            request_mirror_policies: fields
                .optional("request_mirror_policies")
                .unwrap_or_default(),
            cors: fields.optional("cors"),
            filters: fields.optional("filters").unwrap_or_default(),
            headers: HeaderMutations::read(&mut fields),
        }
    }
}

/// Notes a domain that could not match.
pub(crate) fn check_domain(domain: &Spanned<String>, problems: &mut Problems) {
    let text = domain.value.as_str();
    let inner = text.strip_prefix('*').or_else(|| text.strip_suffix('*'));
    let problem = if text.is_empty() {
        Problem::new(domain.span, "the domain is empty").help("`*` stands for every host")
    } else if inner.unwrap_or(text).contains('*') {
        Problem::new(domain.span, format!("`{text}` is not a domain"))
            .help("`*` stands alone, at the beginning or at the end")
    } else {
        return;
    };
    problems.push(problem);
}
