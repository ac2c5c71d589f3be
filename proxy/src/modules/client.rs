//! A client for one fetch: bounded in time, size and where it goes.

use std::io::Read;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body};
use weir_config::Endpoint;

use super::address::{Guard, host_and_port};
use super::error::FetchError;
use crate::limits::{FETCH_REDIRECTS_MAX, REFUSAL_BYTES_MAX};

pub(super) struct Client {
    agent: Agent,
    deadline: Instant,
    /// Whether what arrives is good even if anybody could have meddled with it.
    plain: bool,
}

/// An answer whose body has not been read.
pub(super) struct Answer {
    host: String,
    response: Response<Body>,
    deadline: Instant,
}

/// What a request asks for.
#[derive(Default)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) accept: Option<&'a str>,
    /// For the server that is asked first, and for none that it leads to.
    pub(super) authorization: Option<&'a str>,
    /// What is sent.
    pub(super) content: Option<Content<'a>>,
}

/// What a request brings.
#[derive(Clone, Copy)]
pub(super) struct Content<'a> {
    pub(super) media_type: &'a str,
    /// Where it belongs in what is uploaded in pieces: the first byte and the last.
    pub(super) range: Option<(usize, usize)>,
    pub(super) bytes: &'a [u8],
}

impl Client {
    pub(super) fn new(
        origin: &Uri,
        via: Option<Vec<Endpoint>>,
        certificates: Option<Vec<Certificate<'static>>>,
        plain: bool,
        timeout: Duration,
    ) -> Result<Self, FetchError> {
        let (host, port) = host_and_port(origin)
            .ok_or_else(|| FetchError::Protocol(format!("`{origin}` is not a URI of HTTP")))?;
        let guard = Guard::new((host.to_owned(), port), via);
        let roots = match certificates {
            Some(certificates) => RootCerts::from(certificates.into_iter()),
            None => RootCerts::WebPki,
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Both would lead around the guard.
            .max_redirects(0)
            .proxy(None)
            // A server may have closed what was kept: few requests do not need it.
            .max_idle_connections(0)
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Ok(Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), guard),
            deadline: Instant::now() + timeout,
            plain,
        })
    }

    /// Whether a server may be asked without TLS.
    pub(super) fn may_be_plain(&self, uri: &Uri) -> bool {
        self.plain || host_and_port(uri).is_some_and(|(host, _)| weir_config::is_loopback(host))
    }

    /// Asks for `uri`, and for what that redirects to.
    pub(super) fn follow(&self, uri: &Uri, ask: &Ask<'_>) -> Result<Answer, FetchError> {
        let mut at = uri.clone();
        for _ in 0..=FETCH_REDIRECTS_MAX {
            let same = host_and_port(&at) == host_and_port(uri) && at.scheme() == uri.scheme();
            let ask = Ask {
                method: ask.method.clone(),
                accept: ask.accept,
                authorization: ask.authorization.filter(|_| same),
                content: ask.content,
            };
            let answer = self.ask(&at, &ask)?;
            let leads = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            // What is sent is for the server that was named.
            if !leads || ask.content.is_some() {
                return Ok(answer);
            }
            at = self.led("a redirect", &at, answer.headers())?;
        }
        Err(FetchError::Protocol(format!(
            "{uri} redirects more than {FETCH_REDIRECTS_MAX} times"
        )))
    }

    /// Where the answer from `from`, which is `what`, says to go on.
    pub(super) fn led(
        &self,
        what: &'static str,
        from: &Uri,
        headers: &HeaderMap,
    ) -> Result<Uri, FetchError> {
        let location = headers.get(header::LOCATION).map(|value| value.to_str());
        let Some(Ok(location)) = location else {
            let message = format!("{from} answers with {what}, and does not say where to");
            return Err(FetchError::Protocol(message));
        };
        let forbidden = |why| FetchError::Leads {
            what,
            to: location.to_owned(),
            why,
        };
        let absolute = if location.contains("://") {
            location.to_owned()
        } else if let (true, Some(scheme), Some(authority)) = (
            location.starts_with('/') && !location.starts_with("//"),
            from.scheme_str(),
            from.authority(),
        ) {
            format!("{scheme}://{authority}{location}")
        } else {
            return Err(forbidden("only full URIs and paths are followed"));
        };
        let absolute = absolute.split('#').next().unwrap_or(&absolute);
        let to: Uri = absolute
            .parse()
            .map_err(|_| forbidden("that is not a URI"))?;
        self.check(&to).map_err(forbidden)?;
        if from.scheme_str() == Some("https") && to.scheme_str() != Some("https") {
            return Err(forbidden("what began with TLS goes on with TLS"));
        }
        Ok(to)
    }

    /// Whether a server may lead to `uri`; the addresses behind it are looked at when
    /// they are dialled.
    pub(super) fn check(&self, uri: &Uri) -> Result<(), &'static str> {
        if host_and_port(uri).is_none() {
            return Err("modules come by `https` and `http`");
        }
        if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err("it has credentials in it");
        }
        if uri.scheme_str() == Some("http") && !self.may_be_plain(uri) {
            return Err("that is not this machine, and has no TLS");
        }
        Ok(())
    }

    /// Asks for `uri` alone.
    pub(super) fn ask(&self, uri: &Uri, ask: &Ask<'_>) -> Result<Answer, FetchError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(FetchError::Time);
        }
        let host = uri.authority().map_or("", |a| a.as_str()).to_owned();
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(uri.clone());
        if let Some(accept) = ask.accept {
            request = request.header(header::ACCEPT, accept);
        }
        if let Some(authorization) = ask.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let invalid = |error: ureq::http::Error| FetchError::Protocol(error.to_string());
        let sent = match &ask.content {
            Some(content) => {
                let mut request = request.header(header::CONTENT_TYPE, content.media_type);
                if let Some((first, last)) = content.range {
                    request = request.header(header::CONTENT_RANGE, format!("{first}-{last}"));
                }
                let request = request.body(content.bytes).map_err(invalid)?;
                let configured = self.agent.configure_request(request);
                self.agent
                    .run(configured.timeout_global(Some(left)).build())
            }
            None => {
                let request = request.body(()).map_err(invalid)?;
                let configured = self.agent.configure_request(request);
                self.agent
                    .run(configured.timeout_global(Some(left)).build())
            }
        };
        match sent {
            Ok(response) => Ok(Answer {
                host,
                response,
                deadline: self.deadline,
            }),
            Err(ureq::Error::Timeout(_)) => Err(FetchError::Time),
            Err(source) => Err(FetchError::Http { host, source }),
        }
    }
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The body of a success.
    pub(super) fn body(self, what: &'static str, limit: usize) -> Result<Vec<u8>, FetchError> {
        let status = self.status();
        if status != StatusCode::OK {
            let host = self.host;
            return Err(FetchError::Status { host, status });
        }
        self.read(what, limit)
    }

    /// The answer, if it has one of these statuses; `what` was asked for.
    pub(super) fn expect(self, what: &str, statuses: &[StatusCode]) -> Result<Self, FetchError> {
        let status = self.status();
        if statuses.contains(&status) {
            return Ok(self);
        }
        let challenge = self.headers().get(header::WWW_AUTHENTICATE);
        let challenge = challenge.and_then(|challenge| challenge.to_str().ok());
        let (host, challenge) = (self.host.clone(), challenge.map(str::to_owned));
        // Why it refuses is for people, if it can be read.
        let said = self
            .read("the refusal", REFUSAL_BYTES_MAX)
            .unwrap_or_default();
        Err(FetchError::Refused {
            host,
            what: what.to_owned(),
            status,
            challenge,
            said: said_in(&said),
        })
    }

    fn read(self, what: &'static str, limit: usize) -> Result<Vec<u8>, FetchError> {
        let Self {
            host,
            response,
            deadline,
        } = self;
        let too_large = FetchError::TooLarge { what, limit };
        let said = response.body().content_length();
        if said.is_some_and(|said| said > limit as u64) {
            return Err(too_large);
        }
        let mut reader = response.into_body().into_reader();
        // What the server says of the size is no reason to make room for it.
        let mut body = Vec::new();
        let mut chunk = [0; 16 * 1024];
        loop {
            if Instant::now() >= deadline {
                return Err(FetchError::Time);
            }
            let n = match reader.read(&mut chunk) {
                Ok(0) => return Ok(body),
                Ok(n) => n,
                Err(error) => return Err(interrupted(host, error, deadline)),
            };
            if body.len() + n > limit {
                return Err(too_large);
            }
            body.extend_from_slice(&chunk[..n]);
        }
    }
}

/// What a registry says of an error (OCI distribution specification, "Error Codes").
fn said_in(body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let errors = json["errors"].as_array()?.iter();
    let texts = errors.filter_map(|error| {
        let (code, message) = (error["code"].as_str(), error["message"].as_str());
        let text: Vec<_> = [code, message].into_iter().flatten().collect();
        (!text.is_empty()).then(|| text.join(": "))
    });
    let texts: Vec<_> = texts.collect();
    let text = texts.join("; ").replace(char::is_control, " ");
    (!text.is_empty()).then_some(text)
}

fn interrupted(host: String, error: std::io::Error, deadline: Instant) -> FetchError {
    let timed_out = error.kind() == std::io::ErrorKind::TimedOut || Instant::now() >= deadline;
    if timed_out {
        return FetchError::Time;
    }
    let source = ureq::Error::Io(error);
    FetchError::Http { host, source }
}

/// The certificates in a file; the error says why there are none.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>, String> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    if certificates.is_empty() {
        return Err("there is none in it".to_owned());
    }
    Ok(certificates)
}
