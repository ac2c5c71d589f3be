//! Header fields: which are well-formed, and which concern one connection only.

use bytes::Bytes;
use weir_abi::HeaderMap;

use super::Switch;

/// Why a head is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("missing required header: {0}")]
    Missing(&'static str),
    #[error("invalid header value for: {0}")]
    InvalidPseudo(&'static str),
    #[error("invalid header name: {0}")]
    InvalidName(String),
    #[error("invalid header value for: {0}")]
    InvalidValue(String),
    #[error("malformed head: {0}")]
    Malformed(&'static str),
    #[error("too many or too large headers")]
    TooLarge,
    #[error("unsupported transfer-encoding")]
    TransferEncoding,
    #[error("request header timeout")]
    Timeout,
    #[error("unsupported version of HTTP")]
    Version,
}

/// Headers that concern one connection and go no further (RFC 9110, 7.6.1).
/// `te` goes further when it says `trailers`; an upgrade keeps its own.
const HOP_BY_HOP: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// Whether the header ends with its connection.
pub(super) fn is_hop_by_hop(name: &[u8]) -> bool {
    HOP_BY_HOP.iter().any(|h| name == h.as_bytes())
}

/// The fields of `map` that go on the wire, checked: no pseudo-headers, and
/// nothing that is the codec's own. `switch`: what the message switches to, which
/// has no length then; an upgrade says so itself.
pub(super) fn outgoing<'a>(
    map: &'a HeaderMap,
    switch: Option<&Switch>,
) -> impl Iterator<Item = Result<(&'a Bytes, &'a Bytes), HeadError>> + use<'a> {
    let has_length = switch.is_none();
    let protocol = match switch {
        Some(Switch::Upgrade(protocol)) => Some(protocol.clone()),
        Some(Switch::Connect) | None => None,
    };
    map.entries()
        .iter()
        .filter(move |(name, value)| {
            // The switch that was asked for, and nothing else of the connection.
            let switches = protocol.as_ref().is_some_and(|protocol| match &name[..] {
                b"connection" => value.eq_ignore_ascii_case(b"upgrade"),
                b"upgrade" => value.eq_ignore_ascii_case(protocol),
                _ => false,
            });
            let length = !has_length && name == "content-length";
            let beyond =
                !is_hop_by_hop(name) && (name != "te" || value.eq_ignore_ascii_case(b"trailers"));
            !name.starts_with(b":") && !length && (switches || beyond)
        })
        .map(|(name, value)| {
            if !is_name(name) {
                return Err(HeadError::InvalidName(escaped(name)));
            }
            if !is_value(value) {
                return Err(HeadError::InvalidValue(escaped(name)));
            }
            Ok((name, value))
        })
}

/// The fields of trailers that go on the wire: those that are well-formed and do
/// not concern the framing of a message (RFC 9110, 6.5.1).
pub(super) fn outgoing_trailers(map: &HeaderMap) -> impl Iterator<Item = (&Bytes, &Bytes)> {
    let framing = |name: &[u8]| matches!(name, b"content-length" | b"host" | b"trailer");
    outgoing(map, None)
        .flatten()
        .filter(move |(name, _)| !framing(name))
}

/// Whether `name` is a token (RFC 9110, 5.6.2).
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().copied().all(is_token)
}

pub(super) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Which bytes a token may have.
const TOKEN: [bool; 256] = letters_digits_and(b"!#$%&'*+-.^_`|~");

/// Which bytes a host and a port may have.
const AUTHORITY: [bool; 256] = letters_digits_and(b"-._~!$&'()*+,;=:@[]%");

const fn letters_digits_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut place = 0;
    while place < others.len() {
        table[others[place] as usize] = true;
        place += 1;
    }
    table
}

/// Whether all bytes are `good`. It looks at all of them, and so at many at a time.
fn all(bytes: &[u8], good: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |so_far, byte| so_far & good(*byte))
}

/// Whether `value` has no control characters but tabs. Bytes from 0x80 on are
/// nobody's business.
pub(super) fn is_value(value: &[u8]) -> bool {
    all(value, |b| !b.is_ascii_control() | (b == b'\t'))
}

/// Whether `value` can stand in a request line or as a pseudo-header.
pub(super) fn is_target(value: &[u8]) -> bool {
    !value.is_empty() && all(value, |b| (b > b' ') & (b != 0x7f))
}

/// Whether `value` is made of what a host and a port may contain.
pub(super) fn is_authority(value: &[u8]) -> bool {
    value.iter().all(|b| AUTHORITY[usize::from(*b)])
}

/// A name for a message, on one line.
fn escaped(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// Whether a request with this method has no body unless it says so; one with
/// another method says that it has none.
pub(super) fn is_bodiless_method(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"DELETE" | b"TRACE" | b"CONNECT")
}

/// Status of a response's `:status`.
///
/// # Errors
/// When it is missing, or not one of a final response. 101 is one if the request
/// asked to `switch` to another protocol.
pub(super) fn status(map: &HeaderMap, switch: Option<&Switch>) -> Result<u16, HeadError> {
    let status = map
        .get(b":status")
        .and_then(|s| crate::stream::parse_status(s));
    // One that is no number is as good as none.
    let status = status.ok_or(HeadError::Missing(":status"))?;
    Some(status)
        .filter(|code| (200..1000).contains(code) || switch.is_some_and(|s| s.is_granted(*code)))
        .ok_or(HeadError::InvalidPseudo(":status"))
}

/// Status of a response that others follow, as `map` has it. 101 is none: what
/// follows it is of another protocol.
pub(super) fn informational_status(map: &HeaderMap) -> Option<u16> {
    let code = crate::stream::parse_status(map.get(b":status")?)?;
    ((100..200).contains(&code) && code != 101).then_some(code)
}

/// Whether `list`, a comma-separated field value, has `token`.
pub(super) fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|b| *b == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}
