//! The filter and its streams.

use std::rc::Rc;

use filter_http::{Counter, Filter, Headers, Request, Response};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::Config;
use crate::policy::{Kind, vary};

/// What all streams share.
pub(crate) struct Shared {
    config: Config,
    valid: Counter,
    invalid: Counter,
}

struct Stream {
    shared: Rc<Shared>,
    state: State,
}

enum State {
    /// Nothing is to be said in the response.
    Plain,
    /// The origin is told that it may read it.
    Allowed(String),
    /// The response is the filter's own.
    Answered,
}

impl Filter for Shared {
    const NAME: &'static str = "cors";

    type Config = Config;

    fn new(config: Config) -> Self {
        Self {
            config,
            valid: Counter::define("cors.origin_valid"),
            invalid: Counter::define("cors.origin_invalid"),
        }
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream {
            shared: self,
            state: State::Plain,
        })
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let Shared {
            config,
            valid,
            invalid,
        } = &*self.shared;
        let answer = match config.kind(&Request) {
            Kind::Plain => {
                if Request.get("origin").is_some() {
                    invalid.add(1);
                }
                return Action::Continue;
            }
            Kind::Allowed(origin) => {
                valid.add(1);
                self.state = State::Allowed(origin);
                return Action::Continue;
            }
            Kind::Preflight(headers) => {
                valid.add(1);
                headers
            }
            Kind::Unmatched => {
                invalid.add(1);
                Vec::new()
            }
        };
        self.state = State::Answered;
        let mut headers: Vec<_> = answer.iter().map(|(n, v)| (*n, v.as_str())).collect();
        if config.vary {
            headers.push(("vary", "origin"));
        }
        self.send_http_response(200, headers, None);
        Action::Pause
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let config = &self.shared.config;
        match &self.state {
            State::Answered => return Action::Continue,
            State::Plain => {}
            State::Allowed(origin) => config.allow(origin, &Response),
        }
        if config.vary {
            let vary = vary(Response.get("vary").as_deref());
            Response.set("vary", Some(&vary));
        }
        Action::Continue
    }
}
