//! [`World`]: a test, or a bench, as it is played.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_abi::{
    Direction, DnsAddress, HttpCallResponse, Module, SharedLimits, SharedState, Side, Space,
};
use weir_config::Span;

use super::check::Checks;
use super::read::{Suite, Test};
use super::step::{Action, Answer, DISCONNECTS, Message, Step};
use crate::driver::{Callout, CalloutRequest, Driver, Exchange, LogLine, Observer, Tcp, TestHost};
use crate::report::Failure;

/// A step's stream or connection.
#[derive(Clone)]
pub(super) enum Line {
    Http(Rc<Exchange>),
    Tcp(Rc<Tcp>),
}

/// A filter, all that surrounds it, and what of it was expected.
pub(super) struct World<'s> {
    test: &'s Test,
    checks: Checks<'s>,
    host: Rc<TestHost>,
    space: Arc<Space>,
    /// None if the filter has not started.
    driver: Option<Rc<Driver>>,
    lines: RefCell<BTreeMap<String, Line>>,
    /// A failure of the VM has been expected.
    may_fail: bool,
    output: String,
}

impl<'s> World<'s> {
    pub(super) fn new(suite: &'s Suite, test: &'s Test, observer: Observer) -> Self {
        let shared = Arc::new(SharedState::default());
        let space = shared.space(&test.setup.vm.vm_id, SharedLimits::default());
        Self {
            test,
            checks: Checks::new(suite),
            host: TestHost::observed(&test.setup, observer),
            space,
            driver: None,
            lines: RefCell::default(),
            may_fail: false,
            output: String::new(),
        }
    }

    pub(super) fn start(&mut self, module: &Module) {
        for (key, value) in &self.test.shared_data {
            self.set_shared(key, value, self.test.span);
        }
        let mut setup = self.test.setup.clone();
        setup.vm.shared = Arc::clone(&self.space);
        let started = Driver::start(module, &setup, &self.host);
        let log = self.collect_log();
        let expect = &self.test.expect;
        let refused = expect.refused.is_some_and(|(refused, _)| refused);
        match started {
            Ok(driver) => {
                if let Some((true, span)) = expect.refused {
                    self.checks
                        .fail(span, "the start", "a refusal", "the filter has started");
                }
                driver.settle();
                self.driver = Some(Rc::new(driver));
            }
            Err(error) if refused => {
                if let Some(matcher) = &expect.fails {
                    let error = error.to_string();
                    self.checks
                        .value("the failure", matcher, Some(error.as_bytes()));
                }
            }
            Err(error) => {
                let subject = format!("the filter does not start: {error}");
                self.checks.fail(self.test.span, &subject, "", "");
            }
        }
        self.checks.log(&expect.log, &log);
        self.checks.host(expect, &self.host, &self.space);
    }

    /// What the filter has logged since this was called last; it is kept for the
    /// report.
    fn collect_log(&mut self) -> Vec<LogLine> {
        let log = self.host.take_log();
        self.output.push_str(&self.host.take_trace());
        for line in &log {
            self.output.push_str(&line.shown());
        }
        log
    }

    fn check_health(&mut self, driver: &Driver, span: Span) {
        if let Some(failure) = driver.failure().filter(|_| !self.may_fail) {
            self.may_fail = true;
            let subject = format!("the filter has failed: {failure}");
            self.checks.fail(span, &subject, "", "");
        }
    }

    fn set_shared(&mut self, key: &Bytes, value: &Bytes, span: Span) {
        if self.space.set(key, value, 0).is_err() {
            self.checks
                .fail(span, "there is no room for more shared data", "", "");
        }
    }

    /// Plays a step, and looks at what is expected after it. Nothing of a filter that has
    /// not started.
    pub(super) fn step(&mut self, step: &Step) {
        if let Some(driver) = self.play(step) {
            self.check(&driver, step);
        }
    }

    /// Plays a step and looks at nothing.
    pub(super) fn play(&mut self, step: &Step) -> Option<Rc<Driver>> {
        let driver = self.driver.clone()?;
        self.act(&driver, step);
        driver.settle();
        Some(driver)
    }

    fn check(&mut self, driver: &Driver, step: &Step) {
        let log = self.collect_log();
        let expect = &step.expect;
        match (&expect.fails, driver.failure()) {
            (Some(matcher), failure) => {
                self.may_fail = true;
                let failure = failure.as_deref().map(str::as_bytes);
                self.checks.value("the failure", matcher, failure);
            }
            (None, _) => self.check_health(driver, step.span),
        }
        let line = self.lines.borrow().get(&step.stream).cloned();
        self.checks.line(expect, line.as_ref(), step.span);
        self.checks.log(&expect.log, &log);
        self.checks.host(expect, &self.host, &self.space);
    }

    /// Ends the filter: what was expected and has not come, and what the filter did.
    pub(super) fn end(mut self) -> (Vec<Failure>, String) {
        if let Some(driver) = self.driver.take() {
            driver.stop();
            self.collect_log();
            self.check_health(&driver, self.test.span);
        }
        (self.checks.into_failures(), self.output)
    }

    /// The filter that runs, if it has started.
    pub(super) fn driver(&self) -> Option<&Rc<Driver>> {
        self.driver.as_ref()
    }

    /// The first thing that was expected and has not come, or a filter that has failed,
    /// as one text. Forgets what was logged.
    pub(super) fn trouble(&mut self) -> Option<String> {
        self.host.take_log();
        let unmet = self.checks.first().map(Failure::text);
        unmet.or_else(|| self.driver.as_ref()?.failure())
    }

    fn act(&mut self, driver: &Driver, step: &Step) {
        match &step.action {
            Action::None => {}
            Action::Request(message, properties) => {
                self.end_stream(driver, &step.stream);
                let exchange = driver.open(self.test.properties.with(properties));
                let line = Line::Http(Rc::clone(&exchange));
                self.lines.borrow_mut().insert(step.stream.clone(), line);
                send(&exchange, Direction::Request, message);
            }
            Action::Response(message) => {
                if let Some(exchange) = self.exchange(step) {
                    send(&exchange, Direction::Response, message);
                }
            }
            Action::More(direction, message) => {
                if let Some(exchange) = self.exchange(step) {
                    send(&exchange, *direction, message);
                }
            }
            Action::End => match self.line(step) {
                Some(Line::Http(exchange)) => exchange.end(),
                Some(Line::Tcp(tcp)) => tcp.end(),
                None => {}
            },
            Action::Answer(target, answer) => self.answer(driver, step, target, answer),
            Action::Advance(time) => driver.advance(*time),
            Action::SetSharedData(values) => {
                for (key, value) in values {
                    self.set_shared(key, value, step.span);
                }
            }
            Action::Enqueue(items) => {
                for (queue, item) in items {
                    self.enqueue(queue, item, step.span);
                }
            }
            Action::Connect(properties) => {
                self.end_stream(driver, &step.stream);
                let tcp = driver.connect(self.test.properties.with(properties));
                let line = Line::Tcp(tcp);
                self.lines.borrow_mut().insert(step.stream.clone(), line);
            }
            Action::Data(side, pieces, end) => {
                if let Some(tcp) = self.tcp(step) {
                    let last = pieces.len().saturating_sub(1);
                    for (index, piece) in pieces.iter().enumerate() {
                        tcp.data(*side, piece.clone(), *end && index == last);
                    }
                }
            }
            Action::Disconnect(side) => {
                if let Some(tcp) = self.tcp(step) {
                    tcp.close(*side, DISCONNECTS);
                    if *side == Side::Downstream {
                        tcp.end();
                    }
                }
            }
        }
    }

    /// Ends the stream or connection of that name, if there is one.
    pub(super) fn end_stream(&self, driver: &Driver, name: &str) {
        match self.lines.borrow_mut().remove(name) {
            Some(Line::Http(exchange)) => driver.close(&exchange),
            Some(Line::Tcp(tcp)) => driver.disconnect(&tcp),
            None => {}
        }
    }

    /// Streams and connections that are open stay so; steps do not know of them any more.
    pub(super) fn leave_streams(&self) {
        self.lines.borrow_mut().clear();
    }

    fn line(&mut self, step: &Step) -> Option<Line> {
        let line = self.lines.borrow().get(&step.stream).cloned();
        if line.is_none() {
            let subject = format!(
                "there is no {}: begin it with `request` or `connect`",
                step.stream
            );
            self.checks.fail(step.span, &subject, "", "");
        }
        line
    }

    fn exchange(&mut self, step: &Step) -> Option<Rc<Exchange>> {
        match self.line(step)? {
            Line::Http(exchange) => Some(exchange),
            Line::Tcp(_) => {
                self.checks
                    .fail(step.span, "this is a TCP connection", "", "");
                None
            }
        }
    }

    fn tcp(&mut self, step: &Step) -> Option<Rc<Tcp>> {
        match self.line(step)? {
            Line::Tcp(tcp) => Some(tcp),
            Line::Http(_) => {
                let subject = "this is an HTTP stream: a TCP connection begins with `connect`";
                self.checks.fail(step.span, subject, "", "");
                None
            }
        }
    }

    fn enqueue(&mut self, queue: &Bytes, item: &Bytes, span: Span) {
        let number = self.space.resolve_queue("", queue);
        let put = number.map(|number| self.space.enqueue(number, item.clone()));
        match put {
            Some(Ok(())) => {}
            Some(Err(_)) => self
                .checks
                .fail(span, "there is no room in the queue", "", ""),
            None => {
                let name = String::from_utf8_lossy(queue);
                let subject = format!("the filter has registered no queue called `{name}`");
                self.checks.fail(span, &subject, "", "");
            }
        }
    }

    fn answer(&mut self, driver: &Driver, step: &Step, target: &str, answer: &Answer) {
        let Some(callout) = self.host.take_callout(|callout| callout.target() == target) else {
            let under_way = self.host.callouts();
            let under_way: Vec<_> = under_way
                .iter()
                .map(|(k, t)| format!("{k} to {t}"))
                .collect();
            let actual = match under_way.is_empty() {
                true => "no callout".to_owned(),
                false => under_way.join(", "),
            };
            let expected = format!("a callout to {target}");
            self.checks
                .fail(step.span, "the callouts under way", &expected, &actual);
            return;
        };
        if let Some(expected) = &step.expect.callout {
            self.checks.callout(expected, &callout);
        }
        match give(&callout, answer, driver) {
            Some(true) => self.host.put_back(callout),
            Some(false) => {}
            None => {
                let subject = format!("this is no answer to a {}", callout.kind());
                self.checks.fail(step.span, &subject, "", "");
            }
        }
    }
}

/// Answers a callout: whether it goes on, or `None` if it can have no such answer.
fn give(callout: &Callout, answer: &Answer, driver: &Driver) -> Option<bool> {
    let vm = &driver.vm;
    // A VM that has failed is told of nothing; that it has, is looked at later.
    match (&callout.request, answer) {
        (_, Answer::Fails) => {
            let _ = callout.break_off(vm);
            Some(false)
        }
        (
            CalloutRequest::Http(token, _),
            Answer::Http {
                headers,
                body,
                trailers,
            },
        ) => {
            let response = HttpCallResponse {
                headers: headers.clone(),
                body: body.clone().into(),
                trailers: trailers.clone(),
            };
            let _ = vm.on_http_call_response(*token, Some(response));
            Some(false)
        }
        (CalloutRequest::Grpc(token, _), Answer::Grpc { messages, end, .. }) => {
            let _ = match (end, messages.first()) {
                (Some((status, message)), _) if *status != 0 => {
                    vm.on_grpc_close(*token, *status, message.clone())
                }
                (_, message) => vm.on_grpc_message(*token, message.cloned().unwrap_or_default()),
            };
            Some(false)
        }
        (
            CalloutRequest::GrpcStream(token, ..),
            Answer::Grpc {
                initial,
                messages,
                trailers,
                end,
            },
        ) => {
            if let Some(initial) = initial {
                let _ = vm.on_grpc_initial_metadata(*token, initial.clone());
            }
            for message in messages {
                let _ = vm.on_grpc_message(*token, message.clone());
            }
            if let Some(trailers) = trailers {
                let _ = vm.on_grpc_trailing_metadata(*token, trailers.clone());
            }
            if let Some((status, message)) = end {
                let _ = vm.on_grpc_close(*token, *status, message.clone());
            }
            Some(end.is_none())
        }
        (CalloutRequest::Dns(token, _), Answer::Addresses(addresses)) => {
            let address = |address: &std::net::IpAddr| DnsAddress {
                address: SocketAddr::new(*address, 0),
                ttl: TTL,
            };
            let addresses: Vec<_> = addresses.iter().map(address).collect();
            let _ = vm.on_resolve_dns(*token, &addresses);
            Some(false)
        }
        _ => None,
    }
}

/// How long an address holds that a test gives.
const TTL: Duration = Duration::from_secs(60);

/// Has a message, or more of it, arrive.
fn send(exchange: &Exchange, direction: Direction, message: &Message) {
    let Message {
        headers,
        body,
        trailers,
        more,
    } = message;
    let ends_with_body = !more && trailers.is_none();
    if let Some(headers) = headers {
        let end = ends_with_body && body.is_empty();
        exchange.headers(direction, headers.clone(), end);
    }
    let last = body.len().saturating_sub(1);
    for (index, piece) in body.iter().enumerate() {
        exchange.body(direction, piece.clone(), ends_with_body && index == last);
    }
    if let Some(trailers) = trailers {
        exchange.trailers(direction, trailers.clone());
    }
}
