//! Filters of Weir's own, at their places among the others.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use weir_abi::HeaderMap;

use super::FilteredStream;
use super::reply::own;
use crate::gate::GateKind;
use crate::rbac::{Rbac, Subject, Verdict};
use crate::telemetry::RbacCells;

impl FilteredStream {
    /// Whether the request's headers pass what stands in front of the filter at `place`;
    /// if not, the request is answered.
    pub(super) fn pass_gates(self: &Rc<Self>, place: usize) -> bool {
        let mut here = self.info.gates.iter().filter(|gate| gate.place == place);
        here.all(|gate| match &gate.kind {
            GateKind::Rbac(rbac, cells) => self.admit_request(rbac, cells),
            GateKind::Cors => self.admit_origin(),
        })
    }

    /// Whether a connection that is passed on passes what stands in front of the filter
    /// at `place`.
    pub(crate) fn pass_connection_gates(&self, place: usize) -> bool {
        let mut here = self.info.gates.iter().filter(|gate| gate.place == place);
        here.all(|gate| match &gate.kind {
            GateKind::Rbac(rbac, cells) => {
                let denied = self.judge(rbac, cells, None);
                if let Some(verdict) = &denied {
                    self.info.set_termination_details(&verdict.details());
                }
                denied.is_none()
            }
            GateKind::Cors => true,
        })
    }

    fn admit_request(self: &Rc<Self>, rbac: &Arc<Rbac>, cells: &RbacCells) -> bool {
        let request = self.request_map();
        let denied = self.judge(rbac, cells, Some(&request));
        drop(request);
        let Some(verdict) = denied else {
            return true;
        };
        self.fail_request(403, &verdict.details(), "RBAC: access denied");
        false
    }

    /// Asks policies; gives what they say if it is a no.
    fn judge(
        &self,
        rbac: &Arc<Rbac>,
        cells: &RbacCells,
        request: Option<&HeaderMap>,
    ) -> Option<Verdict> {
        let verdict = rbac.judge(&Subject {
            connection: &self.info.connection,
            client: &self.info.client,
            request,
            info: Some(&self.info),
            state: &|key| self.filter_state(key),
        });
        cells.count(&verdict);
        let denied = (!verdict.is_allowed()).then(|| verdict.clone());
        self.info.verdicts.borrow_mut().push(verdict);
        denied
    }

    /// Answers a preflight, which goes no further; keeps the origin of another request
    /// for its response.
    pub(crate) fn admit_origin(self: &Rc<Self>) -> bool {
        let cors = self
            .info
            .route
            .borrow()
            .as_ref()
            .and_then(|r| r.cors.clone());
        let Some(cors) = cors else {
            return true;
        };
        let request = self.request_map();
        let Some(origin) = cors.origin(&request) else {
            return true;
        };
        let preflight = cors.preflight(&origin, &request);
        drop(request);
        *self.origin.borrow_mut() = Some((cors, origin));
        let Some(headers) = preflight else {
            return true;
        };
        let mut answer = own(200, "cors_response", "");
        answer.headers = headers;
        self.local_response(&answer);
        false
    }

    /// Marks the response's headers for the pages that may read it.
    pub(crate) fn mark_origin(&self, headers: &mut HeaderMap) {
        if let Some((cors, origin)) = &*self.origin.borrow() {
            cors.mark(origin, headers);
        }
    }
}

/// The policy by which an origin's pages may read a response, and the origin.
pub(super) type Origin = (Arc<crate::route::Cors>, Bytes);
