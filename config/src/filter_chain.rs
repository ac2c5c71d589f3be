//! What becomes of connections: how they are spoken on, the filters that they pass, and
//! where they go.

use crate::access_log::AccessLog;
use crate::error::Problem;
use crate::filter_chain_match::FilterChainMatch;
use crate::http_filter::{self, HttpFilter};
use crate::http_options::HttpOptions;
use crate::istio::Istio;
use crate::native_filter::NativeFilter;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml};
use crate::route::{HeaderMutations, Route};
use crate::source::{Span, Spanned};
use crate::tcp_proxy::TcpProxy;
use crate::tls::ListenerTls;
use crate::virtual_host::VirtualHost;
use crate::yaml::{Node, Value};

pub(crate) static BLOCK: Block = Block {
    name: "a filter chain",
    keys: &[
        ("name", "shop"),
        ("match", "{ server_names: [shop.example] }"),
        (
            "tls",
            "{ certificates: [{ cert: edge.pem, key: edge.key }] }",
        ),
        ("http", "{ use_remote_address: true }"),
        ("http_filters", "[]"),
        ("routes", "[]"),
        (
            "virtual_hosts",
            "[{ name: shop, domains: [shop.example], routes: [] }]",
        ),
        ("tcp", "{ cluster: database }"),
        ("network_filters", "[]"),
        ("access_log", "{ path: stdout }"),
        ("access_loggers", "[]"),
        ("istio", "{ stats: {} }"),
        ("request_headers_to_add", "[{ key: x-a, value: b }]"),
        ("request_headers_to_remove", "[x-internal]"),
        ("response_headers_to_add", "[{ key: x-a, value: b }]"),
        ("response_headers_to_remove", "[x-internal]"),
    ],
    not_yet: &[],
    hints: &[
        (
            "filters",
            "http_filters",
            "this is Envoy's filter chain: filters stand in `http_filters` here",
        ),
        ("filter_chain_match", "match", "it is called `match` here"),
    ],
};

/// Keys that make no sense beside `tcp`.
const HTTP_KEYS: [&str; 4] = ["http", "http_filters", "routes", "virtual_hosts"];

/// `filter_chains[]`, `default_filter_chain`, or a part of the listener: what becomes of
/// connections.
#[derive(Debug, Clone)]
pub struct FilterChain {
    /// `name`: for access logs and filters, and for who tells them apart. Default: none.
    pub name: Spanned<String>,
    /// `match`: which connections it is for. Default: all for which no other one is.
    pub matches: FilterChainMatch,
    /// `tls`: connections are encrypted. Default: they are not.
    pub tls: Option<ListenerTls>,
    /// `http`: how HTTP is spoken.
    pub http: HttpOptions,
    /// `http_filters`: requests pass them from the first to the last, responses
    /// from the last to the first. Default: none.
    pub http_filters: Vec<HttpFilter>,
    /// Those of `http_filters` that are of Weir's own.
    pub native_filters: Vec<NativeFilter>,
    /// `virtual_hosts`, or `routes` for a single one that takes every host: a
    /// request that none takes is answered with 404. Default: none.
    pub virtual_hosts: Vec<VirtualHost>,
    /// `tcp`: in place of HTTP, connections are passed on as they are.
    pub tcp: Option<TcpProxy>,
    /// `network_filters`: what connections pass: the client's bytes from the first to
    /// the last, the upstream's from the last to the first. Those with `wasm` need
    /// `tcp`. Default: none.
    pub network_filters: Vec<HttpFilter>,
    /// Those of `network_filters` that are of Weir's own.
    pub native_network_filters: Vec<NativeFilter>,
    /// `access_log`: one line a request, or a connection with `tcp`; a list if
    /// there are several. Default: none.
    pub access_log: Vec<AccessLog>,
    /// `access_loggers`: filters that only get to see streams when they are
    /// complete, in `on_log` of their root context. Default: none.
    pub access_loggers: Vec<HttpFilter>,
    /// `istio`: what Istio's filters do. Default: nothing.
    pub istio: Istio,
    /// How headers change, after what routes and virtual hosts say.
    pub headers: HeaderMutations,
    /// Where it stands.
    pub at: Span,
}

impl FilterChain {
    /// The keys that may stand in the listener itself.
    pub(crate) const KEYS: [&'static str; 14] = [
        "tls",
        "http",
        "http_filters",
        "routes",
        "virtual_hosts",
        "tcp",
        "network_filters",
        "access_log",
        "access_loggers",
        "istio",
        "request_headers_to_add",
        "request_headers_to_remove",
        "response_headers_to_add",
        "response_headers_to_remove",
    ];

    /// One for all connections, which have everything to be said yet.
    pub(crate) fn empty(at: Span) -> Self {
        Self {
            name: Spanned::new(String::new(), at),
            matches: FilterChainMatch::default(),
            tls: None,
            http: HttpOptions::default(),
            http_filters: Vec::new(),
            native_filters: Vec::new(),
            virtual_hosts: Vec::new(),
            tcp: None,
            network_filters: Vec::new(),
            native_network_filters: Vec::new(),
            access_log: Vec::new(),
            access_loggers: Vec::new(),
            istio: Istio::default(),
            headers: HeaderMutations::default(),
            at,
        }
    }

    /// The routes of all virtual hosts.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.virtual_hosts.iter().flat_map(|host| &host.routes)
    }

    /// The filters that its connections or requests pass.
    pub fn filters(&self) -> &[HttpFilter] {
        match self.tcp {
            Some(_) => &self.network_filters,
            None => &self.http_filters,
        }
    }

    /// Whether it has no name, and there is nothing that connections must be.
    pub fn is_for_all(&self) -> bool {
        self.name.is_empty() && self.matches == FilterChainMatch::default()
    }

    /// What of it may stand in a listener as well.
    pub(crate) fn of(fields: &mut Fields<'_, '_>) -> Self {
        let tcp: Option<TcpProxy> = fields.optional("tcp");
        if tcp.is_some() {
            for key in HTTP_KEYS.into_iter().chain(HeaderMutations::KEYS) {
                if fields.node(key).is_some() {
                    let problem = Problem::new(
                        fields.key_span(key),
                        format!("`{key}` has no effect beside `tcp`"),
                    );
                    fields.problems.push(problem);
                }
            }
        }
        let (http_filters, native_filters) = http_filter::filters(fields, "http_filters");
        for filter in &native_filters {
            filter.check_of_requests(fields.problems);
        }
        let (network_filters, native_network_filters) =
            http_filter::filters(fields, "network_filters");
        for filter in &native_network_filters {
            filter.check_of_connections(fields.problems);
        }
        let only_native = network_filters.is_empty() && !native_network_filters.is_empty();
        if tcp.is_none() && fields.node("network_filters").is_some() && !only_native {
            let problem = Problem::new(
                fields.key_span("network_filters"),
                "`network_filters` has no effect without `tcp`",
            );
            let help = "filters of requests stand in `http_filters`";
            fields.problems.push(problem.help(help.to_owned()));
        }
        let (access_loggers, others) = http_filter::filters(fields, "access_loggers");
        for filter in others {
            let problem = Problem::new(filter.name.span, "only filters with `wasm` log");
            fields.problems.push(problem);
        }
        let chain = Self {
            tls: fields.optional("tls"),
            http: fields.optional("http").unwrap_or_default(),
            http_filters,
            native_filters,
            virtual_hosts: virtual_hosts(fields),
            tcp,
            network_filters,
            native_network_filters,
            access_log: access_log(fields),
            access_loggers,
            istio: fields.optional("istio").unwrap_or_default(),
            headers: HeaderMutations::read(fields),
            ..Self::empty(fields.at())
        };
        let others = [
            ("network_filters", &chain.network_filters),
            ("access_loggers", &chain.access_loggers),
        ];
        for (key, filters) in others {
            for rollout in filters.iter().filter_map(|filter| filter.rollout.as_ref()) {
                let message = format!("`rollout` is not for `{key}`");
                let problem = Problem::new(rollout.span, message);
                let help = "only filters of `http_filters` can have two versions";
                fields.problems.push(problem.help(help));
            }
        }
        chain
    }
}

/// Where one stands makes no difference.
impl PartialEq for FilterChain {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.matches == other.matches
            && self.tls == other.tls
            && self.http == other.http
            && self.http_filters == other.http_filters
            && self.native_filters == other.native_filters
            && self.virtual_hosts == other.virtual_hosts
            && self.tcp == other.tcp
            && self.network_filters == other.network_filters
            && self.native_network_filters == other.native_network_filters
            && self.access_log == other.access_log
            && self.access_loggers == other.access_loggers
            && self.istio == other.istio
            && self.headers == other.headers
    }
}

impl Eq for FilterChain {}

impl FromYaml for FilterChain {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::empty(Span::default())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let at = fields.at();
        let name: Option<Spanned<String>> = fields.optional("name");
        Self {
            name: name.unwrap_or_else(|| Spanned::new(String::new(), at)),
            matches: fields.optional("match").unwrap_or_default(),
            ..Self::of(&mut fields)
        }
    }
}

fn virtual_hosts(fields: &mut Fields<'_, '_>) -> Vec<VirtualHost> {
    fields.one_of(&["routes", "virtual_hosts"]);
    let routes: Option<Spanned<Vec<Route>>> = fields.optional("routes");
    match fields.optional("virtual_hosts") {
        Some(hosts) => hosts,
        None => routes.map(VirtualHost::of_routes).into_iter().collect(),
    }
}

/// One log, or a list of them.
fn access_log(fields: &mut Fields<'_, '_>) -> Vec<AccessLog> {
    let is_list = |node: &Node| matches!(node.value, Value::Sequence(_));
    if fields.node("access_log").is_some_and(is_list) {
        return fields.optional("access_log").unwrap_or_default();
    }
    fields.optional("access_log").into_iter().collect()
}
