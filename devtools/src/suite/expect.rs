//! What is expected after a step.

use std::path::Path;

use weir_abi::{Direction, HeaderMap, LogLevel};
use weir_config::{Element, Span};

use super::matcher::Matcher;
use crate::fields::{self, Fields, Read};

/// What is expected after a step; what is not named may be anything.
#[derive(Default)]
pub(super) struct Expect {
    /// What the upstream gets of the request.
    pub(super) request: Option<Message>,
    /// What the client gets of the response.
    pub(super) response: Option<Message>,
    /// The filter's own answer.
    pub(super) reply: Option<Reply>,
    /// What the filter holds back; an empty list: nothing.
    pub(super) held: Option<(Vec<Held>, Span)>,
    /// Whether the filter has closed the stream or connection.
    pub(super) closed: Option<(bool, Span)>,
    /// What ends the VM.
    pub(super) fails: Option<Matcher>,
    /// The filter does not start.
    pub(super) refused: Option<(bool, Span)>,
    pub(super) log: Vec<LogMatcher>,
    pub(super) metrics: Vec<Named>,
    pub(super) shared_data: Vec<Named>,
    pub(super) properties: Vec<Named>,
    /// Targets of the callouts under way.
    pub(super) callouts: Option<(Vec<String>, Span)>,
    /// The callout that is answered.
    pub(super) callout: Option<Callout>,
    pub(super) route_cleared: Option<(bool, Span)>,
    pub(super) to_upstream: Option<Matcher>,
    pub(super) to_downstream: Option<Matcher>,
}

/// A matcher for what has a name.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) matcher: Matcher,
}

/// A message behind the filter.
pub(super) struct Message {
    pub(super) status: Option<Matcher>,
    pub(super) headers: Vec<Header>,
    pub(super) body: Option<Matcher>,
    pub(super) trailers: Vec<Header>,
    pub(super) ended: Option<(bool, Span)>,
    pub(super) span: Span,
}

/// The values of a header, one or more.
pub(super) struct Header {
    pub(super) name: String,
    pub(super) values: Vec<Matcher>,
    /// Whether these are all values, each in its place.
    pub(super) exactly: bool,
}

/// The filter's own answer.
pub(super) struct Reply {
    /// `None`: there must be none.
    pub(super) expected: Option<ReplyParts>,
    pub(super) span: Span,
}

/// Parts of a filter's own answer.
pub(super) struct ReplyParts {
    pub(super) status: Option<Matcher>,
    pub(super) headers: Vec<Header>,
    pub(super) body: Option<Matcher>,
    pub(super) details: Option<Matcher>,
    pub(super) grpc_status: Option<Matcher>,
}

/// What a filter can hold back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Message(Direction),
    Connection,
}

impl Held {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Message(Direction::Request) => "request",
            Self::Message(Direction::Response) => "response",
            Self::Connection => "connection",
        }
    }
}

/// A line of the log.
pub(super) struct LogMatcher {
    pub(super) level: Option<LogLevel>,
    pub(super) message: Matcher,
}

/// What a filter has asked for.
pub(super) struct Callout {
    pub(super) headers: Vec<Header>,
    pub(super) body: Option<Matcher>,
    pub(super) trailers: Vec<Header>,
    pub(super) timeout: Option<Matcher>,
    pub(super) service: Option<Matcher>,
    pub(super) method: Option<Matcher>,
    pub(super) messages: Option<(Vec<Matcher>, Span)>,
    pub(super) closed: Option<(bool, Span)>,
}

const KEYS: [&str; 16] = [
    "request",
    "response",
    "reply",
    "held",
    "closed",
    "fails",
    "refused",
    "log",
    "metrics",
    "shared_data",
    "properties",
    "callouts",
    "callout",
    "route_cleared",
    "to_upstream",
    "to_downstream",
];

/// Reads one key of a mapping of expectations.
struct Reader<'d, 'f> {
    fields: Fields<'d>,
    folder: &'f Path,
}

impl<'d, 'f> Reader<'d, 'f> {
    fn open(element: Element<'d>, name: &str, keys: &[&str], folder: &'f Path) -> Read<Self> {
        let fields = Fields::open(element, name, keys)?;
        Ok(Self { fields, folder })
    }

    fn matcher(&self, key: &str) -> Read<Option<Matcher>> {
        let element = self.fields.any(key);
        element.map(|e| Matcher::read(e, self.folder)).transpose()
    }

    fn flag(&self, key: &str) -> Read<Option<(bool, Span)>> {
        let flag = self.fields.bool(key)?;
        Ok(flag.map(|flag| (flag, self.fields.span(key))))
    }

    fn headers(&self, key: &str) -> Read<Vec<Header>> {
        let Some(element) = self.fields.get(key) else {
            return Ok(Vec::new());
        };
        let entries = element.entries();
        let entries = entries.ok_or_else(|| fields::expected(element, "headers by their names"))?;
        let header = |(name, value): (weir_config::Spanned<&str>, Element<'_>)| {
            let items = value.items();
            let exactly = items.is_some();
            let values = items.unwrap_or_else(|| vec![value]).into_iter();
            Ok(Header {
                name: name.value.to_ascii_lowercase(),
                values: values
                    .map(|v| Matcher::read(v, self.folder))
                    .collect::<Read<_>>()?,
                exactly,
            })
        };
        entries.into_iter().map(header).collect()
    }

    fn named(&self, key: &str) -> Read<Vec<Named>> {
        let Some(element) = self.fields.get(key) else {
            return Ok(Vec::new());
        };
        let entries = element.entries();
        let entries = entries.ok_or_else(|| fields::expected(element, "values by their names"))?;
        let named = |(name, value): (weir_config::Spanned<&str>, Element<'_>)| {
            Ok(Named {
                name: name.value.to_owned(),
                matcher: Matcher::read(value, self.folder)?,
            })
        };
        entries.into_iter().map(named).collect()
    }
}

impl Expect {
    pub(super) fn read(element: Option<Element<'_>>, folder: &Path) -> Read<Self> {
        let Some(element) = element else {
            return Ok(Self::default());
        };
        let reader = Reader::open(element, "`expect`", &KEYS, folder)?;
        let fields = &reader.fields;
        let message = |key: &str| {
            let element = fields.get(key);
            element
                .map(|element| Message::read(element, folder))
                .transpose()
        };
        let fails = match fields.get("fails") {
            Some(value) if value.bool() == Some(true) => None,
            _ => reader.matcher("fails")?,
        };
        let fails = match (fails, fields.get("fails")) {
            (None, Some(value)) => Some(Matcher::present(value.at())),
            (fails, _) => fails,
        };
        let log = fields.get("log").map(|log| log_matchers(log, folder));
        let callouts = fields.any("callouts").map(|callouts| {
            let targets = match callouts.is_null() {
                true => Vec::new(),
                false => fields::texts(callouts)?,
            };
            Ok::<_, weir_config::ConfigErrors>((targets, callouts.at()))
        });
        let callout = fields.get("callout");
        Ok(Self {
            request: message("request")?,
            response: message("response")?,
            reply: fields
                .any("reply")
                .map(|r| Reply::read(r, folder))
                .transpose()?,
            held: fields.any("held").map(held).transpose()?,
            closed: reader.flag("closed")?,
            fails,
            refused: reader.flag("refused")?,
            log: log.transpose()?.unwrap_or_default(),
            metrics: reader.named("metrics")?,
            shared_data: reader.named("shared_data")?,
            properties: reader.named("properties")?,
            callouts: callouts.transpose()?,
            callout: callout.map(|c| Callout::read(c, folder)).transpose()?,
            route_cleared: reader.flag("route_cleared")?,
            to_upstream: reader.matcher("to_upstream")?,
            to_downstream: reader.matcher("to_downstream")?,
        })
    }
}

impl Expect {
    /// Whether something is expected of a stream or connection.
    pub(super) fn is_about_streams(&self) -> bool {
        self.request.is_some()
            || self.response.is_some()
            || self.reply.is_some()
            || self.held.is_some()
            || self.closed.is_some()
            || self.route_cleared.is_some()
            || self.to_upstream.is_some()
            || self.to_downstream.is_some()
            || !self.properties.is_empty()
    }
}

impl Message {
    fn read(element: Element<'_>, folder: &Path) -> Read<Self> {
        let keys = ["status", "headers", "body", "trailers", "ended"];
        let reader = Reader::open(element, "a message", &keys, folder)?;
        Ok(Self {
            status: reader.matcher("status")?,
            headers: reader.headers("headers")?,
            body: reader.matcher("body")?,
            trailers: reader.headers("trailers")?,
            ended: reader.flag("ended")?,
            span: element.at(),
        })
    }
}

impl Reply {
    fn read(element: Element<'_>, folder: &Path) -> Read<Self> {
        let span = element.at();
        if element.is_null() {
            let expected = None;
            return Ok(Self { expected, span });
        }
        let keys = ["status", "headers", "body", "details", "grpc_status"];
        let reader = Reader::open(element, "a reply", &keys, folder)?;
        let parts = ReplyParts {
            status: reader.matcher("status")?,
            headers: reader.headers("headers")?,
            body: reader.matcher("body")?,
            details: reader.matcher("details")?,
            grpc_status: reader.matcher("grpc_status")?,
        };
        let expected = Some(parts);
        Ok(Self { expected, span })
    }
}

impl Callout {
    fn read(element: Element<'_>, folder: &Path) -> Read<Self> {
        let keys = [
            "headers", "body", "trailers", "timeout", "service", "method", "messages", "closed",
        ];
        let reader = Reader::open(element, "a callout", &keys, folder)?;
        let messages = reader.fields.get("messages").map(|messages| {
            let items = fields::list(messages)?.into_iter();
            let items = items.map(|item| Matcher::read(item, folder));
            Ok::<_, weir_config::ConfigErrors>((items.collect::<Read<_>>()?, messages.at()))
        });
        Ok(Self {
            headers: reader.headers("headers")?,
            body: reader.matcher("body")?,
            trailers: reader.headers("trailers")?,
            timeout: reader.matcher("timeout")?,
            service: reader.matcher("service")?,
            method: reader.matcher("method")?,
            messages: messages.transpose()?,
            closed: reader.flag("closed")?,
        })
    }
}

fn held(element: Element<'_>) -> Read<(Vec<Held>, Span)> {
    let what = "`request`, `response`, `connection`, or `nothing`";
    let items = element.items().unwrap_or_else(|| vec![element]);
    let mut held = Vec::new();
    for item in items {
        held.push(match item.text() {
            Some("request") => Held::Message(Direction::Request),
            Some("response") => Held::Message(Direction::Response),
            Some("connection") => Held::Connection,
            Some("nothing") => continue,
            _ => return Err(fields::expected(item, what)),
        });
    }
    Ok((held, element.at()))
}

fn log_matchers(element: Element<'_>, folder: &Path) -> Read<Vec<LogMatcher>> {
    let items = element.items().unwrap_or_else(|| vec![element]).into_iter();
    let line = |item: Element<'_>| {
        let entries = item.entries().unwrap_or_default();
        let levelled = entries.iter().any(|(key, _)| key.value == "level");
        if !levelled {
            let message = Matcher::read(item, folder)?;
            return Ok(LogMatcher {
                level: None,
                message,
            });
        }
        let reader = Reader::open(item, "a line of the log", &["level", "message"], folder)?;
        let level = reader.fields.get("level").map(level).transpose()?;
        let message = reader.matcher("message")?;
        Ok(LogMatcher {
            level,
            message: message.unwrap_or_else(|| Matcher::present(item.at())),
        })
    };
    items.map(line).collect()
}

/// A level of the log.
pub(super) fn level(element: Element<'_>) -> Read<LogLevel> {
    let level = element.text().and_then(|name| name.parse().ok());
    level.ok_or_else(|| {
        let what = "`trace`, `debug`, `info`, `warn`, `error` or `critical`";
        fields::expected(element, what)
    })
}

/// The values of a header, each as bytes.
pub(super) fn values<'m>(map: &'m HeaderMap, name: &'m str) -> Vec<&'m [u8]> {
    map.get_all(name.as_bytes())
        .map(|value| &value[..])
        .collect()
}
