//! [`Gate`]: a filter of Weir's own, between those of a chain that run in VMs.

use std::sync::Arc;

use crate::rbac::{Rbac, Subject};
use crate::stream::ConnectionInfo;
use crate::telemetry::RbacCells;

/// A filter of Weir's own on one worker.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    /// How many filters of the chain stand in front of it.
    pub(crate) place: usize,
    pub(crate) kind: GateKind,
}

/// What a filter of Weir's own does.
#[derive(Debug, Clone)]
pub(crate) enum GateKind {
    /// Lets through what policies say.
    Rbac(Arc<Rbac>, Arc<RbacCells>),
    /// Looks at who may read responses, as the route says.
    Cors,
}

impl Gate {
    /// Whether a connection of HTTP is served.
    pub(crate) fn admits(&self, connection: &ConnectionInfo) -> bool {
        let GateKind::Rbac(rbac, cells) = &self.kind else {
            return true;
        };
        let verdict = rbac.judge(&Subject {
            connection,
            client: &connection.peer,
            request: None,
            info: None,
            state: &|key| connection.filter_state.borrow().get(key),
        });
        cells.count(&verdict);
        verdict.is_allowed()
    }
}
