//! HTTP/1 messages as they come in.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_abi::HeaderMap;

use crate::driver::Passed;

/// Header fields at most.
const FIELDS_MAX: usize = 128;

/// What has come of a message so far.
#[derive(Default)]
pub(super) struct Incoming(Mutex<Passed>);

impl Incoming {
    fn lock(&self) -> MutexGuard<'_, Passed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn passed(&self) -> Passed {
        self.lock().clone()
    }
}

/// A head: its first line as pseudo-headers, and its fields.
fn head(bytes: &[u8], is_request: bool) -> io::Result<HeaderMap> {
    let invalid = |error: httparse::Error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut map = HeaderMap::new();
    let fields: &[httparse::Header<'_>] = if is_request {
        let mut request = httparse::Request::new(&mut fields);
        request.parse(bytes).map_err(invalid)?;
        let (method, path) = (request.method, request.path);
        map.add(":method", method.unwrap_or_default().to_owned());
        map.add(":path", path.unwrap_or_default().to_owned());
        request.headers
    } else {
        let mut response = httparse::Response::new(&mut fields);
        response.parse(bytes).map_err(invalid)?;
        map.add(":status", response.code.unwrap_or_default().to_string());
        response.headers
    };
    for field in fields {
        let name = match field.name.to_ascii_lowercase() {
            name if is_request && name == "host" => ":authority".to_owned(),
            name => name,
        };
        map.add(name, field.value.to_vec());
    }
    Ok(map)
}

/// Reads a request, or the response to a request of the method `answers`; `begun` is
/// called with it when its head is there. False if there is none any more.
pub(super) fn read(
    input: &mut BufReader<impl Read>,
    answers: Option<&str>,
    begun: impl FnOnce(&Arc<Incoming>),
) -> io::Result<bool> {
    let Some(headers) = read_head(input, answers.is_none())? else {
        return Ok(false);
    };
    let value = |name: &[u8]| headers.get(name).map(|value| value.to_vec());
    let chunked = value(b"transfer-encoding").is_some_and(|coding| coding == b"chunked");
    let length = value(b"content-length");
    let length = length.and_then(|length| String::from_utf8(length).ok()?.parse().ok());
    let status = value(b":status").unwrap_or_default();
    let bodiless = answers == Some("HEAD") || status == b"204" || status == b"304";
    let message = Arc::new(Incoming(Mutex::new(Passed {
        headers: Some(headers),
        ..Passed::default()
    })));
    begun(&message);
    if bodiless {
        // Its length is that of another message.
    } else if chunked {
        read_chunks(input, &message)?;
    } else {
        match (length, answers) {
            (Some(length), _) => read_bytes(input, &message, length)?,
            (None, None) => {}
            (None, Some(_)) => read_bytes(input, &message, u64::MAX)?,
        }
    }
    message.lock().ended = true;
    Ok(true)
}

fn read_head(input: &mut BufReader<impl Read>, is_request: bool) -> io::Result<Option<HeaderMap>> {
    loop {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            if input.read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
        }
        let map = head(&bytes, is_request)?;
        let interim = map
            .get(b":status")
            .is_some_and(|status| status.starts_with(b"1"));
        if !interim {
            return Ok(Some(map));
        }
    }
}

/// Up to `length` bytes, or to the end of the connection.
fn read_bytes(input: &mut BufReader<impl Read>, message: &Incoming, length: u64) -> io::Result<()> {
    let mut rest = length;
    while rest > 0 {
        let piece = input.fill_buf()?;
        let size = piece.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        if size == 0 {
            return match length {
                u64::MAX => Ok(()),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        message.lock().body.extend_from_slice(&piece[..size]);
        input.consume(size);
        rest -= size as u64;
    }
    Ok(())
}

fn read_chunks(input: &mut BufReader<impl Read>, message: &Incoming) -> io::Result<()> {
    let line = |input: &mut BufReader<_>| {
        let mut line = String::new();
        input
            .read_line(&mut line)
            .map(|_| line.trim_end().to_owned())
    };
    loop {
        let size = line(input)?;
        let size = u64::from_str_radix(&size, 16)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if size == 0 {
            break;
        }
        read_bytes(input, message, size)?;
        line(input)?;
    }
    let mut trailers = HeaderMap::new();
    while let Some((name, value)) = line(input)?.split_once(':') {
        trailers.add(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    if !trailers.is_empty() {
        message.lock().trailers = Some(trailers);
    }
    Ok(())
}
