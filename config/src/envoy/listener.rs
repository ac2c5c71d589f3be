//! Envoy's `config.listener.v3.Listener`.

use super::message::Message;
use super::typed::Typed;
use super::{address, network_filter, security, transport};
use crate::defaults::BUFFER_LIMIT;
use crate::error::Problem;
use crate::http_options::HttpOptions;
use crate::listener::{Direction, Listener};
use crate::proxy_protocol::ProxyProtocol;
use crate::route::HeaderMutations;
use crate::source::Spanned;

const DIRECTIONS: [(&str, i64, Direction); 3] = [
    ("UNSPECIFIED", 0, Direction::Unspecified),
    ("INBOUND", 1, Direction::Inbound),
    ("OUTBOUND", 2, Direction::Outbound),
];

/// Why a filter chain must not stand for others.
const CHAIN: &str = "its filters would be passed by connections that are not for it";

const PROXY_PROTOCOL: &str = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol";
const TLS_INSPECTOR: &str = "envoy.filters.listener.tls_inspector";

/// `listeners[]`.
pub(super) fn read(message: &Message<'_, '_>) -> Listener {
    let (address, mode) = address::bound(message);
    let name = message.text("name").filter(|name| !name.is_empty());
    let mut listener = Listener {
        // Envoy makes up a name; the address says more.
        name: name.unwrap_or_else(|| Spanned::new(address.value.to_string(), address.span)),
        address,
        mode,
        tls: None,
        proxy_protocol: None,
        max_connections: None,
        buffer_limit: buffer_limit(message, "per_connection_buffer_limit_bytes"),
        http: HttpOptions::default(),
        http_filters: Vec::new(),
        virtual_hosts: Vec::new(),
        tcp: None,
        network_filters: Vec::new(),
        access_log: Vec::new(),
        access_loggers: Vec::new(),
        direction: message
            .word("traffic_direction", &DIRECTIONS)
            .unwrap_or_default(),
        metadata: message.metadata("metadata"),
        headers: HeaderMutations::default(),
    };
    message.inert("stat_prefix");
    message.only("enable_reuse_port", true);
    message.only("reuse_port", true);
    message.only("bind_to_port", true);
    message.only("use_original_dst", false);
    message.word("drain_type", &[("DEFAULT", 0, ())]);
    let other = ProxyProtocol::default();
    let timeout = message.limit("listener_filters_timeout", other.timeout);
    message.only("continue_on_listener_filters_timeout", false);
    for filter in message.messages("listener_filters") {
        let name = filter.nonempty("name").unwrap_or_default();
        if name == TLS_INSPECTOR {
            // What it finds out chooses among filter chains, of which there is one.
            filter.close();
            continue;
        }
        match filter.typed("typed_config") {
            Some(Typed { name, message }) if name == PROXY_PROTOCOL => {
                message.inert("stat_prefix");
                message.only("allow_requests_without_proxy_protocol", false);
                listener.proxy_protocol = Some(ProxyProtocol { timeout });
            }
            typed => {
                let what = format!("{}: the listener filter `{name}`", filter.path());
                message.reader.outside(filter.at(), &what, None);
                if let Some(typed) = typed {
                    typed.message.close();
                }
                filter.close();
            }
        }
    }
    let mut chains = message.messages("filter_chains").into_iter();
    let Some(chain) = chains.next() else {
        message.missing("filter_chains");
        return listener;
    };
    for other in chains {
        let what = format!("{}: more than one filter chain", other.path());
        message.reader.never(other.at(), &what, CHAIN);
        other.close();
    }
    read_chain(&chain, &mut listener);
    listener
}

/// `filter_chains[0]`.
fn read_chain(chain: &Message<'_, '_>, listener: &mut Listener) {
    chain.inert("name");
    chain.only("use_proxy_proto", false);
    if let Some(condition) = chain.message("filter_chain_match") {
        // An empty one matches everything.
        if condition.has_unknown() {
            let at = chain.span_of("filter_chain_match");
            chain.reader.never(at, condition.path(), CHAIN);
        }
        condition.close();
    }
    security::old_tls(chain);
    listener.tls = transport::listener(chain);
    let filters = chain.messages("filters");
    if filters.is_empty() {
        chain.missing("filters");
    }
    let last = filters.len().saturating_sub(1);
    let mut in_front = Vec::new();
    for (index, filter) in filters.into_iter().enumerate() {
        in_front.extend(network_filter::read(filter, index == last, listener));
    }
    for filter in in_front {
        filter.place(listener);
    }
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
