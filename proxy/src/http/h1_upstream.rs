//! HTTP/1.1 to endpoints, on pingora's client session.

use bytes::Bytes;
use pingora_core::protocols::Stream as Connection;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::{Error, ErrorType};
use weir_abi::HeaderMap;

use super::head;
use super::{ResponseHead, Upstream, UpstreamError};

/// One exchange with an HTTP/1.1 endpoint.
pub(crate) struct H1Upstream {
    session: HttpSession,
}

impl H1Upstream {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            session: HttpSession::new(connection),
        }
    }

    /// The connection, if it can carry another exchange. Closes it otherwise.
    pub(crate) async fn reuse(mut self) -> Option<Connection> {
        self.session.respect_keepalive();
        self.session.reuse().await
    }
}

impl Upstream for H1Upstream {
    async fn write_headers(
        &mut self,
        headers: &HeaderMap,
        end_of_stream: bool,
    ) -> Result<(), UpstreamError> {
        let request =
            head::request_header(headers, end_of_stream).map_err(UpstreamError::Unsendable)?;
        self.session
            .write_request_header(Box::new(request))
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn write_body(&mut self, chunk: &[u8]) -> Result<(), UpstreamError> {
        // An empty chunk would end a chunked body.
        if !chunk.is_empty() {
            self.session.write_body(chunk).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn finish_request(&mut self) -> Result<(), UpstreamError> {
        self.session.finish_body().await.map_err(failed)?;
        Ok(())
    }

    async fn read_headers(&mut self) -> Result<ResponseHead, UpstreamError> {
        loop {
            self.session.read_response().await.map_err(failed)?;
            let informational = self
                .session
                .resp_header()
                .is_some_and(|h| h.status.is_informational());
            if !informational {
                break;
            }
        }
        let headers = head::response_map(&self.session.get_headers_raw_bytes())
            .map_err(|e| UpstreamError::Malformed(e.to_string()))?;
        Ok(ResponseHead {
            headers,
            end_of_stream: self.session.is_body_done(),
        })
    }

    async fn read_body(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        self.session.read_body_bytes().await.map_err(failed)
    }
}

#[allow(clippy::needless_pass_by_value, clippy::boxed_local)] // For `map_err`.
fn failed(error: Box<Error>) -> UpstreamError {
    match error.etype() {
        ErrorType::InvalidHTTPHeader => UpstreamError::Malformed(error.to_string()),
        _ => UpstreamError::Closed(error.to_string()),
    }
}
