//! [`Checks`]: whether what is expected has come.

use std::sync::Arc;

use weir_abi::{Direction, HeaderMap, Side, Space};
use weir_config::Span;

use super::expect::{self, Expect, Header, Held, LogMatcher, Named, Reply, ReplyParts};
use super::matcher::Matcher;
use super::read::Suite;
use super::world::Line;
use crate::driver::{Callout, CalloutRequest, Exchange, LogLine, Outcome, Passed, Tcp, TestHost};
use crate::report::Failure;
use crate::show;

/// The expectations of a test that do not hold.
pub(super) struct Checks<'s> {
    suite: &'s Suite,
    failures: Vec<Failure>,
}

impl<'s> Checks<'s> {
    pub(super) fn new(suite: &'s Suite) -> Self {
        Self {
            suite,
            failures: Vec::new(),
        }
    }

    pub(super) fn first(&self) -> Option<&Failure> {
        self.failures.first()
    }

    pub(super) fn into_failures(self) -> Vec<Failure> {
        self.failures
    }

    pub(super) fn fail(&mut self, span: Span, subject: &str, expected: &str, actual: &str) {
        self.failures.push(Failure {
            place: self.suite.place(span),
            subject: subject.to_owned(),
            expected: expected.to_owned(),
            actual: actual.to_owned(),
        });
    }

    pub(super) fn value(&mut self, subject: &str, matcher: &Matcher, value: Option<&[u8]>) {
        if !matcher.accepts(value) {
            let (expected, actual) = (matcher.describe(), show::value(value));
            self.fail(matcher.span, subject, &expected, &actual);
        }
    }

    pub(super) fn optional(
        &mut self,
        subject: &str,
        matcher: Option<&Matcher>,
        value: Option<&[u8]>,
    ) {
        if let Some(matcher) = matcher {
            self.value(subject, matcher, value);
        }
    }

    pub(super) fn flag(&mut self, subject: &str, expected: Option<(bool, Span)>, actual: bool) {
        if let Some((expected, span)) = expected.filter(|(expected, _)| *expected != actual) {
            self.fail(span, subject, &expected.to_string(), &actual.to_string());
        }
    }

    pub(super) fn headers(&mut self, whose: &str, headers: &[Header], map: Option<&HeaderMap>) {
        for Header {
            name,
            values,
            exactly,
        } in headers
        {
            let found = map.map_or_else(Vec::new, |map| expect::values(map, name));
            let subject = format!("`{name}` of {whose}");
            if *exactly && found.len() != values.len() {
                let span = values
                    .first()
                    .map_or(Span::default(), |matcher| matcher.span);
                let shown: Vec<_> = found.iter().map(|v| show::value(Some(v))).collect();
                let expected = format!("{} values", values.len());
                let actual = format!("{}: {}", found.len(), shown.join(", "));
                self.fail(span, &subject, &expected, &actual);
                continue;
            }
            for (index, matcher) in values.iter().enumerate() {
                self.value(&subject, matcher, found.get(index).copied());
            }
        }
    }

    fn named(&mut self, what: &str, named: &[Named], value: impl Fn(&str) -> Option<Vec<u8>>) {
        for Named { name, matcher } in named {
            let subject = format!("{what} `{name}`");
            self.value(&subject, matcher, value(name).as_deref());
        }
    }

    /// What is expected of a stream or connection after a step.
    pub(super) fn line(&mut self, expect: &Expect, line: Option<&Line>, span: Span) {
        match line {
            Some(Line::Http(exchange)) => self.exchange(expect, exchange),
            Some(Line::Tcp(tcp)) => self.tcp(expect, tcp),
            None if expect.is_about_streams() => {
                self.fail(span, "there is no such stream or connection", "", "");
            }
            None => {}
        }
    }

    fn exchange(&mut self, expect: &Expect, exchange: &Exchange) {
        let both = [
            ("the request", Direction::Request, &expect.request),
            ("the response", Direction::Response, &expect.response),
        ];
        for (whose, direction, expected) in both {
            if let Some(expected) = expected {
                let passed = exchange.passed(direction);
                self.message(whose, expected, &passed);
            }
        }
        if let Some(reply) = &expect.reply {
            self.reply(reply, exchange);
        }
        if let Some((expected, span)) = &expect.held {
            let both = [Direction::Request, Direction::Response];
            let held = both.into_iter().filter(|d| exchange.is_held(*d));
            let held: Vec<_> = held.map(Held::Message).collect();
            self.held(expected, &held, *span);
        }
        let closed = exchange.outcome() == Some(Outcome::Closed);
        self.flag("closed by the filter", expect.closed, closed);
        let cleared = exchange.take_route_cleared();
        self.flag("a new route was asked for", expect.route_cleared, cleared);
        self.named("property", &expect.properties, |path| {
            exchange.set_property(path).map(|value| value.to_vec())
        });
    }

    pub(super) fn message(&mut self, whose: &str, expected: &expect::Message, passed: &Passed) {
        let headers = passed.headers.as_ref();
        if headers.is_none() && !(expected.headers.is_empty() && expected.status.is_none()) {
            let subject = format!("the headers of {whose}");
            self.fail(
                expected.span,
                &subject,
                "to be passed on",
                "nothing was passed on",
            );
            return;
        }
        let status = headers.and_then(|map| map.get(b":status"));
        let subject = format!("the status of {whose}");
        self.optional(&subject, expected.status.as_ref(), status.map(|s| &s[..]));
        self.headers(whose, &expected.headers, headers);
        let body = headers.map(|_| &passed.body[..]);
        let subject = format!("the body of {whose}");
        self.optional(&subject, expected.body.as_ref(), body);
        let whose_trailers = format!("the trailers of {whose}");
        self.headers(
            &whose_trailers,
            &expected.trailers,
            passed.trailers.as_ref(),
        );
        let subject = format!("the end of {whose} was passed on");
        self.flag(&subject, expected.ended, passed.ended);
    }

    fn reply(&mut self, reply: &Reply, exchange: &Exchange) {
        let outcome = exchange.outcome();
        let Some(parts) = &reply.expected else {
            if let Some(Outcome::Replied(response)) = outcome {
                let actual = format!("status {}", response.code);
                self.fail(
                    reply.span,
                    "an answer of the filter's own",
                    "nothing",
                    &actual,
                );
            }
            return;
        };
        let Some(Outcome::Replied(response)) = outcome else {
            let actual = outcome.map_or("nothing".to_owned(), |outcome| match outcome {
                Outcome::Failed(code) => format!("the proxy's status {code}"),
                Outcome::Replied(_) | Outcome::Closed => "the stream is closed".to_owned(),
            });
            let subject = "an answer of the filter's own";
            self.fail(reply.span, subject, "one", &actual);
            return;
        };
        let headers = response.headers.iter().cloned().collect();
        self.answer(parts, &response.code.to_string(), &headers, &response.body);
        let whose = "the filter's own answer";
        let subject = format!("the details of {whose}");
        self.optional(&subject, parts.details.as_ref(), Some(&response.details));
        let grpc_status = response.grpc_status.map(|status| status.to_string());
        let subject = format!("the gRPC status of {whose}");
        let grpc_status = grpc_status.as_deref().map(str::as_bytes);
        self.optional(&subject, parts.grpc_status.as_ref(), grpc_status);
    }

    /// What everybody can see of the filter's own answer.
    pub(super) fn answer(
        &mut self,
        parts: &ReplyParts,
        status: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) {
        let whose = "the filter's own answer";
        let subject = format!("the status of {whose}");
        self.optional(&subject, parts.status.as_ref(), Some(status.as_bytes()));
        self.headers(whose, &parts.headers, Some(headers));
        let subject = format!("the body of {whose}");
        self.optional(&subject, parts.body.as_ref(), Some(body));
    }

    fn held(&mut self, expected: &[Held], held: &[Held], span: Span) {
        let names = |held: &[Held]| match held {
            [] => "nothing".to_owned(),
            held => {
                let names: Vec<_> = held.iter().map(|held| held.name()).collect();
                names.join(", ")
            }
        };
        let same = expected.len() == held.len() && expected.iter().all(|e| held.contains(e));
        if !same {
            self.fail(span, "held by the filter", &names(expected), &names(held));
        }
    }

    fn tcp(&mut self, expect: &Expect, tcp: &Tcp) {
        for (subject, side, matcher) in [
            (
                "what has passed to the upstream",
                Side::Downstream,
                &expect.to_upstream,
            ),
            (
                "what has passed to the client",
                Side::Upstream,
                &expect.to_downstream,
            ),
        ] {
            let passed = tcp.take_passed(side);
            self.optional(subject, matcher.as_ref(), Some(&passed));
        }
        if let Some((expected, span)) = &expect.held {
            let held: &[Held] = match tcp.is_held() {
                true => &[Held::Connection],
                false => &[],
            };
            self.held(expected, held, *span);
        }
        self.flag("closed by the filter", expect.closed, tcp.is_closed());
        self.named("property", &expect.properties, |path| {
            tcp.set_property(path).map(|value| value.to_vec())
        });
    }

    /// What is expected of the log since the step before.
    pub(super) fn log(&mut self, expected: &[LogMatcher], log: &[LogLine]) {
        for matcher in expected {
            let level = matcher.level;
            let of_level = |line: &&LogLine| level.is_none_or(|level| line.level == level);
            let lines = log
                .iter()
                .filter(of_level)
                .map(|line| line.message.as_str());
            let all = log.iter().map(|line| line.message.as_str());
            self.logged(matcher, lines, all);
        }
    }

    /// The same of lines whose levels are not known.
    pub(super) fn log_text(&mut self, expected: &[LogMatcher], log: &[String]) {
        for matcher in expected {
            let lines = || log.iter().map(String::as_str);
            self.logged(matcher, lines(), lines());
        }
    }

    /// Whether one of `lines` is as expected; `all` lines are shown if none is.
    fn logged<'l>(
        &mut self,
        expected: &LogMatcher,
        mut lines: impl Iterator<Item = &'l str>,
        all: impl Iterator<Item = &'l str>,
    ) {
        let LogMatcher { level, message } = expected;
        let accepts = |matcher: &Matcher, line: &str| matcher.accepts(Some(line.as_bytes()));
        let held = match message.negated() {
            Some(unwanted) => !lines.any(|line| accepts(unwanted, line)),
            None => lines.any(|line| accepts(message, line)),
        };
        if !held {
            let level = level.map_or_else(String::new, |level| format!(" at level {level}"));
            let expected = match message.negated() {
                Some(unwanted) => format!("no line{level} that is {}", unwanted.describe()),
                None => format!("a line{level}: {}", message.describe()),
            };
            let lines: Vec<_> = all.map(|line| format!("`{line}`")).collect();
            let actual = match lines.is_empty() {
                true => "nothing was logged".to_owned(),
                false => lines.join(", "),
            };
            self.fail(message.span, "the log", &expected, &actual);
        }
    }

    /// What is expected of all that does not belong to a stream.
    pub(super) fn host(&mut self, expect: &Expect, host: &TestHost, space: &Arc<Space>) {
        self.named("metric", &expect.metrics, |name| {
            host.metrics
                .value(name)
                .map(|value| value.to_string().into_bytes())
        });
        self.named("shared data", &expect.shared_data, |key| {
            space.get(key.as_bytes()).map(|(value, _)| value.to_vec())
        });
        if let Some((expected, span)) = &expect.callouts {
            let targets: Vec<_> = host.callouts().into_iter().map(|(_, t)| t).collect();
            if targets != *expected {
                let names = |names: &[String]| match names {
                    [] => "none".to_owned(),
                    names => names.join(", "),
                };
                let (expected, actual) = (names(expected), names(&targets));
                self.fail(*span, "the callouts under way", &expected, &actual);
            }
        }
    }

    /// What is expected of a callout that is about to be answered.
    pub(super) fn callout(&mut self, expected: &expect::Callout, callout: &Callout) {
        let nothing = HeaderMap::new();
        let whose = "the callout";
        let (headers, body, trailers, timeout, start) = match &callout.request {
            CalloutRequest::Http(_, call) => {
                let body = Some(call.body.to_vec());
                (&call.headers, body, &call.trailers, call.timeout, None)
            }
            CalloutRequest::Grpc(_, call) => {
                let start = &call.start;
                let body = Some(call.message.to_vec());
                (&start.metadata, body, &nothing, call.timeout, Some(start))
            }
            CalloutRequest::GrpcStream(_, start, sent) => {
                if let Some((matchers, span)) = &expected.messages {
                    self.messages(matchers, &sent.take_messages(), *span);
                }
                let subject = "the filter has closed its side of the stream";
                self.flag(subject, expected.closed, sent.is_closed());
                (&start.metadata, None, &nothing, None, Some(start))
            }
            CalloutRequest::Dns(..) => (&nothing, None, &nothing, None, None),
        };
        self.headers(whose, &expected.headers, Some(headers));
        self.headers(
            "the trailers of the callout",
            &expected.trailers,
            Some(trailers),
        );
        self.optional(
            "the body of the callout",
            expected.body.as_ref(),
            body.as_deref(),
        );
        let timeout = timeout.map(|timeout| format!("{timeout:?}"));
        let timeout = timeout.as_deref().map(str::as_bytes);
        self.optional(
            "the timeout of the callout",
            expected.timeout.as_ref(),
            timeout,
        );
        let (service, method) = start.map(|s| (&s.service[..], &s.method[..])).unzip();
        self.optional(
            "the service that is called",
            expected.service.as_ref(),
            service,
        );
        self.optional(
            "the method that is called",
            expected.method.as_ref(),
            method,
        );
    }

    fn messages(&mut self, matchers: &[Matcher], messages: &[bytes::Bytes], span: Span) {
        if matchers.len() != messages.len() {
            let (expected, actual) = (matchers.len().to_string(), messages.len().to_string());
            self.fail(span, "messages on the stream", &expected, &actual);
        }
        for (matcher, message) in matchers.iter().zip(messages) {
            self.value("a message on the stream", matcher, Some(message));
        }
    }
}
