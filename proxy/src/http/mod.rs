//! The HTTP codecs behind two small traits, so that the stream engine does not
//! know which one carries a message: [`Downstream`] for one request and its
//! response on the client's connection, [`Upstream`] for one exchange with an
//! endpoint.

mod h1_downstream;
mod h1_upstream;
mod head;

use bytes::Bytes;
use weir_abi::HeaderMap;

pub(crate) use self::h1_downstream::{H1Downstream, Next};
pub(crate) use self::h1_upstream::H1Upstream;
pub(crate) use self::head::HeadError;
use crate::stream::Protocol;

/// A request's headers as they came.
pub(crate) struct RequestHead {
    pub(crate) headers: HeaderMap,
    pub(crate) protocol: Protocol,
    /// Nothing follows the headers.
    pub(crate) end_of_stream: bool,
}

/// A response's headers as they came.
pub(crate) struct ResponseHead {
    pub(crate) headers: HeaderMap,
    /// Nothing follows the headers.
    pub(crate) end_of_stream: bool,
}

/// Why a message could not be written or read on the client's connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownstreamError {
    #[error("the client closed the connection")]
    Closed,
    #[error("malformed request: {0}")]
    Malformed(String),
    /// The message that the filters left cannot be written.
    #[error("{0}")]
    Unsendable(HeadError),
}

/// Why there is no response from an endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("the connection broke: {0}")]
    Closed(String),
    #[error("malformed response: {0}")]
    Malformed(String),
    /// The message that the filters left cannot be written.
    #[error("{0}")]
    Unsendable(HeadError),
}

/// One request and its response on the client's connection.
pub(crate) trait Downstream {
    /// The next piece of the body; `None` at its end. Once it has ended, waits
    /// until the client closes the connection. Can be dropped and called again.
    async fn read_body(&mut self) -> Result<Option<Bytes>, DownstreamError>;

    /// Writes the response's headers.
    async fn write_headers(
        &mut self,
        headers: &HeaderMap,
        end_of_stream: bool,
    ) -> Result<(), DownstreamError>;

    /// Writes a piece of the response's body.
    async fn write_body(&mut self, chunk: &[u8]) -> Result<(), DownstreamError>;

    /// Ends the response.
    async fn finish(&mut self) -> Result<(), DownstreamError>;

    /// Has the connection end after this response, and says so in its headers,
    /// which have not been written.
    fn close_after_response(&mut self);

    /// Cuts the response off.
    async fn reset(&mut self);
}

/// One exchange with an endpoint.
pub(crate) trait Upstream {
    /// Writes the request's headers.
    async fn write_headers(
        &mut self,
        headers: &HeaderMap,
        end_of_stream: bool,
    ) -> Result<(), UpstreamError>;

    /// Writes a piece of the request's body.
    async fn write_body(&mut self, chunk: &[u8]) -> Result<(), UpstreamError>;

    /// Ends the request.
    async fn finish_request(&mut self) -> Result<(), UpstreamError>;

    /// The final response's headers. Can be dropped and called again.
    async fn read_headers(&mut self) -> Result<ResponseHead, UpstreamError>;

    /// The next piece of the response's body; `None` at its end. Can be dropped
    /// and called again.
    async fn read_body(&mut self) -> Result<Option<Bytes>, UpstreamError>;
}
