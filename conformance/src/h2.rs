//! An HTTP/2 client and an HTTP/2 upstream for tests, with prior knowledge.

use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::PATIENCE;

/// Runs a test's future; what it spawns goes on while it waits or blocks.
/// Panics when it takes much too long.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let result = runtime.block_on(async { timeout(3 * PATIENCE, test).await });
    runtime.shutdown_background();
    result.expect("the test ends")
}

/// A client's HTTP/2 connection.
pub async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    connect_with(address, &h2::client::Builder::new()).await
}

/// The same, with settings of its own.
pub async fn connect_with(
    address: SocketAddr,
    builder: &h2::client::Builder,
) -> SendRequest<Bytes> {
    let tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let (send, connection) = builder.handshake(tcp).await.unwrap();
    // A connection that breaks is seen by its streams.
    tokio::spawn(connection);
    send.ready().await.unwrap()
}

/// A request to `path` with more headers.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://test{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// A response, whole.
#[derive(Debug)]
pub struct H2Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl H2Response {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// Reads a response to its end.
pub async fn read(response: ResponseFuture) -> Result<H2Response, h2::Error> {
    let (head, mut stream) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok(H2Response {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
        trailers: stream.trailers().await?,
    })
}

/// Sends a GET and reads the response.
pub async fn get(
    client: &mut SendRequest<Bytes>,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<H2Response, h2::Error> {
    let mut ready = client.clone().ready().await?;
    let (response, _) = ready.send_request(request("GET", path, headers), true)?;
    read(response).await
}

/// Sends `data` as fast as the peer takes it.
pub async fn send_all(
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    end: bool,
) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        while stream.capacity() == 0 {
            match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(capacity) => _ = capacity?,
                None => {
                    let reset = std::future::poll_fn(|cx| stream.poll_reset(cx)).await?;
                    return Err(reset.into());
                }
            }
        }
        let n = stream.capacity().min(data.len());
        let chunk = data.split_to(n);
        stream.send_data(chunk, end && data.is_empty())?;
    }
    Ok(())
}

/// A running HTTP/2 upstream; it ends with the process.
pub struct H2Upstream {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl H2Upstream {
    /// Answers each request by `answer`.
    pub fn start<F>(
        answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_at("127.0.0.1:0", answer)
    }

    /// The same, at an address.
    pub fn start_at<F>(
        address: impl ToSocketAddrs,
        answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind(address).unwrap();
        Self::serve(listener, &h2::server::Builder::new(), usize::MAX, answer)
    }

    /// [`H2Upstream::start`], with settings of its own; says GOAWAY on every connection after
    /// so many requests.
    pub fn start_with<F>(
        builder: &h2::server::Builder,
        goaway_after: usize,
        answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self::serve(listener, builder, goaway_after, answer)
    }

    fn serve<F>(
        listener: std::net::TcpListener,
        builder: &h2::server::Builder,
        goaway_after: usize,
        answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        listener.set_nonblocking(true).unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let connections = Arc::clone(&upstream.connections);
        let requests = Arc::clone(&upstream.requests);
        let (answer, builder) = (Arc::new(answer), builder.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((tcp, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::SeqCst);
                    let (answer, builder) = (Arc::clone(&answer), builder.clone());
                    let requests = Arc::clone(&requests);
                    tokio::spawn(async move {
                        tcp.set_nodelay(true).unwrap();
                        let Ok(mut connection) = builder.handshake::<_, Bytes>(tcp).await else {
                            return;
                        };
                        let mut served = 0;
                        while let Some(Ok((request, respond))) = connection.accept().await {
                            requests.fetch_add(1, Ordering::SeqCst);
                            served += 1;
                            if served == goaway_after {
                                connection.graceful_shutdown();
                            }
                            tokio::spawn(answer(request, respond));
                        }
                    });
                }
            });
        });
        upstream
    }

    /// Number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Number of requests so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}
