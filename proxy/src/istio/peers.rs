//! [`Peers`]: sidecars tell each other of their workloads, in headers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use weir_abi::HeaderMap;
use weir_config::{Node, PeerMetadata};

use super::record::Record;
use super::workload::{self, Workload};
use crate::cluster::Cluster;
use crate::limits::{PEER_METADATA_BYTES, PEERS_KEPT};

const METADATA: &str = "x-envoy-peer-metadata";
const ID: &str = "x-envoy-peer-metadata-id";

/// Istio's cluster for what is in no registry.
const PASSTHROUGH: &str = "PassthroughCluster";

/// How a filter chain tells of workloads, on one worker.
pub(super) struct Peers {
    options: PeerMetadata,
    /// Of this proxy.
    id: Bytes,
    metadata: Bytes,
    /// Those of which was told, by what was told; `None` for what nobody can read.
    known: RefCell<HashMap<Bytes, Option<Rc<Workload>>>>,
}

impl Peers {
    pub(super) fn new(options: &PeerMetadata, node: &Node) -> Self {
        Self {
            id: node.id.clone().into(),
            metadata: workload::header(node, &options.additional_labels),
            options: options.clone(),
            known: RefCell::default(),
        }
    }

    /// A request has come.
    pub(super) fn request(&self, headers: &mut HeaderMap, record: &mut Record) {
        if !self.options.downstream_discovery {
            return;
        }
        record.client = self.told(headers);
        record.told_id = headers.contains(ID.as_bytes());
        record.told_metadata = headers.contains(METADATA.as_bytes());
        remove(headers);
    }

    /// A request goes to an endpoint of `cluster`.
    pub(super) fn forward(&self, headers: &mut HeaderMap, cluster: &Cluster) {
        if !self.options.upstream_propagation || self.is_outside(cluster) {
            return;
        }
        headers.replace(ID, self.id.clone());
        headers.replace(METADATA, self.metadata.clone());
    }

    /// An endpoint has answered.
    pub(super) fn response(&self, headers: &mut HeaderMap, record: &Record) {
        if !self.options.upstream_discovery {
            return;
        }
        if let Some(endpoint) = self.told(headers) {
            record.endpoint.replace(Some(endpoint));
        }
        remove(headers);
    }

    /// An answer goes to the client.
    pub(super) fn answer(&self, headers: &mut HeaderMap, record: &Record) {
        if !self.options.downstream_propagation {
            return;
        }
        if record.told_id {
            headers.replace(ID, self.id.clone());
        }
        if record.told_metadata {
            headers.replace(METADATA, self.metadata.clone());
        }
    }

    /// Who is told of in `headers`.
    fn told(&self, headers: &HeaderMap) -> Option<Rc<Workload>> {
        let told = headers.get(METADATA.as_bytes())?;
        if let Some(known) = self.known.borrow().get(told) {
            return known.clone();
        }
        let workload = match Workload::decode(told) {
            Ok(workload) => Some(Rc::new(workload)),
            Err(error) => {
                tracing::debug!("{METADATA}: {error}");
                None
            }
        };
        if told.len() <= PEER_METADATA_BYTES {
            let mut known = self.known.borrow_mut();
            if known.len() >= PEERS_KEPT {
                known.clear();
            }
            known.insert(Bytes::copy_from_slice(told), workload.clone());
        }
        workload
    }

    /// Whether nothing is told to the endpoints of a cluster.
    fn is_outside(&self, cluster: &Cluster) -> bool {
        let is_set = |key: &str| {
            let istio = super::of_istio(cluster.metadata());
            istio.and_then(|istio| istio.get(key)?.as_bool()) == Some(true)
        };
        let skips = self.options.skip_external_clusters;
        is_set("disable_mx") || skips && (&*cluster.name == PASSTHROUGH || is_set("external"))
    }
}

fn remove(headers: &mut HeaderMap) {
    headers.remove(ID.as_bytes());
    headers.remove(METADATA.as_bytes());
}
