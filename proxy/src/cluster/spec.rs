//! [`ClusterSpec`]: a cluster as configured, and what the process knows of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pingora_core::protocols::TcpKeepalive;
use weir_config::{Cluster, Discovery, UpstreamProtocol};

use super::breakers::Breakers;
use super::cluster_tls::ClusterTls;
use super::dns::DnsCluster;
use super::eds::{self, Assignments};
use super::members::Members;
use crate::discovery::EndpointTable;
use crate::http::CodecOptions;
use crate::telemetry::Page;

/// Tells connections in a pool from others.
pub(super) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A cluster as configured; shared by all workers. It goes on as long as its
/// configuration is the same, and everything that is known of its endpoints with it.
#[derive(Debug)]
pub(crate) struct ClusterSpec {
    pub(crate) name: String,
    /// What it was made from.
    pub(crate) config: Cluster,
    pub(crate) members: Members,
    pub(crate) breakers: Breakers,
    /// If its endpoints are names.
    pub(super) dns: Option<DnsCluster>,
    /// If its endpoints come from a management server.
    pub(super) assignments: Option<Assignments>,
    pub(super) connect_timeout: Duration,
    pub(super) protocol: UpstreamProtocol,
    pub(crate) tls: ClusterTls,
    /// Tells its connections in a pool from those of other clusters.
    pub(super) id: u64,
    /// How long a connection may wait for its next exchange.
    pub(super) idle_timeout: Option<Duration>,
    /// Bytes that may wait on one connection.
    pub(super) buffer_limit: usize,
    pub(super) codec: CodecOptions,
    pub(super) tcp_keepalive: Option<TcpKeepalive>,
}

impl ClusterSpec {
    /// The cluster of this configuration. Counting goes on from `before`, which had
    /// the same name; and so does all that is known of endpoints, if nothing but TLS has
    /// changed. What has been discovered of endpoints is in `table`.
    pub(crate) fn new(
        config: &Cluster,
        tls: ClusterTls,
        before: Option<&Self>,
        table: &EndpointTable,
    ) -> Self {
        let counters = before.map(|before| Arc::clone(&before.members.counters));
        let same = before.filter(|before| {
            let mut other = before.config.clone();
            other.tls.clone_from(&config.tls);
            other.tls_matches.clone_from(&config.tls_matches);
            other == *config
        });
        let known = same.map(|same| same.members.current().members.clone());
        let members = Members::new(
            config,
            counters.unwrap_or_default(),
            known.unwrap_or_default(),
        );
        let is_static = config.discovery == Discovery::Static;
        let name = config.service_name.as_deref();
        let assignments = name.map(|name| table.subscribe(name));
        if let Some(assignments) = &assignments {
            eds::take(&members, &assignments.borrow());
        } else if is_static {
            members.replace(eds::described(&config.endpoints), true);
        }
        Self {
            name: config.name.value.clone(),
            members,
            assignments,
            breakers: Breakers::new(config),
            dns: (!is_static).then(|| {
                let before = before.map(|before| before.members.current());
                let before = before.as_ref().map_or(&[][..], |before| &before.members);
                DnsCluster::new(config, before)
            }),
            connect_timeout: config.connect_timeout,
            protocol: config.protocol,
            tls,
            id: next_id(),
            idle_timeout: config.idle_timeout,
            buffer_limit: config.buffer_limit,
            codec: CodecOptions::of_cluster(config),
            tcp_keepalive: config.tcp_keepalive.map(|keepalive| TcpKeepalive {
                idle: keepalive.keepalive_time,
                interval: keepalive.keepalive_interval,
                count: keepalive.keepalive_probes as usize,
                #[cfg(target_os = "linux")]
                user_timeout: Duration::ZERO,
            }),
            config: config.clone(),
        }
    }

    /// Adds what is known of the cluster to a page of metrics.
    pub(crate) fn show(&self, page: &mut Page) {
        let (levels, open) = (self.members.levels(), self.breakers.open());
        self.members.counters.show(page, &self.name, levels, &open);
    }
}
