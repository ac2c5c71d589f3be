//! Names that Envoy looks up: `DnsCluster`, the older fields of a cluster that mean the
//! same, and `CaresDnsResolverConfig`.

use std::time::Duration;

use super::address;
use super::cluster::{number, positive};
use super::message::Message;
use crate::cluster::{Cluster, Discovery, DnsLookupFamily, DnsResolver, check_resolver_port};
use crate::defaults::RELOAD_MAX_INTERVAL_FACTOR;
use crate::error::Problem;
use crate::failure::Backoff;

const DNS_CLUSTER: &str = "envoy.extensions.clusters.dns.v3.DnsCluster";

const CARES: &str = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig";

/// `Cluster.DnsLookupFamily`.
const OLD_FAMILIES: [(&str, i64, DnsLookupFamily); 5] = [
    ("AUTO", 0, DnsLookupFamily::Auto),
    ("V4_ONLY", 1, DnsLookupFamily::V4Only),
    ("V6_ONLY", 2, DnsLookupFamily::V6Only),
    ("V4_PREFERRED", 3, DnsLookupFamily::V4Preferred),
    ("ALL", 4, DnsLookupFamily::All),
];

/// `clusters.common.dns.v3.DnsLookupFamily`.
const FAMILIES: [(&str, i64, DnsLookupFamily); 6] = [
    ("UNSPECIFIED", 0, DnsLookupFamily::Auto),
    ("AUTO", 1, DnsLookupFamily::Auto),
    ("V4_ONLY", 2, DnsLookupFamily::V4Only),
    ("V6_ONLY", 3, DnsLookupFamily::V6Only),
    ("V4_PREFERRED", 4, DnsLookupFamily::V4Preferred),
    ("ALL", 5, DnsLookupFamily::All),
];

/// What stands in the cluster itself.
pub(super) fn old_form(message: &Message<'_, '_>, cluster: &mut Cluster) {
    read(message, &OLD_FAMILIES, cluster);
}

/// `cluster_type`; `None` if it is passed over.
pub(super) fn cluster_type(message: &Message<'_, '_>, cluster: &mut Cluster) -> Option<Discovery> {
    let extension = message.message("cluster_type")?;
    if extension.node("typed_config").is_none() {
        // This type has one; others need none.
        extension.close();
        message.refuse("cluster_type", "");
        return None;
    }
    let dns = extension_of(&extension, DNS_CLUSTER)?;
    read(&dns, &FAMILIES, cluster);
    let is_one = dns.flag("all_addresses_in_single_endpoint");
    Some(match is_one.unwrap_or(false) {
        true => Discovery::LogicalDns,
        false => Discovery::StrictDns,
    })
}

fn read(
    message: &Message<'_, '_>,
    families: &[(&'static str, i64, DnsLookupFamily)],
    cluster: &mut Cluster,
) {
    if let Some(family) = message.word("dns_lookup_family", families) {
        cluster.dns_lookup_family = family;
    }
    positive(message, "dns_refresh_rate", &mut cluster.dns_refresh_rate);
    if let Some(backoff) = failure_refresh_rate(message) {
        cluster.dns_failure_refresh_rate = Some(backoff);
    }
    if let Some(jitter) = message.duration("dns_jitter") {
        cluster.dns_jitter = jitter.value;
    }
    if let Some(respects) = message.flag("respect_dns_ttl") {
        cluster.respect_dns_ttl = respects;
    }
    if let Some(resolver) = resolver(message) {
        cluster.dns_resolver = resolver;
    }
}

/// The configuration of an extension, which has to be of this type.
fn extension_of<'n, 'r>(extension: &Message<'n, 'r>, wanted: &str) -> Option<Message<'n, 'r>> {
    extension.inert("name");
    if extension.node("typed_config").is_none() {
        extension.missing("typed_config");
    }
    let typed = extension.typed("typed_config")?;
    if typed.name == wanted {
        return Some(typed.message);
    }
    let what = format!("{}: the type `{}`", typed.message.path(), typed.name);
    typed
        .message
        .reader
        .outside(typed.message.at(), &what, None);
    typed.message.close();
    None
}

fn failure_refresh_rate(message: &Message<'_, '_>) -> Option<Backoff> {
    let rate = message.message("dns_failure_refresh_rate")?;
    if rate.node("base_interval").is_none() {
        rate.missing("base_interval");
    }
    let mut backoff = Backoff::default();
    positive(&rate, "base_interval", &mut backoff.base_interval);
    backoff.max_interval = backoff
        .base_interval
        .saturating_mul(RELOAD_MAX_INTERVAL_FACTOR);
    positive(&rate, "max_interval", &mut backoff.max_interval);
    if backoff.max_interval < backoff.base_interval {
        let text = format!(
            "{} is less than `base_interval`",
            rate.path_of("max_interval")
        );
        rate.reader
            .problem(Problem::new(rate.span_of("max_interval"), text));
    }
    Some(backoff)
}

/// `typed_dns_resolver_config`.
fn resolver(parent: &Message<'_, '_>) -> Option<DnsResolver> {
    let mut resolver = DnsResolver::default();
    let extension = parent.message("typed_dns_resolver_config")?;
    let message = extension_of(&extension, CARES)?;
    for server in message.messages("resolvers") {
        let Some(address) = address::server(&server) else {
            continue;
        };
        message.reader.native(server.path(), |problems| {
            check_resolver_port(address.value, address.span, problems);
        });
        resolver.resolvers.push(address.value);
    }
    message.only("use_resolvers_as_fallback", false);
    message.only("filter_unroutable_families", false);
    if let Some(options) = message.message("dns_resolver_options") {
        resolver.use_tcp_for_dns_lookups = options.flag("use_tcp_for_dns_lookups").unwrap_or(false);
        resolver.no_default_search_domain =
            options.flag("no_default_search_domain").unwrap_or(false);
    }
    let count = |name, count: &mut Option<u32>| {
        if message.node(name).is_some() {
            number(&message, name, 1..=u32::MAX, count.insert(1));
        }
    };
    let mut seconds = None;
    count("query_timeout_seconds", &mut seconds);
    count("query_tries", &mut resolver.query_tries);
    resolver.query_timeout = seconds.map(|seconds| Duration::from_secs(seconds.into()));
    Some(resolver)
}
