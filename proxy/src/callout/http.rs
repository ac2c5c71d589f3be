//! HTTP calls. As in Envoy, whose calls go through its router, an endpoint that
//! cannot be reached or takes too long becomes a response like any other; only
//! a response that is cut has none.

use std::cell::Cell;
use std::future::poll_fn;

use bytes::Bytes;
use weir_abi::{BodyBuffer, HeaderMap, HttpCall, HttpCallResponse};

use super::attempt::{Asked, Attempt};
use crate::http::{ResponsePiece, UpstreamError};
use crate::stream::UpstreamFailure;
use crate::telemetry::CalloutOutcome;
use crate::worker::WorkerShared;

/// Makes a call, from beginning to end. `None`: the response was cut. What the
/// call came to stands beside it: a failure can be a response, too.
pub(super) async fn perform(
    worker: &WorkerShared,
    cluster: usize,
    mut call: HttpCall,
) -> (Option<HttpCallResponse>, CalloutOutcome) {
    complete(worker, &mut call);
    let begun = Cell::new(false);
    let asked = Asked::default();
    let exchange = exchange(worker, cluster, &call, &begun, &asked);
    let ended = match call.timeout {
        None => exchange.await,
        Some(timeout) => tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or_else(|_| {
                asked.take().inspect(|asked| asked.timeout());
                Err(Failure::Upstream(UpstreamFailure::Timeout))
            }),
    };
    let outcome = match &ended {
        Ok(_) => CalloutOutcome::Answered,
        Err(Failure::Upstream(UpstreamFailure::Timeout)) => CalloutOutcome::TimedOut,
        Err(_) => CalloutOutcome::Failed,
    };
    let response = match ended {
        Ok(response) => Some(response),
        Err(_) if begun.get() => None,
        Err(Failure::Cut) => None,
        Err(Failure::Upstream(failure)) => {
            Some(own(failure.answer().0, failure.words(false, false).1))
        }
        Err(Failure::Unsendable(reason)) => Some(own(503, reason)),
    };
    (response, outcome)
}

/// Why a call has no response of the endpoint's.
enum Failure {
    Upstream(UpstreamFailure),
    /// The guest's request is no well-formed message, for this reason.
    Unsendable(String),
    /// There was a response, but not all of it.
    Cut,
}

/// The headers that are the host's business.
fn complete(worker: &WorkerShared, call: &mut HttpCall) {
    let headers = &mut call.headers;
    if !call.body.is_empty() {
        headers.replace("content-length", call.body.len().to_string());
    }
    if worker.callouts.envoy_headers {
        headers.replace("x-envoy-internal", "true");
        if let Some(timeout) = call.timeout {
            let timeout = timeout.as_millis().to_string();
            headers.replace("x-envoy-expected-rq-timeout-ms", timeout);
        }
    }
}

async fn exchange(
    worker: &WorkerShared,
    cluster: usize,
    call: &HttpCall,
    begun: &Cell<bool>,
    asked: &Asked,
) -> Result<HttpCallResponse, Failure> {
    let mut fresh = false;
    loop {
        let cluster = &worker.clusters[cluster];
        let attempt = Attempt::connect(worker, cluster, fresh, asked).await;
        let mut attempt = attempt.map_err(Failure::Upstream)?;
        send(&mut attempt, call).map_err(Failure::Unsendable)?;
        match receive(worker, &mut attempt, begun).await {
            Ok(response) => return Ok(response),
            // The endpoint closed the connection just as it was taken.
            Err(Broken::Upstream(error))
                if attempt.reused && !fresh && !begun.get() && may_repeat(call, &error) =>
            {
                fresh = true;
            }
            Err(Broken::Upstream(error)) => {
                attempt.failed(&error);
                return Err(Failure::Upstream(UpstreamFailure::from(&error)));
            }
            Err(Broken::TooLarge) => {
                attempt.cut();
                return Err(Failure::Cut);
            }
        }
    }
}

fn send(attempt: &mut Attempt<'_>, call: &HttpCall) -> Result<(), String> {
    let bodiless = call.body.is_empty();
    let ends_with_body = call.trailers.is_empty();
    attempt.send_headers(&call.headers, bodiless && ends_with_body)?;
    if !bodiless {
        let mut body = BodyBuffer::new();
        body.push(call.body.clone());
        attempt.send_body(body, ends_with_body)?;
    }
    if !ends_with_body {
        attempt.send_trailers(&call.trailers)?;
    }
    Ok(())
}

/// Whether the request may go out once more: it has certainly not been seen, or
/// seeing it twice does no harm (RFC 9110, section 9.2.2).
fn may_repeat(call: &HttpCall, error: &UpstreamError) -> bool {
    match error {
        UpstreamError::Refused => true,
        UpstreamError::Closed(_) => {
            let method = call.headers.get(b":method");
            let safe = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
            method.is_some_and(|method| safe.iter().any(|m| method == m))
        }
        _ => false,
    }
}

enum Broken {
    Upstream(UpstreamError),
    TooLarge,
}

async fn receive(
    worker: &WorkerShared,
    attempt: &mut Attempt<'_>,
    begun: &Cell<bool>,
) -> Result<HttpCallResponse, Broken> {
    let mut response = HttpCallResponse::default();
    loop {
        let piece = poll_fn(|context| attempt.poll(context)).await;
        let ended = match piece.map_err(Broken::Upstream)? {
            ResponsePiece::Informational(_) => false,
            ResponsePiece::Headers {
                headers,
                end_of_stream,
            } => {
                begun.set(true);
                response.headers = headers;
                attempt.add_service_time(worker, &mut response.headers);
                end_of_stream
            }
            ResponsePiece::Body {
                data,
                end_of_stream,
            } => {
                response.body.append(data);
                if response.body.len() > worker.callouts.response_limit {
                    tracing::warn!(
                        limit = worker.callouts.response_limit,
                        "the response to a callout is larger than `callouts.response_limit`"
                    );
                    return Err(Broken::TooLarge);
                }
                end_of_stream
            }
            ResponsePiece::Trailers(trailers) => {
                response.trailers = Some(trailers);
                true
            }
        };
        if ended {
            attempt.release();
            return Ok(response);
        }
    }
}

/// A response in the place of one that there is not.
fn own(status: u16, body: String) -> HttpCallResponse {
    let mut headers = HeaderMap::with_capacity(3);
    headers.add(":status", status.to_string());
    headers.add("content-length", body.len().to_string());
    headers.add("content-type", "text/plain");
    let mut response = HttpCallResponse {
        headers,
        ..HttpCallResponse::default()
    };
    response.body.push(Bytes::from(body));
    response
}
