//! [`OriginalDestinations`]: endpoints that are where clients' connections were going.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use weir_abi::HeaderMap;

use super::member::{Description, Member};
use super::{Cluster, Endpoint};
use crate::limits::ORIGINAL_DESTINATION_KEPT;
use crate::stream::ConnectionInfo;

/// The endpoints of a cluster on one worker, each made when it is first needed. Those
/// that nothing uses are forgotten after a while.
pub(super) struct OriginalDestinations {
    known: RefCell<HashMap<SocketAddr, Known>>,
    /// When those that nothing uses were forgotten last.
    swept: Cell<Instant>,
}

struct Known {
    endpoint: Rc<Endpoint>,
    used: Instant,
}

impl OriginalDestinations {
    pub(super) fn new() -> Self {
        Self {
            known: RefCell::default(),
            swept: Cell::new(Instant::now()),
        }
    }

    /// The endpoint at `address`.
    pub(super) fn pick(&self, cluster: &Cluster, address: SocketAddr) -> Rc<Endpoint> {
        let now = Instant::now();
        let mut known = self.known.borrow_mut();
        if now.duration_since(self.swept.get()) > ORIGINAL_DESTINATION_KEPT {
            self.swept.set(now);
            known.retain(|_, known| {
                let is_new = now.duration_since(known.used) <= ORIGINAL_DESTINATION_KEPT;
                is_new || Rc::strong_count(&known.endpoint) > 1
            });
        }
        let make = || Known {
            endpoint: cluster.endpoint(&Member::new(Description::at(address), false)),
            used: now,
        };
        let known = known.entry(address).or_insert_with(make);
        known.used = now;
        Rc::clone(&known.endpoint)
    }
}

impl Cluster {
    /// Where what comes on `connection` was going, if the cluster's endpoints are such
    /// places: as the request says, if it may, or else as the connection was redirected
    /// (Envoy, `original_dst_cluster.cc`).
    pub(crate) fn destination(
        &self,
        connection: &ConnectionInfo,
        headers: &HeaderMap,
    ) -> Option<SocketAddr> {
        let config = self.spec.config.original_dst.as_ref()?;
        let named = config
            .header()
            .and_then(|name| headers.get(name.as_bytes()));
        let named = named.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        let restored = || connection.local.inet().filter(|_| connection.is_restored);
        let mut destination: SocketAddr = named.or_else(restored)?;
        if let Some(port) = config.upstream_port_override {
            destination.set_port(port);
        }
        Some(destination)
    }
}
