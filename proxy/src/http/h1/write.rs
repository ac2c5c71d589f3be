//! What goes out: heads checked and framed, bodies in the framing that their
//! head announced.

use std::hash::{BuildHasher, Hasher, RandomState};

use base64::Engine;
use bytes::Bytes;
use http::StatusCode;
use weir_abi::{BodyBuffer, HeaderMap};

use super::super::fields::{self, HeadError};
use super::super::length::DeclaredLength;
use super::super::wire::Wire;
use super::super::{Switch, TooShort};

/// How the body of a message goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyWriter {
    /// As it is, for as long as it was declared, or until the connection ends.
    Plain(DeclaredLength),
    Chunked,
    /// There is none, whatever comes: an answer to HEAD, a 304.
    Omitted,
    Ended,
}

/// A request's head, and how its body goes out.
pub(super) fn request(
    map: &HeaderMap,
    end_of_stream: bool,
    switch: Option<&Switch>,
) -> Result<(Bytes, BodyWriter), HeadError> {
    let method = map.get(b":method").ok_or(HeadError::Missing(":method"))?;
    if !fields::is_name(method) {
        return Err(HeadError::InvalidPseudo(":method"));
    }
    let connect = method == "CONNECT";
    // A filter's CONNECT would make a tunnel of a connection that others share.
    if connect != (switch == Some(&Switch::Connect)) {
        return Err(HeadError::InvalidPseudo(":method"));
    }
    let target = if connect {
        map.get(b":authority")
            .ok_or(HeadError::Missing(":authority"))?
    } else {
        map.get(b":path").ok_or(HeadError::Missing(":path"))?
    };
    if !fields::is_target(target) {
        return Err(HeadError::InvalidPseudo(":path"));
    }
    let mut out = Vec::with_capacity(map.byte_size() + 4 * map.len() + 64);
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = map.get(b":authority") {
        if !fields::is_authority(authority) {
            return Err(HeadError::InvalidPseudo(":authority"));
        }
        field(&mut out, b"host", authority);
    }
    for pair in fields::outgoing(map, switch) {
        let (name, value) = pair?;
        field(&mut out, name, value);
    }
    let websocket = |p: &Bytes| p.eq_ignore_ascii_case(b"websocket");
    if matches!(switch, Some(Switch::Upgrade(p)) if websocket(p))
        && map.contains(b"sec-websocket-version")
        && !map.contains(WEBSOCKET_KEY)
    {
        // A whole handshake but for this: a client that came by HTTP/2 needs none
        // (RFC 8441, section 5).
        field(&mut out, WEBSOCKET_KEY, websocket_key().as_bytes());
    }
    let length = DeclaredLength::of(map)?;
    let body = if switch.is_some() {
        BodyWriter::Plain(DeclaredLength::NONE)
    } else if length.is_declared() {
        plain(length, end_of_stream)?
    } else if end_of_stream {
        if !fields::is_bodiless_method(method) {
            field(&mut out, b"content-length", b"0");
        }
        BodyWriter::Ended
    } else {
        field(&mut out, b"transfer-encoding", b"chunked");
        BodyWriter::Chunked
    };
    out.extend_from_slice(b"\r\n");
    Ok((out.into(), body))
}

const WEBSOCKET_KEY: &[u8] = b"sec-websocket-key";

/// 16 bytes that nobody else chooses, in base64 (RFC 6455, section 4.1).
fn websocket_key() -> String {
    let random = || RandomState::new().build_hasher().finish().to_le_bytes();
    let nonce = [random(), random()].concat();
    base64::engine::general_purpose::STANDARD.encode(nonce)
}

/// What a response's head depends on besides its headers.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResponseContext<'a> {
    pub(super) http10: bool,
    /// The request was HEAD.
    pub(super) to_head: bool,
    /// What the client has asked to switch to.
    pub(super) switch: Option<&'a Switch>,
    pub(super) end_of_stream: bool,
    /// The connection can carry another message after this one.
    pub(super) reusable: bool,
}

/// A response's head, and how its body goes out.
pub(super) fn response(
    map: &HeaderMap,
    context: ResponseContext<'_>,
) -> Result<(Bytes, BodyWriter), HeadError> {
    let code = fields::status(map, context.switch)?;
    let mut out = status_line(map, code, context.http10);
    let granted = context.switch.filter(|s| s.is_granted(code));
    let switches = granted.is_some();
    for pair in fields::outgoing(map, granted) {
        let (name, value) = pair?;
        // There is nothing to measure (RFC 9110, section 8.6).
        if code != 204 || name != "content-length" {
            field(&mut out, name, value);
        }
    }
    let length = DeclaredLength::of(map)?;
    if !switches && !context.reusable {
        field(&mut out, b"connection", b"close");
    } else if context.http10 {
        field(&mut out, b"connection", b"keep-alive");
    }
    let body = if switches {
        BodyWriter::Plain(DeclaredLength::NONE)
    } else if context.to_head || matches!(code, 204 | 304) {
        if context.to_head && !length.is_declared() && !context.http10 && !matches!(code, 204 | 304)
        {
            field(&mut out, b"transfer-encoding", b"chunked");
        }
        if context.end_of_stream {
            BodyWriter::Ended
        } else {
            BodyWriter::Omitted
        }
    } else if length.is_declared() {
        plain(length, context.end_of_stream)?
    } else if context.end_of_stream {
        field(&mut out, b"content-length", b"0");
        BodyWriter::Ended
    } else if context.http10 {
        BodyWriter::Plain(DeclaredLength::NONE)
    } else {
        field(&mut out, b"transfer-encoding", b"chunked");
        BodyWriter::Chunked
    };
    out.extend_from_slice(b"\r\n");
    Ok((out.into(), body))
}

/// A body of declared length, which may be the end of its message already.
fn plain(length: DeclaredLength, end_of_stream: bool) -> Result<BodyWriter, HeadError> {
    if !end_of_stream {
        return Ok(BodyWriter::Plain(length));
    }
    length.finish_with_headers()?;
    Ok(BodyWriter::Ended)
}

/// A 1xx response; fields that are not well-formed are left out.
pub(super) fn informational(map: &HeaderMap) -> Option<Bytes> {
    let code = fields::informational_status(map)?;
    let mut out = status_line(map, code, false);
    for (name, value) in fields::outgoing(map, None).flatten() {
        if name != "content-length" {
            field(&mut out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
    Some(out.into())
}

fn status_line(map: &HeaderMap, code: u16, http10: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(map.byte_size() + 4 * map.len() + 64);
    out.extend_from_slice(if http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(code.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason_phrase(code).as_bytes());
    out.extend_from_slice(b"\r\n");
    out
}

/// The reason phrase of a status: Envoy's, where it knows one.
pub(super) fn reason_phrase(code: u16) -> &'static str {
    match code {
        203 => "Non-Authoritative Information",
        418 | 451 => "Unknown",
        _ => StatusCode::from_u16(code)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Unknown"),
    }
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

impl BodyWriter {
    /// Queues a piece of the body.
    pub(super) fn write(
        &mut self,
        wire: &mut Wire,
        mut data: BodyBuffer,
        end: bool,
    ) -> Result<(), TooShort> {
        match self {
            Self::Plain(length) => {
                length.admit(&mut data);
                wire.push_body(data);
            }
            Self::Chunked => {
                if !data.is_empty() {
                    wire.push(format!("{:x}\r\n", data.len()).into());
                    wire.push_body(data);
                    wire.push(Bytes::from_static(b"\r\n"));
                }
            }
            Self::Omitted | Self::Ended => {}
        }
        if end { self.end(wire, None) } else { Ok(()) }
    }

    /// Ends the message. Trailers go out where the framing has a place for them.
    pub(super) fn end(
        &mut self,
        wire: &mut Wire,
        trailers: Option<&HeaderMap>,
    ) -> Result<(), TooShort> {
        match std::mem::replace(self, Self::Ended) {
            Self::Plain(length) => length.finish(),
            Self::Chunked => {
                let mut out = Vec::with_capacity(64);
                out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flat_map(fields::outgoing_trailers) {
                    field(&mut out, name, value);
                }
                out.extend_from_slice(b"\r\n");
                wire.push(out.into());
                Ok(())
            }
            Self::Omitted | Self::Ended => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: ResponseContext<'_> = ResponseContext {
        http10: false,
        to_head: false,
        switch: None,
        end_of_stream: false,
        reusable: true,
    };

    fn wire(pairs: &[(&'static str, &'static str)]) -> Result<String, HeadError> {
        let map: HeaderMap = pairs.iter().copied().collect();
        let (head, _) = response(&map, CONTEXT)?;
        Ok(String::from_utf8(head.to_vec()).unwrap())
    }

    #[test]
    fn a_response_is_framed_by_the_codec_and_not_by_filters() {
        assert_eq!(
            wire(&[
                (":status", "200"),
                ("connection", "x"),
                ("transfer-encoding", "gzip"),
                ("a", "1")
            ]),
            Ok("HTTP/1.1 200 OK\r\na: 1\r\ntransfer-encoding: chunked\r\n\r\n".to_owned())
        );
    }

    #[test]
    fn a_tunnel_has_no_framing() {
        let map: HeaderMap = [(":status", "200"), ("content-length", "5"), ("a", "1")]
            .into_iter()
            .collect();
        let context = ResponseContext {
            switch: Some(&Switch::Connect),
            reusable: false,
            ..CONTEXT
        };
        let (head, body) = response(&map, context).unwrap();
        assert_eq!(head, "HTTP/1.1 200 OK\r\na: 1\r\n\r\n");
        assert_eq!(body, BodyWriter::Plain(DeclaredLength::NONE));
        let map = [(":method", "CONNECT"), (":authority", "h:80")];
        let (head, _) = request(&map.into_iter().collect(), false, context.switch).unwrap();
        assert_eq!(head, "CONNECT h:80 HTTP/1.1\r\nhost: h:80\r\n\r\n");
    }

    #[test]
    fn what_would_break_a_response_is_refused() {
        let status = |s| wire(&[(":status", s)]).unwrap_err();
        for bad in ["100", "101", "199"] {
            assert_eq!(status(bad), HeadError::InvalidPseudo(":status"), "{bad}");
        }
        for bad in ["", "abc", "42", "1000", "200,404"] {
            assert_eq!(status(bad), HeadError::Missing(":status"), "{bad}");
        }
        assert_eq!(wire(&[]).unwrap_err(), HeadError::Missing(":status"));
        let bad = |name, value| wire(&[(":status", "200"), (name, value)]).unwrap_err();
        let value = |name: &str| HeadError::InvalidValue(name.to_owned());
        assert_eq!(bad("a", "1\r\nx-injected: 1"), value("a"));
        assert_eq!(bad("content-length", "3,7"), value("content-length"));
        assert_eq!(bad("a b", "1"), HeadError::InvalidName("a b".to_owned()));
        assert_eq!(bad("", "1"), HeadError::InvalidName(String::new()));
    }

    #[test]
    fn what_would_break_a_request_is_refused() {
        let head = |pairs: &[(&'static str, &'static str)]| {
            request(&pairs.iter().copied().collect(), true, None).map(|_| ())
        };
        let get = [(":method", "GET"), (":path", "/"), (":authority", "h")];
        assert_eq!(head(&get), Ok(()));
        assert_eq!(head(&get[1..]), Err(HeadError::Missing(":method")));
        assert_eq!(head(&get[..1]), Err(HeadError::Missing(":path")));
        for (name, value) in [
            (":method", "FOO BAR"),
            (":path", "/a b"),
            (":path", "/a\r\nx: y"),
            (":authority", "h\r\nx: y"),
            (":authority", "a/b"),
        ] {
            let mut map: HeaderMap = get.iter().copied().collect();
            map.replace(name, value);
            assert_eq!(
                request(&map, true, None).map(|_| ()),
                Err(HeadError::InvalidPseudo(name)),
                "{name} {value:?}"
            );
        }
    }
}
