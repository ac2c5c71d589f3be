//! A management server that does what a test says.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::harness::within;

/// A stream that a client has opened.
pub(crate) struct ServerStream<Q, R> {
    /// The authority that the client has asked for.
    pub(crate) authorization: Option<String>,
    first: Option<Q>,
    requests: Streaming<Q>,
    responses: mpsc::UnboundedSender<Result<R, Status>>,
}

pub(crate) type DeltaStream = ServerStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;
pub(crate) type WorldStream = ServerStream<DiscoveryRequest, DiscoveryResponse>;

impl<Q, R> ServerStream<Q, R> {
    /// The next request; there has to be one.
    pub(crate) async fn request(&mut self) -> Q {
        match self.first.take() {
            Some(request) => request,
            None => within(self.requests.message()).await.unwrap().unwrap(),
        }
    }

    /// Waits until the client has ended the stream.
    pub(crate) async fn ended(mut self) {
        while let Ok(Some(_)) = within(self.requests.message()).await {}
    }

    pub(crate) fn respond(&self, response: R) {
        self.responses.send(Ok(response)).unwrap();
    }

    pub(crate) fn fail(self, status: Status) {
        self.responses.send(Err(status)).unwrap();
    }
}

type Responses<R> = UnboundedReceiverStream<Result<R, Status>>;

/// Hands a stream to the test. The client hears of it when it has said something, as it
/// does of many a server.
async fn open<Q, R>(
    request: Request<Streaming<Q>>,
    streams: &mpsc::UnboundedSender<ServerStream<Q, R>>,
) -> Result<Response<Responses<R>>, Status> {
    let authorization = request.metadata().get("authorization");
    let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
    let mut requests = request.into_inner();
    let first = requests.message().await?;
    let (responses, queue) = mpsc::unbounded_channel();
    let stream = ServerStream {
        authorization,
        first,
        requests,
        responses,
    };
    // The test may have ended.
    let _ = streams.send(stream);
    Ok(Response::new(UnboundedReceiverStream::new(queue)))
}

struct Service {
    deltas: mpsc::UnboundedSender<DeltaStream>,
    worlds: mpsc::UnboundedSender<WorldStream>,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        open(request, &self.worlds).await
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        open(request, &self.deltas).await
    }
}

#[tonic::async_trait]
impl SecretDiscoveryService for Service {
    type StreamSecretsStream = Responses<DiscoveryResponse>;
    type DeltaSecretsStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        open(request, &self.worlds).await
    }

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        open(request, &self.deltas).await
    }

    async fn fetch_secrets(
        &self,
        _: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("no client asks for it"))
    }
}

/// Which of the services a server has.
#[derive(Clone, Copy)]
pub(crate) enum Offers {
    Everything,
    Secrets,
}

/// A running server; ends, with all of its connections, when it is dropped.
pub(crate) struct ManagementServer {
    pub(crate) address: SocketAddr,
    deltas: mpsc::UnboundedReceiver<DeltaStream>,
    worlds: mpsc::UnboundedReceiver<WorldStream>,
    task: AbortHandle,
}

impl Drop for ManagementServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ManagementServer {
    /// One that anybody can reach.
    pub(crate) async fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        Self::serve(address, Offers::Everything, async move || {
            Some(listener.accept().await.unwrap().0)
        })
    }

    /// One that has TLS.
    pub(crate) async fn start_encrypted(config: rustls::ServerConfig) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::serve(address, Offers::Everything, async move || {
            let (stream, _) = listener.accept().await.unwrap();
            acceptor.accept(stream).await.ok()
        })
    }

    /// One behind a socket file.
    pub(crate) fn start_behind(path: &Path, offers: Offers) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let nowhere = (Ipv4Addr::UNSPECIFIED, 0).into();
        Self::serve(nowhere, offers, async move || {
            Some(listener.accept().await.unwrap().0)
        })
    }

    fn serve<S>(
        address: SocketAddr,
        offers: Offers,
        accept: impl AsyncFn() -> Option<S> + Send + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (to_deltas, deltas) = mpsc::unbounded_channel();
        let (to_worlds, worlds) = mpsc::unbounded_channel();
        let service = Arc::new(Service {
            deltas: to_deltas,
            worlds: to_worlds,
        });
        // A set ends its tasks when it goes.
        let mut connections = JoinSet::new();
        let serving = async move {
            loop {
                let Some(stream) = accept().await else {
                    continue;
                };
                let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let io = TokioIo::new(stream);
                let service = Arc::clone(&service);
                connections.spawn(async move {
                    let _ = match offers {
                        Offers::Everything => {
                            let service = AggregatedDiscoveryServiceServer::from_arc(service);
                            let service = TowerToHyperService::new(service);
                            http.serve_connection(io, service).await
                        }
                        Offers::Secrets => {
                            let service = SecretDiscoveryServiceServer::from_arc(service);
                            let service = TowerToHyperService::new(service);
                            http.serve_connection(io, service).await
                        }
                    };
                });
            }
        };
        let task = tokio::task::spawn_local(serving).abort_handle();
        Self {
            address,
            deltas,
            worlds,
            task,
        }
    }

    /// The next stream of deltas that a client opens.
    pub(crate) async fn delta(&mut self) -> DeltaStream {
        within(self.deltas.recv()).await.unwrap()
    }

    /// The next stream of the state of the world that a client opens.
    pub(crate) async fn world(&mut self) -> WorldStream {
        within(self.worlds.recv()).await.unwrap()
    }
}
