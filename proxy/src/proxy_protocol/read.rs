//! Reads the header that a proxy in front begins a connection with.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use weir_config::ProxyProtocol;

use super::{Ends, V1_PREFIX, V2_LOCAL, V2_PREFIX, V2_PROXY, V2_TCP4, V2_TCP6};
use crate::socket::SocketStream;

/// Bytes of the shortest header there is, `PROXY UNKNOWN` and its line end.
const SHORTEST: usize = 15;

/// Bytes of a header of version 1 (specification, section 2.1).
const V1_MAX: usize = 107;

/// Bytes in front of what the length in a header of version 2 counts.
const V2_FIXED: usize = 16;

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("the header takes too long")]
    Timeout,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no header of the PROXY protocol")]
    Missing,
    #[error("a malformed header: {0}")]
    Malformed(String),
    #[error("neither IPv4 nor IPv6")]
    Family,
}

/// Reads the header, and nothing behind it. `None`: the connection is the proxy's own,
/// or it does not know the ends.
pub(crate) async fn read(
    socket: &mut SocketStream,
    options: ProxyProtocol,
) -> Result<Option<Ends>, HeaderError> {
    let header = header(socket);
    let header = match options.timeout {
        Some(limit) => timeout(limit, header)
            .await
            .unwrap_or(Err(HeaderError::Timeout)),
        None => header.await,
    };
    parse(&header?)
}

async fn header(socket: &mut SocketStream) -> Result<Vec<u8>, HeaderError> {
    let mut header = vec![0; SHORTEST];
    socket.read_exact(&mut header).await?;
    if header.starts_with(V2_PREFIX) {
        header.push(socket.read_u8().await?);
        let length = u16::from_be_bytes([header[V2_FIXED - 2], header[V2_FIXED - 1]]);
        header.resize(V2_FIXED + usize::from(length), 0);
        socket.read_exact(&mut header[V2_FIXED..]).await?;
        return Ok(header);
    }
    if !header.starts_with(V1_PREFIX) {
        return Err(HeaderError::Missing);
    }
    // What follows the line is somebody else's.
    while !header.ends_with(b"\r\n") {
        if header.len() >= V1_MAX {
            return Err(HeaderError::Malformed("it has no end".to_owned()));
        }
        header.push(socket.read_u8().await?);
    }
    Ok(header)
}

pub(super) fn parse(header: &[u8]) -> Result<Option<Ends>, HeaderError> {
    match header.strip_prefix(V2_PREFIX) {
        Some(rest) => parse_v2(rest),
        None => parse_v1(header),
    }
}

/// `PROXY TCP4 client destination port port`.
fn parse_v1(line: &[u8]) -> Result<Option<Ends>, HeaderError> {
    let malformed = || HeaderError::Malformed(line.escape_ascii().to_string());
    let text = std::str::from_utf8(line).ok();
    let text = text.and_then(|text| text.strip_suffix("\r\n"));
    let fields: Vec<&str> = text.ok_or_else(malformed)?.split(' ').collect();
    let port = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits)
    };
    let ends = match fields[..] {
        // What follows it has no meaning.
        ["PROXY", "UNKNOWN", ..] => return Ok(None),
        [
            "PROXY",
            family,
            client,
            destination,
            client_port,
            destination_port,
        ] => {
            let ip = |text: &str| match family {
                "TCP4" => text.parse().ok().map(IpAddr::V4),
                "TCP6" => text.parse().ok().map(IpAddr::V6),
                _ => None,
            };
            let end = |address, of| Some(SocketAddr::new(ip(address)?, port(of)?));
            end(client, client_port).zip(end(destination, destination_port))
        }
        _ => None,
    };
    let (client, destination) = ends.ok_or_else(malformed)?;
    Ok(Some(Ends {
        client,
        destination,
    }))
}

/// What follows the signature: version and command, family and transport, length,
/// addresses, and what else there may be.
fn parse_v2(rest: &[u8]) -> Result<Option<Ends>, HeaderError> {
    let malformed = |why: &str| HeaderError::Malformed(why.to_owned());
    let [command, family, _, _, addresses @ ..] = rest else {
        return Err(malformed("it is too short"));
    };
    match *command {
        V2_LOCAL => return Ok(None),
        V2_PROXY => {}
        _ => return Err(malformed("neither LOCAL nor PROXY of version 2")),
    }
    let ends = match *family {
        V2_TCP4 => {
            let ip = |at| array(addresses, at).map(|ip: [u8; 4]| IpAddr::from(ip));
            ends(ip(0), ip(4), array(addresses, 8), array(addresses, 10))
        }
        V2_TCP6 => {
            let ip = |at| array(addresses, at).map(|ip: [u8; 16]| IpAddr::from(ip));
            ends(ip(0), ip(16), array(addresses, 32), array(addresses, 34))
        }
        _ => return Err(HeaderError::Family),
    };
    let ends = ends.ok_or_else(|| malformed("it is too short for its addresses"));
    ends.map(Some)
}

fn ends(
    client: Option<IpAddr>,
    destination: Option<IpAddr>,
    client_port: Option<[u8; 2]>,
    destination_port: Option<[u8; 2]>,
) -> Option<Ends> {
    let end = |ip: Option<IpAddr>, port: Option<[u8; 2]>| {
        Some(SocketAddr::new(ip?, u16::from_be_bytes(port?)))
    };
    Some(Ends {
        client: end(client, client_port)?,
        destination: end(destination, destination_port)?,
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_both_ends() {
        let ends = |client: &str, destination: &str| {
            Some(Ends {
                client: client.parse().unwrap(),
                destination: destination.parse().unwrap(),
            })
        };
        let v2 = |rest: &[u8]| [V2_PREFIX, rest].concat();
        let four = [0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 4, 1, 0, 80];
        for (header, expected) in [
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 1025 80\r\n".to_vec(),
                ends("192.0.2.1:1025", "192.0.2.2:80"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 2001:db8::2 1025 80\r\n".to_vec(),
                ends("[2001:db8::1]:1025", "[2001:db8::2]:80"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN a b c\r\n".to_vec(), None),
            (v2(&four), ends("192.0.2.1:1025", "192.0.2.2:80")),
            (v2(&[0x20, 0, 0, 0]), None),
        ] {
            assert_eq!(parse(&header).unwrap(), expected, "{header:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_an_error() {
        let v2 = |rest: &[u8]| [V2_PREFIX, rest].concat();
        for header in [
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1025 99999\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 +1025 80\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 2001:db8::2 1025 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1025 80 \r\n".to_vec(),
            b"PROXY TCP7 192.0.2.1 192.0.2.2 1025 80\r\n".to_vec(),
            v2(&[0x11, 0x11, 0, 0]),
            v2(&[0x21, 0x11, 0, 4, 1, 2, 3, 4]),
            // Datagrams, and no family.
            v2(&[0x21, 0x12, 0, 12, 1, 1, 1, 1, 2, 2, 2, 2, 0, 1, 0, 2]),
            v2(&[0x21, 0, 0, 0]),
        ] {
            assert!(parse(&header).is_err(), "{header:?}");
        }
    }
}
