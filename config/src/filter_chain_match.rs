//! Which connections a filter chain is for: Envoy's `FilterChainMatch`.

use crate::cidr::Cidr;
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, FromYaml, words};
use crate::source::{Span, Spanned};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`match` of a filter chain",
    keys: &[
        ("destination_port", "8443"),
        ("prefix_ranges", "[10.0.0.0/8]"),
        ("server_names", "[shop.example, \"*.shop.example\"]"),
        ("transport_protocol", "tls"),
        ("application_protocols", "[h2, http/1.1]"),
        ("direct_source_prefix_ranges", "[10.0.0.0/8]"),
        ("source_type", "same_ip_or_loopback"),
        ("source_prefix_ranges", "[192.0.2.0/24]"),
        ("source_ports", "[4000]"),
    ],
    not_yet: &[],
    hints: &[
        (
            "sni",
            "server_names",
            "it is called `server_names` here, as in Envoy",
        ),
        (
            "alpn",
            "application_protocols",
            "it is called `application_protocols` here, as in Envoy",
        ),
    ],
};

/// What an inspection of plain HTTP finds (Envoy, `http_inspector.cc`).
pub const PLAIN_HTTP: [&str; 3] = ["http/1.0", "http/1.1", "h2c"];

/// `filter_chains[].match`: which connections a filter chain is for. What is not said
/// matches everything. Of several chains, one is found by one condition after the other,
/// in the order in which they stand here: each leaves those that say the most specific
/// thing that fits, or else those that say nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilterChainMatch {
    /// `destination_port`: where the client has connected to. If a chain says this
    /// port, chains that say none are not looked at.
    pub destination_port: Option<u16>,
    /// `prefix_ranges`: addresses that the client has connected to; of several, the
    /// longest prefix.
    pub prefix_ranges: Vec<Cidr>,
    /// `server_names`: what a client with TLS asks for; `*.shop.example` stands for
    /// every name below it. The name itself goes before the longest such suffix; case
    /// makes no difference.
    pub server_names: Vec<String>,
    /// `transport_protocol`: `tls`, or `raw_buffer` for what does not begin with a
    /// handshake of TLS.
    pub transport_protocol: Option<TransportProtocol>,
    /// `application_protocols`: what a client with TLS offers (ALPN), its first one
    /// first; or what plain text begins with: `http/1.0`, `http/1.1`, `h2c`.
    pub application_protocols: Vec<String>,
    /// `direct_source_prefix_ranges`: addresses of the peer, whatever a header of the
    /// PROXY protocol says; of several, the longest prefix.
    pub direct_source_prefix_ranges: Vec<Cidr>,
    /// `source_type`: where the client is. Default: `any`.
    pub source_type: SourceType,
    /// `source_prefix_ranges`: addresses of the client; of several, the longest
    /// prefix.
    pub source_prefix_ranges: Vec<Cidr>,
    /// `source_ports`: ports of the client.
    pub source_ports: Vec<u16>,
}

/// `transport_protocol`: how connections begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportProtocol {
    /// `raw_buffer`: with anything else.
    RawBuffer,
    /// `tls`: with a handshake of TLS.
    Tls,
}

words!(TransportProtocol, "a transport protocol",
    "raw_buffer" => Self::RawBuffer,
    "tls" => Self::Tls);

/// `source_type`: where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceType {
    /// `any`
    #[default]
    Any,
    /// `same_ip_or_loopback`: on this machine.
    SameIpOrLoopback,
    /// `external`: elsewhere.
    External,
}

words!(SourceType, "a type of source",
    "any" => Self::Any,
    "same_ip_or_loopback" => Self::SameIpOrLoopback,
    "external" => Self::External);

impl FilterChainMatch {
    /// Whether the handshake of TLS tells if it fits.
    pub fn needs_tls(&self) -> bool {
        self.transport_protocol.is_some()
            || !self.server_names.is_empty()
            || !self.application_protocols.is_empty()
    }

    /// Whether the first bytes of plain HTTP tell if it fits.
    pub fn needs_http(&self) -> bool {
        let is_plain = |name: &String| PLAIN_HTTP.contains(&name.as_str());
        self.transport_protocol != Some(TransportProtocol::Tls)
            && self.application_protocols.iter().any(is_plain)
    }

    /// Whether there are connections for which nothing decides between the two.
    pub(crate) fn clashes(&self, other: &Self) -> bool {
        fn meet<T: PartialEq>(one: &[T], other: &[T]) -> bool {
            (one.is_empty() && other.is_empty()) || one.iter().any(|item| other.contains(item))
        }
        self.destination_port == other.destination_port
            && self.transport_protocol == other.transport_protocol
            && self.source_type == other.source_type
            && meet(&self.prefix_ranges, &other.prefix_ranges)
            && meet(&self.server_names, &other.server_names)
            && meet(&self.application_protocols, &other.application_protocols)
            && meet(
                &self.direct_source_prefix_ranges,
                &other.direct_source_prefix_ranges,
            )
            && meet(&self.source_prefix_ranges, &other.source_prefix_ranges)
            && meet(&self.source_ports, &other.source_ports)
    }
}

/// What is wrong with a name of a server, if anything is.
pub(crate) fn server_name_problem(name: &str, span: Span) -> Option<Problem> {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    if rest.contains('*') {
        let problem = Problem::new(span, format!("`{name}` has a wildcard that is no suffix"));
        return Some(problem.help("`*.shop.example` stands for every name below shop.example"));
    }
    rest.is_empty()
        .then(|| Problem::new(span, format!("`{name}` is no name of a server")))
}

/// Names of servers as they are compared.
pub(crate) fn folded(names: &[Spanned<String>]) -> Vec<String> {
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
}

/// What is wrong with a port that is matched, if anything is.
pub(crate) fn port_problem(port: u16, span: Span) -> Option<Problem> {
    (port == 0).then(|| Problem::new(span, "there are no connections with port 0"))
}

impl FromYaml for FilterChainMatch {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let port: Option<Spanned<u16>> = fields.optional("destination_port");
        let names: Vec<Spanned<String>> = fields.optional("server_names").unwrap_or_default();
        let ports: Vec<Spanned<u16>> = fields.optional("source_ports").unwrap_or_default();
        let of_ports = port.iter().chain(&ports);
        let of_ports = of_ports.filter_map(|port| port_problem(port.value, port.span));
        let of_names = names.iter();
        let of_names = of_names.filter_map(|name| server_name_problem(name, name.span));
        for problem in of_ports.chain(of_names) {
            fields.problems.push(problem);
        }
        let mut ranges = |key| fields.optional(key).unwrap_or_default();
        Self {
            destination_port: port.map(|port| port.value),
            prefix_ranges: ranges("prefix_ranges"),
            direct_source_prefix_ranges: ranges("direct_source_prefix_ranges"),
            source_prefix_ranges: ranges("source_prefix_ranges"),
            server_names: folded(&names),
            transport_protocol: fields.optional("transport_protocol"),
            application_protocols: fields.optional("application_protocols").unwrap_or_default(),
            source_type: fields.optional("source_type").unwrap_or_default(),
            source_ports: ports.into_iter().map(|port| port.value).collect(),
        }
    }
}
