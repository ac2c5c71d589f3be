//! Clients that say little: each kind of connection, brought to where it waits.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use weir_conformance::frames::{ACK, END_HEADERS, END_STREAM, PREFACE, RawFrame, get_block, kind};
use weir_conformance::tls::Authority;
use weir_load::upstream;

/// Loopback addresses that clients come from: each has ports of its own.
const SOURCES: usize = 16;

/// How long a connection may take until it waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// The name that the certificate is for.
pub(super) const HOST: &str = "localhost";

/// A record of TLS, and how a client's first message begins in it.
pub(super) const HALF_A_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0];

/// A head that goes on.
pub(super) const HALF_A_HEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ";

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nuser-agent: weir-chaos\r\n\r\n";

/// What a connection waits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http1,
    Http2,
    Tls,
    TlsHttp2,
    SlowHead,
    Handshake,
}

impl Kind {
    pub(super) const ALL: [Self; 6] = [
        Self::Http1,
        Self::Http2,
        Self::Tls,
        Self::TlsHttp2,
        Self::SlowHead,
        Self::Handshake,
    ];

    /// Those that have been served, and wait.
    pub(super) const IDLE: [Self; 4] = [Self::Http1, Self::Http2, Self::Tls, Self::TlsHttp2];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "idle, HTTP/1.1",
            Self::Http2 => "idle, HTTP/2",
            Self::Tls => "idle, HTTP/1.1 over TLS",
            Self::TlsHttp2 => "idle, HTTP/2 over TLS",
            Self::SlowHead => "half a head",
            Self::Handshake => "half a handshake",
        }
    }
}

/// Makes connections to the two listeners of a proxy.
pub(super) struct Clients {
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    http1: TlsConnector,
    http2: TlsConnector,
    made: AtomicUsize,
}

/// A connection that waits.
pub(super) enum Waiting {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Waiting {
    /// Whether the other side has left it open, and said nothing.
    pub(super) fn is_open(&self) -> bool {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        };
        let read = tcp.try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

impl Clients {
    pub(super) fn new(plain: SocketAddr, tls: SocketAddr, authority: &Authority) -> Self {
        let connector = |protocol: &[u8]| {
            let mut config = authority.client(None);
            config.alpn_protocols = vec![protocol.to_vec()];
            TlsConnector::from(Arc::new(config))
        };
        Self {
            plain,
            tls,
            http1: connector(b"http/1.1"),
            http2: connector(b"h2"),
            made: AtomicUsize::new(0),
        }
    }

    /// A connection from one of the addresses.
    pub(super) async fn connect(&self, to: SocketAddr) -> Result<TcpStream> {
        let number = self.made.fetch_add(1, Ordering::Relaxed) % SOURCES;
        let from = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + u32::try_from(number)?);
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let connection = timeout(PATIENCE, socket.connect(to)).await;
        Ok(connection.context("connecting takes too long")??)
    }

    /// A connection that waits.
    pub(super) async fn open(&self, kind: Kind) -> Result<Waiting> {
        let opened = timeout(PATIENCE, self.open_without_end(kind)).await;
        opened.with_context(|| format!("{}: no answer", kind.name()))?
    }

    async fn open_without_end(&self, kind: Kind) -> Result<Waiting> {
        let is_plain = matches!(kind, Kind::Http1 | Kind::Http2 | Kind::SlowHead);
        let to = if is_plain { self.plain } else { self.tls };
        let mut tcp = self.connect(to).await?;
        let connector = match kind {
            Kind::Tls => &self.http1,
            Kind::TlsHttp2 => &self.http2,
            Kind::Http1 => {
                ask_http1(&mut tcp).await?;
                return Ok(Waiting::Plain(tcp));
            }
            Kind::Http2 => {
                ask_http2(&mut tcp).await?;
                return Ok(Waiting::Plain(tcp));
            }
            Kind::SlowHead => {
                tcp.write_all(HALF_A_HEAD).await?;
                return Ok(Waiting::Plain(tcp));
            }
            Kind::Handshake => {
                tcp.write_all(HALF_A_HELLO).await?;
                return Ok(Waiting::Plain(tcp));
            }
        };
        let mut tls = connector.connect(HOST.try_into()?, tcp).await?;
        match kind {
            Kind::TlsHttp2 => ask_http2(&mut tls).await?,
            _ => ask_http1(&mut tls).await?,
        }
        Ok(Waiting::Tls(Box::new(tls)))
    }
}

async fn ask_http1(connection: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
    connection.write_all(REQUEST).await?;
    connection.flush().await?;
    let mut answer = Vec::new();
    while !answer.ends_with(upstream::BODY) {
        ensure!(connection.read_buf(&mut answer).await? > 0, "no answer");
    }
    let text = String::from_utf8_lossy(&answer);
    ensure!(text.starts_with("HTTP/1.1 200 "), "{text}");
    Ok(())
}

async fn ask_http2(connection: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
    let request = RawFrame::new(
        kind::HEADERS,
        END_HEADERS | END_STREAM,
        1,
        get_block(&[(b"user-agent", b"weir-chaos")]),
    );
    let settings = RawFrame::new(kind::SETTINGS, 0, 0, b"");
    let acknowledged = RawFrame::new(kind::SETTINGS, ACK, 0, b"");
    let begin = [
        PREFACE,
        &settings.bytes(),
        &request.bytes(),
        &acknowledged.bytes(),
    ];
    connection.write_all(&begin.concat()).await?;
    connection.flush().await?;
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut payload = vec![0; usize::try_from(length)?];
        connection.read_exact(&mut payload).await?;
        match kind {
            kind::DATA if flags & END_STREAM != 0 => return Ok(()),
            kind::GOAWAY | kind::RST_STREAM => bail!("the request is refused"),
            _ => {}
        }
    }
}
