//! [`Inspection`]: what the first bytes of a connection tell, which stay where they are.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use tokio::io::Interest;
use tokio::time::timeout;
use weir_config::{Listener, PLAIN_HTTP, PortRange};

use super::hello;
use crate::limits::{INSPECTED_BYTES_AT_FIRST, INSPECTED_HTTP_BYTES, INSPECTED_TLS_BYTES};
use crate::socket::SocketStream;

/// With what HTTP/2 begins (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is to be found out about connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inspection {
    tls: bool,
    tls_except_ports: Vec<PortRange>,
    http: bool,
    http_except_ports: Vec<PortRange>,
    timeout: Option<Duration>,
    /// A client that takes longer is served by what is known of it.
    pub(crate) continue_on_timeout: bool,
}

/// What was found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inspected {
    /// It begins with a handshake of TLS.
    pub(crate) is_tls: bool,
    /// The name that is asked for, in lower case; empty if none is.
    pub(crate) server_name: String,
    /// What the client offers, or speaks already.
    pub(crate) protocols: Vec<String>,
}

/// Why nothing was found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectionError {
    #[error("the client takes too long to say what it speaks")]
    Timeout,
    #[error("the client has gone before it said what it speaks")]
    Gone,
    #[error("the client says too much before it is clear what it speaks")]
    TooLarge,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Inspection {
    /// `None` if nothing is to be found out.
    pub(crate) fn of(listener: &Listener) -> Option<Self> {
        let (tls, http) = listener.inspects();
        let inspect = &listener.inspect;
        (tls || http).then(|| Self {
            tls,
            tls_except_ports: inspect.tls_except_ports.clone(),
            http,
            http_except_ports: inspect.http_except_ports.clone(),
            timeout: inspect.timeout,
            continue_on_timeout: inspect.continue_on_timeout,
        })
    }

    /// What is to be found out about a connection for this port of its destination.
    fn wants(&self, port: Option<u16>) -> Wants {
        let has = |ranges: &[PortRange]| {
            port.is_some_and(|port| ranges.iter().any(|range| range.contains(port)))
        };
        Wants {
            tls: self.tls && !has(&self.tls_except_ports),
            http: self.http && !has(&self.http_except_ports),
        }
    }

    /// Looks at what the client says first on a connection for `port`, and leaves it to
    /// be read. If that has not been enough, the socket does not tell of it a second
    /// time.
    pub(crate) async fn inspect(
        &self,
        connection: &SocketStream,
        port: Option<u16>,
    ) -> Result<Inspected, InspectionError> {
        let wants = self.wants(port);
        if !wants.tls && !wants.http {
            return Ok(Inspected::default());
        }
        let looking = wants.look(connection);
        match self.timeout {
            Some(limit) => timeout(limit, looking)
                .await
                .unwrap_or(Err(InspectionError::Timeout)),
            None => looking.await,
        }
    }
}

/// What is to be found out about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wants {
    tls: bool,
    http: bool,
}

impl Wants {
    async fn look(self, connection: &SocketStream) -> Result<Inspected, InspectionError> {
        let mut look = Look::new(self);
        loop {
            let ready = connection.ready(Interest::READABLE).await?;
            // Bytes that are not enough wait for the next to come, not for themselves.
            let result = connection.try_io(Interest::READABLE, || match look.at(connection) {
                Err(InspectionError::Io(error)) => Err(error),
                Ok(None) if !ready.is_read_closed() => Err(io::ErrorKind::WouldBlock.into()),
                result => Ok(result),
            });
            match result {
                Ok(result) => return result?.ok_or(InspectionError::Gone),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What has been seen of a connection so far.
struct Look {
    wants: Wants,
    buffer: Vec<u8>,
}

impl Look {
    fn new(wants: Wants) -> Self {
        Self {
            wants,
            buffer: vec![0; INSPECTED_BYTES_AT_FIRST],
        }
    }

    /// What the bytes that have come tell, if they are enough.
    fn at(&mut self, connection: &SocketStream) -> Result<Option<Inspected>, InspectionError> {
        loop {
            let peeked = recv(connection.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_PEEK);
            let length = peeked.map_err(io::Error::from)?;
            if length == 0 {
                return Err(InspectionError::Gone);
            }
            let found = self.judge(length)?;
            if found.is_some() || length < self.buffer.len() {
                return Ok(found);
            }
            self.buffer.resize(2 * length, 0);
        }
    }

    /// `None` if more bytes are needed.
    fn judge(&self, length: usize) -> Result<Option<Inspected>, InspectionError> {
        let bytes = &self.buffer[..length];
        let looks: [(bool, Protocol, usize); 2] = [
            (self.wants.tls, hello::read, INSPECTED_TLS_BYTES),
            (self.wants.http, http, INSPECTED_HTTP_BYTES),
        ];
        for (_, look, limit) in looks.into_iter().filter(|(is_wanted, ..)| *is_wanted) {
            match look(bytes) {
                Found::Yes(inspected) => return Ok(Some(inspected)),
                Found::NotYet if length >= limit => return Err(InspectionError::TooLarge),
                Found::NotYet => return Ok(None),
                Found::No => {}
            }
        }
        Ok(Some(Inspected::default()))
    }
}

/// Tells whether bytes are of a protocol.
type Protocol = fn(&[u8]) -> Found;

/// Whether the bytes are of a protocol.
pub(super) enum Found {
    Yes(Inspected),
    No,
    /// More of them will tell.
    NotYet,
}

/// The version in the first line; what follows it is looked at when it is read.
fn http(bytes: &[u8]) -> Found {
    let [http10, http11, http2] = PLAIN_HTTP;
    let found = |protocol: &str| {
        Found::Yes(Inspected {
            protocols: vec![protocol.to_owned()],
            ..Inspected::default()
        })
    };
    if bytes.starts_with(HTTP2_PREFACE) {
        return found(http2);
    }
    if HTTP2_PREFACE.starts_with(bytes) {
        return Found::NotYet;
    }
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse(bytes);
    match request.version {
        Some(0) => found(http10),
        Some(_) => found(http11),
        None if matches!(parsed, Ok(httparse::Status::Partial)) => Found::NotYet,
        None => Found::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_the_version_of_http() {
        for (bytes, expected) in [
            ("GET / HTTP/1.1\r\n", Some("http/1.1")),
            ("GET / HTTP/1.1\r\nbad header\r\n\r\n", Some("http/1.1")),
            ("GET / HTTP/1.0\r\na: b\r\n\r\n", Some("http/1.0")),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some("h2c")),
        ] {
            let Found::Yes(inspected) = http(bytes.as_bytes()) else {
                panic!("{bytes}")
            };
            assert_eq!(inspected.protocols.first().map(String::as_str), expected);
            assert!(!inspected.is_tls);
        }
        for bytes in ["G", "GET /", "PRI * HTT", "GET / HTTP/1"] {
            assert!(matches!(http(bytes.as_bytes()), Found::NotYet), "{bytes}");
        }
        for bytes in ["\x16\x03", "SSH-2.0-x y\r\n", "GET\0", "GET / FTP/1"] {
            assert!(matches!(http(bytes.as_bytes()), Found::No), "{bytes}");
        }
    }
}
