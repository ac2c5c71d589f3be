//! Texts with Envoy's command operators, such as `%RESPONSE_CODE%`.

use super::time::{self, TimePiece};
use super::tls::{self, TlsField, TlsOf};
use crate::read::nearest;

/// A text with operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The text as written.
    pub text: String,
    /// What it consists of.
    pub pieces: Vec<Piece>,
}

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Written as it is.
    Text(String),
    /// Replaced by a value, or by `-` where there is none.
    Operator(Operator),
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The value.
    pub field: Field,
    /// `:N` behind the operator: so many bytes of it.
    pub max_length: Option<usize>,
}

/// What an operator stands for; each variant names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// `START_TIME`, `START_TIME(format)`
    StartTime(Vec<TimePiece>),
    /// `REQ(name?alternative)`
    Request(HeaderField),
    /// `REQ_WITHOUT_QUERY(name?alternative)`
    RequestWithoutQuery(HeaderField),
    /// `RESP(name?alternative)`
    Response(HeaderField),
    /// `TRAILER(name?alternative)`
    Trailer(HeaderField),
    /// `PROTOCOL`
    Protocol,
    /// `RESPONSE_CODE`
    ResponseCode,
    /// `RESPONSE_CODE_DETAILS`
    ResponseCodeDetails,
    /// `RESPONSE_FLAGS`
    ResponseFlags,
    /// `BYTES_RECEIVED`
    BytesReceived,
    /// `BYTES_SENT`
    BytesSent,
    /// `REQUEST_HEADERS_BYTES`
    RequestHeadersBytes,
    /// `RESPONSE_HEADERS_BYTES`
    ResponseHeadersBytes,
    /// `DURATION`, in milliseconds.
    Duration,
    /// `UPSTREAM_HOST`
    UpstreamHost,
    /// `UPSTREAM_CLUSTER`
    UpstreamCluster,
    /// `UPSTREAM_LOCAL_ADDRESS`
    UpstreamLocalAddress,
    /// `UPSTREAM_REQUEST_ATTEMPT_COUNT`
    UpstreamRequestAttemptCount,
    /// `DOWNSTREAM_REMOTE_ADDRESS`
    DownstreamRemoteAddress,
    /// `DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT`
    DownstreamRemoteAddressWithoutPort,
    /// `DOWNSTREAM_DIRECT_REMOTE_ADDRESS`
    DownstreamDirectRemoteAddress,
    /// `DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT`
    DownstreamDirectRemoteAddressWithoutPort,
    /// `DOWNSTREAM_LOCAL_ADDRESS`
    DownstreamLocalAddress,
    /// `DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT`
    DownstreamLocalAddressWithoutPort,
    /// `DOWNSTREAM_LOCAL_PORT`
    DownstreamLocalPort,
    /// `CONNECTION_ID`
    ConnectionId,
    /// `ROUTE_NAME`
    RouteName,
    /// `UPSTREAM_TRANSPORT_FAILURE_REASON`
    UpstreamTransportFailureReason,
    /// `REQUESTED_SERVER_NAME`
    RequestedServerName,
    /// `FILTER_CHAIN_NAME`
    FilterChainName,
    /// `CONNECTION_TERMINATION_DETAILS`
    ConnectionTerminationDetails,
    /// `DYNAMIC_METADATA(filter:key:key)`: the namespace, and keys one inside the other.
    DynamicMetadata(Vec<String>),
    /// `DOWNSTREAM_TLS_VERSION` and others that name TLS.
    Tls(TlsOf, TlsField),
}

/// A header, or another one in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderField {
    /// Lower case.
    pub name: String,
    /// Lower case.
    pub alternative: Option<String>,
}

/// Fields without arguments.
const PLAIN: [(&str, Field); 26] = [
    ("PROTOCOL", Field::Protocol),
    ("RESPONSE_CODE", Field::ResponseCode),
    ("RESPONSE_CODE_DETAILS", Field::ResponseCodeDetails),
    ("RESPONSE_FLAGS", Field::ResponseFlags),
    ("BYTES_RECEIVED", Field::BytesReceived),
    ("BYTES_SENT", Field::BytesSent),
    ("REQUEST_HEADERS_BYTES", Field::RequestHeadersBytes),
    ("RESPONSE_HEADERS_BYTES", Field::ResponseHeadersBytes),
    ("DURATION", Field::Duration),
    ("UPSTREAM_HOST", Field::UpstreamHost),
    ("UPSTREAM_CLUSTER", Field::UpstreamCluster),
    // The other one would be an `alt_stat_name`, which clusters do not have here.
    ("UPSTREAM_CLUSTER_RAW", Field::UpstreamCluster),
    ("UPSTREAM_LOCAL_ADDRESS", Field::UpstreamLocalAddress),
    (
        "UPSTREAM_REQUEST_ATTEMPT_COUNT",
        Field::UpstreamRequestAttemptCount,
    ),
    ("DOWNSTREAM_REMOTE_ADDRESS", Field::DownstreamRemoteAddress),
    (
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        Field::DownstreamRemoteAddressWithoutPort,
    ),
    (
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        Field::DownstreamDirectRemoteAddress,
    ),
    (
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
        Field::DownstreamDirectRemoteAddressWithoutPort,
    ),
    ("DOWNSTREAM_LOCAL_ADDRESS", Field::DownstreamLocalAddress),
    (
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        Field::DownstreamLocalAddressWithoutPort,
    ),
    ("DOWNSTREAM_LOCAL_PORT", Field::DownstreamLocalPort),
    ("CONNECTION_ID", Field::ConnectionId),
    ("REQUESTED_SERVER_NAME", Field::RequestedServerName),
    ("FILTER_CHAIN_NAME", Field::FilterChainName),
    (
        "CONNECTION_TERMINATION_DETAILS",
        Field::ConnectionTerminationDetails,
    ),
    (
        "UPSTREAM_TRANSPORT_FAILURE_REASON",
        Field::UpstreamTransportFailureReason,
    ),
];

/// All names, for suggestions.
fn names() -> impl Iterator<Item = &'static str> + Clone {
    let others = [
        "START_TIME",
        "REQ",
        "REQ_WITHOUT_QUERY",
        "RESP",
        "TRAILER",
        "ROUTE_NAME",
        "DYNAMIC_METADATA",
    ];
    let plain = PLAIN.iter().map(|(name, _)| *name);
    plain.chain(tls::names()).chain(others)
}

/// Envoy's default format.
const ENVOY: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% \
     %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
     %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
     \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// What is wrong with a template.
#[derive(Debug)]
pub(crate) struct TemplateError {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

fn error(message: String) -> TemplateError {
    TemplateError {
        message,
        help: None,
    }
}

impl Template {
    /// Envoy's default format.
    pub(crate) fn envoy() -> Self {
        // It parses, as the test below shows.
        Self::parse(ENVOY).unwrap_or(Self {
            text: ENVOY.to_owned(),
            pieces: Vec::new(),
        })
    }

    /// An empty text.
    pub(crate) fn empty() -> Self {
        Self {
            text: String::new(),
            pieces: Vec::new(),
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            plain.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix('%') {
                plain.push('%');
                rest = behind;
                continue;
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            let (operator, behind) = operator(rest)?;
            pieces.push(Piece::Operator(operator));
            rest = behind;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self {
            text: text.to_owned(),
            pieces,
        })
    }
}

/// `NAME(argument):length%`, and what stands behind it.
fn operator(text: &str) -> Result<(Operator, &str), TemplateError> {
    let unclosed = || error("an operator has no `%` at its end; `%%` stands for one".to_owned());
    let end = text.find(['%', '(', ':']).ok_or_else(unclosed)?;
    let (name, mut rest) = text.split_at(end);
    let mut argument = None;
    if let Some(inner) = rest.strip_prefix('(') {
        let (inside, behind) = inner.split_once(')').ok_or_else(unclosed)?;
        argument = Some(inside);
        rest = behind;
    }
    let (length, behind) = rest.split_once('%').ok_or_else(unclosed)?;
    let max_length = match length.strip_prefix(':') {
        Some(digits) => Some(
            digits
                .parse()
                .map_err(|_| error(format!("`%{name}:{digits}%`: the length is not a number")))?,
        ),
        None if length.is_empty() => None,
        None => return Err(error(format!("`{length}` cannot stand behind `%{name}`"))),
    };
    let field = field(name, argument)?;
    Ok((Operator { field, max_length }, behind))
}

fn field(name: &str, argument: Option<&str>) -> Result<Field, TemplateError> {
    let header = |make: fn(HeaderField) -> Field| {
        let argument = argument.filter(|argument| !argument.is_empty());
        let argument = argument
            .ok_or_else(|| error(format!("`%{name}%` needs a header: `%{name}(x-id)%`")))?;
        let argument = argument.to_ascii_lowercase();
        let (first, second) = match argument.split_once('?') {
            Some((first, second)) => (first, Some(second)),
            None => (argument.as_str(), None),
        };
        Ok(make(HeaderField {
            name: header_name(first),
            alternative: second.map(header_name),
        }))
    };
    match name {
        "REQ" => return header(Field::Request),
        "REQ_WITHOUT_QUERY" => return header(Field::RequestWithoutQuery),
        "RESP" => return header(Field::Response),
        "TRAILER" => return header(Field::Trailer),
        "DYNAMIC_METADATA" => {
            let path = argument.filter(|path| !path.is_empty()).ok_or_else(|| {
                error(format!("`%{name}%` needs a filter: `%{name}(my.filter)%`"))
            })?;
            return Ok(Field::DynamicMetadata(
                path.split(':').map(str::to_owned).collect(),
            ));
        }
        "START_TIME" => {
            let format = argument.filter(|format| !format.is_empty());
            return time::parse(format.unwrap_or(time::START_TIME)).map(Field::StartTime);
        }
        _ => {}
    }
    if argument.is_some_and(|argument| !argument.is_empty()) {
        return Err(error(format!(
            "`%{name}%` with an argument is not supported"
        )));
    }
    if name == "ROUTE_NAME" {
        return Ok(Field::RouteName);
    }
    let plain = PLAIN.iter().find(|(known, _)| *known == name);
    plain
        .map(|(_, field)| field.clone())
        .or_else(|| tls::field(name).map(|(of, field)| Field::Tls(of, field)))
        .ok_or_else(|| TemplateError {
            message: format!("the operator `%{name}%` is not supported"),
            help: nearest(name, names()).map(|meant| format!("did you mean `%{meant}%`?")),
        })
}

/// `host` is the authority.
fn header_name(name: &str) -> String {
    match name {
        "host" => ":authority".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_have_arguments_and_lengths() {
        let parsed = Template::parse("a%%%REQ(Host?X-B):7%b%PROTOCOL%").map(|t| t.pieces);
        let request = Field::Request(HeaderField {
            name: ":authority".to_owned(),
            alternative: Some("x-b".to_owned()),
        });
        let operator = |field, max_length| Piece::Operator(Operator { field, max_length });
        assert_eq!(
            parsed.unwrap_or_default(),
            [
                Piece::Text("a%".to_owned()),
                operator(request, Some(7)),
                Piece::Text("b".to_owned()),
                operator(Field::Protocol, None),
            ]
        );
    }

    #[test]
    fn the_default_of_envoy_is_a_template() {
        assert_eq!(Template::envoy().pieces.len(), 31);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (text, expected) in [
            ("%FOO%", "the operator `%FOO%` is not supported"),
            (
                "%PROTOCOL",
                "an operator has no `%` at its end; `%%` stands for one",
            ),
            (
                "%REQ(x%",
                "an operator has no `%` at its end; `%%` stands for one",
            ),
            ("%REQ%", "`%REQ%` needs a header: `%REQ(x-id)%`"),
            ("%REQ(a):b%", "`%REQ:b%`: the length is not a number"),
            (
                "%DURATION(x)%",
                "`%DURATION%` with an argument is not supported",
            ),
            (
                "%START_TIME(%j)%",
                "`%j` in the format of a time is not supported",
            ),
        ] {
            let message = Template::parse(text).err().map(|error| error.message);
            assert_eq!(message.as_deref(), Some(expected), "{text}");
        }
    }
}
