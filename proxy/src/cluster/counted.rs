//! [`OpenConnection`]: a connection is counted for as long as it is there, whoever has
//! it: an exchange, or those that wait for one.

use std::sync::Arc;

use super::breakers::Permit;
use super::lane::Traffic;
use crate::telemetry::{ClusterMetrics, EndpointCells};

/// A connection to an endpoint is open, as long as this lives.
pub(crate) struct OpenConnection {
    _permit: Permit,
    cells: Arc<EndpointCells>,
    metrics: Arc<ClusterMetrics>,
    /// Of its lane.
    traffic: Arc<Traffic>,
}

impl OpenConnection {
    pub(super) fn new(
        permit: Permit,
        cells: &Arc<EndpointCells>,
        metrics: &Arc<ClusterMetrics>,
        traffic: &Arc<Traffic>,
    ) -> Self {
        cells.connections.add(1);
        cells.active_connections.add(1);
        metrics.connection();
        traffic.open.add(1);
        Self {
            _permit: permit,
            cells: Arc::clone(cells),
            metrics: Arc::clone(metrics),
            traffic: Arc::clone(traffic),
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.cells.active_connections.subtract(1);
        self.metrics.connection_ended();
        self.traffic.open.subtract(1);
        self.traffic.freed.notify_one();
    }
}
