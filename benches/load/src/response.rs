//! Where a response ends.

use std::io;

/// Headers of a response that the load generator can read.
const HEADERS_MAX: usize = 64;

/// A complete response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    /// Bytes of head and body.
    pub(super) length: usize,
    pub(super) keep_alive: bool,
}

enum Framing {
    Length(usize),
    Chunked,
}

/// Looks for a complete response at the start of `buffer`; `None` when bytes are
/// missing. Starts anew each time: responses are meant to come in one piece.
///
/// # Errors
/// Of kind `InvalidData` for what is not HTTP, and for a response that ends with
/// the connection.
pub(super) fn parse(buffer: &[u8]) -> io::Result<Option<Response>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = head.parse(buffer).map_err(malformed)? else {
        return Ok(None);
    };
    let (mut framing, mut keep_alive) = (None, true);
    for header in head.headers.iter() {
        let value = header.value;
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = str::from_utf8(value).map_err(malformed)?;
            framing = Some(Framing::Length(length.parse().map_err(malformed)?));
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Some(Framing::Chunked);
        } else if header.name.eq_ignore_ascii_case("connection") {
            keep_alive = !value.eq_ignore_ascii_case(b"close");
        }
    }
    let body = buffer.get(start..).unwrap_or_default();
    let body = match framing {
        Some(Framing::Length(length)) => (body.len() >= length).then_some(length),
        Some(Framing::Chunked) => chunked_length(body)?,
        None => return Err(malformed("a response without a length")),
    };
    Ok(body.map(|body| Response {
        status: head.code.unwrap_or(0),
        length: start + body,
        keep_alive,
    }))
}

/// Bytes of a chunked body without trailers; `None` when some are missing.
fn chunked_length(body: &[u8]) -> io::Result<Option<usize>> {
    let mut at = 0;
    loop {
        let rest = body.get(at..).unwrap_or_default();
        let size = httparse::parse_chunk_size(rest);
        let Ok(httparse::Status::Complete((digits, size))) = size else {
            return size.map(|_| None).map_err(|_| malformed("bad chunk size"));
        };
        let size = usize::try_from(size).map_err(malformed)?;
        at += digits + size + 2;
        let Some(end) = body.get(at - 2..at) else {
            return Ok(None);
        };
        if end != b"\r\n" {
            return Err(malformed("a chunk of another size than announced"));
        }
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

pub(super) fn malformed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(text: &str) -> Option<(u16, usize)> {
        parse(text.as_bytes())
            .unwrap()
            .map(|r| (r.status, r.length))
    }

    #[test]
    fn content_length_tells_the_end() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(complete(text), Some((200, text.len())));
        for cut in 0..text.len() {
            assert_eq!(complete(&text[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn last_chunk_tells_the_end() {
        let text = "HTTP/1.1 503 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(complete(text), Some((503, text.len())));
        for cut in 0..text.len() {
            assert_eq!(complete(&text[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn close_is_told() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        assert!(!parse(text).unwrap().unwrap().keep_alive);
    }

    #[test]
    fn endless_and_garbled_responses_are_errors() {
        for text in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
            "SSH-2.0-OpenSSH\r\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
