//! Plays one test.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_abi::{HeaderMap, Property, Side};

use super::message::{self, Incoming};
use super::server::Asked;
use super::{Surroundings, texts};
use crate::driver::{Passed, Properties};
use crate::suite::check::Checks;
use crate::suite::expect::{Expect, Held, Reply};
use crate::suite::read::{Suite, Test};
use crate::suite::step::{Action, Answer, Message, Step};

/// How long what is expected may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked for: sockets of several threads give no common event.
const INTERVAL: Duration = Duration::from_millis(2);
/// How long nothing may come of what a filter holds.
const CALM: Duration = Duration::from_millis(50);
/// Time that is waited for at most when a test moves its clock.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(1);

/// The address from which a test says that it comes.
pub(super) fn source(properties: &Properties) -> Option<IpAddr> {
    let Property::Bytes(text) = properties.0.get("source.address")? else {
        return None;
    };
    let text = std::str::from_utf8(text).ok()?;
    let address = text.parse::<SocketAddr>().map(|address| address.ip());
    address.or_else(|_| text.parse()).ok()
}

/// A client, and what it has to do with.
struct Line {
    client: TcpStream,
    /// The response, once its head is there.
    response: Arc<Mutex<Option<Arc<Incoming>>>>,
    /// The request behind the filter.
    asked: Option<Asked>,
    /// The upstream has begun to answer.
    answered: bool,
    /// How bodies are sent that are not all there.
    chunked: [bool; 2],
}

struct Player<'p> {
    suite: &'p Suite,
    test: &'p Test,
    around: &'p Surroundings<'p>,
    lines: BTreeMap<String, Line>,
    /// Lines of the log that steps before have seen.
    logged: usize,
    /// What the metrics were before the test.
    before: BTreeMap<String, u64>,
    failures: Vec<String>,
}

pub(super) fn play(suite: &Suite, test: &Test, around: &Surroundings<'_>) -> Vec<String> {
    around.upstream.clear();
    around.clusters.values().for_each(super::Server::clear);
    let steps = test.steps.iter();
    let named = steps.flat_map(|step| step.expect.metrics.iter().map(|named| named.name.clone()));
    let before = named.map(|name| (name.clone(), (around.metric)(&name)));
    let mut player = Player {
        suite,
        test,
        around,
        lines: BTreeMap::new(),
        logged: (around.log)().len(),
        before: before.collect(),
        failures: Vec::new(),
    };
    for step in &test.steps {
        if let Err(error) = player.act(step) {
            let place = suite.place(step.span);
            player.failures.push(format!("{place}: {error}\n"));
        }
        player.look(step);
        if !player.failures.is_empty() {
            break;
        }
    }
    player.failures
}

impl Player<'_> {
    fn act(&mut self, step: &Step) -> io::Result<()> {
        match &step.action {
            Action::None => {}
            Action::Request(message, properties) => {
                let properties = self.test.properties.with(properties);
                let mut line = self.connect(source(&properties))?;
                line.read_response(message)?;
                line.send(0, message)?;
                self.lines.insert(step.stream.clone(), line);
            }
            Action::More(direction, message) => {
                let line = self.line(step)?;
                line.send(*direction as usize, message)?;
            }
            Action::Response(message) => {
                self.arrive(step)?;
                let line = self.line(step)?;
                line.answered = true;
                line.send(1, message)?;
            }
            Action::End => {
                if let Some(line) = self.lines.get(&step.stream) {
                    // It may be gone already.
                    let _ = line.client.shutdown(Shutdown::Write);
                }
            }
            Action::Answer(target, answer) => self.answer(step, target, answer)?,
            Action::Advance(time) => thread::sleep(*time),
            Action::Connect(properties) => {
                let properties = self.test.properties.with(properties);
                let line = self.connect(source(&properties))?;
                self.lines.insert(step.stream.clone(), line);
            }
            Action::Data(Side::Downstream, pieces, _) => {
                let line = self.line(step)?;
                for piece in pieces {
                    line.client.write_all(piece)?;
                }
            }
            Action::Data(Side::Upstream, ..)
            | Action::Disconnect(_)
            | Action::SetSharedData(_)
            | Action::Enqueue(_) => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(())
    }

    fn connect(&self, from: Option<IpAddr>) -> io::Result<Line> {
        let client = match from.filter(IpAddr::is_loopback) {
            Some(address) => connect_from(address, self.around.edge)?,
            None => TcpStream::connect(self.around.edge)?,
        };
        client.set_nodelay(true)?;
        Ok(Line {
            client,
            response: Arc::default(),
            asked: None,
            answered: false,
            chunked: [false; 2],
        })
    }

    fn line(&mut self, step: &Step) -> io::Result<&mut Line> {
        let line = self.lines.get_mut(&step.stream);
        line.ok_or_else(|| io::Error::other("there is no such stream"))
    }

    /// Waits for the request to come out behind the filter.
    fn arrive(&mut self, step: &Step) -> io::Result<()> {
        let around = self.around;
        let line = self.line(step)?;
        let arrived = eventually(|| {
            line.asked = line.asked.take().or_else(|| around.upstream.take());
            line.asked.is_some()
        });
        match arrived {
            true => Ok(()),
            false => Err(io::Error::other("the request does not reach the upstream")),
        }
    }

    fn answer(&mut self, step: &Step, target: &str, answer: &Answer) -> io::Result<()> {
        let server = self.around.clusters.get(target);
        let server = server.ok_or_else(|| io::Error::other("there is no such cluster"))?;
        let mut asked = None;
        eventually(|| {
            asked = asked.take().or_else(|| server.take());
            asked.is_some()
        });
        let asked = asked.ok_or_else(|| io::Error::other(format!("no callout to {target}")))?;
        if let Some(expected) = &step.expect.callout {
            self.expect(|checks| {
                let passed = asked.message.passed();
                let whose = "the callout";
                checks.headers(whose, &expected.headers, passed.headers.as_ref());
                let subject = "the body of the callout";
                checks.optional(subject, expected.body.as_ref(), Some(&passed.body));
            });
        }
        match answer {
            Answer::Http { headers, body, .. } => {
                let mut text = Vec::new();
                status_line(&mut text, headers);
                fields(&mut text, headers);
                if headers.get(b"content-length").is_none() {
                    let _ = write!(text, "content-length: {}\r\n", body.len());
                }
                text.extend_from_slice(b"\r\n");
                text.extend_from_slice(body);
                (&*asked.connection).write_all(&text)
            }
            Answer::Fails => asked.connection.shutdown(Shutdown::Both),
            Answer::Grpc { .. } | Answer::Addresses(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Looks until what is expected after a step has come, or has not for long.
    fn look(&mut self, step: &Step) {
        let around = self.around;
        if let Some(line) = self.lines.get_mut(&step.stream) {
            // What is held back, or is not to be said or asked, would come now.
            let expect = &step.expect;
            let silent = expect.callouts.as_ref().is_some_and(|(t, _)| t.is_empty());
            let unsaid = expect.log.iter().any(|l| l.message.negated().is_some());
            if silent || unsaid || holds(&step.expect, Held::Message(weir_abi::Direction::Request))
            {
                thread::sleep(CALM);
            }
            if line.asked.is_none() {
                line.asked = around.upstream.take();
            }
        }
        let mut lines = std::mem::take(&mut self.lines);
        let (logged, before) = (self.logged, self.before.clone());
        self.expect(|checks| {
            if let Some(line) = lines.get_mut(&step.stream) {
                if line.asked.is_none() {
                    line.asked = around.upstream.take();
                }
                line.check(checks, &step.expect, step);
            }
            checks.log_text(&step.expect.log, &(around.log)()[logged..]);
            for named in &step.expect.metrics {
                let value = (around.metric)(&named.name);
                let value =
                    value.saturating_sub(before.get(&named.name).copied().unwrap_or_default());
                let subject = format!("metric `{}`", named.name);
                checks.value(&subject, &named.matcher, Some(value.to_string().as_bytes()));
            }
            if let Some((targets, span)) = &step.expect.callouts {
                let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
                targets
                    .iter()
                    .for_each(|target| *wanted.entry(target).or_default() += 1);
                for (target, server) in around.clusters {
                    let wanted = wanted.get(target.as_str()).copied().unwrap_or_default();
                    let waiting = server.waiting();
                    if waiting != wanted {
                        let subject = format!("callouts to {target}");
                        checks.fail(*span, &subject, &wanted.to_string(), &waiting.to_string());
                    }
                }
            }
        });
        self.lines = lines;
        self.logged = (around.log)().len();
    }

    /// Repeats checks until all hold.
    fn expect(&mut self, mut look: impl FnMut(&mut Checks<'_>)) {
        let mut failures = Vec::new();
        eventually(|| {
            let mut checks = Checks::new(self.suite);
            look(&mut checks);
            failures = texts(checks);
            failures.is_empty()
        });
        self.failures.extend(failures);
    }
}

fn holds(expect: &Expect, what: Held) -> bool {
    let held = expect.held.as_ref();
    held.is_some_and(|(held, _)| held.contains(&what))
}

/// Whether it has become so in time.
fn eventually(mut so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if so() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::park_timeout(INTERVAL);
    }
}

/// A connection from an address of this machine.
fn connect_from(address: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let domain = socket2::Domain::for_address(to);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(address, 0).into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

impl Line {
    /// Reads what comes back in a thread.
    fn read_response(&self, request: &Message) -> io::Result<()> {
        let method = request.headers.as_ref().and_then(|map| map.get(b":method"));
        let method = method.map(|method| String::from_utf8_lossy(method).into_owned());
        let mut input = BufReader::new(self.client.try_clone()?);
        let response = Arc::clone(&self.response);
        thread::spawn(move || {
            let begun = |message: &Arc<Incoming>| {
                let mut response = response.lock().unwrap_or_else(PoisonError::into_inner);
                *response = Some(Arc::clone(message));
            };
            // One that breaks off is not complete.
            let _ = message::read(&mut input, Some(&method.unwrap_or_default()), begun);
        });
        Ok(())
    }

    /// Sends a message or more of it: a request to the proxy, a response to it.
    fn send(&mut self, direction: usize, message: &Message) -> io::Result<()> {
        let mut text = Vec::new();
        if let Some(headers) = &message.headers {
            // What follows an upgrade is no body.
            let follows = message.more && headers.get(b"upgrade").is_none();
            let has_body = follows || !message.body.is_empty() || message.trailers.is_some();
            let framed = headers.get(b"content-length").is_some();
            match direction {
                0 => request_line(&mut text, headers),
                _ => status_line(&mut text, headers),
            }
            fields(&mut text, headers);
            self.chunked[direction] = has_body && !framed;
            if self.chunked[direction] {
                text.extend_from_slice(b"transfer-encoding: chunked\r\n");
            } else if direction == 1 && !framed {
                text.extend_from_slice(b"content-length: 0\r\n");
            }
            text.extend_from_slice(b"\r\n");
        }
        let chunked = self.chunked[direction];
        for piece in message.body.iter().filter(|piece| !piece.is_empty()) {
            body(&mut text, piece, chunked);
        }
        if chunked && !message.more {
            text.extend_from_slice(b"0\r\n");
            if let Some(trailers) = &message.trailers {
                fields(&mut text, trailers);
            }
            text.extend_from_slice(b"\r\n");
        }
        let connection = match (direction, &self.asked) {
            (0, _) => &self.client,
            (_, Some(asked)) => &*asked.connection,
            (_, None) => return Err(io::ErrorKind::NotConnected.into()),
        };
        (&mut &*connection).write_all(&text)
    }

    fn response(&self) -> Option<Passed> {
        let response = self.response.lock().unwrap_or_else(PoisonError::into_inner);
        response.as_ref().map(|message| message.passed())
    }

    fn check(&self, checks: &mut Checks<'_>, expect: &Expect, step: &Step) {
        let request = self.asked.as_ref().map(|asked| asked.message.passed());
        let request = request.unwrap_or_default();
        let response = self.response();
        if let Some(expected) = &expect.request {
            checks.message("the request", expected, &request);
        }
        if let Some(expected) = &expect.response {
            checks.message(
                "the response",
                expected,
                &response.clone().unwrap_or_default(),
            );
        }
        if let Some(Reply { expected, span }) = &expect.reply {
            let own = response.filter(|_| !self.answered);
            match (expected, own) {
                (Some(parts), Some(own)) => {
                    let headers = own.headers.unwrap_or_default();
                    let status = headers.get(b":status").cloned().unwrap_or_default();
                    let status = String::from_utf8_lossy(&status).into_owned();
                    checks.answer(parts, &status, &headers, &own.body);
                }
                (Some(_), None) => {
                    checks.fail(*span, "an answer of the filter's own", "one", "nothing");
                }
                (None, Some(own)) => {
                    let status = own.headers.as_ref().and_then(|map| map.get(b":status"));
                    let actual = format!("status {}", crate::show::value(status.map(|s| &s[..])));
                    let subject = "an answer of the filter's own";
                    checks.fail(*span, subject, "nothing", &actual);
                }
                (None, None) if request.headers.is_none() => {
                    checks.fail(
                        *span,
                        "the request",
                        "to be passed on",
                        "nothing was passed on",
                    );
                }
                (None, None) => {}
            }
        }
        let held = Held::Message(weir_abi::Direction::Request);
        if holds(expect, held) && request.headers.is_some() {
            checks.fail(
                step.span,
                "held by the filter",
                "request",
                "it was passed on",
            );
        }
        if expect
            .held
            .as_ref()
            .is_some_and(|(held, _)| held.is_empty())
            && request.headers.is_none()
            && self.response().is_none()
        {
            checks.fail(step.span, "held by the filter", "nothing", "the request");
        }
        if expect.closed.is_some() {
            checks.flag("closed by the filter", expect.closed, self.is_closed());
        }
    }

    /// Whether the other side has closed the connection, in a while.
    fn is_closed(&self) -> bool {
        // Without it, the connection is not closed; it is tried again.
        let _ = self.client.set_read_timeout(Some(CALM));
        match self.client.peek(&mut [0]) {
            Ok(size) => size == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

fn request_line(text: &mut Vec<u8>, headers: &HeaderMap) {
    let value = |name: &[u8]| headers.get(name).cloned().unwrap_or_default();
    text.extend_from_slice(&value(b":method"));
    text.push(b' ');
    text.extend_from_slice(&value(b":path"));
    text.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    text.extend_from_slice(&value(b":authority"));
    text.extend_from_slice(b"\r\n");
    if value(b":scheme") == "https" {
        // As a proxy in front tells it that has taken TLS off.
        text.extend_from_slice(b"x-forwarded-proto: https\r\n");
    }
}

fn status_line(text: &mut Vec<u8>, headers: &HeaderMap) {
    text.extend_from_slice(b"HTTP/1.1 ");
    text.extend_from_slice(headers.get(b":status").map_or(b"200", |status| &status[..]));
    text.extend_from_slice(b" Status\r\n");
}

fn fields(text: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers.entries() {
        if name.starts_with(b":") {
            continue;
        }
        text.extend_from_slice(name);
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    }
}

fn body(text: &mut Vec<u8>, piece: &Bytes, chunked: bool) {
    if !chunked {
        text.extend_from_slice(piece);
        return;
    }
    text.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
    text.extend_from_slice(piece);
    text.extend_from_slice(b"\r\n");
}
