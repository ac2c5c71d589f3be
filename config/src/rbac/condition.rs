//! What a request, a connection or a client must be like.

use super::MetadataMatch;
use crate::cidr::Cidr;
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml, list};
use crate::route::{HeaderMatch, Range, StringMatch};
use crate::source::{Span, Spanned};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a condition of `rbac`",
    keys: &[
        ("any", "true"),
        ("and", "[{ url_path: { prefix: /admin } }]"),
        (
            "or",
            "[{ destination_port: 80 }, { destination_port: 443 }]",
        ),
        ("not", "{ remote_ip: 10.0.0.0/8 }"),
        ("header", "{ name: \":method\", exact: GET }"),
        ("url_path", "{ prefix: /admin }"),
        ("destination_ip", "10.0.0.0/8"),
        ("destination_port", "443"),
        ("destination_port_range", "{ start: 8000, end: 9000 }"),
        ("requested_server_name", "{ suffix: .example.com }"),
        (
            "authenticated",
            "{ principal_name: { exact: spiffe://example.com/web } }",
        ),
        ("source_ip", "10.0.0.0/8"),
        ("direct_remote_ip", "10.0.0.0/8"),
        ("remote_ip", "10.0.0.0/8"),
        (
            "metadata",
            "{ filter: my.filter, path: [role], value: { string: { exact: admin } } }",
        ),
        (
            "filter_state",
            "{ key: wasm.role, string: { exact: admin } }",
        ),
    ],
    not_yet: &[],
    hints: &[
        (
            "and_rules",
            "and",
            "what stands under `and_rules.rules` in Envoy stands under `and` here",
        ),
        (
            "or_rules",
            "or",
            "what stands under `or_rules.rules` in Envoy stands under `or` here",
        ),
        ("not_rule", "not", "it is called `not` here"),
        (
            "and_ids",
            "and",
            "what stands under `and_ids.ids` in Envoy stands under `and` here",
        ),
        (
            "or_ids",
            "or",
            "what stands under `or_ids.ids` in Envoy stands under `or` here",
        ),
        ("not_id", "not", "it is called `not` here"),
    ],
};

pub(crate) static AUTHENTICATED_BLOCK: Block = Block {
    name: "`authenticated`",
    keys: &[("principal_name", "{ exact: spiffe://example.com/web }")],
    not_yet: &[],
    hints: &[],
};

pub(crate) static FILTER_STATE_BLOCK: Block = Block {
    name: "a match of filter state",
    keys: &[
        ("key", "wasm.role"),
        ("string", "{ exact: admin }"),
        ("address", "[10.0.0.0/8]"),
    ],
    not_yet: &[],
    hints: &[],
};

/// Every one of these is one condition.
const KEYS: [&str; 16] = [
    "any",
    "and",
    "or",
    "not",
    "header",
    "url_path",
    "destination_ip",
    "destination_port",
    "destination_port_range",
    "requested_server_name",
    "authenticated",
    "source_ip",
    "direct_remote_ip",
    "remote_ip",
    "metadata",
    "filter_state",
];

/// `permissions[]`, `principals[]`: what something must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RbacCondition {
    /// `any: true`: everything is.
    Any,
    /// `and`: all of these. At least one.
    And(Vec<Self>),
    /// `or`: one of these. At least one.
    Or(Vec<Self>),
    /// `not`: what this is not.
    Not(Box<Self>),
    /// `header`: of the request. A connection has none.
    Header(HeaderMatch),
    /// `url_path`: of the request, without its query.
    UrlPath(StringMatch),
    /// `destination_ip`: where the client has connected to.
    DestinationIp(Cidr),
    /// `destination_port`: where the client has connected to.
    DestinationPort(u16),
    /// `destination_port_range`: where the client has connected to: from `start` up to,
    /// but not including, `end`.
    DestinationPortRange {
        /// The first port.
        start: u32,
        /// The first that is none of them any more, up to 65536.
        end: u32,
    },
    /// `requested_server_name`: what a client with TLS asks for; empty if it has not.
    RequestedServerName(StringMatch),
    /// `authenticated`: the client's connection is encrypted, and its certificate is for
    /// such a name.
    Authenticated(Option<StringMatch>),
    /// `source_ip`: of the client, by the connection or its PROXY header.
    SourceIp(Cidr),
    /// `direct_remote_ip`: of whoever has connected, whatever a PROXY header says.
    DirectRemoteIp(Cidr),
    /// `remote_ip`: of the client, by what proxies in front tell of it, too.
    RemoteIp(Cidr),
    /// `metadata`: what filters, or the route, say.
    Metadata(Box<MetadataMatch>),
    /// `filter_state`: what filters have set.
    FilterState(FilterStateMatch),
}

/// `filter_state`: a value that filters have set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterStateMatch {
    /// `key` and `string`: what the value must be like as a text.
    Text {
        /// The key.
        key: String,
        /// The text.
        text: StringMatch,
    },
    /// `key` and `address`: ranges, in one of which the value is as an address.
    Address {
        /// The key.
        key: String,
        /// The ranges.
        ranges: Vec<Cidr>,
    },
}

impl RbacCondition {
    /// What it asks of a request, if it does.
    pub(crate) fn asks_for_request(&self) -> Option<&'static str> {
        match self {
            Self::And(all) | Self::Or(all) => all.iter().find_map(Self::asks_for_request),
            Self::Not(one) => one.asks_for_request(),
            Self::Header(_) => Some("header"),
            Self::UrlPath(_) => Some("url_path"),
            _ => None,
        }
    }
}

/// Notes that a range of ports is none.
pub(crate) fn check_ports(start: i64, end: i64, span: Span, problems: &mut Problems) -> (u32, u32) {
    let port = |number: i64| u32::try_from(number).ok().filter(|n| *n <= 65536);
    match (port(start), port(end)) {
        (Some(start), Some(end)) if start < end => (start, end),
        _ => {
            let message = format!("there are no ports from {start} up to {end}");
            let help = "`end` is the first port that is none of them any more, up to 65536";
            problems.push(Problem::new(span, message).help(help));
            (0, 1)
        }
    }
}

impl FromYaml for RbacCondition {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::Any
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let before = problems.total();
        let mut fields = BLOCK.open(node, problems);
        let Some(key) = fields.one_of(&KEYS) else {
            note_shapes(&mut fields);
            if fields.problems.total() == before {
                let message = "a condition of `rbac` is empty";
                let problem = Problem::new(fields.at(), message);
                let help = format!("it is one of {}", list(KEYS));
                fields.problems.push(problem.help(help));
            }
            return Self::Any;
        };
        condition(&mut fields, key)
    }
}

/// Has the schema know what every key holds.
fn note_shapes(fields: &mut Fields<'_, '_>) {
    for key in KEYS {
        condition(fields, key);
    }
}

/// What stands under `key`; something else if nothing does.
fn condition(fields: &mut Fields<'_, '_>, key: &'static str) -> RbacCondition {
    use RbacCondition as C;
    let condition = match key {
        "and" => fields.optional(key).map(C::And),
        "or" => fields.optional(key).map(C::Or),
        "not" => fields.optional(key).map(|one| C::Not(Box::new(one))),
        "header" => fields.optional(key).map(C::Header),
        "url_path" => fields.optional(key).map(C::UrlPath),
        "destination_ip" => fields.optional(key).map(C::DestinationIp),
        "destination_port" => fields.optional(key).map(C::DestinationPort),
        "destination_port_range" => {
            let range: Option<Spanned<Range>> = fields.optional(key);
            range.map(|range| {
                let Range { start, end } = range.value;
                // Of one that is empty, something is said already.
                let end = end.max(start.saturating_add(1));
                let (start, end) = check_ports(start, end, range.span, fields.problems);
                C::DestinationPortRange { start, end }
            })
        }
        "requested_server_name" => fields.optional(key).map(C::RequestedServerName),
        "authenticated" => {
            let who: Option<Authenticated> = fields.optional(key);
            who.map(|who| C::Authenticated(who.principal_name))
        }
        "source_ip" => fields.optional(key).map(C::SourceIp),
        "direct_remote_ip" => fields.optional(key).map(C::DirectRemoteIp),
        "remote_ip" => fields.optional(key).map(C::RemoteIp),
        "metadata" => fields.optional(key).map(|m| C::Metadata(Box::new(m))),
        "filter_state" => fields.optional(key).map(C::FilterState),
        _ => {
            let any: Option<Spanned<bool>> = fields.optional("any");
            if let Some(any) = any.filter(|any| !any.value) {
                let problem = Problem::new(any.span, "`any` can only be `true`");
                let help = "`not: { any: true }` is nothing";
                fields.problems.push(problem.help(help));
            }
            Some(C::Any)
        }
    };
    if let Some(C::And(all) | C::Or(all)) = &condition
        && all.is_empty()
        && fields.node(key).is_some_and(Node::is_empty_list)
    {
        let message = format!("`{key}` of {} has no conditions", BLOCK.name);
        let problem = Problem::new(fields.key_span(key), message);
        fields.problems.push(problem);
    }
    condition.unwrap_or(C::Any)
}

struct Authenticated {
    /// `principal_name`: what a URI or a DNS name in the client's certificate, or else
    /// its subject, must be like. Default: anything, and no certificate too.
    principal_name: Option<StringMatch>,
}

impl FromYaml for Authenticated {
    const EXPECTED: &'static str = AUTHENTICATED_BLOCK.name;

    fn placeholder() -> Self {
        Self {
            principal_name: None,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = AUTHENTICATED_BLOCK.open(node, problems);
        Self {
            principal_name: fields.optional("principal_name"),
        }
    }
}

impl FromYaml for FilterStateMatch {
    const EXPECTED: &'static str = FILTER_STATE_BLOCK.name;

    fn placeholder() -> Self {
        Self::Text {
            key: String::new(),
            text: StringMatch::placeholder(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = FILTER_STATE_BLOCK.open(node, problems);
        let key = fields.required_text("key").value;
        match fields.one_of(&["string", "address"]) {
            Some("address") => Self::Address {
                key,
                ranges: fields.optional("address").unwrap_or_default(),
            },
            _ => Self::Text {
                key,
                text: fields.required("string").value,
            },
        }
    }
}
