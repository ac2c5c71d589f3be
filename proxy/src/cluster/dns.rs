//! Clusters whose endpoints are names.
//!
//! A task off the workers looks the names up, at the start and again and again. A name
//! that cannot be looked up keeps the addresses it had.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;
use weir_config::{Backoff, Cluster, ClusterEndpoint, Discovery, DnsLookupFamily, Endpoint};

use super::member::{Description, Member};
use super::spec::ClusterSpec;

/// How the endpoints of a cluster are looked up.
#[derive(Debug)]
pub(super) struct DnsCluster {
    cluster: String,
    endpoints: Vec<ClusterEndpoint>,
    discovery: Discovery,
    family: DnsLookupFamily,
    refresh: Duration,
    failure_refresh: Option<Backoff>,
    jitter: Duration,
    /// What each endpoint stood for when the cluster was configured otherwise.
    before: Vec<Vec<Description>>,
}

impl DnsCluster {
    /// Names that were looked up `before` are what they were until they are again.
    pub(super) fn new(cluster: &Cluster, before: &[Arc<Member>]) -> Self {
        let stood_for = |endpoint: &ClusterEndpoint| match &endpoint.address.value {
            Endpoint::Address(_) => Vec::new(),
            Endpoint::Name { host, port } => {
                let same = before.iter().filter(|member| {
                    let about = &member.about;
                    about.host.as_deref() == Some(host.as_str())
                        && about.address.port() == Some(*port)
                });
                let same = same.map(|member| {
                    let about = &member.about;
                    Description::of(endpoint, about.address.clone(), about.host.clone())
                });
                same.collect()
            }
        };
        Self {
            before: cluster.endpoints.iter().map(stood_for).collect(),
            cluster: cluster.name.value.clone(),
            endpoints: cluster.endpoints.clone(),
            discovery: cluster.discovery,
            family: cluster.dns_lookup_family,
            refresh: cluster.dns_refresh_rate,
            failure_refresh: cluster.dns_failure_refresh_rate,
            jitter: cluster.dns_jitter,
        }
    }

    /// Looks all names up once; gives whether all could be. `known` holds what each
    /// had before.
    async fn resolve(&self, known: &mut Vec<Vec<Description>>) -> bool {
        let mut all = true;
        known.resize(self.endpoints.len(), Vec::new());
        for (endpoint, known) in self.endpoints.iter().zip(known) {
            match &endpoint.address.value {
                Endpoint::Address(address) => {
                    *known = vec![Description::of(endpoint, address.clone(), None)];
                }
                Endpoint::Name { host, port } => {
                    let addresses = self.look_up(host, *port).await;
                    all &= addresses.is_some();
                    if let Some(addresses) = addresses {
                        let host: Arc<str> = host.as_str().into();
                        let found = addresses.into_iter();
                        let found = found.map(|address| {
                            Description::of(endpoint, address.into(), Some(Arc::clone(&host)))
                        });
                        *known = found.collect();
                    }
                }
            }
        }
        all
    }

    /// How long it is until the next time, after so many failures in a row.
    fn pause(&self, failures: u32) -> Duration {
        let pause = match self.failure_refresh {
            Some(backoff) if failures > 0 => {
                let doubled = 2_u32.saturating_pow(failures - 1);
                let longest = backoff.base_interval.saturating_mul(doubled);
                // As in Envoy, anything up to it; a little at least.
                let part = fastrand::f64().max(0.1);
                longest.min(backoff.max_interval).mul_f64(part)
            }
            _ => self.refresh,
        };
        pause + self.jitter.mul_f64(fastrand::f64())
    }

    /// The addresses of a name, if there are any.
    async fn look_up(&self, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        let mut addresses = match tokio::net::lookup_host((host, port)).await {
            Ok(addresses) => chosen(self.family, &addresses.collect::<Vec<_>>()),
            Err(error) => {
                tracing::warn!(cluster = self.cluster, "cannot resolve {host}: {error}");
                return None;
            }
        };
        if addresses.is_empty() {
            tracing::warn!(
                cluster = self.cluster,
                "{host} has no address of its family"
            );
            return None;
        }
        match self.discovery {
            Discovery::LogicalDns => addresses.truncate(1),
            // Servers turn the order around; the endpoints are the same.
            Discovery::StrictDns | Discovery::Static => addresses.sort_unstable(),
        }
        Some(addresses)
    }
}

/// The addresses that `family` lets count, each once, in their order.
pub(crate) fn chosen(family: DnsLookupFamily, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let only = |wanted: fn(&SocketAddr) -> bool| {
        let mut kept: Vec<SocketAddr> = Vec::new();
        for address in addresses.iter().filter(|address| wanted(address)) {
            if !kept.contains(address) {
                kept.push(*address);
            }
        }
        kept
    };
    let (v4, v6) = (only(SocketAddr::is_ipv4), only(SocketAddr::is_ipv6));
    match family {
        DnsLookupFamily::All => only(|_| true),
        DnsLookupFamily::V4Only => v4,
        DnsLookupFamily::V6Only => v6,
        DnsLookupFamily::V4Preferred if v4.is_empty() => v6,
        DnsLookupFamily::V4Preferred => v4,
        DnsLookupFamily::Auto if v6.is_empty() => v4,
        DnsLookupFamily::Auto => v6,
    }
}

/// Looks the names of a cluster up for as long as it is in use.
pub(super) async fn watch(cluster: Weak<ClusterSpec>) {
    let mut known = None;
    let mut failures = 0_u32;
    while let Some(cluster) = cluster.upgrade() {
        let Some(dns) = &cluster.dns else {
            return;
        };
        let known = known.get_or_insert_with(|| dns.before.clone());
        failures = match dns.resolve(known).await {
            true => 0,
            false => failures.saturating_add(1),
        };
        cluster.members.replace(known.iter().flatten().cloned());
        let pause = dns.pause(failures);
        drop(cluster);
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_chooses_among_the_addresses() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap_or_else(|e| panic!("{e}"));
        let (a, b, c) = (parse("127.0.0.1:1"), parse("[::1]:1"), parse("127.0.0.2:1"));
        let both = [a, b, c, a];
        assert_eq!(chosen(DnsLookupFamily::All, &both), [a, b, c]);
        assert_eq!(chosen(DnsLookupFamily::V4Only, &both), [a, c]);
        assert_eq!(chosen(DnsLookupFamily::V6Only, &both), [b]);
        assert_eq!(chosen(DnsLookupFamily::Auto, &both), [b]);
        assert_eq!(chosen(DnsLookupFamily::Auto, &[a, c]), [a, c]);
        assert_eq!(chosen(DnsLookupFamily::V4Preferred, &both), [a, c]);
        assert_eq!(chosen(DnsLookupFamily::V4Preferred, &[b]), [b]);
        assert!(chosen(DnsLookupFamily::V6Only, &[a]).is_empty());
    }

    #[test]
    fn failures_are_tried_again_sooner_and_ever_more_seldom() {
        let text = "listeners: [{ name: e, address: 127.0.0.1:0 }]\n\
                    clusters: [{ name: c, type: strict_dns, endpoints: [a.invalid:1], \
                    dns_refresh_rate: 60s, dns_jitter: 1s, \
                    dns_failure_refresh_rate: { base_interval: 1s, max_interval: 4s } }]";
        let config = weir_config::parse("weir.yaml", text).unwrap_or_else(|e| panic!("{e}"));
        let dns = DnsCluster::new(&config.clusters[0], &[]);
        for (failures, least, most) in [(0, 60.0, 61.0), (1, 0.1, 2.0), (9, 0.4, 5.0)] {
            for _ in 0..100 {
                let pause = dns.pause(failures).as_secs_f64();
                assert!((least..=most).contains(&pause), "{failures}: {pause}");
            }
        }
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_looked_up_keeps_its_addresses() {
        let text = "listeners: [{ name: e, address: 127.0.0.1:0 }]\n\
                    clusters: [{ name: c, type: strict_dns, endpoints: [none.invalid:1, 127.0.0.1:2] }]";
        let config = weir_config::parse("weir.yaml", text).unwrap_or_else(|e| panic!("{e}"));
        let cluster = &config.clusters[0];
        let at = |port| {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            Description::of(&cluster.endpoints[0], address.into(), None)
        };
        let mut known = vec![vec![at(1)], Vec::new()];
        DnsCluster::new(cluster, &[]).resolve(&mut known).await;
        assert_eq!(known, [vec![at(1)], vec![at(2)]]);
    }
}
