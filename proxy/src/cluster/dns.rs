//! Clusters whose endpoints are names.
//!
//! A thread of its own looks the names up, at the start and again and again;
//! workers read what it has found last. A name that cannot be looked up keeps
//! the addresses it had.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use weir_config::{Discovery, DnsLookupFamily};

use crate::limits::DNS_START_PATIENCE;

/// An address of an endpoint, and the name it was found under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) address: SocketAddr,
    pub(crate) host: Option<Arc<str>>,
}

/// What has been found of a cluster last; `None` until the first attempt is
/// over.
pub(crate) type Found = Option<Arc<[Resolved]>>;

/// The endpoints of a cluster that looks names up; shared by all workers.
#[derive(Debug)]
pub(crate) struct DnsCluster {
    cluster: String,
    names: Vec<Target>,
    discovery: Discovery,
    family: DnsLookupFamily,
    refresh: Duration,
    found: watch::Sender<Found>,
}

/// What is looked up.
#[derive(Debug)]
enum Target {
    Address(SocketAddr),
    Name { host: Arc<str>, port: u16 },
}

impl DnsCluster {
    pub(crate) fn new(cluster: &weir_config::Cluster) -> Arc<Self> {
        let target = |endpoint: &weir_config::Endpoint| match endpoint {
            weir_config::Endpoint::Address(address) => Target::Address(*address),
            weir_config::Endpoint::Name { host, port } => Target::Name {
                host: host.as_str().into(),
                port: *port,
            },
        };
        let endpoints = cluster.endpoints.iter();
        Arc::new(Self {
            cluster: cluster.name.value.clone(),
            names: endpoints.map(|e| target(&e.value)).collect(),
            discovery: cluster.discovery,
            family: cluster.dns_lookup_family,
            refresh: cluster.dns_refresh_rate,
            found: watch::Sender::new(None),
        })
    }

    /// What has been found last, now and later.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Found> {
        self.found.subscribe()
    }

    /// Looks all names up once. `old` holds what each had before.
    async fn resolve(&self, old: &mut [Vec<Resolved>]) {
        for (target, known) in self.names.iter().zip(old.iter_mut()) {
            let (host, port) = match target {
                Target::Address(address) => {
                    *known = vec![Resolved {
                        address: *address,
                        host: None,
                    }];
                    continue;
                }
                Target::Name { host, port } => (host, *port),
            };
            let addresses = match tokio::net::lookup_host((&**host, port)).await {
                Ok(addresses) => chosen(self.family, &addresses.collect::<Vec<_>>()),
                Err(error) => {
                    tracing::warn!(cluster = self.cluster, "cannot resolve {host}: {error}");
                    continue;
                }
            };
            if addresses.is_empty() {
                tracing::warn!(
                    cluster = self.cluster,
                    "{host} has no address of its family"
                );
                continue;
            }
            let addresses = addresses.into_iter().map(|address| Resolved {
                address,
                host: Some(Arc::clone(host)),
            });
            *known = match self.discovery {
                Discovery::LogicalDns => addresses.take(1).collect(),
                Discovery::StrictDns | Discovery::Static => addresses.collect(),
            };
        }
        let all: Arc<[Resolved]> = old.iter().flatten().cloned().collect();
        self.found.send_if_modified(|found| {
            let changed = found.as_ref() != Some(&all);
            if changed {
                tracing::debug!(cluster = self.cluster, "endpoints: {all:?}");
                *found = Some(all);
            }
            changed
        });
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

/// Starts to look up the names of `clusters`, for as long as they are in use.
/// Returns when each has been looked up once, or after a while.
///
/// # Errors
/// When the thread does not start.
pub(crate) async fn start(clusters: &[Arc<DnsCluster>]) -> io::Result<()> {
    if clusters.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let watched: Vec<Weak<DnsCluster>> = clusters.iter().map(Arc::downgrade).collect();
    thread::Builder::new()
        .name("dns".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let tasks: Vec<_> = watched
                    .into_iter()
                    .map(|c| tokio::spawn(watch(c)))
                    .collect();
                for task in tasks {
                    if let Err(error) = task.await {
                        tracing::error!("dns: {error}");
                    }
                }
            });
        })?;
    for cluster in clusters {
        let mut found = cluster.subscribe();
        // What comes too late is used when it comes.
        let _ = timeout(DNS_START_PATIENCE, found.wait_for(Option::is_some)).await;
    }
    Ok(())
}

/// Looks names up until nobody uses the cluster any more.
async fn watch(cluster: Weak<DnsCluster>) {
    let mut known = Vec::new();
    while let Some(cluster) = cluster.upgrade() {
        known.resize(cluster.names.len(), Vec::new());
        cluster.resolve(&mut known).await;
        let refresh = cluster.refresh;
        drop(cluster);
        sleep(refresh).await;
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

    #[tokio::test]
    async fn a_name_that_cannot_be_looked_up_keeps_its_addresses() {
        let text = "listeners: [{ name: e, address: 127.0.0.1:0 }]\n\
                    clusters: [{ name: c, type: strict_dns, endpoints: [none.invalid:1, 127.0.0.1:2] }]";
        let config = weir_config::parse("weir.yaml", text).unwrap_or_else(|e| panic!("{e}"));
        let cluster = DnsCluster::new(&config.clusters[0]);
        let resolved = |port| Resolved {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            host: None,
        };
        let mut known = vec![vec![resolved(1)], Vec::new()];
        cluster.resolve(&mut known).await;
        let found = cluster.subscribe().borrow().clone().unwrap_or_default();
        assert_eq!(*found, [resolved(1), resolved(2)]);
    }
}
