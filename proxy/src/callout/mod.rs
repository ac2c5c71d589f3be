//! Requests that filters make themselves: to a cluster by its name, over the
//! worker's own connections, each in a task of its own that ends when the
//! filter's VM lets go of it.

mod attempt;
mod dns;
mod grpc;
mod http;
mod service;

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::{AbortHandle, JoinHandle};
use weir_abi::{
    CalloutError, CalloutGuard, CalloutToken, DnsToken, GrpcCall, GrpcStart, GrpcStream, HttpCall,
    Vm,
};

pub(crate) use self::attempt::{Asked, Attempt};
use self::service::GrpcTarget;
use crate::telemetry::{CalloutKind, CalloutOutcome, CalloutRecord, VmMetrics};
use crate::worker::{Latest, WorkerShared};

/// Where each cluster stands in its generation, by name.
#[derive(Debug, Default)]
pub(crate) struct ClusterNames(HashMap<String, usize>);

impl ClusterNames {
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self(names.map(str::to_owned).zip(0..).collect())
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<usize> {
        self.0.get(std::str::from_utf8(name).ok()?).copied()
    }
}

/// Where callouts are made.
pub(crate) enum Place {
    /// Nowhere: a VM is only tried out. These clusters there are.
    Trial(Arc<ClusterNames>),
    /// On a worker, to the clusters that it has at the time.
    Worker(Rc<Latest>),
}

/// Makes the callouts of one VM.
pub(crate) struct Callouts {
    place: Place,
    /// Bytes that wait to be sent on all gRPC streams.
    waiting: Rc<Cell<usize>>,
    metrics: Rc<VmMetrics>,
}

impl Callouts {
    pub(crate) fn new(place: Place, metrics: &Rc<VmMetrics>) -> Self {
        Self {
            place,
            waiting: Rc::default(),
            metrics: Rc::clone(metrics),
        }
    }

    /// Whether there is a worker to make them.
    pub(crate) fn is_on_worker(&self) -> bool {
        matches!(self.place, Place::Worker(_))
    }

    /// The cluster of that name, and what it is a cluster of, if calls to it are
    /// made.
    fn cluster(&self, name: &[u8]) -> Option<(Option<Rc<WorkerShared>>, usize)> {
        match &self.place {
            Place::Trial(names) => Some((None, names.find(name)?)),
            Place::Worker(latest) => {
                let (worker, cluster) = latest.cluster(name)?;
                Some((Some(worker), cluster))
            }
        }
    }

    /// Makes an HTTP call.
    ///
    /// # Errors
    /// When there is no such cluster.
    pub(crate) fn http_call(
        &self,
        vm: Weak<Vm>,
        token: CalloutToken,
        call: HttpCall,
    ) -> Result<CalloutGuard, CalloutError> {
        let kind = CalloutKind::Http;
        let cluster = self.cluster(&call.cluster);
        let found = self.made(kind, cluster.ok_or(CalloutError::UnknownCluster))?;
        let (worker, cluster) = found;
        Ok(self.spawn(kind, worker, |worker, record| async move {
            let (response, outcome) = http::perform(&worker, cluster, call).await;
            record.end(outcome);
            if let Some(vm) = vm.upgrade() {
                // A VM that fails has reported it.
                let _ = vm.on_http_call_response(token, response);
            }
        }))
    }

    /// Looks a name up.
    pub(crate) fn resolve_dns(&self, vm: Weak<Vm>, token: DnsToken, name: &str) -> CalloutGuard {
        let name = name.to_owned();
        let worker = match &self.place {
            Place::Trial(_) => None,
            Place::Worker(latest) => Some(latest.serving()),
        };
        self.spawn(CalloutKind::Dns, worker, |_, record| async move {
            let addresses = dns::look_up(&name).await;
            record.end(if addresses.is_empty() {
                CalloutOutcome::Failed
            } else {
                CalloutOutcome::Answered
            });
            if let Some(vm) = vm.upgrade() {
                let _ = vm.on_resolve_dns(token, &addresses);
            }
        })
    }

    /// Makes a unary gRPC call.
    ///
    /// # Errors
    /// When its target cannot be called.
    pub(crate) fn grpc_call(
        &self,
        vm: Weak<Vm>,
        token: CalloutToken,
        call: GrpcCall,
    ) -> Result<CalloutGuard, CalloutError> {
        let kind = CalloutKind::GrpcCall;
        let (worker, target) = self.made(kind, self.grpc_target(&call.start.target))?;
        Ok(self.spawn(kind, worker, |worker, record| async move {
            let ended = grpc::unary(&worker, &target, call, record).await;
            let Some(vm) = vm.upgrade() else {
                return;
            };
            let _ = match ended {
                Ok(message) => vm.on_grpc_message(token, message),
                Err(status) => vm.on_grpc_close(token, status.code, status.message),
            };
        }))
    }

    /// Opens a gRPC stream.
    ///
    /// # Errors
    /// When its target cannot be called.
    pub(crate) fn grpc_stream(
        &self,
        vm: Weak<Vm>,
        token: CalloutToken,
        start: GrpcStart,
    ) -> Result<Rc<dyn GrpcStream>, CalloutError> {
        let kind = CalloutKind::GrpcStream;
        let (worker, target) = self.made(kind, self.grpc_target(&start.target))?;
        let outbox = grpc::Outbox::new(Rc::clone(&self.waiting));
        let sent = Rc::clone(&outbox);
        let task = self.spawn(kind, worker, |worker, record| async move {
            let events = grpc::VmEvents::new(vm, token);
            grpc::stream(&worker, &target, &start, &sent, &events, record).await;
        });
        Ok(Rc::new(grpc::Stream::new(outbox, task)))
    }

    fn grpc_target(
        &self,
        target: &Bytes,
    ) -> Result<(Option<Rc<WorkerShared>>, GrpcTarget), CalloutError> {
        let mut of = None;
        let target = GrpcTarget::of(target, |name| {
            let (worker, cluster) = self.cluster(name)?;
            of = worker;
            Some(cluster)
        })?;
        Ok((of, target))
    }

    fn spawn<F: Future<Output = ()> + 'static>(
        &self,
        kind: CalloutKind,
        worker: Option<Rc<WorkerShared>>,
        task: impl FnOnce(Rc<WorkerShared>, CalloutRecord) -> F,
    ) -> CalloutGuard {
        let spawn = |worker| {
            let record = self.metrics.callout(kind);
            Guard::of(&tokio::task::spawn_local(task(worker, record)))
        };
        Box::new(worker.map(spawn))
    }

    /// Counts a callout that is not made.
    fn made<T>(
        &self,
        kind: CalloutKind,
        target: Result<T, CalloutError>,
    ) -> Result<T, CalloutError> {
        if target.is_err() {
            self.metrics.callout_refused(kind);
        }
        target
    }
}

/// Ends a task when dropped.
struct Guard(AbortHandle);

impl Guard {
    fn of(task: &JoinHandle<()>) -> Self {
        Self(task.abort_handle())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}
