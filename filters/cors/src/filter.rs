//! The root and stream contexts.

use std::rc::Rc;

use filter_http::{Counter, Headers, Request, Response};
use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::config::Config;
use crate::policy::{Kind, vary};

#[derive(Default)]
pub(crate) struct Root {
    shared: Option<Rc<Shared>>,
}

/// What all streams share.
struct Shared {
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

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match filter_config::parse(self.get_plugin_configuration().as_deref()) {
            Ok(config) => {
                self.shared = Some(Rc::new(Shared {
                    config,
                    valid: Counter::define("cors.origin_valid"),
                    invalid: Counter::define("cors.origin_invalid"),
                }));
            }
            Err(reason) => {
                error!("cors: configuration refused: {reason}");
                return false;
            }
        }
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            shared: Rc::clone(self.shared.as_ref()?),
            state: State::Plain,
        }))
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
