//! Requests that filters make themselves: to a cluster by its name, over the
//! worker's own connections, each in a task of its own that ends when the
//! filter's VM lets go of it.

mod attempt;
mod dns;
mod grpc;
mod http;
mod service;

use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::{AbortHandle, JoinHandle};
use weir_abi::{
    CalloutError, CalloutGuard, CalloutToken, DnsToken, GrpcCall, GrpcStart, GrpcStream, HttpCall,
    Vm,
};

use self::service::GrpcTarget;
use crate::worker::WorkerShared;

/// Where each cluster stands in its generation, by name.
#[derive(Debug, Default)]
pub(crate) struct ClusterNames(HashMap<String, usize>);

impl ClusterNames {
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self(names.map(str::to_owned).zip(0..).collect())
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.0.get(std::str::from_utf8(name).ok()?).copied()
    }
}

/// Makes the callouts of one VM.
pub(crate) struct Callouts {
    clusters: Arc<ClusterNames>,
    /// `None` where a VM is only tried out: nothing goes out, and nothing comes.
    worker: Option<Rc<WorkerShared>>,
}

impl Callouts {
    pub(crate) fn new(clusters: Arc<ClusterNames>, worker: Option<Rc<WorkerShared>>) -> Self {
        Self { clusters, worker }
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
        let cluster = self.clusters.find(&call.cluster);
        let cluster = cluster.ok_or(CalloutError::UnknownCluster)?;
        Ok(self.spawn(|worker| async move {
            let response = http::perform(&worker, cluster, call).await;
            if let Some(vm) = vm.upgrade() {
                // A VM that fails has reported it.
                let _ = vm.on_http_call_response(token, response);
            }
        }))
    }

    /// Looks a name up.
    pub(crate) fn resolve_dns(&self, vm: Weak<Vm>, token: DnsToken, name: &str) -> CalloutGuard {
        let name = name.to_owned();
        self.spawn(|_| async move {
            let addresses = dns::look_up(&name).await;
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
        let target = self.grpc_target(&call.start.target)?;
        Ok(self.spawn(|worker| async move {
            let ended = grpc::unary(&worker, &target, call).await;
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
        let target = self.grpc_target(&start.target)?;
        let outbox = grpc::Outbox::new();
        let sent = Rc::clone(&outbox);
        let task = self.spawn(|worker| async move {
            let events = grpc::VmEvents::new(vm, token);
            grpc::stream(&worker, &target, &start, &sent, &events).await;
        });
        Ok(Rc::new(grpc::Stream::new(outbox, task)))
    }

    fn grpc_target(&self, target: &Bytes) -> Result<GrpcTarget, CalloutError> {
        GrpcTarget::of(target, |name| self.clusters.find(name))
    }

    fn spawn<F: Future<Output = ()> + 'static>(
        &self,
        task: impl FnOnce(Rc<WorkerShared>) -> F,
    ) -> CalloutGuard {
        let worker = self.worker.clone();
        Box::new(worker.map(|worker| Guard::of(&tokio::task::spawn_local(task(worker)))))
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
