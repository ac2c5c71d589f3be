//! [`Attempt`]: one request to an endpoint of a cluster, without a client's
//! stream around it.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use weir_abi::{BodyBuffer, HeaderMap};

use crate::cluster::{Account, Cluster, Endpoint, EndpointRequest, PickContext, Place};
use crate::http::{AnyUpstream, ResponsePiece, Upstream, UpstreamError};
use crate::stream::Protocol;
use crate::stream::UpstreamFailure;
use crate::worker::WorkerShared;

/// The request that is under way, for who ends it from outside.
pub(crate) type Asked = RefCell<Option<Rc<EndpointRequest>>>;

/// One request on a connection of the worker's.
pub(crate) struct Attempt<'a> {
    worker: &'a WorkerShared,
    endpoint: Rc<Endpoint>,
    upstream: Option<AnyUpstream>,
    /// The connection was used before: the endpoint may have closed it by now.
    pub(crate) reused: bool,
    began: Instant,
    unflushed: bool,
    metrics: Rc<EndpointRequest>,
    place: Place,
}

impl<'a> Attempt<'a> {
    /// Connects to an endpoint of the cluster, over a connection that is
    /// certainly new when `fresh`. What is `asked` is there also if this does not
    /// come to its end.
    pub(crate) async fn connect(
        worker: &'a WorkerShared,
        cluster: &Cluster,
        fresh: bool,
        asked: &Asked,
    ) -> Result<Self, UpstreamFailure> {
        let endpoint = cluster.pick(&PickContext::default());
        let endpoint = endpoint.ok_or(UpstreamFailure::NoEndpoint)?;
        let metrics = Rc::new(cluster.request(&endpoint));
        asked.replace(Some(Rc::clone(&metrics)));
        let lease =
            worker
                .pool
                .connect(cluster, &endpoint, (Account::OWN, Protocol::Http11), fresh);
        let lease = lease.await.map_err(|error| {
            metrics.failed(&error);
            UpstreamFailure::from(&error)
        })?;
        Ok(Self {
            worker,
            endpoint,
            upstream: Some(lease.upstream),
            reused: lease.reused,
            began: Instant::now(),
            unflushed: false,
            metrics,
            place: lease.place,
        })
    }

    /// Queues the request's headers; what makes no well-formed message is told.
    pub(crate) fn send_headers(&mut self, headers: &HeaderMap, end: bool) -> Result<(), String> {
        self.send(|u| u.send_headers(headers, end).map_err(|e| e.to_string()))
    }

    pub(crate) fn send_body(&mut self, body: BodyBuffer, end: bool) -> Result<(), String> {
        self.send(|u| u.send_body(body, end).map_err(|e| e.to_string()))
    }

    pub(crate) fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), String> {
        self.send(|u| u.send_trailers(trailers).map_err(|e| e.to_string()))
    }

    fn send(
        &mut self,
        send: impl FnOnce(&mut AnyUpstream) -> Result<(), String>,
    ) -> Result<(), String> {
        self.unflushed = true;
        self.upstream.as_mut().map_or(Ok(()), send)
    }

    /// Bytes that wait to be written.
    pub(crate) fn queued(&self) -> usize {
        self.upstream.as_ref().map_or(0, Upstream::queued)
    }

    /// Writes what is queued, and waits for the next piece of the response.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponsePiece, UpstreamError>> {
        let Some(upstream) = &mut self.upstream else {
            return Poll::Pending;
        };
        if self.unflushed {
            match upstream.poll_flush(context) {
                Poll::Pending => {}
                // The response may be there all the same: reading tells.
                Poll::Ready(_) => self.unflushed = false,
            }
        }
        let read = upstream.poll_read(context);
        if let Poll::Ready(Ok(piece)) = &read {
            self.metrics.received(piece, Instant::now());
        }
        read
    }

    /// There is no response, or not all of it.
    pub(crate) fn failed(&self, error: &UpstreamError) {
        self.metrics.failed(error);
    }

    /// There is more of a response than anybody takes.
    pub(super) fn cut(&self) {
        self.metrics.cut();
    }

    /// Says how long the endpoint took, if that is asked for.
    pub(crate) fn add_service_time(&self, worker: &WorkerShared, headers: &mut HeaderMap) {
        if worker.callouts.envoy_headers {
            let took = self.began.elapsed().as_millis().to_string();
            headers.replace("x-envoy-upstream-service-time", took);
        }
    }

    /// The response is whole: the connection may serve others.
    pub(crate) fn release(&mut self) {
        if let Some(AnyUpstream::H1(upstream)) = self.upstream.take() {
            let pool = &self.worker.pool;
            pool.release(&self.endpoint, &self.place, *upstream);
        }
    }
}
