//! The filter, its connections and its streams.

use std::rc::Rc;

use filter_http::{Counter, Filter, Headers, Request};
use proxy_wasm::traits::{Context, HttpContext, StreamContext};
use proxy_wasm::types::{Action, ContextType};

use crate::config::Config;

/// What all connections or streams share.
pub(crate) struct Shared {
    config: Config,
    /// Connections or requests that were not let in.
    refused: Counter,
}

struct Connection(Rc<Shared>);

struct Stream(Rc<Shared>);

impl Filter for Shared {
    const NAME: &'static str = "ip-allow";

    type Config = Config;

    fn new(config: Config) -> Self {
        Self {
            config,
            refused: Counter::define("ip_allow.refused"),
        }
    }

    fn kind(&self) -> ContextType {
        match self.config.http {
            None => ContextType::StreamContext,
            Some(_) => ContextType::HttpContext,
        }
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream(self))
    }

    fn connection(self: Rc<Self>) -> Option<Box<dyn StreamContext>> {
        Some(Box::new(Connection(self)))
    }
}

impl Context for Connection {}

impl StreamContext for Connection {
    fn on_new_connection(&mut self) -> Action {
        let address = self.get_property(vec!["source", "address"]);
        if self.0.config.lets_in(&address.unwrap_or_default()) {
            return Action::Continue;
        }
        self.0.refused.add(1);
        self.close_downstream();
        Action::Pause
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let Some(http) = &self.0.config.http else {
            return Action::Continue;
        };
        let address = self.get_property(vec!["source", "address"]);
        let address = address.unwrap_or_default();
        let forwarded_for = self.get_http_request_header_bytes("x-forwarded-for");
        let country = http.country_header(&address);
        let country = country.and_then(|header| Request.get_all(header).pop());
        let target = Request.get(":path");
        let let_in = self.0.config.lets_in_request(
            http,
            &address,
            forwarded_for.as_deref(),
            country.as_deref(),
            target.as_deref(),
        );
        if let_in {
            return Action::Continue;
        }
        self.0.refused.add(1);
        self.send_http_response(http.status.0, vec![], Some(http.body.as_bytes()));
        Action::Pause
    }
}
