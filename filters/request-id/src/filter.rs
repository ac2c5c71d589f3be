//! The filter and its streams: what is read from and written to the headers.

use std::rc::Rc;

use filter_http::Filter;
use log::error;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::{Config, Incoming, TraceMode};
use crate::id;
use crate::trace::{self, Outcome};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Remembers the id between the two directions: a response callback cannot read
/// the request's headers.
struct Stream {
    config: Rc<Config>,
    id: Option<Vec<u8>>,
}

impl Filter for Config {
    const NAME: &'static str = "request-id";

    type Config = Self;

    fn new(config: Self) -> Self {
        config
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream {
            config: self,
            id: None,
        })
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let Err(reason) = self.identify().and_then(|()| self.place_in_trace()) {
            error!("request-id: no random bytes, request left as it is: {reason}");
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let (true, Some(id)) = (self.config.respond, &self.id) {
            self.set_http_response_header_bytes(&self.config.header, Some(id));
        }
        Action::Continue
    }
}

impl Stream {
    fn identify(&mut self) -> Result<(), getrandom::Error> {
        let usable = match self.config.incoming {
            Incoming::Keep => self
                .get_http_request_header_bytes(&self.config.header)
                .filter(|id| id::is_usable(id)),
            Incoming::Replace => None,
        };
        let id = match usable {
            Some(id) => id,
            None => {
                let id = id::uuid_v4(random()?).into_bytes();
                self.set_http_request_header_bytes(&self.config.header, Some(&id));
                id
            }
        };
        self.id = Some(id);
        Ok(())
    }

    fn place_in_trace(&self) -> Result<(), getrandom::Error> {
        let Config {
            traceparent: mode,
            sampled,
            ..
        } = *self.config;
        if mode == TraceMode::Off {
            return Ok(());
        }
        let incoming = self.only_traceparent();
        match trace::outcome(mode, incoming.as_deref(), sampled, random()?) {
            Outcome::Untouched => {}
            Outcome::Continued(header) => {
                self.set_http_request_header(TRACEPARENT, Some(&header));
            }
            Outcome::Started(header) => {
                self.set_http_request_header(TRACEPARENT, Some(&header));
                self.remove_http_request_header(TRACESTATE);
            }
        }
        Ok(())
    }

    /// The request's `traceparent`, if it has exactly one: of several, nobody can
    /// tell which one is meant. The whole map is read only where there is one.
    fn only_traceparent(&self) -> Option<Vec<u8>> {
        let header = self.get_http_request_header_bytes(TRACEPARENT)?;
        let all = self.get_http_request_headers_bytes();
        let count = all.iter().filter(|(name, _)| name == TRACEPARENT).count();
        (count == 1).then_some(header)
    }
}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
