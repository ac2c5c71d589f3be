//! The chunked transfer coding (RFC 9112, section 7.1).

use bytes::{Buf, BytesMut};
use weir_abi::{BodyBuffer, HeaderMap};

use super::super::fields::HeadError;
use super::head::{self, HeadScan};
use crate::limits::{CHUNK_LINE_BYTES, HEADERS_BYTES_MAX, HEADERS_COUNT_MAX};

/// A body that is being decoded.
#[derive(Debug)]
pub(super) enum Chunked {
    /// At the line that says how long the next chunk is.
    Size,
    /// In a chunk of which so many bytes are to come.
    Data(u64),
    /// At the line end behind a chunk.
    DataEnd,
    Trailers(HeadScan),
}

/// What one step comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All of the input has been taken.
    NeedsMore,
    /// The body has ended, with these trailers.
    End(HeaderMap),
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self::Size
    }

    /// Moves body bytes from the front of `input` to `out`.
    ///
    /// # Errors
    /// When the coding is broken.
    pub(super) fn decode(
        &mut self,
        input: &mut BytesMut,
        out: &mut BodyBuffer,
    ) -> Result<Step, HeadError> {
        loop {
            match self {
                Self::Size => {
                    let Some(end) = line_end(input)? else {
                        return Ok(Step::NeedsMore);
                    };
                    let size = chunk_size(&input[..end])?;
                    input.advance(end + 2);
                    *self = match size {
                        0 => Self::Trailers(HeadScan::default()),
                        size => Self::Data(size),
                    };
                }
                Self::Data(left) => {
                    if input.is_empty() {
                        return Ok(Step::NeedsMore);
                    }
                    let n = usize::try_from(*left).map_or(input.len(), |n| n.min(input.len()));
                    out.push(input.split_to(n).freeze());
                    *left -= n as u64;
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                }
                Self::DataEnd => {
                    let start = input.len().min(2);
                    if !b"\r\n".starts_with(&input[..start]) {
                        return Err(HeadError::Malformed("a chunk longer than its size"));
                    }
                    if start < 2 {
                        return Ok(Step::NeedsMore);
                    }
                    input.advance(2);
                    *self = Self::Size;
                }
                Self::Trailers(scan) => {
                    let Some(end) = scan.find(input, HEADERS_BYTES_MAX)? else {
                        return Ok(Step::NeedsMore);
                    };
                    let raw = input.split_to(end);
                    return head::trailers(raw, HEADERS_COUNT_MAX).map(Step::End);
                }
            }
        }
    }
}

/// Length of the line at the front of `input`, without its CRLF.
fn line_end(input: &[u8]) -> Result<Option<usize>, HeadError> {
    let too_long = Err(HeadError::Malformed("a chunk extension that is too long"));
    match memchr::memchr(b'\n', input) {
        Some(at) if at > CHUNK_LINE_BYTES => too_long,
        Some(at) if at > 0 && input[at - 1] == b'\r' => Ok(Some(at - 1)),
        Some(_) => Err(HeadError::Malformed("a chunk's line without CR")),
        None if input.len() > CHUNK_LINE_BYTES => too_long,
        None => Ok(None),
    }
}

/// The size in a chunk's first line; its extensions have no meaning to anyone.
fn chunk_size(line: &[u8]) -> Result<u64, HeadError> {
    let bad = HeadError::Malformed("a chunk's size");
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (size, rest) = line.split_at(digits);
    let blanks = rest
        .iter()
        .take_while(|b| matches!(b, b' ' | b'\t'))
        .count();
    let extension = &rest[blanks..];
    let ends_well = extension.is_empty() || extension.starts_with(b";");
    if !ends_well
        || extension
            .iter()
            .any(|b| b.is_ascii_control() && *b != b'\t')
    {
        return Err(bad);
    }
    let size = std::str::from_utf8(size).map_err(|_| bad.clone())?;
    // 15 digits are more than any body has.
    if size.is_empty() || size.trim_start_matches('0').len() > 15 {
        return Err(bad);
    }
    u64::from_str_radix(size, 16).map_err(|_| bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &str, step: usize) -> Result<(String, Option<HeaderMap>, String), HeadError> {
        let mut decoder = Chunked::new();
        let mut buffer = BytesMut::new();
        let mut out = BodyBuffer::new();
        let mut trailers = None;
        let mut rest = input.as_bytes();
        while !rest.is_empty() && trailers.is_none() {
            let (now, later) = rest.split_at(step.min(rest.len()));
            buffer.extend_from_slice(now);
            rest = later;
            if let Step::End(map) = decoder.decode(&mut buffer, &mut out)? {
                trailers = Some(map);
            }
        }
        buffer.extend_from_slice(rest);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ok((text(&out.to_bytes()), trailers, text(&buffer)))
    }

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        let input = "3\r\nabc\r\n00A ; x=\"y\"\r\n0123456789\r\n0\r\nX-T: 1\r\nx-t: 2\r\n\r\nNEXT";
        for step in 1..=input.len() {
            let (body, trailers, rest) = decode(input, step).unwrap();
            assert_eq!(body, "abc0123456789", "{step}");
            let trailers = trailers.unwrap();
            assert_eq!(trailers.get_all(b"x-t").count(), 2);
            assert_eq!(rest, "NEXT");
        }
    }

    #[test]
    fn broken_coding_is_refused_however_it_is_cut() {
        let long = format!("1;{}\r\n", "x".repeat(CHUNK_LINE_BYTES));
        for input in [
            "x\r\n",
            "\r\n",
            "-1\r\n",
            "0x1\r\n",
            "1 2\r\n",
            "1\nabc",
            "3\r\nabcd\r\n",
            "3\r\nabc\n",
            "fffffffffffffffff\r\n",
            "1;\0\r\n",
            "1\r\r\n",
            "1\x0c\r\n",
            "0\r\nbad name: 1\r\n\r\n",
            "0\r\na: 1\n\r\n",
            &long,
        ] {
            for step in [1, input.len()] {
                assert!(decode(input, step).is_err(), "{input:?} by {step}");
            }
        }
    }
}
