//! Copies of requests to other clusters. They are sent by tasks of their own when the
//! request is complete, and nobody waits for them.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use weir_abi::{BodyBuffer, Direction, HeaderMap};
use weir_config::defaults::ROUTE_TIMEOUT;

use super::Exchange;
use super::endpoint::PendingEnd;
use crate::callout::{Asked, Attempt};
use crate::http::{Downstream, ResponsePiece, UpstreamError};
use crate::random;
use crate::route::{Forward, Mirror, Route};
use crate::stream::UpstreamFailure;
use crate::worker::WorkerShared;

/// Where copies of a request go, and what they are made of.
#[derive(Default)]
pub(super) struct Mirrors {
    wanted: Vec<Mirror>,
    kept: BodyBuffer,
    kept_max: usize,
}

/// A request that is to be sent as it is.
struct Copy {
    headers: HeaderMap,
    body: BodyBuffer,
    trailers: Option<HeaderMap>,
    timeout: Duration,
}

impl<D: Downstream> Exchange<'_, D> {
    /// Draws by lot whom this request is copied to. What switches protocols is not.
    pub(super) fn prepare_mirrors(&mut self, route: &Route, forward: &Forward) {
        if forward.mirrors.is_empty() || self.switch.is_some() {
            return;
        }
        let drawn = |mirror: &&Mirror| random::below(1_000_000) < mirror.millionths.into();
        self.mirrors = Mirrors {
            wanted: forward.mirrors.iter().filter(drawn).cloned().collect(),
            kept: BodyBuffer::new(),
            kept_max: route.buffer_limit.unwrap_or(self.listener.buffer_limit),
        };
    }

    /// Keeps a piece of the request for its copies.
    pub(super) fn keep_for_mirrors(&mut self, data: &BodyBuffer) {
        let mirrors = &mut self.mirrors;
        if mirrors.wanted.is_empty() {
            return;
        }
        if mirrors.kept.len() + data.len() <= mirrors.kept_max {
            mirrors.kept.append(data.clone());
            return;
        }
        self.mirrors = Mirrors::default();
        if let Some(cluster) = self.cluster() {
            cluster.metrics.retry_abandoned();
        }
    }

    /// The request is complete: its copies go out.
    pub(super) fn send_mirrors(&mut self) {
        let Mirrors { wanted, kept, .. } = std::mem::take(&mut self.mirrors);
        for mirror in wanted {
            let shared = Rc::clone(self.shared);
            let mut headers = self.stream.request_map().clone();
            if mirror.marks_host
                && let Some(host) = headers.get(b":authority")
            {
                let host = shadow(host);
                headers.overwrite(":authority", host);
            }
            let with_trailers = self.pending.end == PendingEnd::Trailers;
            let trailers = self.stream.trailers(Direction::Request);
            let copy = Copy {
                headers,
                body: kept.clone(),
                trailers: trailers.filter(|_| with_trailers).map(|t| t.clone()),
                timeout: self.timeout.unwrap_or(ROUTE_TIMEOUT),
            };
            tokio::task::spawn_local(async move {
                let asked = Asked::default();
                let sent = copy.send(&shared, mirror.cluster, &asked);
                if tokio::time::timeout(copy.timeout, sent).await.is_err() {
                    asked.take().inspect(|asked| asked.timeout());
                }
            });
        }
    }
}

impl Copy {
    /// Sends it, and takes the response for nothing.
    async fn send(&self, shared: &WorkerShared, cluster: usize, asked: &Asked) {
        let cluster = &shared.clusters[cluster];
        for fresh in [false, true] {
            let attempt = Attempt::connect(shared, cluster, fresh, asked).await;
            let mut attempt = match attempt {
                Ok(attempt) => attempt,
                Err(UpstreamFailure::NoEndpoint) => return,
                Err(failure) => return tracing::debug!("mirror: {failure:?}"),
            };
            if let Err(reason) = self.queue(&mut attempt) {
                return tracing::debug!("mirror: {reason}");
            }
            match discard_response(&mut attempt).await {
                Ok(()) => return attempt.release(),
                // The endpoint closed the connection just as it was taken.
                Err(UpstreamError::Closed(_) | UpstreamError::Refused) if attempt.reused => {}
                Err(error) => {
                    attempt.failed(&error);
                    return tracing::debug!("mirror: {error}");
                }
            }
        }
    }

    fn queue(&self, attempt: &mut Attempt<'_>) -> Result<(), String> {
        let ends = self.trailers.is_none();
        attempt.send_headers(&self.headers, self.body.is_empty() && ends)?;
        if !self.body.is_empty() {
            attempt.send_body(self.body.clone(), ends)?;
        }
        self.trailers
            .as_ref()
            .map_or(Ok(()), |trailers| attempt.send_trailers(trailers))
    }
}

async fn discard_response(attempt: &mut Attempt<'_>) -> Result<(), UpstreamError> {
    loop {
        let ended = match poll_fn(|context| attempt.poll(context)).await? {
            ResponsePiece::Informational(_) => false,
            ResponsePiece::Headers { end_of_stream, .. }
            | ResponsePiece::Body { end_of_stream, .. } => end_of_stream,
            ResponsePiece::Trailers(_) => true,
        };
        if ended {
            return Ok(());
        }
    }
}

/// The host of a copy, as Envoy marks it: in front of the port.
fn shadow(authority: &[u8]) -> Bytes {
    let colon = authority.iter().rposition(|b| *b == b':');
    let is_port = |at: usize| authority[at + 1..].iter().all(u8::is_ascii_digit);
    let end = colon.filter(|at| is_port(*at)).unwrap_or(authority.len());
    [&authority[..end], b"-shadow", &authority[end..]]
        .concat()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_copy_is_marked_before_its_port() {
        for (host, marked) in [
            ("a.example", "a.example-shadow"),
            ("a.example:80", "a.example-shadow:80"),
            ("[::1]:80", "[::1]-shadow:80"),
        ] {
            assert_eq!(shadow(host.as_bytes()), marked);
        }
    }
}
