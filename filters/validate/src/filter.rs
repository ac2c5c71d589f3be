//! The filter and its streams.

use std::rc::Rc;

use filter_http::{Counter, Filter, Headers, Request};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::{Config, Head};
use crate::refusal::Refusal;

/// What all streams share.
pub(crate) struct Shared {
    config: Config,
    passed: Counter,
    refused: Counter,
}

struct Stream {
    shared: Rc<Shared>,
    state: State,
}

enum State {
    /// The body is counted as it streams by.
    Counting { seen: usize, max: usize },
    /// The body is held until it is whole, for this rule.
    Holding { rule: usize, max: usize },
    /// There is no more to do.
    Over,
}

impl Filter for Shared {
    const NAME: &'static str = "validate";

    type Config = Config;

    fn new(config: Config) -> Self {
        Self {
            config,
            passed: Counter::define("validate.passed"),
            refused: Counter::define("validate.refused"),
        }
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream {
            shared: self,
            state: State::Over,
        })
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let header = |name| Request.get(name).unwrap_or_default();
        let (method, target) = (header(":method"), header(":path"));
        let content_type = header("content-type");
        let head = Head {
            method: &method,
            target: &target,
            content_type: &content_type,
            content_length: header("content-length").parse().ok(),
            encoded: Request.get("content-encoding").is_some(),
            has_body: !end_of_stream,
        };
        let shared = Rc::clone(&self.shared);
        if let Err(refusal) = shared.config.check_head(&head) {
            return self.refuse(&refusal);
        }
        let place = shared.config.rule_of(&head);
        let rule = shared.config.rule(place);
        let max = shared.config.body_bytes_max(rule);
        if end_of_stream {
            return self.pass();
        }
        match place.filter(|_| rule.is_some_and(|rule| rule.schema.is_some())) {
            Some(rule) => {
                self.state = State::Holding { rule, max };
                Action::Pause
            }
            None => {
                self.state = State::Counting { seen: 0, max };
                Action::Continue
            }
        }
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        match &mut self.state {
            State::Over => Action::Continue,
            State::Counting { seen, max } => {
                *seen = seen.saturating_add(size);
                let max = *max;
                if *seen > max {
                    return self.refuse(&Refusal::BodyTooLarge(max));
                }
                match end_of_stream {
                    true => self.pass(),
                    false => Action::Continue,
                }
            }
            State::Holding { max, .. } if size > *max => {
                let max = *max;
                self.refuse(&Refusal::BodyTooLarge(max))
            }
            State::Holding { rule, .. } if end_of_stream => {
                let rule = *rule;
                self.judge(rule, size)
            }
            State::Holding { .. } => Action::Pause,
        }
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        match self.state {
            // The body has ended without saying so; it is all there.
            State::Holding { rule, max } => self.judge(rule, max),
            State::Counting { .. } => self.pass(),
            State::Over => Action::Continue,
        }
    }
}

impl Stream {
    /// Judges the body, which is there whole.
    fn judge(&mut self, rule: usize, size: usize) -> Action {
        let shared = Rc::clone(&self.shared);
        let body = self.get_http_request_body(0, size).unwrap_or_default();
        match shared.config.rule(Some(rule)).map(|r| r.check_body(&body)) {
            Some(Err(refusal)) => self.refuse(&refusal),
            _ => self.pass(),
        }
    }

    fn pass(&mut self) -> Action {
        self.state = State::Over;
        self.shared.passed.add(1);
        Action::Continue
    }

    fn refuse(&mut self, refusal: &Refusal) -> Action {
        self.state = State::Over;
        self.shared.refused.add(1);
        let headers = vec![("content-type", "application/problem+json")];
        let problem = refusal.problem();
        self.send_http_response(refusal.status(), headers, Some(problem.as_bytes()));
        Action::Pause
    }
}
