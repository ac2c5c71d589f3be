//! Where traffic comes in.

use std::num::NonZeroUsize;

use crate::address::Address;
use crate::defaults::BUFFER_LIMIT;
use crate::error::Problem;
use crate::file_mode::FileMode;
use crate::filter_chain::FilterChain;
use crate::filter_chain_match::FilterChainMatch;
use crate::inspection::Inspection;
use crate::metadata::Metadata;
use crate::original_src::OriginalSrc;
use crate::problems::Problems;
use crate::proxy_protocol::ProxyProtocol;
use crate::read::{Block, Fields, FromYaml, words};
use crate::source::Spanned;
use crate::yaml::Node;

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
        ("filter_chains", "[{ match: { destination_port: 8080 } }]"),
        ("default_filter_chain", "{ routes: [] }"),
        ("inspect", "{ timeout: 15s }"),
        ("original_dst", "true"),
        ("use_original_dst", "true"),
        ("transparent", "true"),
        ("bind_to_port", "false"),
        ("original_src", "{ mark: 1337 }"),
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
        ("istio", "{ stats: {} }"),
        ("direction", "inbound"),
        ("metadata", "{ my.filter: { key: value } }"),
        ("request_headers_to_add", "[{ key: x-a, value: b }]"),
        ("request_headers_to_remove", "[x-internal]"),
        ("response_headers_to_add", "[{ key: x-a, value: b }]"),
        ("response_headers_to_remove", "[x-internal]"),
    ],
    not_yet: &[],
    hints: &[(
        "listener_filters",
        "inspect",
        "this is Envoy's listener: `inspect` and `proxy_protocol` are what Weir has of them",
    )],
};

/// `listeners[]`: an address that takes connections, and what becomes of them. The keys
/// of a filter chain stand in the listener itself if there is one for all connections.
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
    /// `filter_chains`: in place of one for all connections, what becomes of those that
    /// each `match` is for. A connection that none is for is closed.
    pub filter_chains: Vec<FilterChain>,
    /// `default_filter_chain`: what becomes of connections that none of the
    /// `filter_chains` is for. It has no `match`. Default: they are closed.
    pub default_filter_chain: Option<Box<FilterChain>>,
    /// `inspect`: what is found out about a connection before its filter chain is
    /// chosen. Default: what a `match` needs.
    pub inspect: Inspection,
    /// `original_dst`: connections that the system has redirected here (iptables'
    /// `REDIRECT`) count as for the address that they were for. Default: false.
    pub original_dst: bool,
    /// `use_original_dst`: the same; and a connection that was for the address of
    /// another listener is for that one: the one with this very address, or else with
    /// its port and any address. Also by a header of the PROXY protocol. Default:
    /// false.
    pub use_original_dst: bool,
    /// `transparent`: takes connections for addresses that are not this machine's
    /// (iptables' `TPROXY`), which are where they are for; needs `CAP_NET_ADMIN`.
    /// Default: false.
    pub transparent: bool,
    /// `bind_to_port`: whether it takes connections itself, and not only those that
    /// come from a listener with `use_original_dst`. Default: true.
    pub bind_to_port: bool,
    /// `original_src`: connections to endpoints are made from the client's address.
    /// Default: from one of this machine's.
    pub original_src: Option<OriginalSrc>,
    /// `proxy_protocol`: connections begin with a header of the PROXY protocol.
    /// Default: they do not.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// `max_connections`: connections that may be open at once, on all workers; more
    /// are closed as they come. At least 1. Default: no limit.
    pub max_connections: Option<NonZeroUsize>,
    /// `buffer_limit`: bytes that one filter may hold of a body, and the filters
    /// of a connection of what has come from the client. Default: 1MiB.
    pub buffer_limit: usize,
    /// `direction`: for filters. Default: `unspecified`.
    pub direction: Direction,
    /// `metadata`: for filters. Default: empty.
    pub metadata: Metadata,
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
    /// All its filter chains, the default one last.
    pub fn chains(&self) -> impl Iterator<Item = &FilterChain> {
        self.filter_chains.iter().chain(self.default_chain())
    }

    pub(crate) fn chains_mut(&mut self) -> impl Iterator<Item = &mut FilterChain> {
        let default = self.default_filter_chain.as_deref_mut();
        self.filter_chains.iter_mut().chain(default)
    }

    /// What becomes of connections that none of the others is for.
    pub fn default_chain(&self) -> Option<&FilterChain> {
        self.default_filter_chain.as_deref()
    }

    /// The chain for all connections, if it is written as part of the listener.
    pub fn only_chain(&self) -> Option<&FilterChain> {
        match self.filter_chains.as_slice() {
            [only] if self.default_filter_chain.is_none() && only.is_for_all() => Some(only),
            _ => None,
        }
    }

    /// Whether connections are looked at for a handshake of TLS, and for plain HTTP.
    pub fn inspects(&self) -> (bool, bool) {
        let needs = |needs: fn(&FilterChainMatch) -> bool| {
            self.filter_chains.iter().any(|chain| needs(&chain.matches))
        };
        let Inspection { tls, http, .. } = self.inspect;
        (
            tls.unwrap_or_else(|| needs(FilterChainMatch::needs_tls)),
            http.unwrap_or_else(|| needs(FilterChainMatch::needs_http)),
        )
    }
}

impl FromYaml for Listener {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            name: FromYaml::placeholder(),
            address: FromYaml::placeholder(),
            mode: None,
            filter_chains: Vec::new(),
            default_filter_chain: None,
            inspect: Inspection::default(),
            original_dst: false,
            use_original_dst: false,
            transparent: false,
            bind_to_port: true,
            original_src: None,
            proxy_protocol: None,
            max_connections: None,
            buffer_limit: BUFFER_LIMIT,
            direction: Direction::default(),
            metadata: Metadata::default(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let name = fields.required_text("name");
        let address: Spanned<Address> = fields.required("address");
        let mode = FileMode::beside(&address, &mut fields);
        let (filter_chains, default_filter_chain) = chains(&mut fields);
        let bind_to_port = fields.optional("bind_to_port").unwrap_or(true);
        let is_found = address.port().is_some_and(|port| port > 0);
        if !bind_to_port && !is_found && fields.node("address").is_some() {
            let message = "a listener without `bind_to_port` needs a port to be found by";
            fields.problems.push(Problem::new(address.span, message));
        }
        for key in ["original_dst", "transparent"] {
            if address.unix().is_some() && fields.node(key).is_some() {
                let message = format!("`{key}` has no effect on a Unix socket");
                let problem = Problem::new(fields.key_span(key), message);
                fields.problems.push(problem);
            }
        }
        Self {
            name,
            mode,
            address,
            filter_chains,
            default_filter_chain,
            inspect: fields.optional("inspect").unwrap_or_default(),
            original_dst: fields.optional("original_dst").unwrap_or(false),
            use_original_dst: fields.optional("use_original_dst").unwrap_or(false),
            transparent: fields.optional("transparent").unwrap_or(false),
            bind_to_port,
            original_src: fields.optional("original_src"),
            proxy_protocol: fields.optional("proxy_protocol"),
            max_connections: fields.optional("max_connections"),
            buffer_limit: fields.bytes("buffer_limit", BUFFER_LIMIT),
            direction: fields.optional("direction").unwrap_or_default(),
            metadata: fields.optional("metadata").unwrap_or_default(),
        }
    }
}

/// The filter chains, and the default one.
fn chains(fields: &mut Fields<'_, '_>) -> (Vec<FilterChain>, Option<Box<FilterChain>>) {
    let only = FilterChain::of(fields);
    let several: Option<Spanned<Vec<FilterChain>>> = fields.optional("filter_chains");
    let default: Option<FilterChain> = fields.optional("default_filter_chain");
    if several.is_none() && default.is_none() {
        return (vec![only], None);
    }
    for key in FilterChain::KEYS {
        if fields.node(key).is_some() {
            let message = format!("`{key}` has no effect beside `filter_chains`");
            let problem = Problem::new(fields.key_span(key), message);
            let help = format!("each filter chain has its own `{key}`");
            fields.problems.push(problem.help(help));
        }
    }
    let everything = FilterChainMatch::default();
    if let Some(chain) = default.as_ref().filter(|chain| chain.matches != everything) {
        let message = "`match` has no effect in `default_filter_chain`";
        let problem = Problem::new(chain.at, message);
        let help = "it is for every connection that none of the `filter_chains` is for";
        fields.problems.push(problem.help(help));
    }
    if several.is_some()
        && fields
            .node("filter_chains")
            .is_some_and(Node::is_empty_list)
    {
        let span = fields.key_span("filter_chains");
        if default.is_none() {
            let message = "there is no filter chain, and so no connection would be served";
            fields.problems.push(Problem::new(span, message));
        }
    }
    let several = several.map(|chains| chains.value).unwrap_or_default();
    (several, default.map(Box::new))
}
