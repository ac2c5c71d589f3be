//! Message heads of HTTP/1: from the bytes on the wire to an ordered map with
//! pseudo-headers, and from such a map to what pingora writes.

use bytes::Bytes;
use pingora_http::{RequestHeader, ResponseHeader};
use weir_abi::HeaderMap;

use crate::limits::{HEADERS_BYTES_MAX, HEADERS_COUNT_MAX};

/// Why a head is not acceptable.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("missing required header: {0}")]
    Missing(&'static str),
    #[error("invalid value of {0}")]
    InvalidPseudo(&'static str),
    #[error("invalid header name: {0}")]
    InvalidName(String),
    #[error("invalid header value for: {0}")]
    InvalidValue(String),
    #[error("malformed head")]
    Malformed,
    #[error("too many or too large headers")]
    TooLarge,
}

/// Headers that concern one connection and go no further (RFC 9110, 7.6.1).
/// `te` goes further when it says `trailers`.
const HOP_BY_HOP: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// The request in `raw`, as filters see it: `:authority`, `:path`, `:method`,
/// `:scheme`, then the client's headers in order, then `x-forwarded-proto`.
pub(super) fn request_map(raw: &Bytes) -> Result<HeaderMap, HeadError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_COUNT_MAX];
    let mut request = httparse::Request::new(&mut headers);
    parsed(request.parse(raw), raw)?;
    let target = request.path.ok_or(HeadError::Malformed)?;
    let method = request.method.ok_or(HeadError::Malformed)?;

    let mut map = HeaderMap::with_capacity(request.headers.len() + 5);
    let (authority, path) = split_target(target);
    let authority = match authority {
        Some(authority) => Some(raw.slice_ref(authority.as_bytes())),
        None => header(request.headers, "host").map(|v| raw.slice_ref(v)),
    };
    if let Some(authority) = authority {
        map.add(":authority", authority);
    } else if request.version == Some(1) {
        return Err(HeadError::Missing("host"));
    }
    let path = if path.is_empty() {
        Bytes::from_static(b"/")
    } else {
        raw.slice_ref(path.as_bytes())
    };
    map.add(":path", path);
    map.add(":method", raw.slice_ref(method.as_bytes()));
    map.add(":scheme", "http");
    add_fields(&mut map, raw, request.headers, &["host", "expect"]);
    if !map.contains(b"x-forwarded-proto") {
        map.add("x-forwarded-proto", "http");
    }
    Ok(map)
}

/// The response in `raw`: `:status`, then the upstream's headers in order.
pub(super) fn response_map(raw: &Bytes) -> Result<HeaderMap, HeadError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_COUNT_MAX];
    let mut response = httparse::Response::new(&mut headers);
    parsed(response.parse(raw), raw)?;
    let code = response.code.ok_or(HeadError::Malformed)?;
    let mut map = HeaderMap::with_capacity(response.headers.len() + 2);
    map.add(":status", code.to_string());
    add_fields(&mut map, raw, response.headers, &[]);
    Ok(map)
}

fn parsed(result: httparse::Result<usize>, raw: &Bytes) -> Result<(), HeadError> {
    match result {
        Ok(httparse::Status::Complete(_)) if raw.len() <= HEADERS_BYTES_MAX => Ok(()),
        Ok(httparse::Status::Complete(_)) | Err(httparse::Error::TooManyHeaders) => {
            Err(HeadError::TooLarge)
        }
        _ => Err(HeadError::Malformed),
    }
}

fn header<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    let found = headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
    found.map(|h| h.value)
}

/// Adds the fields of a head to `map`, without those that end here.
fn add_fields(
    map: &mut HeaderMap,
    raw: &Bytes,
    headers: &[httparse::Header<'_>],
    consumed: &[&str],
) {
    let nominated = headers
        .iter()
        .filter(|h| h.name.eq_ignore_ascii_case("connection"))
        .flat_map(|h| h.value.split(|b| *b == b','))
        .map(<[u8]>::trim_ascii);
    let mut nominated: Vec<&[u8]> = nominated.collect();
    nominated.retain(|n| !n.eq_ignore_ascii_case(b"close") && !n.eq_ignore_ascii_case(b"te"));
    for header in headers {
        let is = |name: &&str| header.name.eq_ignore_ascii_case(name);
        let ends_here = HOP_BY_HOP.iter().any(is)
            || consumed.iter().any(is)
            || (is(&"te") && !header.value.eq_ignore_ascii_case(b"trailers"))
            || nominated
                .iter()
                .any(|n| n.eq_ignore_ascii_case(header.name.as_bytes()));
        if !ends_here {
            map.add(
                raw.slice_ref(header.name.as_bytes()),
                raw.slice_ref(header.value),
            );
        }
    }
}

/// Authority and path of a request target; an absolute-form target has both.
fn split_target(target: &str) -> (Option<&str>, &str) {
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let head = target.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme)
            .then(|| &target[scheme.len()..])
    });
    match rest {
        None => (None, target),
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            (Some(&rest[..end]), &rest[end..])
        }
    }
}

/// The head of a request to an HTTP/1.1 endpoint.
pub(super) fn request_header(
    map: &HeaderMap,
    end_of_stream: bool,
) -> Result<RequestHeader, HeadError> {
    let method = map.get(b":method").ok_or(HeadError::Missing(":method"))?;
    let path = map.get(b":path").ok_or(HeadError::Missing(":path"))?;
    let mut head = RequestHeader::build(&method[..], path, Some(map.len()))
        .map_err(|_| HeadError::InvalidPseudo(":method or :path"))?;
    if path
        .iter()
        .any(|b| b.is_ascii_whitespace() || b.is_ascii_control())
    {
        return Err(HeadError::InvalidPseudo(":path"));
    }
    if let Some(authority) = map.get(b":authority") {
        append(authority, "host", |value| head.append_header("host", value))?;
    }
    let mut sized = false;
    for (name, value) in fields(map) {
        sized |= name == "content-length";
        let text = checked_name(name)?;
        append(value, text, |v| head.append_header(name.clone(), v))?;
    }
    let framing = if !end_of_stream {
        Framing::Chunked
    } else if matches!(&method[..], b"POST" | b"PUT" | b"PATCH") {
        Framing::Empty
    } else {
        Framing::Bare
    };
    if let Some((name, value)) = framing.field(sized) {
        head.append_header(name, http::HeaderValue::from_static(value))
            .map_err(|_| HeadError::Malformed)?;
    }
    Ok(head)
}

/// How a message without content-length is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// In chunks.
    Chunked,
    /// As empty, in so many words.
    Empty,
    /// Not at all: by what the method or status says, or by the connection's end.
    Bare,
}

impl Framing {
    fn field(self, sized: bool) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Chunked if !sized => Some(("transfer-encoding", "chunked")),
            Self::Empty if !sized => Some(("content-length", "0")),
            _ => None,
        }
    }
}

/// The head of a response to a client.
pub(super) fn response_header(
    map: &HeaderMap,
    framing: Framing,
) -> Result<ResponseHeader, HeadError> {
    let status = map.get(b":status").ok_or(HeadError::Missing(":status"))?;
    let code = crate::stream::parse_status(status)
        .filter(|code| *code == 101 || (200..1000).contains(code))
        .ok_or(HeadError::InvalidPseudo(":status"))?;
    let mut head = ResponseHeader::build(code, Some(map.len() + 2))
        .map_err(|_| HeadError::InvalidPseudo(":status"))?;
    let mut sized = false;
    for (name, value) in fields(map) {
        if name == "server" {
            continue;
        }
        sized |= name == "content-length";
        let text = checked_name(name)?;
        append(value, text, |v| head.append_header(name.clone(), v))?;
    }
    let server = http::HeaderValue::from_static("weir");
    head.append_header("server", server)
        .map_err(|_| HeadError::Malformed)?;
    let bodiless = matches!(code, 204 | 304);
    if let Some((name, value)) = framing.field(sized || bodiless) {
        head.append_header(name, http::HeaderValue::from_static(value))
            .map_err(|_| HeadError::Malformed)?;
    }
    Ok(head)
}

/// The fields of `map` that go on the wire as they are: framing is the codec's.
fn fields(map: &HeaderMap) -> impl Iterator<Item = (&Bytes, &Bytes)> {
    map.entries()
        .iter()
        .filter(|(name, _)| {
            !name.starts_with(b":") && !HOP_BY_HOP.iter().any(|h| name == h.as_bytes())
        })
        .map(|(name, value)| (name, value))
}

fn checked_name(name: &Bytes) -> Result<&str, HeadError> {
    let invalid = || HeadError::InvalidName(String::from_utf8_lossy(name).into_owned());
    http::HeaderName::from_bytes(name).map_err(|_| invalid())?;
    std::str::from_utf8(name).map_err(|_| invalid())
}

fn append(
    value: &Bytes,
    name: &str,
    append: impl FnOnce(http::HeaderValue) -> pingora_error::Result<bool>,
) -> Result<(), HeadError> {
    let invalid = || HeadError::InvalidValue(name.to_owned());
    let value = http::HeaderValue::from_maybe_shared(value.clone()).map_err(|_| invalid())?;
    append(value).map_err(|_| invalid())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(map: &HeaderMap) -> Vec<String> {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        map.iter()
            .map(|(k, v)| format!("{}: {}", text(k), text(v)))
            .collect()
    }

    fn request(raw: &'static str) -> Result<Vec<String>, HeadError> {
        request_map(&Bytes::from_static(raw.as_bytes())).map(|m| text(&m))
    }

    #[test]
    fn a_request_shows_pseudo_headers_then_fields_in_wire_order() {
        let map = request(
            "POST /a?b HTTP/1.1\r\nX-B: 1\r\nHost: h\r\nConnection: keep-alive, X-Gone\r\n\
             X-Gone: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nx-b: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        assert_eq!(
            map.unwrap(),
            [
                ":authority: h",
                ":path: /a?b",
                ":method: POST",
                ":scheme: http",
                "x-b: 1",
                "te: trailers",
                "x-b: 2",
                "x-forwarded-proto: http",
            ]
        );
    }

    #[test]
    fn an_absolute_target_gives_the_authority() {
        let map = request("GET http://abs?q HTTP/1.1\r\nHost: other\r\n\r\n").unwrap();
        assert_eq!(map[..2], [":authority: abs", ":path: ?q"]);
        let map = request("GET HTTP://abs HTTP/1.1\r\nHost: other\r\n\r\n").unwrap();
        assert_eq!(map[..2], [":authority: abs", ":path: /"]);
    }

    #[test]
    fn a_request_without_host_and_an_oversized_one_are_refused() {
        assert_eq!(
            request("GET / HTTP/1.1\r\n\r\n"),
            Err(HeadError::Missing("host"))
        );
        let many = format!(
            "GET / HTTP/1.1\r\nhost: h\r\n{}\r\n",
            "a: b\r\n".repeat(100)
        );
        assert_eq!(
            request_map(&Bytes::from(many)).unwrap_err(),
            HeadError::TooLarge
        );
        let large = format!(
            "GET / HTTP/1.1\r\nhost: h\r\na: {}\r\n\r\n",
            "x".repeat(70_000)
        );
        assert_eq!(
            request_map(&Bytes::from(large)).unwrap_err(),
            HeadError::TooLarge
        );
    }

    fn wire(pairs: &[(&'static str, &'static str)]) -> Result<String, HeadError> {
        let map: HeaderMap = pairs.iter().copied().collect();
        let mut out = bytes::BytesMut::new();
        response_header(&map, Framing::Chunked)?.header_to_h1_wire(&mut out);
        Ok(String::from_utf8_lossy(&out).into_owned())
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
            Ok("a: 1\r\nserver: weir\r\ntransfer-encoding: chunked\r\n".to_owned())
        );
    }

    #[test]
    fn what_would_break_the_message_is_refused() {
        let status = |s| wire(&[(":status", s)]).unwrap_err();
        for bad in ["", "abc", "42", "100", "200,404"] {
            assert_eq!(status(bad), HeadError::InvalidPseudo(":status"), "{bad}");
        }
        assert_eq!(wire(&[]).unwrap_err(), HeadError::Missing(":status"));
        assert_eq!(
            wire(&[(":status", "200"), ("a", "1\r\nx-injected: 1")]).unwrap_err(),
            HeadError::InvalidValue("a".to_owned())
        );
        assert_eq!(
            wire(&[(":status", "200"), ("a b", "1")]).unwrap_err(),
            HeadError::InvalidName("a b".to_owned())
        );
    }
}
