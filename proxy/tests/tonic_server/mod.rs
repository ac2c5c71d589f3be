//! A gRPC server: tonic's, on the HTTP/2 upstream of the other tests. Messages
//! are bytes; what is in them is the test's business.

use std::future::{Future, Ready, ready};
use std::net::ToSocketAddrs;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready as ready_or_pending};

use bytes::{Buf, BufMut, Bytes};
use h2::RecvStream;
use h2::server::SendResponse;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio_stream::StreamExt;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{ClientStreamingService, Grpc, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use weir_conformance::h2::{H2Upstream, send_all};

/// What a message is answered with.
pub(crate) type Answer = Result<Vec<u8>, Status>;

/// A running gRPC server.
pub(crate) struct GrpcServer {
    pub(crate) upstream: H2Upstream,
    /// Messages so far, and the path each came to.
    pub(crate) messages: Arc<Mutex<Vec<(String, Bytes)>>>,
}

impl GrpcServer {
    /// Answers calls at an address by `answer`; what comes to `stream_path` is a stream,
    /// which is answered at its end.
    pub(crate) fn start(
        address: impl ToSocketAddrs,
        stream_path: &'static str,
        answer: impl Fn(&Bytes) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let messages = Arc::<Mutex<Vec<_>>>::default();
        let log = Arc::clone(&messages);
        let answer = Arc::new(answer);
        let upstream = H2Upstream::start_at(address, move |request, respond| {
            let path = request.uri().path().to_owned();
            let service = Service {
                path: path.clone(),
                messages: Arc::clone(&log),
                answer: answer.clone(),
            };
            async move {
                let request = request.map(Incoming);
                let mut grpc = Grpc::new(Raw);
                let response = if path == stream_path {
                    grpc.client_streaming(service, request).await
                } else {
                    grpc.unary(service, request).await
                };
                // A client that has gone does not hear it.
                let _ = send(response, respond).await;
            }
        });
        Self { upstream, messages }
    }

    /// Number of messages that came to `path`.
    pub(crate) fn count(&self, path: &str) -> usize {
        let messages = self.messages.lock().unwrap();
        messages.iter().filter(|(p, _)| p == path).count()
    }
}

async fn send(
    response: http::Response<tonic::body::Body>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let (head, mut body) = response.into_parts();
    let ended = http_body::Body::is_end_stream(&body);
    let mut stream = respond.send_response(http::Response::from_parts(head, ()), ended)?;
    while let Some(Ok(frame)) = body.frame().await {
        match frame.into_data() {
            Ok(data) => send_all(&mut stream, data, false).await?,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    stream.send_trailers(trailers)?;
                }
            }
        }
    }
    Ok(())
}

#[derive(Clone)]
struct Service {
    path: String,
    messages: Arc<Mutex<Vec<(String, Bytes)>>>,
    answer: Arc<dyn Fn(&Bytes) -> Answer + Send + Sync>,
}

impl Service {
    fn note(&self, message: &Bytes) {
        let mut messages = self.messages.lock().unwrap();
        messages.push((self.path.clone(), message.clone()));
    }
}

impl UnaryService<Bytes> for Service {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let message = request.into_inner();
        self.note(&message);
        ready((self.answer)(&message).map(|answer| Response::new(answer.into())))
    }
}

impl ClientStreamingService<Bytes> for Service {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let mut messages = request.into_inner();
            while let Some(message) = messages.next().await {
                let message = message?;
                service.note(&message);
                if message == "end" {
                    return Err(Status::unavailable("as the test asked"));
                }
            }
            Ok(Response::new(Bytes::new()))
        })
    }
}

/// A request's body.
struct Incoming(RecvStream);

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let data = ready_or_pending!(self.0.poll_data(context));
        Poll::Ready(data.map(|data| {
            let data = data?;
            self.0.flow_control().release_capacity(data.len())?;
            Ok(Frame::data(data))
        }))
    }
}

/// Messages as they are.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(input.copy_to_bytes(input.remaining())))
    }
}
