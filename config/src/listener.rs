//! Where traffic comes in.

use std::num::NonZeroUsize;

use crate::access_log::AccessLog;
use crate::address::Address;
use crate::defaults::BUFFER_LIMIT;
use crate::error::Problem;
use crate::file_mode::FileMode;
use crate::http_filter::HttpFilter;
use crate::http_options::HttpOptions;
use crate::metadata::Metadata;
use crate::problems::Problems;
use crate::proxy_protocol::ProxyProtocol;
use crate::read::{Block, Fields, FromYaml, words};
use crate::route::{HeaderMutations, Route};
use crate::source::Spanned;
use crate::tcp_proxy::TcpProxy;
use crate::tls::ListenerTls;
use crate::virtual_host::VirtualHost;
use crate::yaml::{Node, Value};

pub(crate) static BLOCK: Block = Block {
    name: "a listener",
    keys: &[
        ("name", "edge"),
        ("address", "0.0.0.0:8080"),
        ("mode", "0660"),
        (
            "tls",
            "{ certificates: [{ cert: edge.pem, key: edge.key }] }",
        ),
        ("proxy_protocol", "{ timeout: 15s }"),
        ("max_connections", "10000"),
        ("buffer_limit", "1MiB"),
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
        ("direction", "inbound"),
        ("metadata", "{ my.filter: { key: value } }"),
        ("request_headers_to_add", "[{ key: x-a, value: b }]"),
        ("request_headers_to_remove", "[x-internal]"),
        ("response_headers_to_add", "[{ key: x-a, value: b }]"),
        ("response_headers_to_remove", "[x-internal]"),
    ],
    not_yet: &[],
    hints: &[(
        "filter_chains",
        "http_filters",
        "this is Envoy's listener: filters stand in `http_filters` here",
    )],
};

/// Keys that make no sense beside `tcp`.
const HTTP_KEYS: [&str; 4] = ["http", "http_filters", "routes", "virtual_hosts"];

/// `listeners[]`: an address that takes connections, the filters that requests
/// pass, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `name`: unique among listeners; in logs and metrics. Required.
    pub name: Spanned<String>,
    /// `address`: IP address and port, of which port 0 takes any that is free; or a
    /// Unix socket, `unix:/run/weir.sock` or `unix:@weir`. Required.
    pub address: Spanned<Address>,
    /// `mode`: who may connect to a Unix socket, as the permissions of its file, in
    /// octal. Default: what the process's `umask` leaves of 0777.
    pub mode: Option<FileMode>,
    /// `tls`: connections are encrypted. Default: they are not.
    pub tls: Option<ListenerTls>,
    /// `proxy_protocol`: connections begin with a header of the PROXY protocol.
    /// Default: they do not.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// `max_connections`: connections that may be open at once, on all workers; more
    /// are closed as they come. At least 1. Default: no limit.
    pub max_connections: Option<NonZeroUsize>,
    /// `buffer_limit`: bytes that one filter may hold of a body, and the filters
    /// of a connection of what has come from the client. Default: 1MiB.
    pub buffer_limit: usize,
    /// `http`: how HTTP is spoken.
    pub http: HttpOptions,
    /// `http_filters`: requests pass them from the first to the last, responses
    /// from the last to the first. Default: none.
    pub http_filters: Vec<HttpFilter>,
    /// `virtual_hosts`, or `routes` for a single one that takes every host: a
    /// request that none takes is answered with 404. Default: none.
    pub virtual_hosts: Vec<VirtualHost>,
    /// `tcp`: in place of HTTP, connections are passed on as they are.
    pub tcp: Option<TcpProxy>,
    /// `network_filters`: with `tcp`, what connections pass: the client's bytes
    /// from the first to the last, the upstream's from the last to the first.
    /// Default: none.
    pub network_filters: Vec<HttpFilter>,
    /// `access_log`: one line a request, or a connection with `tcp`; a list if
    /// there are several. Default: none.
    pub access_log: Vec<AccessLog>,
    /// `access_loggers`: filters that only get to see streams when they are
    /// complete, in `on_log` of their root context. Default: none.
    pub access_loggers: Vec<HttpFilter>,
    /// `direction`: for filters. Default: `unspecified`.
    pub direction: Direction,
    /// `metadata`: for filters. Default: empty.
    pub metadata: Metadata,
    /// How headers change, after what routes and virtual hosts say.
    pub headers: HeaderMutations,
}

/// `direction`: Envoy's `TrafficDirection`, with its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// `unspecified`
    #[default]
    Unspecified = 0,
    /// `inbound`: to the service beside this proxy.
    Inbound = 1,
    /// `outbound`: from it.
    Outbound = 2,
}

words!(Direction, "a direction",
    "unspecified" => Self::Unspecified,
    "inbound" => Self::Inbound,
    "outbound" => Self::Outbound);

impl Listener {
    /// The routes of all virtual hosts.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.virtual_hosts.iter().flat_map(|host| &host.routes)
    }
}

impl FromYaml for Listener {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            name: FromYaml::placeholder(),
            address: FromYaml::placeholder(),
            mode: None,
            tls: None,
            proxy_protocol: None,
            max_connections: None,
            buffer_limit: BUFFER_LIMIT,
            http: HttpOptions::default(),
            http_filters: Vec::new(),
            virtual_hosts: Vec::new(),
            tcp: None,
            network_filters: Vec::new(),
            access_log: Vec::new(),
            access_loggers: Vec::new(),
            direction: Direction::default(),
            metadata: Metadata::default(),
            headers: HeaderMutations::default(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
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
        if tcp.is_none() && fields.node("network_filters").is_some() {
            let problem = Problem::new(
                fields.key_span("network_filters"),
                "`network_filters` has no effect without `tcp`",
            );
            let help = "filters of requests stand in `http_filters`";
            fields.problems.push(problem.help(help.to_owned()));
        }
        let name = fields.required_text("name");
        let address = fields.required("address");
        let listener = Self {
            name,
            mode: FileMode::beside(&address, &mut fields),
            address,
            tls: fields.optional("tls"),
            proxy_protocol: fields.optional("proxy_protocol"),
            max_connections: fields.optional("max_connections"),
            buffer_limit: fields.bytes("buffer_limit", BUFFER_LIMIT),
            http: fields.optional("http").unwrap_or_default(),
            http_filters: fields.optional("http_filters").unwrap_or_default(),
            virtual_hosts: virtual_hosts(&mut fields),
            tcp,
            network_filters: fields.optional("network_filters").unwrap_or_default(),
            access_log: access_log(&mut fields),
            access_loggers: fields.optional("access_loggers").unwrap_or_default(),
            direction: fields.optional("direction").unwrap_or_default(),
            metadata: fields.optional("metadata").unwrap_or_default(),
            headers: HeaderMutations::read(&mut fields),
        };
        let others = [
            ("network_filters", &listener.network_filters),
            ("access_loggers", &listener.access_loggers),
        ];
        for (key, filters) in others {
            for rollout in filters.iter().filter_map(|filter| filter.rollout.as_ref()) {
                let message = format!("`rollout` is not for `{key}`");
                let problem = Problem::new(rollout.span, message);
                let help = "only filters of `http_filters` can have two versions";
                fields.problems.push(problem.help(help));
            }
        }
        listener
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
