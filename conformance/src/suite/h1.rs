//! HTTP/1 as it is read: leniently, and as far as it goes.

use super::journal::{End, Message};
use super::text::{escape, show};

/// Which way the messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading<'a> {
    Requests,
    /// Responses to a request with this method.
    Response(&'a str),
}

/// How the bytes ended, if they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Closed,
    Reset,
}

impl Ending {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "connection closed",
            Self::Reset => "connection reset",
        }
    }
}

/// Reads the message at the beginning of `bytes`, as far as it is there. Gives it
/// with the number of bytes that belong to it once it is complete; none if there
/// is nothing.
#[must_use]
pub fn read(
    bytes: &[u8],
    reading: Reading<'_>,
    ending: Option<Ending>,
) -> Option<(Message, usize)> {
    if bytes.is_empty() {
        return None;
    }
    let mut message = Message::default();
    let mut at = 0;
    let mut framing;
    loop {
        let Some(length) = find(&bytes[at..], b"\r\n\r\n") else {
            if at < bytes.len() {
                message
                    .head
                    .push(format!("incomplete head {}", show(&bytes[at..])));
            }
            if let Some(ending) = ending {
                message.end = Some(End::Cut(ending.word().to_owned()));
            }
            return Some((message, bytes.len()));
        };
        let head = &bytes[at..at + length];
        at += length + 4;
        framing = head_lines(head, reading, &mut message.head);
        // an interim response comes before another one
        if framing != Framing::Interim {
            break;
        }
    }
    message.has_head = true;
    let body = &bytes[at..];
    let used = match framing {
        Framing::Length(length) if body.len() >= length => Some(length),
        Framing::Length(_) | Framing::Interim => None,
        Framing::Chunked => chunked(body, &mut message),
        Framing::Close => ending.map(|_| body.len()),
        Framing::Tunnel => {
            message.tunnel = body.to_vec();
            ending.map(|_| body.len())
        }
    };
    match framing {
        Framing::Length(length) => message.body = body[..length.min(body.len())].to_vec(),
        Framing::Close => message.body = body.to_vec(),
        _ => {}
    }
    message.end = match (used, ending) {
        (Some(_), _) => Some(End::Complete),
        (None, Some(ending)) => Some(End::Cut(ending.word().to_owned())),
        (None, None) => None,
    };
    Some((message, at + used.unwrap_or(body.len())))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    Close,
    Tunnel,
    /// A head that another one follows.
    Interim,
}

fn head_lines(head: &[u8], reading: Reading<'_>, lines: &mut Vec<String>) -> Framing {
    let mut length = None;
    let mut chunked = false;
    let mut upgrade = false;
    let mut first = String::new();
    for (index, line) in split(head, b"\r\n").enumerate() {
        if index == 0 {
            first = escape(line);
            lines.push(show(line));
            continue;
        }
        let text = String::from_utf8_lossy(line);
        let (name, value) = text.split_once(':').unwrap_or((&text, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok(),
            "transfer-encoding" => chunked = value.to_ascii_lowercase().contains("chunked"),
            "upgrade" => upgrade = true,
            _ => {}
        }
        lines.push(show(line));
    }
    match reading {
        Reading::Requests if upgrade || first.starts_with("CONNECT ") => Framing::Tunnel,
        Reading::Requests if chunked => Framing::Chunked,
        Reading::Requests => Framing::Length(length.unwrap_or(0)),
        Reading::Response(method) => {
            let status = first.split(' ').nth(1).unwrap_or_default();
            match (status, method) {
                ("101", _) => Framing::Tunnel,
                (status, _) if status.len() == 3 && status.starts_with('1') => Framing::Interim,
                ("200", "CONNECT") => Framing::Tunnel,
                ("204" | "304", _) | (_, "HEAD") => Framing::Length(0),
                _ if chunked => Framing::Chunked,
                _ => length.map_or(Framing::Close, Framing::Length),
            }
        }
    }
}

/// Reads chunks and trailers; gives how long they are if they are complete.
fn chunked(bytes: &[u8], message: &mut Message) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        let text = String::from_utf8_lossy(&bytes[at..at + line]).into_owned();
        let size = text.split(';').next().unwrap_or_default().trim();
        let Ok(size) = usize::from_str_radix(size, 16) else {
            message
                .notes
                .push(format!("bad chunk size {}", escape(text.as_bytes())));
            return None;
        };
        at += line + 2;
        if size == 0 {
            break;
        }
        let chunk = &bytes[at..bytes.len().min(at + size)];
        message.body.extend(chunk);
        if bytes.len() < at + size + 2 {
            return None;
        }
        at += size + 2;
    }
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        let text = &bytes[at..at + line];
        at += line + 2;
        if text.is_empty() {
            return Some(at);
        }
        message.trailers.push(show(text));
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn split<'a>(mut bytes: &'a [u8], separator: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        if let Some(at) = find(bytes, separator) {
            let line = &bytes[..at];
            bytes = &bytes[at + separator.len()..];
            return Some(line);
        }
        done = true;
        Some(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunked_request_with_trailers_is_complete() {
        let bytes = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: 1\r\n\r\nGET";
        let (message, used) = read(bytes, Reading::Requests, None).unwrap();
        assert_eq!(
            (message.body.as_slice(), message.trailers.as_slice()),
            (&b"abc"[..], &["x: 1".to_owned()][..])
        );
        assert_eq!((message.end, used), (Some(End::Complete), bytes.len() - 3));
    }

    #[test]
    fn interim_response_comes_before_the_final_one() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        let (message, used) = read(bytes, Reading::Response("GET"), None).unwrap();
        assert_eq!(
            message.head,
            ["HTTP/1.1 100 Continue", "HTTP/1.1 204 No Content"]
        );
        assert_eq!((message.end, used), (Some(End::Complete), bytes.len()));
    }

    #[test]
    fn body_cut_short_is_told() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc";
        let (message, _) = read(bytes, Reading::Response("GET"), Some(Ending::Reset)).unwrap();
        assert_eq!(message.end, Some(End::Cut("connection reset".to_owned())));
        assert_eq!(message.body, b"abc");
    }
}
