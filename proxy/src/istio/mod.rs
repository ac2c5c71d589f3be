//! What Istio's filters do in a mesh: sidecars tell each other of their workloads, and
//! count requests and connections by who is at their ends.
//!
//! A filter chain that has them keeps an [`Istio`] on each worker, and each of its streams
//! a [`Record`]; others pay for neither. The rules are those of Istio's `istio_stats` and
//! `peer_metadata`.

mod attribute;
mod labels;
mod messages;
mod peers;
mod record;
mod stats;
mod workload;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use weir_abi::HeaderMap;
use weir_config::{Metadata, Struct};

use self::peers::Peers;
pub(crate) use self::record::Record;
use self::stats::Stats;
use crate::cluster::Cluster;
use crate::stream::{Facts, FilteredStream, Protocol, is_grpc};
use crate::telemetry::IstioCells;

/// What a filter chain does for Istio, on one worker.
pub(crate) struct Istio {
    peers: Option<Peers>,
    stats: Option<Stats>,
}

impl Istio {
    /// `None` if there is nothing to do.
    pub(crate) fn new(
        options: &weir_config::Istio,
        facts: &Facts,
        cells: Arc<IstioCells>,
    ) -> Option<Rc<Self>> {
        let peers = options.peer_metadata.as_ref();
        let stats = options.stats.as_ref();
        if peers.is_none() && stats.is_none() {
            return None;
        }
        Some(Rc::new(Self {
            peers: peers.map(|peers| Peers::new(peers, &facts.node)),
            stats: stats.map(|stats| Stats::new(stats, facts, cells)),
        }))
    }

    /// A request has come: nobody else sees what its client's sidecar has told.
    pub(crate) fn request(&self, headers: &mut HeaderMap) -> Box<Record> {
        let mut record = Box::<Record>::default();
        record.is_grpc = self.stats.is_some() && is_grpc(headers);
        if let Some(peers) = &self.peers {
            peers.request(headers, &mut record);
        }
        record
    }

    /// A request goes to an endpoint of `cluster`.
    pub(crate) fn forward(&self, headers: &mut HeaderMap, cluster: &Cluster) {
        if let Some(peers) = &self.peers {
            peers.forward(headers, cluster);
        }
    }

    /// An endpoint has answered.
    pub(crate) fn response(&self, headers: &mut HeaderMap, record: &Record) {
        if let Some(peers) = &self.peers {
            peers.response(headers, record);
        }
    }

    /// An answer goes to the client.
    pub(crate) fn answer(&self, headers: &mut HeaderMap, record: &Record) {
        if let Some(peers) = &self.peers {
            peers.answer(headers, record);
        }
    }

    /// How often connections that are open are to be counted, if they are.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.stats.as_ref()?.interval
    }

    /// A connection is still open.
    pub(crate) fn still_open(&self, stream: &Rc<FilteredStream>) {
        if let (Some(stats), Some(record)) = (&self.stats, &stream.info.istio) {
            stats.count_connection(stream, record);
        }
    }

    /// A stream is complete.
    pub(crate) fn complete(&self, stream: &Rc<FilteredStream>) {
        let (Some(stats), Some(record)) = (&self.stats, &stream.info.istio) else {
            return;
        };
        match stream.info.protocol {
            Protocol::Tcp => stats.close_connection(stream, record),
            Protocol::Http10 | Protocol::Http11 | Protocol::Http2 => {
                stats.count_request(stream, record);
            }
        }
    }
}

/// What Istio says in metadata.
fn of_istio(metadata: &Metadata) -> Option<&Struct> {
    let mut namespaces = metadata.namespaces.iter();
    let (_, istio) = namespaces.find(|(name, _)| name == "istio")?;
    Some(istio)
}

/// The text at a key.
fn text<'j>(of: &'j Struct, key: &str) -> Option<&'j str> {
    of.get(key).and_then(Json::as_str)
}
