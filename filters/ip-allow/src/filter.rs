//! The root, connection and stream contexts.

use std::rc::Rc;

use filter_http::{Counter, Headers, Request};
use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext, StreamContext};
use proxy_wasm::types::{Action, ContextType};

use crate::config::Config;

/// Counts the connections or requests that were not let in.
const REFUSED: &str = "ip_allow.refused";

#[derive(Default)]
pub(crate) struct Root {
    config: Rc<Config>,
    refused: Counter,
}

struct Connection {
    config: Rc<Config>,
    refused: Counter,
}

struct Stream {
    config: Rc<Config>,
    refused: Counter,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match filter_config::parse::<Config>(self.get_plugin_configuration().as_deref()) {
            Ok(config) => self.config = Rc::new(config),
            Err(reason) => {
                error!("ip-allow: configuration refused: {reason}");
                return false;
            }
        }
        self.refused = Counter::define(REFUSED);
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(match self.config.http {
            None => ContextType::StreamContext,
            Some(_) => ContextType::HttpContext,
        })
    }

    fn create_stream_context(&self, _context_id: u32) -> Option<Box<dyn StreamContext>> {
        Some(Box::new(Connection {
            config: Rc::clone(&self.config),
            refused: self.refused,
        }))
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            config: Rc::clone(&self.config),
            refused: self.refused,
        }))
    }
}

impl Context for Connection {}

impl StreamContext for Connection {
    fn on_new_connection(&mut self) -> Action {
        let address = self.get_property(vec!["source", "address"]);
        if self.config.lets_in(&address.unwrap_or_default()) {
            return Action::Continue;
        }
        self.refused.add(1);
        self.close_downstream();
        Action::Pause
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let Some(http) = &self.config.http else {
            return Action::Continue;
        };
        let address = self.get_property(vec!["source", "address"]);
        let address = address.unwrap_or_default();
        let forwarded_for = self.get_http_request_header_bytes("x-forwarded-for");
        let target = Request.get(":path");
        let let_in = self.config.lets_in_request(
            http,
            &address,
            forwarded_for.as_deref(),
            target.as_deref(),
        );
        if let_in {
            return Action::Continue;
        }
        self.refused.add(1);
        self.send_http_response(http.status.0, vec![], Some(http.body.as_bytes()));
        Action::Pause
    }
}
