//! [`Inbound`]: what a server sends on a stream.

use std::pin::Pin;

use http::HeaderMap;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

type Opening<M> = Pin<Box<dyn Future<Output = Result<Response<Streaming<M>>, Status>> + Send>>;

/// What a server sends on a stream. Many a server says nothing at all, not even that
/// there is a stream, before its first message.
pub(crate) enum Inbound<M> {
    Opening(Opening<M>),
    Open(Box<Streaming<M>>),
}

impl<M: Message + Default + 'static> Inbound<M> {
    /// Calls a method with what comes out of `requests`. Messages of more bytes than
    /// `limit` end the stream.
    pub(crate) fn open<R: Message + 'static>(
        channel: Channel,
        path: &'static str,
        headers: HeaderMap,
        requests: mpsc::Receiver<R>,
        limit: usize,
    ) -> Self {
        let mut request = Request::new(ReceiverStream::new(requests));
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        let mut grpc = Grpc::new(channel).max_decoding_message_size(limit);
        Self::Opening(Box::pin(async move {
            let broken = |error| Status::from_error(Box::new(error));
            grpc.ready().await.map_err(broken)?;
            let path = PathAndQuery::from_static(path);
            grpc.streaming(request, path, ProstCodec::default()).await
        }))
    }

    /// The next message; `None` at the end. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<M>, Status> {
        loop {
            match self {
                Self::Open(stream) => return stream.message().await,
                Self::Opening(opening) => {
                    let response = opening.as_mut().await?;
                    *self = Self::Open(Box::new(response.into_inner()));
                }
            }
        }
    }
}
