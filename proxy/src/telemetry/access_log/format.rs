//! Lines in a format of Envoy's.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value as Json};
use weir_abi::{Direction, HeaderMap};
use weir_config::{
    Address, Field, HeaderField, JsonFormat, Metadata, Operator, Piece, Template, TimePiece,
    TlsField, TlsOf,
};

use crate::stream::{FilteredStream, StreamInfo, parse_status};
use crate::tls::{CertificateFacts, TlsFacts};

/// What operators are about: a stream, as far as it has come.
pub(crate) struct LogSubject<'a> {
    pub(crate) info: &'a StreamInfo,
    pub(crate) request: &'a HeaderMap,
    pub(crate) response: Option<&'a HeaderMap>,
    /// Of the response.
    pub(crate) trailers: Option<&'a HeaderMap>,
}

/// What an operator comes to.
enum Value {
    Missing,
    Number(u64),
    Text(String),
}

/// A text, as it is written in a log.
pub(super) fn text(template: &Template, stream: &FilteredStream) -> String {
    with_subject(stream, |subject| expand(template, subject, "-"))
}

/// A text as the value of a header; what there is not, is empty.
pub(crate) fn header_value(template: &Template, subject: &LogSubject<'_>) -> String {
    expand(template, subject, "")
}

/// A line of JSON.
pub(super) fn json_line(members: &[(String, JsonFormat)], stream: &FilteredStream) -> String {
    let mut line = with_subject(stream, |subject| object(members, subject)).to_string();
    line.push('\n');
    line
}

fn with_subject<T>(stream: &FilteredStream, tell: impl FnOnce(&LogSubject<'_>) -> T) -> T {
    tell(&LogSubject {
        info: &stream.info,
        request: &stream.request_map(),
        response: stream.response_map().as_deref(),
        trailers: stream.trailers(Direction::Response).as_deref(),
    })
}

fn expand(template: &Template, subject: &LogSubject<'_>, missing: &str) -> String {
    let mut out = String::with_capacity(template.text.len());
    for piece in &template.pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Operator(operator) => match value(operator, subject) {
                Value::Missing => out.push_str(missing),
                Value::Number(number) => {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "{number}");
                }
                Value::Text(text) => out.push_str(&text),
            },
        }
    }
    out
}

fn object(members: &[(String, JsonFormat)], subject: &LogSubject<'_>) -> Json {
    let member = |(name, format): &(String, JsonFormat)| {
        let value = match format {
            JsonFormat::Object(members) => object(members, subject),
            // An operator alone keeps its type.
            JsonFormat::Text(Template { pieces, .. }) if pieces.len() == 1 => match &pieces[0] {
                Piece::Text(text) => text.as_str().into(),
                Piece::Operator(operator) => match value(operator, subject) {
                    Value::Missing => Json::Null,
                    Value::Number(number) => number.into(),
                    Value::Text(text) => text.into(),
                },
            },
            JsonFormat::Text(template) => expand(template, subject, "-").into(),
        };
        (name.clone(), value)
    };
    Json::Object(members.iter().map(member).collect::<Map<_, _>>())
}

fn value(operator: &Operator, subject: &LogSubject<'_>) -> Value {
    let value = field(&operator.field, subject);
    match (value, operator.max_length) {
        (Value::Text(mut text), Some(length)) => {
            text.truncate(text.floor_char_boundary(length));
            Value::Text(text)
        }
        (value, _) => value,
    }
}

fn field(field: &Field, subject: &LogSubject<'_>) -> Value {
    let info = subject.info;
    let bytes = |headers: &HeaderMap| Value::Number(headers.byte_size() as u64);
    let address = |address: Option<&Address>| some(address.map(Address::to_string));
    let without_port = |address: &Address| Value::Text(address.without_port());
    match field {
        Field::StartTime(pieces) => Value::Text(time(pieces, info.start_time())),
        Field::Request(name) => header(Some(subject.request), name),
        Field::RequestWithoutQuery(name) => match header(Some(subject.request), name) {
            Value::Text(mut path) => {
                path.truncate(path.find('?').unwrap_or(path.len()));
                Value::Text(path)
            }
            other => other,
        },
        Field::Response(name) => header(subject.response, name),
        Field::Trailer(name) => header(subject.trailers, name),
        Field::Protocol => match info.protocol.name() {
            "-" => Value::Missing,
            name => Value::Text(name.to_owned()),
        },
        Field::ResponseCode => {
            // Of a response that is only being made, its headers tell.
            let told = || parse_status(subject.response?.get(b":status")?);
            let code = info.response_code.get().or_else(told);
            Value::Number(code.unwrap_or(0).into())
        }
        Field::ResponseCodeDetails => {
            let details = info.code_details();
            let text = String::from_utf8_lossy(&details).into_owned();
            some((!details.is_empty()).then_some(text))
        }
        Field::ResponseFlags => match info.flags().to_string() {
            flags if flags == "-" => Value::Missing,
            flags => Value::Text(flags),
        },
        Field::BytesReceived => Value::Number(info.bytes_received.get()),
        Field::BytesSent => Value::Number(info.bytes_sent.get()),
        Field::RequestHeadersBytes => bytes(subject.request),
        Field::ResponseHeadersBytes => subject.response.map_or(Value::Number(0), bytes),
        Field::Duration => {
            let millis = info.elapsed().as_millis();
            Value::Number(u64::try_from(millis).unwrap_or(u64::MAX))
        }
        Field::UpstreamHost => address(info.upstream.borrow().as_ref()),
        Field::UpstreamCluster => some(info.cluster.borrow().as_deref().map(str::to_owned)),
        Field::UpstreamLocalAddress => address(info.upstream_local.borrow().as_ref()),
        Field::UpstreamRequestAttemptCount => Value::Number(info.upstream_attempts.get()),
        Field::DownstreamRemoteAddress => address(Some(&info.client)),
        Field::DownstreamRemoteAddressWithoutPort => without_port(&info.client),
        Field::DownstreamDirectRemoteAddress => address(Some(&info.connection.peer)),
        Field::DownstreamDirectRemoteAddressWithoutPort => without_port(&info.connection.peer),
        Field::DownstreamLocalAddress => address(Some(&info.connection.local)),
        Field::DownstreamLocalAddressWithoutPort => without_port(&info.connection.local),
        // As in Envoy, a Unix socket's is empty, not missing.
        Field::DownstreamLocalPort => match info.connection.local.port() {
            Some(port) => Value::Number(port.into()),
            None => Value::Text(String::new()),
        },
        Field::ConnectionId => Value::Number(info.connection.id),
        Field::RouteName => {
            let route = info.route.borrow();
            let name = route.as_ref().map(|route| route.name.clone());
            some(name.filter(|name| !name.is_empty()))
        }
        Field::UpstreamTransportFailureReason => {
            let reason = info.upstream_failure.borrow();
            // As in Envoy, without what would break a line's fields.
            let reason = reason.replace(' ', "_");
            some((!reason.is_empty()).then_some(reason))
        }
        Field::ConnectionTerminationDetails => told(&info.termination_details()),
        Field::DynamicMetadata(path) => dynamic_metadata(&info.dynamic_metadata(), path),
        Field::FilterChainName => told(&info.facts.filter_chain),
        Field::RequestedServerName => told(info.connection.requested_server_name()),
        Field::Tls(TlsOf::Downstream, field) => tls(info.connection.tls.as_deref(), *field),
        Field::Tls(TlsOf::Upstream, field) => tls(info.upstream_tls.borrow().as_deref(), *field),
    }
}

/// A value of metadata, as JSON unless it is a text.
fn dynamic_metadata(metadata: &Metadata, path: &[String]) -> Value {
    let Some((filter, keys)) = path.split_first() else {
        return Value::Missing;
    };
    let mut namespaces = metadata.namespaces.iter();
    let Some((_, object)) = namespaces.find(|(name, _)| name == filter) else {
        return Value::Missing;
    };
    let Some((first, rest)) = keys.split_first() else {
        return Value::Text(Json::Object(object.clone()).to_string());
    };
    let value = rest
        .iter()
        .try_fold(object.get(first), |value, key| Some(value?.get(key)));
    match value.flatten() {
        Some(Json::String(text)) => Value::Text(text.clone()),
        Some(value) => Value::Text(value.to_string()),
        None => Value::Missing,
    }
}

/// What is told of an encrypted connection.
fn tls(tls: Option<&TlsFacts>, field: TlsField) -> Value {
    let Some(tls) = tls else {
        return Value::Missing;
    };
    let of = |certificate: &Option<Arc<CertificateFacts>>,
              what: fn(&CertificateFacts) -> String| {
        let what = certificate.as_ref().map(|facts| what(facts));
        told(&what.unwrap_or_default())
    };
    match field {
        TlsField::Version => told(tls.version),
        TlsField::Cipher => told(tls.cipher),
        TlsField::LocalSubject => of(&tls.local, |c| c.subject.clone()),
        TlsField::PeerSubject => of(&tls.peer, |c| c.subject.clone()),
        TlsField::PeerIssuer => of(&tls.peer, |c| c.issuer.clone()),
        TlsField::LocalUriSan => of(&tls.local, |c| c.uri_sans.join(",")),
        TlsField::PeerUriSan => of(&tls.peer, |c| c.uri_sans.join(",")),
        TlsField::LocalDnsSan => of(&tls.local, |c| c.dns_sans.join(",")),
        TlsField::PeerDnsSan => of(&tls.peer, |c| c.dns_sans.join(",")),
        TlsField::PeerSerial => of(&tls.peer, |c| c.serial.clone()),
        TlsField::PeerFingerprint256 => of(&tls.peer, |c| c.sha256.clone()),
    }
}

/// A text, unless there is nothing to tell; what could break a line is escaped.
fn told(text: &str) -> Value {
    some((!text.is_empty()).then(|| clean(text)))
}

fn some(text: Option<String>) -> Value {
    text.map_or(Value::Missing, Value::Text)
}

/// The value of a header, or else of the other one; what could break a line is
/// escaped.
fn header(headers: Option<&HeaderMap>, field: &HeaderField) -> Value {
    let Some(headers) = headers else {
        return Value::Missing;
    };
    let found = headers.get(field.name.as_bytes());
    let found = found.or_else(|| headers.get(field.alternative.as_ref()?.as_bytes()));
    let Some(value) = found else {
        return Value::Missing;
    };
    Value::Text(clean(&String::from_utf8_lossy(value)))
}

/// A text without what could break a line.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A time since the Unix epoch, in UTC.
fn time(pieces: &[TimePiece], since_epoch: Duration) -> String {
    // YYYY-MM-DDTHH:MM:SS.NNNNNNNNNZ
    let full = humantime::format_rfc3339_nanos(UNIX_EPOCH + since_epoch).to_string();
    let part = |start: usize, end: usize| full.get(start..end).unwrap_or_default();
    let mut out = String::with_capacity(full.len());
    for piece in pieces {
        match piece {
            TimePiece::Text(c) => out.push(*c),
            TimePiece::Year => out.push_str(part(0, 4)),
            TimePiece::Month => out.push_str(part(5, 7)),
            TimePiece::Day => out.push_str(part(8, 10)),
            TimePiece::Hour => out.push_str(part(11, 13)),
            TimePiece::Minute => out.push_str(part(14, 16)),
            TimePiece::Second => out.push_str(part(17, 19)),
            TimePiece::Fraction(digits) => out.push_str(part(20, 20 + digits)),
            TimePiece::Epoch => {
                // Writing to a string cannot fail.
                let _ = write!(out, "{}", since_epoch.as_secs());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        let pieces = [
            TimePiece::Year,
            TimePiece::Text('/'),
            TimePiece::Month,
            TimePiece::Text('/'),
            TimePiece::Day,
            TimePiece::Text(' '),
            TimePiece::Hour,
            TimePiece::Text(':'),
            TimePiece::Minute,
            TimePiece::Text(':'),
            TimePiece::Second,
            TimePiece::Text('.'),
            TimePiece::Fraction(3),
            TimePiece::Text(' '),
            TimePiece::Epoch,
        ];
        let at = Duration::new(1_000_000_000, 12_345_678);
        assert_eq!(time(&pieces, at), "2001/09/09 01:46:40.012 1000000000");
    }
}
