//! Health checks by HTTP, and the connections that HTTP and gRPC make them on.

use std::rc::Rc;

use bytes::Bytes;
use weir_abi::HeaderMap;
use weir_config::{Address, HttpHealthCheck, Metadata, Statuses, UpstreamProtocol};

use super::Verdict;
use super::exchange::{Answer, exchange};
use crate::cluster::Account;
use crate::cluster::spec::ClusterSpec;
use crate::http::{CodecOptions, Connection, H1Upstream, H2Endpoint, UpstreamError};
use crate::stream::parse_status;
use crate::tls::Purpose;

/// How Weir calls itself in health checks.
pub(super) const USER_AGENT: &str = "Weir/HC";

/// Whom a check asks.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) cluster: &'a ClusterSpec,
    pub(super) address: &'a Address,
    /// The name that the address was found under.
    pub(super) host: Option<&'a str>,
    /// What is said of it.
    pub(super) metadata: Option<&'a Metadata>,
    /// Whether a connection may be used that is there.
    pub(super) reuse: bool,
}

impl Target<'_> {
    pub(super) fn scheme(&self) -> &'static str {
        match self.cluster.tls.of(self.metadata) {
            Some(_) => "https",
            None => "http",
        }
    }

    /// A connection, encrypted as those of requests are.
    async fn connect(&self, purpose: Purpose) -> Result<Connection, UpstreamError> {
        let connected = self.cluster.connect(self.address, &Account::OWN).await;
        let socket = connected.map_err(|error| UpstreamError::Connect(error.to_string()))?;
        let Some(tls) = self.cluster.tls.of(self.metadata) else {
            return Ok(socket.into());
        };
        let name = tls.name(self.host, self.address.ip());
        let connected = tls.connect(socket, name, purpose).await;
        connected
            .map(Connection::from)
            .map_err(|error| UpstreamError::Connect(error.reason))
    }
}

/// What is kept from one check to the next.
#[derive(Default)]
pub(super) struct HttpProbe {
    http1: Option<Connection>,
    http2: H2Endpoint,
}

impl HttpProbe {
    /// Makes one exchange; on a connection that there is, if it may.
    ///
    /// # Errors
    /// When there is no response, or not all of it.
    pub(super) async fn exchange(
        &mut self,
        protocol: UpstreamProtocol,
        target: Target<'_>,
        headers: &HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Answer, UpstreamError> {
        match protocol {
            UpstreamProtocol::Http1 | UpstreamProtocol::Downstream => {
                self.http1(target, headers, body).await
            }
            UpstreamProtocol::Http2 => self.http2(target, headers, body).await,
        }
    }

    async fn http1(
        &mut self,
        target: Target<'_>,
        headers: &HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Answer, UpstreamError> {
        let codec = Rc::new(CodecOptions::default());
        if let Some(connection) = self.http1.take().filter(|_| target.reuse) {
            let mut upstream = H1Upstream::new(connection, Rc::clone(&codec));
            match exchange(&mut upstream, headers, body.clone()).await {
                Ok(answer) => {
                    self.http1 = upstream.reuse();
                    return Ok(answer);
                }
                // The endpoint may have closed it since the last time.
                Err(UpstreamError::Closed(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let mut upstream = H1Upstream::new(target.connect(Purpose::Http1).await?, codec);
        let answer = exchange(&mut upstream, headers, body).await?;
        self.http1 = upstream.reuse();
        Ok(answer)
    }

    async fn http2(
        &mut self,
        target: Target<'_>,
        headers: &HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Answer, UpstreamError> {
        let codec = CodecOptions::default();
        if !target.reuse {
            self.http2 = H2Endpoint::default();
        }
        if let Some(mut upstream) = self.http2.stream(&codec) {
            match exchange(&mut upstream, headers, body.clone()).await {
                Err(UpstreamError::Closed(_) | UpstreamError::Refused) => {}
                answered => return answered,
            }
        }
        let make = async || target.connect(Purpose::Http2).await;
        let (mut upstream, _) = self.http2.fresh_stream(&codec, make).await?;
        exchange(&mut upstream, headers, body).await
    }
}

/// Asks an endpoint by HTTP.
pub(super) async fn check(
    http: &HttpHealthCheck,
    target: Target<'_>,
    probe: &mut HttpProbe,
) -> Verdict {
    let host = if http.host.is_empty() {
        &target.cluster.name
    } else {
        &http.host
    };
    let headers: HeaderMap = [
        (":method", http.method.name().to_owned()),
        (":scheme", target.scheme().to_owned()),
        (":authority", host.clone()),
        (":path", http.path.clone()),
        ("user-agent", USER_AGENT.to_owned()),
    ]
    .into_iter()
    .collect();
    let answered = probe.exchange(http.protocol, target, &headers, None);
    let answer = match answered.await {
        Ok(answer) => answer,
        Err(error) => return Verdict::Network(error.to_string()),
    };
    let status = answer.headers.get(b":status").and_then(|s| parse_status(s));
    verdict(http, status.unwrap_or(0))
}

fn verdict(http: &HttpHealthCheck, status: u16) -> Verdict {
    let is_expected = match http.expected_statuses.as_slice() {
        [] => status == 200,
        ranges => Statuses::contain(ranges, status),
    };
    let why = || format!("the status is {status}");
    if is_expected {
        Verdict::Healthy
    } else if Statuses::contain(&http.retriable_statuses, status) {
        Verdict::Retriable(why())
    } else {
        Verdict::Unhealthy(why())
    }
}
