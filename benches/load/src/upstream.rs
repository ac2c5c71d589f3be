//! The least that can stand behind a proxy: it answers every request with 200 and
//! looks at nothing but where a request ends and how many bytes it asks for.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Room for a request's head as they usually are.
const REQUEST_SIZE: usize = 4096;

/// Headers of a request that are taken.
const HEADERS_MAX: usize = 64;

/// What a response has, where the request does not ask for another size.
pub const BODY: &[u8] = &[b'a'; 64];

/// Most bytes that can be asked for.
const BODY_SIZE_MAX: usize = 1 << 20;

/// `GET /bytes/N` asks for that many bytes.
const BYTES: &str = "/bytes/";

/// Answers requests, whose bodies have a length if they have any, on all connections
/// to `listener`.
///
/// # Errors
/// When no connection can be accepted any more.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (connection, _) = listener.accept().await?;
        // A connection that breaks is the proxy's to tell of.
        tokio::spawn(answer_all(connection));
    }
}

pub(super) async fn answer_all(mut connection: TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(REQUEST_SIZE);
    let mut answer = Answer::of(BODY.len());
    while connection.read_buf(&mut buffer).await? > 0 {
        while let Some(request) = Request::parse(&buffer)? {
            // Most of it may be body that is still to come.
            let missing = request.length.saturating_sub(buffer.len());
            buffer.advance(request.length - missing);
            skip(&mut connection, missing).await?;
            if request.wanted != answer.size {
                answer = Answer::of(request.wanted);
            }
            connection.write_all(&answer.bytes).await?;
        }
        buffer.reserve(REQUEST_SIZE);
    }
    Ok(())
}

async fn skip(connection: &mut TcpStream, bytes: usize) -> io::Result<()> {
    let mut body = connection.take(bytes as u64);
    let skipped = tokio::io::copy(&mut body, &mut tokio::io::sink()).await?;
    if skipped < bytes as u64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// A response, ready to be sent again and again.
struct Answer {
    size: usize,
    bytes: Bytes,
}

impl Answer {
    fn of(size: usize) -> Self {
        let head = format!(
            "HTTP/1.1 200 OK\r\n\
             content-type: text/plain\r\n\
             content-length: {size}\r\n\
             cache-control: max-age=60\r\n\
             \r\n"
        );
        let body = vec![BODY[0]; size];
        Self {
            size,
            bytes: [head.into_bytes(), body].concat().into(),
        }
    }
}

/// What has to be known of a request.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    /// Bytes of head and body.
    length: usize,
    /// Bytes of body that are to come back.
    wanted: usize,
}

impl Request {
    /// The request at the start of `buffer`, if its head is complete.
    fn parse(buffer: &[u8]) -> io::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Request::new(&mut headers);
        let parsed = head.parse(buffer).map_err(invalid)?;
        let httparse::Status::Complete(start) = parsed else {
            return Ok(None);
        };
        let body = head
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let body: usize = match body {
            Some(header) => str::from_utf8(header.value)
                .map_err(invalid)?
                .parse()
                .map_err(invalid)?,
            None => 0,
        };
        let wanted = head.path.and_then(|path| path.strip_prefix(BYTES));
        let wanted = wanted.and_then(|number| number.parse().ok());
        Ok(Some(Self {
            length: start.saturating_add(body),
            wanted: wanted.unwrap_or(BODY.len()).min(BODY_SIZE_MAX),
        }))
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(usize, usize)> {
        let request = Request::parse(text.as_bytes()).unwrap()?;
        Some((request.length, request.wanted))
    }

    #[test]
    fn request_ends_with_its_body() {
        let head = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(parse(head), Some((head.len() + 5, BODY.len())));
        assert_eq!(parse(&head[..head.len() - 1]), None);
    }

    #[test]
    fn path_tells_the_size_of_the_response() {
        let wanted = |path: &str| parse(&format!("GET {path} HTTP/1.1\r\n\r\n")).unwrap().1;
        assert_eq!(wanted("/bytes/65536"), 65536);
        assert_eq!(wanted("/bytes/99999999999"), BODY_SIZE_MAX);
        assert_eq!(wanted("/bytes/many"), BODY.len());
        assert_eq!(wanted("/"), BODY.len());
    }
}
