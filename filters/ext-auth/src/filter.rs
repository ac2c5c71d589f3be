//! The filter and its streams: who is asked, and what comes of it.

use std::rc::Rc;

use filter_http::Filter;
use log::warn;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::{Config, Service};
use crate::verdict::{Answer, Poll, Verdict, is_passed_on};

impl Filter for Config {
    const NAME: &'static str = "ext-auth";

    type Config = Self;

    fn new(config: Self) -> Self {
        config
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream {
            config: self,
            state: State::Done,
        })
    }
}

struct Stream {
    config: Rc<Config>,
    state: State,
}

enum State {
    /// The request waits for the answer to this call.
    Token(u32),
    /// It waits for the services.
    Asked(Poll),
    /// It has passed, or been answered.
    Done,
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let config = Rc::clone(&self.config);
        for name in &config.take {
            // Nobody but the services may say so.
            self.set_http_request_header(name, None);
        }
        match &config.token {
            None => self.ask(None),
            Some(service) => match self.call(service, &[]) {
                Some(token) => self.state = State::Token(token),
                None => self.without_answer(),
            },
        }
        match self.state {
            State::Done if config.fail_open => Action::Continue,
            _ => Action::Pause,
        }
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _trailers: usize) {
        // An answer that was cut has no headers, and the SDK panics if they are
        // asked for.
        let status = match headers {
            0 => None,
            _ => self.get_http_call_response_header(":status"),
        };
        let answer = Answer::of_status(status.and_then(|s| s.parse().ok()));
        match &mut self.state {
            State::Done => {}
            State::Token(awaited) if *awaited == token => {
                let bearer = self.get_http_call_response_body(0, body);
                let bearer = bearer.and_then(|b| String::from_utf8(b).ok());
                match bearer.filter(|_| answer == Answer::Allowed) {
                    Some(bearer) => {
                        self.ask(Some(bearer.trim()));
                        if matches!(self.state, State::Done) && self.config.fail_open {
                            self.resume_http_request();
                        }
                    }
                    None => self.settle(Verdict::Unavailable, body),
                }
            }
            State::Token(_) => {}
            State::Asked(poll) => {
                let verdict = poll.count(&answer);
                if answer == Answer::Allowed {
                    self.take_headers();
                }
                self.settle(verdict, body);
            }
        }
    }
}

impl Stream {
    /// Asks all services at once.
    fn ask(&mut self, bearer: Option<&str>) {
        let config = Rc::clone(&self.config);
        let bearer = bearer.map(|b| format!("Bearer {b}"));
        let bearer = bearer.as_deref().map(|b| ("x-service-authorization", b));
        let calls = config.services.iter();
        let made = calls
            .filter_map(|s| self.call(s, bearer.as_slice()))
            .count();
        if made < config.services.iter().count() && !config.fail_open || made == 0 {
            self.without_answer();
        } else {
            self.state = State::Asked(Poll::new(made, config.fail_open));
        }
    }

    fn call(&self, service: &Service, more: &[(&str, &str)]) -> Option<u32> {
        // One that is not UTF-8 is told as it can be: as a credential it is good for nothing.
        let header = |name: &str| {
            let value = self.get_http_request_header_bytes(name);
            String::from_utf8_lossy(&value.unwrap_or_default()).into_owned()
        };
        let (method, path) = (header(":method"), header(":path"));
        let (scheme, authority) = (header(":scheme"), header(":authority"));
        let sent: Vec<_> = self.config.send.iter().map(|n| (&**n, header(n))).collect();
        let mut headers = vec![
            (":method", "GET"),
            (":path", &service.path),
            (":authority", service.authority()),
            ("x-original-method", &method),
            ("x-original-path", &path),
            ("x-forwarded-method", &method),
            ("x-forwarded-proto", &scheme),
            ("x-forwarded-host", &authority),
            ("x-forwarded-uri", &path),
        ];
        // What is told here is not told by the client as well.
        let own: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let sent = sent.iter();
        let sent = sent.filter(|(name, value)| !value.is_empty() && !own.contains(name));
        headers.extend(sent.map(|(name, value)| (*name, &**value)));
        headers.extend(more);
        let timeout = service.timeout();
        self.dispatch_http_call(&service.cluster, headers, None, vec![], timeout)
            .map_err(|status| warn!("ext-auth: cannot call `{}`: {status:?}", service.cluster))
            .ok()
    }

    /// No service can be asked.
    fn without_answer(&mut self) {
        self.state = State::Done;
        if !self.config.fail_open {
            self.send_http_response(503, vec![], Some(b"the request cannot be authorised\n"));
        }
    }

    fn take_headers(&self) {
        for name in &self.config.take {
            if let Some(value) = self.get_http_call_response_header_bytes(name) {
                self.set_http_request_header_bytes(name, Some(&value));
            }
        }
    }

    fn settle(&mut self, verdict: Verdict, body: usize) {
        match verdict {
            Verdict::Open => {}
            Verdict::Pass => {
                self.state = State::Done;
                self.resume_http_request();
            }
            Verdict::Deny(code) => {
                self.state = State::Done;
                let headers = self.get_http_call_response_headers_bytes();
                let text = headers.iter().filter_map(|(name, value)| {
                    Some((name.as_str(), std::str::from_utf8(value).ok()?))
                });
                let headers = text.filter(|(name, _)| is_passed_on(name)).collect();
                let body = self.get_http_call_response_body(0, body);
                self.send_http_response(code, headers, body.as_deref());
            }
            Verdict::Unavailable => {
                self.without_answer();
                if self.config.fail_open {
                    self.resume_http_request();
                }
            }
        }
    }
}
