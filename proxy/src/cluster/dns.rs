//! Clusters whose endpoints are names.
//!
//! Each name is looked up at the start and again and again, off the workers. While that
//! fails, it keeps the addresses that it had; if it has none any more, so has the
//! cluster, unless it is a `logical_dns` one, which keeps its address then, too.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use weir_config::{Backoff, Cluster, ClusterEndpoint, Discovery, DnsLookupFamily, Endpoint};

use super::member::{Description, Member};
use super::spec::ClusterSpec;
use crate::dns::{Answer, Resolver};

/// How the endpoints of a cluster are looked up.
#[derive(Debug)]
pub(super) struct DnsCluster {
    endpoints: Vec<ClusterEndpoint>,
    discovery: Discovery,
    resolver: Resolver,
    family: DnsLookupFamily,
    refresh: Duration,
    failure_refresh: Option<Backoff>,
    jitter: Duration,
    /// If answers say how long they hold: the least that this is taken for.
    ttl_at_least: Option<Duration>,
    /// What each endpoint stood for when the cluster was configured otherwise.
    before: Vec<Vec<Description>>,
}

/// What has become of a look-up, for the time until the next.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// It has succeeded, and the answer holds so long; 0 if nobody says so.
    Holds(Duration),
    /// It has failed, for the so many-th time in a row.
    Failed(u32),
}

/// What is known of one endpoint.
#[derive(Debug)]
struct Known {
    descriptions: Vec<Description>,
    /// Whether it has been looked up, be it in vain.
    is_tried: bool,
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
            endpoints: cluster.endpoints.clone(),
            discovery: cluster.discovery,
            resolver: Resolver::new(&cluster.dns_resolver),
            family: cluster.dns_lookup_family,
            refresh: cluster.dns_refresh_rate,
            failure_refresh: cluster.dns_failure_refresh_rate,
            jitter: cluster.dns_jitter,
            ttl_at_least: cluster
                .respect_dns_ttl
                .then_some(cluster.dns_min_refresh_rate),
        }
    }

    /// What is known of the endpoints when nothing has been looked up.
    fn known(&self) -> Vec<Known> {
        let endpoints = self.endpoints.iter().zip(&self.before);
        let known = endpoints.map(|(endpoint, before)| match &endpoint.address.value {
            Endpoint::Address(address) => Known {
                descriptions: vec![Description::of(endpoint, address.clone(), None)],
                is_tried: true,
            },
            Endpoint::Name { .. } => Known {
                descriptions: before.clone(),
                is_tried: false,
            },
        });
        known.collect()
    }

    /// How long it is until the next time.
    fn pause(&self, outcome: Outcome) -> Duration {
        match (outcome, self.failure_refresh) {
            (Outcome::Failed(failures), Some(backoff)) => {
                let doubled = 2_u32.saturating_pow(failures - 1);
                let longest = backoff.base_interval.saturating_mul(doubled);
                // As in Envoy, anything up to it; a little at least.
                let part = fastrand::f64().max(0.1);
                longest.min(backoff.max_interval).mul_f64(part)
            }
            (Outcome::Failed(_), None) => self.refresh,
            (Outcome::Holds(ttl), _) => {
                let least = self.ttl_at_least.filter(|_| !ttl.is_zero());
                let pause = least.map_or(self.refresh, |least| ttl.max(least));
                pause + self.jitter.mul_f64(fastrand::f64())
            }
        }
    }

    /// The endpoints that these addresses of a name are; `None` if it keeps those that
    /// it has.
    fn described(
        &self,
        endpoint: &ClusterEndpoint,
        host: &str,
        port: u16,
        answer: &Answer,
    ) -> Option<Vec<Description>> {
        let mut addresses = answer.addresses.clone();
        match self.discovery {
            Discovery::LogicalDns if addresses.is_empty() => return None,
            Discovery::LogicalDns => addresses.truncate(1),
            // Servers turn the order around; the endpoints are the same.
            Discovery::StrictDns | Discovery::Static => addresses.sort_unstable(),
        }
        let host: Arc<str> = host.into();
        let describe = |ip| {
            let address = SocketAddr::new(ip, port);
            Description::of(endpoint, address.into(), Some(Arc::clone(&host)))
        };
        Some(addresses.into_iter().map(describe).collect())
    }
}

/// Looks the names of a cluster up for as long as it is in use.
pub(super) async fn watch(cluster: Weak<ClusterSpec>) {
    let mut names = JoinSet::new();
    {
        let Some(cluster) = cluster.upgrade() else {
            return;
        };
        let Some(dns) = &cluster.dns else {
            return;
        };
        let known = Rc::new(RefCell::new(dns.known()));
        publish(&cluster, &known.borrow());
        for (place, endpoint) in dns.endpoints.iter().enumerate() {
            if let Endpoint::Name { host, port } = &endpoint.address.value {
                let name = WatchedName {
                    cluster: Arc::downgrade(&cluster),
                    host: host.clone(),
                    port: *port,
                    place,
                    known: Rc::clone(&known),
                    complaint: None,
                };
                names.spawn_local(name.watch());
            }
        }
    }
    while let Some(ended) = names.join_next().await {
        if let Err(error) = ended {
            tracing::error!("names: {error}");
        }
    }
}

fn publish(cluster: &ClusterSpec, known: &[Known]) {
    let found = known.iter().flat_map(|known| known.descriptions.clone());
    cluster
        .members
        .replace(found, known.iter().all(|known| known.is_tried));
}

/// One endpoint of a cluster.
struct WatchedName {
    cluster: Weak<ClusterSpec>,
    host: String,
    port: u16,
    place: usize,
    /// Of all endpoints of the cluster.
    known: Rc<RefCell<Vec<Known>>>,
    /// What was last wrong with it.
    complaint: Option<String>,
}

impl WatchedName {
    async fn watch(mut self) {
        let mut failures = 0_u32;
        while let Some(cluster) = self.cluster.upgrade() {
            let Some(dns) = &cluster.dns else {
                return;
            };
            let outcome = match self.look_up(&cluster, dns).await {
                Some(ttl) => {
                    failures = 0;
                    Outcome::Holds(ttl)
                }
                None => {
                    failures = failures.saturating_add(1);
                    Outcome::Failed(failures)
                }
            };
            publish(&cluster, &self.known.borrow());
            let pause = dns.pause(outcome);
            let mut snapshots = cluster.members.subscribe();
            drop(cluster);
            // Answers may hold for a day; the cluster may not.
            let gone = async { while snapshots.changed().await.is_ok() {} };
            if timeout(pause, gone).await.is_ok() {
                return;
            }
        }
    }

    /// Looks it up once; gives how long the answer holds, unless that has failed.
    async fn look_up(&mut self, cluster: &ClusterSpec, dns: &DnsCluster) -> Option<Duration> {
        let counters = &cluster.members.counters;
        counters.update_attempts.add(1);
        let answer = dns.resolver.look_up(&self.host, dns.family).await;
        self.complain(
            cluster,
            match &answer {
                Ok(answer) if answer.is_empty() => {
                    Some("there is no address of its family".to_owned())
                }
                Ok(_) => None,
                Err(error) => Some(error.to_string()),
            },
        );
        let answer = answer.ok().and_then(|answer| {
            let endpoint = &dns.endpoints[self.place];
            let found = dns.described(endpoint, &self.host, self.port, &answer)?;
            Some((found, answer.ttl))
        });
        let known = &mut self.known.borrow_mut()[self.place];
        known.is_tried = true;
        let Some((found, ttl)) = answer else {
            counters.update_failures.add(1);
            return None;
        };
        counters.update_successes.add(1);
        if found == known.descriptions {
            counters.update_no_rebuild.add(1);
        }
        known.descriptions = found;
        Some(ttl)
    }

    /// Logs what is wrong, if that is news.
    fn complain(&mut self, cluster: &ClusterSpec, complaint: Option<String>) {
        if let Some(news) = complaint.as_ref().filter(|_| complaint != self.complaint) {
            tracing::warn!(
                cluster = cluster.name,
                "cannot resolve {}: {news}",
                self.host
            );
        }
        self.complaint = complaint;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(keys: &str) -> DnsCluster {
        let text = format!(
            "listeners: [{{ name: e, address: 127.0.0.1:0 }}]\n\
             clusters: [{{ name: c, endpoints: [a.invalid:1], {keys} }}]"
        );
        let config = weir_config::parse("weir.yaml", &text).unwrap_or_else(|e| panic!("{e}"));
        DnsCluster::new(&config.clusters[0], &[])
    }

    fn within(dns: &DnsCluster, outcome: Outcome, least: f64, most: f64) {
        for _ in 0..100 {
            let pause = dns.pause(outcome).as_secs_f64();
            assert!((least..=most).contains(&pause), "{outcome:?}: {pause}");
        }
    }

    #[test]
    fn failures_are_tried_again_sooner_and_ever_more_seldom() {
        let dns = dns("type: strict_dns, dns_refresh_rate: 60s, dns_jitter: 1s, \
             dns_failure_refresh_rate: { base_interval: 1s, max_interval: 4s }");
        within(&dns, Outcome::Holds(Duration::from_secs(7)), 60.0, 61.0);
        within(&dns, Outcome::Failed(1), 0.1, 1.0);
        within(&dns, Outcome::Failed(2), 0.2, 2.0);
        within(&dns, Outcome::Failed(u32::MAX), 0.4, 4.0);
    }

    #[test]
    fn an_answer_holds_as_long_as_it_says_if_that_counts() {
        let dns = dns(
            "type: strict_dns, dns_refresh_rate: 60s, respect_dns_ttl: true, \
             dns_min_refresh_rate: 3s",
        );
        for (ttl, pause) in [(7, 7.0), (1, 3.0), (0, 60.0)] {
            within(&dns, Outcome::Holds(Duration::from_secs(ttl)), pause, pause);
        }
        within(&dns, Outcome::Failed(1), 60.0, 60.0);
    }

    #[test]
    fn a_name_without_addresses_is_no_endpoint_but_keeps_a_logical_one() {
        let nothing = Answer::default();
        for (kind, expected) in [("strict_dns", Some(0)), ("logical_dns", None)] {
            let dns = dns(&format!("type: {kind}"));
            let found = dns.described(&dns.endpoints[0], "a.invalid", 1, &nothing);
            assert_eq!(found.map(|found| found.len()), expected);
        }
    }
}
