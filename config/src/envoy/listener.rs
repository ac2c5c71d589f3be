//! Envoy's `config.listener.v3.Listener`.

use super::elsewhere::{self, Kind};
use super::message::Message;
use super::typed::Typed;
use super::{address, filter_chain};
use crate::defaults::BUFFER_LIMIT;
use crate::error::Problem;
use crate::filter_chain::FilterChain;
use crate::filter_chain_match::FilterChainMatch;
use crate::inspection::Inspection;
use crate::listener::{Direction, Listener};
use crate::original_src::OriginalSrc;
use crate::port_range::PortRange;
use crate::proxy_protocol::ProxyProtocol;
use crate::source::Spanned;

const DIRECTIONS: [(&str, i64, Direction); 3] = [
    ("UNSPECIFIED", 0, Direction::Unspecified),
    ("INBOUND", 1, Direction::Inbound),
    ("OUTBOUND", 2, Direction::Outbound),
];

/// Why nothing is passed over that decides between filter chains.
pub(super) const CHAIN: &str = "its filters would be passed by connections that are not for it";

const PROXY_PROTOCOL: &str = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol";
const TLS_INSPECTOR: &str = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
const TLS_INSPECTOR_NAME: &str = "envoy.filters.listener.tls_inspector";
const ORIGINAL_DST: &str = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst";
const ORIGINAL_SRC: &str = "envoy.extensions.filters.listener.original_src.v3.OriginalSrc";
const HTTP_INSPECTOR: &str = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector";

/// `listeners[]`.
pub(super) fn read(message: &Message<'_, '_>) -> Listener {
    let (address, mode) = address::bound(message);
    let transparent = message.flag("transparent").unwrap_or(false);
    let name = message.text("name").filter(|name| !name.is_empty());
    let mut listener = Listener {
        // Envoy makes up a name; the address says more.
        name: name.unwrap_or_else(|| Spanned::new(address.value.to_string(), address.span)),
        filter_chains: Vec::new(),
        default_filter_chain: None,
        inspect: Inspection::default(),
        original_dst: false,
        use_original_dst: message.flag("use_original_dst").unwrap_or(false),
        transparent: transparent && address.unix().is_none(),
        address,
        mode,
        bind_to_port: bind_to_port(message),
        original_src: None,
        proxy_protocol: None,
        max_connections: None,
        buffer_limit: buffer_limit(message, "per_connection_buffer_limit_bytes"),
        direction: message
            .word("traffic_direction", &DIRECTIONS)
            .unwrap_or_default(),
        metadata: message.metadata("metadata"),
    };
    message.inert("stat_prefix");
    // How connections come to workers, which the system decides.
    message.inert("max_connections_to_accept_per_socket_event");
    message.inert("connection_balance_config");
    for log in message.messages("access_log") {
        let path = log.path();
        let text =
            format!("{path} is passed over: connections without a filter chain are not logged");
        log.reader.warn(log.at(), text);
        log.close();
    }
    message.only("enable_reuse_port", true);
    message.only("reuse_port", true);
    message.word("drain_type", &[("DEFAULT", 0, ())]);
    if let Some(node) = message.node("filter_chain_matcher") {
        let path = message.path_of("filter_chain_matcher");
        message.reader.never(node.span, &path, CHAIN);
    }
    let chains = message.messages("filter_chains");
    listener.filter_chains = chains.iter().map(filter_chain::read).collect();
    let default = message.message("default_filter_chain");
    let default = default.map(|chain| FilterChain {
        // It decides nothing.
        matches: FilterChainMatch::default(),
        ..filter_chain::read(&chain)
    });
    listener.default_filter_chain = default.map(Box::new);
    if chains.is_empty() && listener.default_filter_chain.is_none() {
        message.missing("filter_chains");
    }
    listener_filters(message, &mut listener);
    listener
}

/// `listener_filters`, and what else says how the chain of a connection is found.
fn listener_filters(message: &Message<'_, '_>, listener: &mut Listener) {
    let timeout = "listener_filters_timeout";
    let timeout = message.limit(timeout, Inspection::default().timeout);
    let goes_on = message.flag("continue_on_listener_filters_timeout");
    let (mut tls, mut http) = (false, false);
    let (mut tls_except_ports, mut http_except_ports) = (Vec::new(), Vec::new());
    for filter in message.messages("listener_filters") {
        let name = filter.nonempty("name").unwrap_or_default();
        let typed = filter.typed("typed_config");
        let kind = typed.as_ref().map(|typed| typed.name.clone());
        match (kind.as_deref(), typed) {
            (Some(TLS_INSPECTOR), Some(Typed { message, .. })) => {
                tls = true;
                tls_except_ports = disabled_ports(&filter);
                message.inert("initial_read_buffer_size");
                message.only("enable_ja3_fingerprinting", false);
                message.only("enable_ja4_fingerprinting", false);
                message.only("close_connection_on_client_hello_parsing_errors", false);
            }
            // Older configurations say no more than the name.
            (None, _) if name == TLS_INSPECTOR_NAME => {
                tls = true;
                tls_except_ports = disabled_ports(&filter);
            }
            (Some(HTTP_INSPECTOR), _) => {
                http = true;
                http_except_ports = disabled_ports(&filter);
            }
            (Some(ORIGINAL_SRC), Some(Typed { message, .. })) => {
                message.only("bind_port", false);
                let mark = message.number::<u32>("mark");
                listener.original_src = Some(OriginalSrc {
                    mark: mark.map_or(0, |mark| mark.value),
                });
            }
            // Nobody redirects connections to Unix sockets.
            (Some(ORIGINAL_DST), _) => listener.original_dst = listener.address.unix().is_none(),
            (Some(PROXY_PROTOCOL), Some(Typed { message, .. })) => {
                message.inert("stat_prefix");
                message.only("allow_requests_without_proxy_protocol", false);
                listener.proxy_protocol = Some(ProxyProtocol { timeout });
            }
            (_, typed) => {
                elsewhere::note(Kind::ListenerFilter, &filter, &name, typed);
                filter.close();
                continue;
            }
        }
        if let Some(node) = filter.node("filter_disabled")
            && !matches!(kind.as_deref(), None | Some(TLS_INSPECTOR | HTTP_INSPECTOR))
        {
            let path = filter.path_of("filter_disabled");
            filter.reader.never(node.span, &path, CHAIN);
        }
    }
    if listener.proxy_protocol.is_some() {
        message.only("continue_on_listener_filters_timeout", false);
    }
    // Envoy adds none of them, whatever its chains need.
    let needed = listener.inspects();
    listener.inspect = Inspection {
        tls: (tls != needed.0).then_some(tls),
        http: (http != needed.1).then_some(http),
        tls_except_ports,
        http_except_ports,
        timeout: if tls || http {
            timeout
        } else {
            Inspection::default().timeout
        },
        continue_on_timeout: goes_on.unwrap_or(false) && (tls || http),
    };
}

/// For which ports of the destination a listener filter does nothing.
fn disabled_ports(filter: &Message<'_, '_>) -> Vec<PortRange> {
    let guarded = || {
        filter
            .message("filter_disabled")
            .map(|disabled| predicate(&disabled))
    };
    let predicate = filter.reader.guarded(CHAIN, guarded);
    predicate.map_or_else(Vec::new, |disabled| PortRange::where_true(disabled))
}

/// `ListenerFilterChainMatchPredicate`: for which ports it is true.
fn predicate(message: &Message<'_, '_>) -> Box<dyn Fn(u16) -> bool> {
    let rules = |name| {
        let set = message.message(name);
        let rules = set.map_or_else(Vec::new, |set| set.messages("rules"));
        rules.iter().map(predicate).collect::<Vec<_>>()
    };
    const KINDS: [&str; 5] = [
        "or_match",
        "and_match",
        "not_match",
        "any_match",
        "destination_port_range",
    ];
    match message.one_of(&KINDS) {
        Some("or_match") => {
            let rules = rules("or_match");
            Box::new(move |port| rules.iter().any(|rule| rule(port)))
        }
        Some("and_match") => {
            let rules = rules("and_match");
            Box::new(move |port| rules.iter().all(|rule| rule(port)))
        }
        Some("not_match") => {
            let rule = message.message("not_match").map(|rule| predicate(&rule));
            Box::new(move |port| rule.as_ref().is_some_and(|rule| !rule(port)))
        }
        Some("any_match") => {
            let any = message.flag("any_match").unwrap_or(false);
            Box::new(move |_| any)
        }
        Some(_) => {
            let range = message.message("destination_port_range");
            let end = |name| range.as_ref()?.number::<u32>(name).map(|end| end.value);
            // The end is not one of them (`type.v3.Int32Range`).
            let (first, end) = (end("start").unwrap_or(0), end("end").unwrap_or(0));
            Box::new(move |port| (first..end).contains(&u32::from(port)))
        }
        None => {
            if !message.has_unknown() {
                message.missing("destination_port_range");
            }
            Box::new(|_| false)
        }
    }
}

/// Whether it takes connections itself, as the newer field says, or else the older.
fn bind_to_port(message: &Message<'_, '_>) -> bool {
    let old = message.message("deprecated_v1");
    let old = old.and_then(|old| old.flag("bind_to_port"));
    message.flag("bind_to_port").or(old).unwrap_or(true)
}

/// A number of bytes of which 0 means no limit.
pub(super) fn buffer_limit(message: &Message<'_, '_>, name: &'static str) -> usize {
    match message.number::<u32>(name) {
        Some(limit) if limit.value == 0 => usize::MAX,
        Some(limit) => usize::try_from(limit.value).unwrap_or(usize::MAX),
        None => BUFFER_LIMIT,
    }
}

/// Notes that a filter that ends its chain does not stand at its end, or the
/// other way round.
pub(super) fn check_terminal(message: &Message<'_, '_>, name: &str, terminal: bool, last: bool) {
    if terminal != last {
        let path = message.path();
        let text = if terminal {
            format!("{path}: `{name}` ends its chain, and has to be the last filter")
        } else {
            format!("{path}: `{name}` cannot be the last filter: it does not end the chain")
        };
        message.reader.problem(Problem::new(message.at(), text));
    }
}
