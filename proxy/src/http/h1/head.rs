//! Message heads as they come: from the bytes on the wire to an ordered map with
//! pseudo-headers.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use weir_abi::HeaderMap;

use super::super::fields::{self, HeadError, has_token};
use super::super::{CodecOptions, Switch, length};
use super::body::Framing;

/// Finds the end of a head that comes piece by piece.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// Where the line begins that is not complete yet.
    line: usize,
}

impl HeadScan {
    /// Length of the head at the front of `input`, its empty line included;
    /// `None` when it is not complete.
    ///
    /// # Errors
    /// For a line that does not end in CRLF, and a head of more than `max` bytes.
    pub(super) fn find(&mut self, input: &[u8], max: usize) -> Result<Option<usize>, HeadError> {
        for at in memchr::memchr_iter(b'\n', &input[self.line..]) {
            let at = self.line + at;
            let Some(end) = at.checked_sub(1).filter(|end| input[*end] == b'\r') else {
                return Err(HeadError::Malformed("a line without CR"));
            };
            // `memchr_iter` counts from the line at which it began.
            let empty = end == 0 || input[end - 1] == b'\n';
            if empty {
                return if at < max {
                    Ok(Some(at + 1))
                } else {
                    Err(HeadError::TooLarge)
                };
            }
        }
        if input.len() > max {
            return Err(HeadError::TooLarge);
        }
        self.line = memchr::memrchr(b'\n', input).map_or(0, |at| at + 1);
        Ok(None)
    }
}

/// The head of a request.
pub(super) struct RequestLineAndFields {
    pub(super) headers: HeaderMap,
    pub(super) http10: bool,
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
    pub(super) switch: Option<Switch>,
}

/// The head of a response.
pub(super) struct StatusLineAndFields {
    pub(super) headers: HeaderMap,
    pub(super) code: u16,
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
}

/// Where a field stands in a head.
struct FieldSpan {
    name: Range<usize>,
    value: Range<usize>,
}

/// A field in a head whose names are in lower case.
struct Field<'h> {
    head: &'h Bytes,
    span: &'h FieldSpan,
}

impl<'h> Field<'h> {
    fn name(&self) -> &'h [u8] {
        &self.head[self.span.name.clone()]
    }

    fn value(&self) -> &'h [u8] {
        &self.head[self.span.value.clone()]
    }

    /// The name as a share of the head, which is dearer than a look at it.
    fn share_name(&self) -> Bytes {
        self.head.slice(self.span.name.clone())
    }

    fn share_value(&self) -> Bytes {
        self.head.slice(self.span.value.clone())
    }
}

/// Fields that decide about the message and its connection.
#[derive(Default)]
struct Control {
    content_length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    /// Fields that concern this connection only, by its own word.
    nominated: Vec<Bytes>,
    wants_upgrade: bool,
    upgrade: Option<Bytes>,
    host: Option<Bytes>,
}

/// Reads the head of a request.
pub(super) fn request(
    mut raw: BytesMut,
    options: &CodecOptions,
) -> Result<RequestLineAndFields, HeadError> {
    let mut slots = [const { MaybeUninit::uninit() }; SLOTS];
    let mut parsed = httparse::Request::new(&mut []);
    let slots = slots_for(&mut slots, options.headers_count_max);
    match parsed.parse_with_uninit_headers(&raw, slots) {
        Err(httparse::Error::Version) if names_http(&raw) => return Err(HeadError::Version),
        result => complete(result)?,
    }
    let http10 = parsed.version == Some(0);
    let within = |text: Option<&str>| text.map(|t| span(&raw, t.as_bytes()));
    let (method, target) = within(parsed.method)
        .zip(within(parsed.path))
        .ok_or(HeadError::Malformed("no request line"))?;
    let spans = spans(&raw, parsed.headers);
    if http10 && !options.http10 {
        return Err(HeadError::Version);
    }
    let raw = lower_names(&mut raw, &spans);
    let (method, target) = (raw.slice(method), raw.slice(target));
    if !fields::is_target(&target) || !target.is_ascii() {
        return Err(HeadError::Malformed("the request's target"));
    }
    let all = || fields_of(&raw, &spans);
    let control = Control::of(all())?;
    if http10 && control.chunked {
        return Err(HeadError::TransferEncoding);
    }
    let connect = method == "CONNECT";
    let switch = if connect {
        Some(Switch::Connect)
    } else {
        // A client of old cannot ask for it (RFC 9110, section 7.8).
        let upgrade = control.upgrade().filter(|_| !http10);
        upgrade.map(Switch::Upgrade)
    };
    // What follows would be a body to one reader and the new protocol to another.
    if switch.is_some() && control.has_body() {
        return Err(HeadError::Malformed("a switch of protocols with a body"));
    }
    let upgrades = matches!(switch, Some(Switch::Upgrade(_)));

    let mut headers = HeaderMap::with_capacity(spans.len() + HEADERS_ADDED);
    let (scheme, authority, path) = if connect {
        (None, Some(target), None)
    } else {
        let (scheme, authority, path) = split_target(&target);
        if scheme.is_none() && !path.starts_with(b"/") && path != "*" {
            return Err(HeadError::Malformed("the request's target"));
        }
        (scheme, authority, Some(path))
    };
    if let Some(authority) = authority.or_else(|| control.host.clone()) {
        if !fields::is_authority(&authority) {
            return Err(HeadError::InvalidPseudo(":authority"));
        }
        headers.add_lower_case(Bytes::from_static(b":authority"), authority);
    }
    if let Some(scheme) = scheme {
        headers.add_lower_case(Bytes::from_static(b":scheme"), scheme);
    }
    if let Some(path) = path {
        headers.add_lower_case(Bytes::from_static(b":path"), path);
    }
    headers.add_lower_case(Bytes::from_static(b":method"), method);
    let mut expects_continue = false;
    for field in all() {
        let (name, value) = (field.name(), field.value());
        if name == b"expect" && value.eq_ignore_ascii_case(b"100-continue") {
            expects_continue = !http10;
        } else if name == b"te" && has_token(value, b"trailers") {
            headers.add("te", "trailers");
        } else if name != b"host" && control.goes_on(name, upgrades) {
            headers.add_lower_case(field.share_name(), field.share_value());
        }
    }
    Ok(RequestLineAndFields {
        headers,
        http10,
        framing: match control {
            _ if switch.is_some() => Framing::UntilClose,
            Control { chunked: true, .. } => Framing::Chunked,
            Control {
                content_length: Some(length),
                ..
            } => Framing::Length(length),
            _ => Framing::Length(0),
        },
        keep_alive: control.keeps_alive(http10),
        expects_continue,
        switch,
    })
}

/// Reads the head of a response. `to_head`: the request was HEAD; `switch`: what
/// it asked to switch to.
pub(super) fn response(
    mut raw: BytesMut,
    options: &CodecOptions,
    to_head: bool,
    switch: Option<&Switch>,
) -> Result<StatusLineAndFields, HeadError> {
    let mut slots = [const { MaybeUninit::uninit() }; SLOTS];
    let mut parsed = httparse::Response::new(&mut []);
    let slots = slots_for(&mut slots, options.headers_count_max);
    let config = httparse::ParserConfig::default();
    complete(config.parse_response_with_uninit_headers(&mut parsed, &raw, slots))?;
    let code = parsed
        .code
        .filter(|code| (100..1000).contains(code))
        .ok_or(HeadError::InvalidPseudo(":status"))?;
    let http10 = parsed.version == Some(0);
    let spans = spans(&raw, parsed.headers);
    let raw = lower_names(&mut raw, &spans);
    let control = Control::of(fields_of(&raw, &spans))?;
    let granted = switch.is_some_and(|s| s.is_granted(code));
    if control.has_body() && (code < 200 || code == 204) {
        return Err(HeadError::Malformed("a body where there is none"));
    }
    let mut headers = HeaderMap::with_capacity(spans.len() + HEADERS_ADDED);
    headers.add_lower_case(Bytes::from_static(b":status"), code.to_string().into());
    for field in fields_of(&raw, &spans) {
        let name = field.name();
        // Filters see what the endpoint said of its connection, as in Envoy; it goes
        // no further than that.
        let hidden = match name {
            b"keep-alive" | b"proxy-connection" => true,
            b"upgrade" => !granted,
            // A 204 may say that it has none.
            b"content-length" => code == 204,
            _ => control.nominates(name),
        };
        if !hidden {
            headers.add_lower_case(field.share_name(), field.share_value());
        }
    }
    Ok(StatusLineAndFields {
        headers,
        code,
        framing: match control {
            _ if granted => Framing::UntilClose,
            _ if to_head || code < 200 || matches!(code, 204 | 304) => Framing::Length(0),
            Control { chunked: true, .. } => Framing::Chunked,
            Control {
                content_length: Some(length),
                ..
            } => Framing::Length(length),
            _ => Framing::UntilClose,
        },
        keep_alive: control.keeps_alive(http10),
    })
}

/// Reads a block of trailers.
pub(super) fn trailers(mut raw: BytesMut, count_max: usize) -> Result<HeaderMap, HeadError> {
    let mut slots = [const { httparse::EMPTY_HEADER }; SLOTS];
    let count = count_max.min(SLOTS);
    let spans = match httparse::parse_headers(&raw, &mut slots[..count]) {
        Ok(httparse::Status::Complete((_, headers))) => spans(&raw, headers),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        _ => return Err(HeadError::Malformed("trailers")),
    };
    let raw = lower_names(&mut raw, &spans);
    let fields = fields_of(&raw, &spans);
    Ok(fields.map(|f| (f.share_name(), f.share_value())).collect())
}

/// Room for what is added to the fields of a head: pseudo-headers, Weir's own, and those
/// of filters.
const HEADERS_ADDED: usize = 12;

/// Most headers that a message can have, whatever is configured.
const SLOTS: usize = 1024;

fn slots_for<'a, 'b>(
    slots: &'a mut [MaybeUninit<httparse::Header<'b>>; SLOTS],
    count_max: usize,
) -> &'a mut [MaybeUninit<httparse::Header<'b>>] {
    &mut slots[..count_max.min(SLOTS)]
}

fn complete(result: httparse::Result<usize>) -> Result<(), HeadError> {
    match result {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        Ok(httparse::Status::Partial) => Err(HeadError::Malformed("it ends too early")),
        Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooLarge),
        Err(httparse::Error::HeaderName) => Err(HeadError::Malformed("a header's name")),
        Err(httparse::Error::HeaderValue) => Err(HeadError::Malformed("a header's value")),
        Err(httparse::Error::Version) => Err(HeadError::Malformed("the version")),
        Err(httparse::Error::Status) => Err(HeadError::Malformed("the status")),
        Err(_) => Err(HeadError::Malformed("the first line")),
    }
}

/// Whether the first line of a request names a version of HTTP, though not one
/// of HTTP/1.
fn names_http(raw: &[u8]) -> bool {
    let line = raw.split(|b| *b == b'\r').next().unwrap_or_default();
    let mut words = line.split(|b| *b == b' ').skip(2);
    words
        .next()
        .is_some_and(|version| version.starts_with(b"HTTP/"))
        && words.next().is_none()
}

/// Where `part`, a slice of `whole`, stands in it.
fn span(whole: &[u8], part: &[u8]) -> Range<usize> {
    if part.is_empty() {
        return 0..0;
    }
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

fn spans(raw: &[u8], headers: &[httparse::Header<'_>]) -> Vec<FieldSpan> {
    let field = |header: &httparse::Header<'_>| FieldSpan {
        name: span(raw, header.name.as_bytes()),
        value: span(raw, header.value),
    };
    headers.iter().map(field).collect()
}

fn lower_names(raw: &mut BytesMut, spans: &[FieldSpan]) -> Bytes {
    for span in spans {
        raw[span.name.clone()].make_ascii_lowercase();
    }
    raw.split().freeze()
}

fn fields_of<'h>(head: &'h Bytes, spans: &'h [FieldSpan]) -> impl Iterator<Item = Field<'h>> {
    spans.iter().map(move |span| Field { head, span })
}

impl Control {
    fn of<'h>(fields: impl Iterator<Item = Field<'h>>) -> Result<Self, HeadError> {
        let mut control = Self::default();
        let mut coding_unknown = false;
        for field in fields {
            let value = field.value();
            match field.name() {
                b"content-length" => {
                    if control.content_length.is_some() {
                        return Err(HeadError::Malformed("two content-lengths"));
                    }
                    let length = length::parse(value);
                    control.content_length =
                        Some(length.ok_or(HeadError::Malformed("content-length"))?);
                }
                b"transfer-encoding" => {
                    coding_unknown |= control.chunked || !value.eq_ignore_ascii_case(b"chunked");
                    control.chunked = true;
                }
                b"connection" => control.connection(value),
                b"upgrade" => {
                    if control.upgrade.is_some() {
                        return Err(HeadError::Malformed("two upgrades"));
                    }
                    control.upgrade = Some(field.share_value());
                }
                b"host" => {
                    if control.host.is_some() {
                        return Err(HeadError::Malformed("two hosts"));
                    }
                    control.host = Some(field.share_value());
                }
                _ => {}
            }
        }
        if control.chunked && control.content_length.is_some() {
            return Err(HeadError::Malformed("content-length and transfer-encoding"));
        }
        if coding_unknown {
            return Err(HeadError::TransferEncoding);
        }
        Ok(control)
    }

    fn connection(&mut self, value: &[u8]) {
        for token in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if token.eq_ignore_ascii_case(b"upgrade") {
                self.wants_upgrade = true;
            } else if !token.is_empty() && !token.eq_ignore_ascii_case(b"te") {
                let nominated = token.to_ascii_lowercase();
                self.nominated.push(nominated.into());
            }
        }
    }

    fn has_body(&self) -> bool {
        self.chunked || self.content_length.is_some_and(|length| length > 0)
    }

    fn keeps_alive(&self, http10: bool) -> bool {
        if http10 {
            self.keep_alive && !self.close
        } else {
            !self.close
        }
    }

    /// The protocol to switch to. `h2c` is an offer that nobody has to take.
    fn upgrade(&self) -> Option<Bytes> {
        let upgrade = self.upgrade.as_ref().filter(|_| self.wants_upgrade)?;
        (!has_token(upgrade, b"h2c")).then(|| upgrade.clone())
    }

    /// Whether a field goes beyond this connection.
    fn goes_on(&self, name: &[u8], upgrade: bool) -> bool {
        if upgrade && matches!(name, b"connection" | b"upgrade") {
            return true;
        }
        !fields::is_hop_by_hop(name)
            && !matches!(name, b"te" | b"http2-settings")
            && !self.nominates(name)
    }

    /// Whether the connection has said that a field concerns nobody else.
    fn nominates(&self, name: &[u8]) -> bool {
        self.nominated.iter().any(|nominated| nominated == name)
    }
}

/// Scheme, authority and path of a request target; only an absolute-form target
/// has them all.
fn split_target(target: &Bytes) -> (Option<Bytes>, Option<Bytes>, Bytes) {
    let absolute = ["http://", "https://"].iter().find(|scheme| {
        target
            .get(..scheme.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(scheme.as_bytes()))
    });
    let Some(prefix) = absolute else {
        return (None, None, target.clone());
    };
    let scheme = Bytes::from_static(prefix.trim_end_matches("://").as_bytes());
    let rest = target.slice(prefix.len()..);
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#'));
    let end = end.unwrap_or(rest.len());
    let path = match rest.get(end) {
        None => Bytes::from_static(b"/"),
        Some(b'/') => rest.slice(end..),
        // An origin has no path but the empty one, which is `/` in a request.
        Some(_) => [b"/", &rest[end..]].concat().into(),
    };
    (Some(scheme), Some(rest.slice(..end)), path)
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

    fn parse(raw: &str) -> Result<RequestLineAndFields, HeadError> {
        request(BytesMut::from(raw), &CodecOptions::default())
    }

    fn error(raw: &str) -> HeadError {
        parse(raw).map(|_| ()).unwrap_err()
    }

    #[test]
    fn a_request_shows_pseudo_headers_then_fields_in_wire_order() {
        let head = parse(
            "POST /a?b HTTP/1.1\r\nX-B: 1\r\nHost: h\r\nConnection: keep-alive, X-Gone\r\n\
             X-Gone: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nx-b: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .unwrap();
        assert_eq!(
            text(&head.headers),
            [
                ":authority: h",
                ":path: /a?b",
                ":method: POST",
                "x-b: 1",
                "te: trailers",
                "x-b: 2",
            ]
        );
        assert_eq!(head.framing, Framing::Chunked);
    }

    #[test]
    fn an_absolute_target_gives_scheme_and_authority() {
        let head = parse("GET https://abs?q HTTP/1.1\r\nHost: other\r\n\r\n").unwrap();
        assert_eq!(
            text(&head.headers)[..4],
            [
                ":authority: abs",
                ":scheme: https",
                ":path: /?q",
                ":method: GET"
            ]
        );
        let head = parse("GET HTTP://abs HTTP/1.1\r\nHost: other\r\n\r\n").unwrap();
        let expected = [":authority: abs", ":scheme: http", ":path: /"];
        assert_eq!(text(&head.headers)[..3], expected);
    }

    #[test]
    fn a_request_with_two_readings_is_refused() {
        let with = |fields: &str| format!("POST / HTTP/1.1\r\nhost: h\r\n{fields}\r\n");
        for (fields, expected) in [
            (
                "content-length: 3\r\ntransfer-encoding: chunked\r\n",
                HeadError::Malformed("content-length and transfer-encoding"),
            ),
            (
                "content-length: 3\r\ncontent-length: 3\r\n",
                HeadError::Malformed("two content-lengths"),
            ),
            (
                "content-length: +3\r\n",
                HeadError::Malformed("content-length"),
            ),
            (
                "transfer-encoding: gzip, chunked\r\n",
                HeadError::TransferEncoding,
            ),
            (
                "transfer-encoding: xchunked\r\n",
                HeadError::TransferEncoding,
            ),
            (
                "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
                HeadError::TransferEncoding,
            ),
            ("a: b\r\n c\r\n", HeadError::Malformed("a header's name")),
            ("a : b\r\n", HeadError::Malformed("a header's name")),
            ("a: b\0\r\n", HeadError::Malformed("a header's value")),
            ("a: b\rc\r\n", HeadError::Malformed("a header's value")),
            ("host: g\r\n", HeadError::Malformed("two hosts")),
        ] {
            assert_eq!(error(&with(fields)), expected, "{fields:?}");
        }
        assert_eq!(
            error("GET / HTTP/1.1\r\nhost: a b\r\n\r\n"),
            HeadError::InvalidPseudo(":authority")
        );
    }

    #[test]
    fn a_head_is_found_when_it_is_complete() {
        let whole = b"GET / HTTP/1.1\r\nhost: h\r\n\r\nrest";
        let mut scan = HeadScan::default();
        for n in 0..whole.len() {
            let found = scan.find(&whole[..n], 100);
            let expected = (n >= 27).then_some(27);
            assert_eq!(found, Ok(expected), "{n}");
            if expected.is_some() {
                break;
            }
        }
        let error = HeadScan::default().find(b"GET / HTTP/1.1\nhost: h\r\n\r\n", 100);
        assert_eq!(error, Err(HeadError::Malformed("a line without CR")));
        let error = HeadScan::default().find(b"GET / HTTP/1.1\r\nhost: h", 10);
        assert_eq!(error, Err(HeadError::TooLarge));
    }

    #[test]
    fn a_success_makes_a_tunnel_of_a_connect() {
        let raw = "CONNECT h:80 HTTP/1.1\r\nhost: h:80\r\ncontent-length: 0\r\n\r\n";
        let head = parse(raw).unwrap();
        assert_eq!(head.switch, Some(Switch::Connect));
        assert_eq!(head.framing, Framing::UntilClose);
        let framing = |raw: &str, switch: Option<&Switch>| {
            let options = CodecOptions::default();
            response(BytesMut::from(raw), &options, false, switch).map(|r| r.framing)
        };
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        let connect = Some(&Switch::Connect);
        assert_eq!(framing(ok, connect), Ok(Framing::UntilClose));
        assert_eq!(framing(ok, None), Ok(Framing::Length(5)));
        assert_eq!(
            framing(ok, Some(&Switch::Upgrade("x".into()))),
            Ok(Framing::Length(5))
        );
        let refused = "HTTP/1.1 403 x\r\ncontent-length: 5\r\n\r\n";
        assert_eq!(framing(refused, connect), Ok(Framing::Length(5)));
    }

    #[test]
    fn an_upgrade_keeps_what_it_needs() {
        let raw = "GET / HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
        let head = parse(raw).unwrap();
        assert_eq!(head.switch, Some(Switch::Upgrade("websocket".into())));
        assert_eq!(head.framing, Framing::UntilClose);
        assert!(head.headers.contains(b"upgrade") && head.headers.contains(b"connection"));
        let head = parse(&raw.replace("websocket", "h2c")).unwrap();
        assert_eq!(head.switch, None);
        assert!(!head.headers.contains(b"upgrade"));
    }
}
