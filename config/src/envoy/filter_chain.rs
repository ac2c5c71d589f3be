//! Envoy's `config.listener.v3.FilterChain`.

use std::net::IpAddr;

use super::listener::CHAIN;
use super::message::Message;
use super::{network_filter, security, transport};
use crate::cidr::Cidr;
use crate::error::Problem;
use crate::filter_chain::FilterChain;
use crate::filter_chain_match::{
    FilterChainMatch, SourceType, TransportProtocol, folded, port_problem, server_name_problem,
};
use crate::source::Spanned;

const SOURCE_TYPES: [(&str, i64, SourceType); 3] = [
    ("ANY", 0, SourceType::Any),
    ("SAME_IP_OR_LOOPBACK", 1, SourceType::SameIpOrLoopback),
    ("EXTERNAL", 2, SourceType::External),
];

/// `filter_chains[]`, `default_filter_chain`.
pub(super) fn read(message: &Message<'_, '_>) -> FilterChain {
    let mut chain = FilterChain::empty(message.at());
    chain.name.value = message.nonempty("name").unwrap_or_default();
    message.only("use_proxy_proto", false);
    if let Some(condition) = message.message("filter_chain_match") {
        chain.matches = message.reader.guarded(CHAIN, move || matches(&condition));
    }
    security::old_tls(message);
    chain.tls = transport::listener(message);
    let filters = message.messages("filters");
    if filters.is_empty() {
        message.missing("filters");
    }
    let last = filters.len().saturating_sub(1);
    let mut in_front = Vec::new();
    for (index, filter) in filters.into_iter().enumerate() {
        let last = index == last;
        let wasm = network_filter::read(filter, last, in_front.len(), &mut chain);
        in_front.extend(wasm);
    }
    for filter in in_front {
        filter.place(&mut chain);
    }
    let placed = chain.network_filters.len();
    for filter in &mut chain.native_network_filters {
        // Those that were passed over have no place.
        filter.place = filter.place.min(placed);
        message.reader.native(message.path(), |problems| {
            filter.check_of_connections(problems);
        });
    }
    chain
}

/// `FilterChainMatch`.
fn matches(message: &Message<'_, '_>) -> FilterChainMatch {
    let note = |field: &str, problem: Option<Problem>| {
        if let Some(mut problem) = problem {
            problem.message = format!("{}: {}", message.path_of(field), problem.message);
            message.reader.problem(problem);
        }
    };
    let port = message.number::<u16>("destination_port");
    if let Some(port) = &port {
        note("destination_port", port_problem(port.value, port.span));
    }
    let names = message.texts("server_names");
    for name in &names {
        note("server_names", server_name_problem(name, name.span));
    }
    let ports = numbers(message, "source_ports");
    for port in &ports {
        note("source_ports", port_problem(port.value, port.span));
    }
    let protocols = message.texts("application_protocols").into_iter();
    FilterChainMatch {
        destination_port: port.map(|port| port.value),
        prefix_ranges: ranges(message, "prefix_ranges"),
        server_names: folded(&names),
        transport_protocol: transport_protocol(message),
        application_protocols: protocols.map(|name| name.value).collect(),
        direct_source_prefix_ranges: ranges(message, "direct_source_prefix_ranges"),
        source_type: message
            .word("source_type", &SOURCE_TYPES)
            .unwrap_or_default(),
        source_prefix_ranges: ranges(message, "source_prefix_ranges"),
        source_ports: ports.into_iter().map(|port| port.value).collect(),
    }
}

fn transport_protocol(message: &Message<'_, '_>) -> Option<TransportProtocol> {
    let text = message.text("transport_protocol")?;
    match text.as_str() {
        "" => None,
        "raw_buffer" => Some(TransportProtocol::RawBuffer),
        "tls" => Some(TransportProtocol::Tls),
        other => {
            let what = format!("{}: {other}", message.path_of("transport_protocol"));
            let help = "supported: `raw_buffer` and `tls`".to_owned();
            message.reader.outside(text.span, &what, Some(help));
            None
        }
    }
}

/// A list of `CidrRange`.
pub(super) fn ranges(message: &Message<'_, '_>, field: &'static str) -> Vec<Cidr> {
    let ranges = message.messages(field);
    ranges.iter().filter_map(range).collect()
}

/// `CidrRange`.
pub(super) fn range(range: &Message<'_, '_>) -> Option<Cidr> {
    let address = range.required_text("address_prefix");
    let bits = range
        .number::<u8>("prefix_len")
        .map_or(0, |bits| bits.value);
    let found = address.parse::<IpAddr>().ok();
    let found = found.and_then(|address| Cidr::new(address, bits));
    if found.is_none() && !address.is_empty() {
        let text = format!(
            "{}: `{}/{bits}` is no range of addresses",
            range.path(),
            *address
        );
        range.reader.problem(Problem::new(address.span, text));
    }
    found
}

/// A list of whole numbers.
fn numbers(message: &Message<'_, '_>, field: &'static str) -> Vec<Spanned<u16>> {
    let mut numbers = Vec::new();
    for (node, path) in message.items(field) {
        match node.text().and_then(|text| text.parse().ok()) {
            Some(number) => numbers.push(Spanned::new(number, node.at)),
            None => message.mismatch(node, &path, "a whole number up to 65535"),
        }
    }
    numbers
}
