//! The steps of a test.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use weir_abi::{Direction, HeaderMap, PeerType, Side};
use weir_config::{Element, Span};

use super::data;
use super::expect::Expect;
use crate::driver::Properties;
use crate::fields::{self, Fields, Read};

/// A step, and what is expected after it.
pub(super) struct Step {
    pub(super) stream: String,
    pub(super) action: Action,
    pub(super) expect: Expect,
    pub(super) span: Span,
}

/// What happens.
pub(super) enum Action {
    /// Nothing; something is expected only.
    None,
    /// A request begins, on a stream of its own.
    Request(Message, Properties),
    /// The response begins.
    Response(Message),
    /// More of a message.
    More(Direction, Message),
    /// The stream ends, as when the response has been sent or the client is gone.
    End,
    /// The oldest callout to this target is answered.
    Answer(String, Answer),
    /// Time passes.
    Advance(Duration),
    /// Other VMs of the same `vm_id` set shared data.
    SetSharedData(Vec<(Bytes, Bytes)>),
    /// They put items into queues.
    Enqueue(Vec<(Bytes, Bytes)>),
    /// A TCP connection begins.
    Connect(Properties),
    /// Bytes come on a connection.
    Data(Side, Vec<Bytes>, bool),
    /// One side closes the connection.
    Disconnect(Side),
}

/// Parts of a message, and whether they are its end.
#[derive(Default)]
pub(super) struct Message {
    pub(super) headers: Option<HeaderMap>,
    pub(super) body: Vec<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) more: bool,
}

/// What a callout gets.
pub(super) enum Answer {
    Http {
        headers: HeaderMap,
        body: Bytes,
        trailers: Option<HeaderMap>,
    },
    Grpc {
        initial: Option<HeaderMap>,
        messages: Vec<Bytes>,
        trailers: Option<HeaderMap>,
        /// gRPC status and message; without one, a stream goes on.
        end: Option<(u32, Bytes)>,
    },
    Addresses(Vec<std::net::IpAddr>),
    /// The connection broke.
    Fails,
}

const KINDS: [&str; 15] = [
    "request",
    "request_body",
    "request_trailers",
    "response",
    "response_body",
    "response_trailers",
    "end",
    "answer",
    "advance",
    "set_shared_data",
    "enqueue",
    "connect",
    "downstream",
    "upstream",
    "disconnect",
];

const DETAILS: [&str; 11] = [
    "stream",
    "headers",
    "body",
    "trailers",
    "more",
    "properties",
    "with",
    "fails",
    "grpc",
    "addresses",
    "expect",
];

/// What a stream is called that a step does not name.
const DEFAULT_STREAM: &str = "the stream";

impl Step {
    pub(super) fn read(element: Element<'_>, folder: &Path) -> Read<Self> {
        let known: Vec<_> = KINDS.into_iter().chain(DETAILS).collect();
        let fields = Fields::open(element, "a step", &known)?;
        let mut kinds = KINDS.into_iter().filter(|kind| fields.any(kind).is_some());
        let kind = kinds.next();
        if let (Some(first), Some(second)) = (kind, kinds.next()) {
            let message = format!("a step is one of `{first}` and `{second}`, not both");
            return Err(fields.error(second, message).into());
        }
        let action = match kind {
            Some(kind) => action(kind, &fields, folder)?,
            None if fields.any("expect").is_some() => Action::None,
            None => {
                let error = element.error("the step does nothing and expects nothing");
                let help = format!("a step has one of the keys {}", KINDS.join(", "));
                return Err(error.with_help(help).into());
            }
        };
        check_details(kind, &fields)?;
        let stream = fields.text("stream")?;
        Ok(Self {
            stream: stream.unwrap_or_else(|| DEFAULT_STREAM.to_owned()),
            action,
            expect: Expect::read(fields.get("expect"), folder)?,
            span: kind.map_or(element.at(), |kind| fields.span(kind)),
        })
    }
}

/// Refuses keys that mean nothing beside `kind`.
fn check_details(kind: Option<&str>, fields: &Fields<'_>) -> Read<()> {
    let belongs: &[&str] = match kind {
        Some("request") => &["headers", "body", "trailers", "more", "properties"],
        Some("response") => &["headers", "body", "trailers", "more"],
        Some("request_body" | "response_body") => &["trailers", "more"],
        Some("answer") => &["with", "fails", "grpc", "addresses"],
        Some("connect") => &["properties"],
        Some("downstream" | "upstream") => &["more"],
        _ => &[],
    };
    let always = ["stream", "expect"];
    let stray = fields
        .keys()
        .find(|key| DETAILS.contains(key) && !always.contains(key) && !belongs.contains(key));
    match (stray, kind) {
        (None, _) => Ok(()),
        (Some(key), Some(kind)) => {
            let message = format!("`{key}` means nothing beside `{kind}`");
            Err(fields.error(key, message).into())
        }
        (Some(key), None) => {
            let message = format!("`{key}` means nothing in a step that only expects");
            Err(fields.error(key, message).into())
        }
    }
}

fn action(kind: &str, fields: &Fields<'_>, folder: &Path) -> Read<Action> {
    let Some(value) = fields.any(kind) else {
        return Ok(Action::None);
    };
    Ok(match kind {
        "request" => {
            let mut headers = request_line(value)?;
            if let Some(more) = fields.get("headers") {
                override_pseudo(&mut headers, more);
                data::headers(more, folder, &mut headers)?;
            }
            let properties = fields.get("properties").map(data::properties);
            let properties = properties.transpose()?.unwrap_or_default();
            Action::Request(message(fields, Some(headers), folder)?, properties)
        }
        "response" => {
            let status: u16 = fields::integer(value, "a status code, such as 200")?;
            let mut headers = HeaderMap::new();
            headers.add(":status", status.to_string());
            if let Some(more) = fields.get("headers") {
                data::headers(more, folder, &mut headers)?;
            }
            Action::Response(message(fields, Some(headers), folder)?)
        }
        "request_body" | "response_body" => {
            let mut message = message(fields, None, folder)?;
            message.body = data::pieces(value, folder)?;
            Action::More(direction(kind), message)
        }
        "request_trailers" | "response_trailers" => {
            let mut trailers = HeaderMap::new();
            data::headers(value, folder, &mut trailers)?;
            let message = Message {
                trailers: Some(trailers),
                ..Message::default()
            };
            Action::More(direction(kind), message)
        }
        "end" => Action::End,
        "answer" => Action::Answer(fields::text(value)?, answer(fields, folder)?),
        "advance" => Action::Advance(value.duration()?),
        "set_shared_data" => Action::SetSharedData(data::values(value, folder)?),
        "enqueue" => Action::Enqueue(data::values(value, folder)?),
        "connect" => Action::Connect(connect(value, fields)?),
        "downstream" | "upstream" => {
            let side = side(kind);
            let end = fields.bool("more")? == Some(false);
            Action::Data(side, data::pieces(value, folder)?, end)
        }
        _ => match value.text() {
            Some(name @ ("downstream" | "upstream")) => Action::Disconnect(side(name)),
            _ => return Err(fields::expected(value, "`downstream` or `upstream`")),
        },
    })
}

fn direction(kind: &str) -> Direction {
    if kind.starts_with("request") {
        Direction::Request
    } else {
        Direction::Response
    }
}

fn side(name: &str) -> Side {
    if name == "downstream" {
        Side::Downstream
    } else {
        Side::Upstream
    }
}

/// Who closes a connection from that side.
pub(super) const DISCONNECTS: PeerType = PeerType::Remote;

fn message(fields: &Fields<'_>, headers: Option<HeaderMap>, folder: &Path) -> Read<Message> {
    let body = fields.get("body").map(|body| data::pieces(body, folder));
    let trailers = fields.get("trailers").map(|trailers| {
        let mut map = HeaderMap::new();
        data::headers(trailers, folder, &mut map)?;
        Ok::<_, weir_config::ConfigErrors>(map)
    });
    let more = fields.bool("more")?.unwrap_or(false);
    if more && trailers.is_some() {
        let message = "trailers are the end of a message: `more` cannot be true";
        return Err(fields.error("more", message).into());
    }
    Ok(Message {
        headers,
        body: body.transpose()?.unwrap_or_default(),
        trailers: trailers.transpose()?,
        more,
    })
}

/// `GET /path` or `POST https://host/path` as pseudo-headers, in the order in which
/// Envoy has them.
fn request_line(element: Element<'_>) -> Read<HeaderMap> {
    let what = "a method and a path or URL, such as `GET /`";
    let text = element.text().and_then(|text| text.split_once(' '));
    let (method, target) = text.ok_or_else(|| fields::expected(element, what))?;
    let (scheme, authority, path) = match target.starts_with('/') {
        true => ("http".to_owned(), AUTHORITY.to_owned(), target.to_owned()),
        false => {
            let uri: Uri = match target.parse() {
                Ok(uri) => uri,
                Err(_) => return Err(fields::expected(element, what)),
            };
            let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
                return Err(fields::expected(element, what));
            };
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            (scheme.to_owned(), authority.to_string(), path.to_owned())
        }
    };
    let pseudo = [
        (":authority", authority),
        (":path", path),
        (":method", method.to_owned()),
        (":scheme", scheme),
    ];
    Ok(pseudo.into_iter().collect())
}

/// Host of a request that names none.
const AUTHORITY: &str = "example.com";

/// Pseudo-headers that are given as headers take the place of those that are derived.
fn override_pseudo(headers: &mut HeaderMap, given: Element<'_>) {
    for (name, _) in given.entries().unwrap_or_default() {
        if name.value.starts_with(':') {
            headers.remove(name.value.as_bytes());
        }
    }
}

fn connect(value: Element<'_>, fields: &Fields<'_>) -> Read<Properties> {
    let properties = fields.get("properties").map(data::properties);
    let mut properties = properties.transpose()?.unwrap_or_default();
    if value.is_null() || value.bool() == Some(true) {
        return Ok(properties);
    }
    let what = "`true`, or an address such as 10.0.0.1:40000";
    let client: std::net::SocketAddr = match value.text().map(str::parse) {
        Some(Ok(client)) => client,
        _ => return Err(fields::expected(value, what)),
    };
    let own = crate::driver::Properties(
        [
            ("source.address".to_owned(), client.to_string().into()),
            (
                "source.port".to_owned(),
                weir_abi::Property::Int(client.port().into()),
            ),
        ]
        .into(),
    );
    properties = own.with(&properties);
    Ok(properties)
}

fn answer(fields: &Fields<'_>, folder: &Path) -> Read<Answer> {
    let given = |key: &&str| fields.any(key).is_some();
    let kinds: Vec<_> = ["with", "fails", "grpc", "addresses"]
        .into_iter()
        .filter(given)
        .collect();
    let [kind] = kinds[..] else {
        let message = "an answer has one of `with`, `grpc`, `addresses` and `fails: true`";
        return Err(fields.error("answer", message).into());
    };
    let Some(value) = fields.any(kind) else {
        return Ok(Answer::Fails);
    };
    match kind {
        "with" => http_answer(value, folder),
        "grpc" => grpc_answer(value, folder),
        "addresses" => {
            let address = |text: String| text.parse();
            let addresses = fields::texts(value)?.into_iter().map(address);
            let addresses = addresses.collect::<Result<Vec<_>, _>>();
            let addresses = addresses.map_err(|_| fields::expected(value, "IP addresses"))?;
            Ok(Answer::Addresses(addresses))
        }
        _ if value.bool() == Some(true) => Ok(Answer::Fails),
        _ => Err(fields::expected(value, "`true`")),
    }
}

fn http_answer(value: Element<'_>, folder: &Path) -> Read<Answer> {
    let keys = ["status", "headers", "body", "trailers"];
    let fields = Fields::open(value, "an answer", &keys)?;
    let status = fields.get("status");
    let status = status.map(|status| fields::integer::<u16>(status, "a status code"));
    let mut headers = HeaderMap::new();
    headers.add(":status", status.transpose()?.unwrap_or(200).to_string());
    if let Some(more) = fields.get("headers") {
        data::headers(more, folder, &mut headers)?;
    }
    let body = fields.get("body").map(|body| data::bytes(body, folder));
    Ok(Answer::Http {
        headers,
        body: body.transpose()?.unwrap_or_default(),
        trailers: map(&fields, "trailers", folder)?,
    })
}

fn grpc_answer(value: Element<'_>, folder: &Path) -> Read<Answer> {
    let keys = ["headers", "messages", "trailers", "status", "message"];
    let fields = Fields::open(value, "a gRPC answer", &keys)?;
    let messages = fields.get("messages").map(|m| data::pieces(m, folder));
    let status = fields.get("status");
    let status = status.map(|status| fields::integer::<u32>(status, "a gRPC status"));
    let message = fields.text("message")?.unwrap_or_default();
    Ok(Answer::Grpc {
        initial: map(&fields, "headers", folder)?,
        messages: messages.transpose()?.unwrap_or_default(),
        trailers: map(&fields, "trailers", folder)?,
        end: status.transpose()?.map(|status| (status, message.into())),
    })
}

fn map(fields: &Fields<'_>, key: &str, folder: &Path) -> Read<Option<HeaderMap>> {
    let Some(element) = fields.get(key) else {
        return Ok(None);
    };
    let mut map = HeaderMap::new();
    data::headers(element, folder, &mut map)?;
    Ok(Some(map))
}
