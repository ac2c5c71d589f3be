//! [`Record`]: what is known of one stream for Istio's metrics.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use weir_abi::{BodyBuffer, Direction};

use super::messages::Messages;
use super::workload::Workload;
use crate::cluster::Cluster;
use crate::telemetry::IstioConnectionCells;

/// What is known of one stream besides what it says itself.
#[derive(Default)]
pub(crate) struct Record {
    /// Who the client is, if it has told.
    pub(super) client: Option<Rc<Workload>>,
    /// The client has sent its name, and what there is to tell of it.
    pub(super) told_id: bool,
    pub(super) told_metadata: bool,
    /// The request is gRPC: its messages are counted.
    pub(super) is_grpc: bool,
    /// Those of the request, and those of the response.
    messages: [Cell<Messages>; 2],
    /// Who the endpoint is, if it has told.
    pub(super) endpoint: RefCell<Option<Rc<Workload>>>,
    /// Where it goes.
    pub(super) cluster: RefCell<Option<Rc<Cluster>>>,
    /// Where a connection is counted, once it is.
    pub(super) cells: RefCell<Option<Rc<IstioConnectionCells>>>,
    /// Bytes of a connection that are counted.
    pub(super) received: Cell<u64>,
    pub(super) sent: Cell<u64>,
}

impl Record {
    /// A piece of a body has come.
    pub(crate) fn body(&self, direction: Direction, data: &BodyBuffer) {
        if !self.is_grpc {
            return;
        }
        let messages = match direction {
            Direction::Request => &self.messages[0],
            Direction::Response => &self.messages[1],
        };
        let mut counted = messages.get();
        data.chunks().for_each(|piece| counted.read(piece));
        messages.set(counted);
    }

    /// How many messages of gRPC there were in both directions.
    pub(super) fn messages(&self) -> (u64, u64) {
        let [request, response] = &self.messages;
        (request.get().count, response.get().count)
    }

    /// It goes to an endpoint of this cluster.
    pub(crate) fn goes_to(&self, cluster: &Rc<Cluster>) {
        self.cluster.replace(Some(Rc::clone(cluster)));
    }
}
