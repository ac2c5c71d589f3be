//! Weir's own line.

use std::fmt::Write as _;

use weir_abi::HeaderMap;

use crate::stream::FilteredStream;

/// `[start] "METHOD path PROTOCOL" code flags details received sent duration
/// "peer" "user agent" "request id" "authority" "upstream"`
pub(super) fn line(stream: &FilteredStream) -> String {
    let info = &stream.info;
    let request = stream.request_map();
    let mut line = String::with_capacity(256);
    let started = std::time::UNIX_EPOCH + info.start_time();
    let _ = write!(
        line,
        "[{}] \"{} {} {}\" {} {} ",
        humantime::format_rfc3339_millis(started),
        Value(&request, b":method"),
        Value(&request, b":path"),
        info.protocol.name(),
        info.response_code.get().unwrap_or(0),
        info.flags(),
    );
    let details = info.code_details();
    let _ = if details.is_empty() {
        line.write_str("-")
    } else {
        write!(line, "{}", Escaped(&details))
    };
    let _ = write!(
        line,
        " {} {} {} \"{}\" \"{}\" \"{}\" \"{}\" ",
        info.bytes_received.get(),
        info.bytes_sent.get(),
        info.elapsed().as_millis(),
        info.connection.peer,
        Value(&request, b"user-agent"),
        Value(&request, b"x-request-id"),
        Value(&request, b":authority"),
    );
    let _ = match &*info.upstream.borrow() {
        Some(upstream) => writeln!(line, "\"{upstream}\""),
        None => writeln!(line, "\"-\""),
    };
    line
}

/// A header's value, or a dash.
struct Value<'a>(&'a HeaderMap, &'static [u8]);

impl std::fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.get(self.1) {
            Some(value) => Escaped(value).fmt(f),
            None => f.write_str("-"),
        }
    }
}

/// Bytes from a peer, so that they cannot forge a line or a field.
struct Escaped<'a>(&'a [u8]);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for &byte in self.0 {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_forge_a_line() {
        assert_eq!(
            Escaped(b"a\"b\\c\n\xff").to_string(),
            "a\\\"b\\\\c\\x0a\\xff"
        );
    }
}
