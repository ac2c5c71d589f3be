//! The filter and its streams.

use std::rc::Rc;

use filter_http::{Filter, Headers, Request, Response, query};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::Config;

struct Stream {
    config: Rc<Config>,
    /// Of the request, without the query.
    path: String,
}

impl Filter for Config {
    const NAME: &'static str = "cache-headers";

    type Config = Self;

    fn new(config: Self) -> Self {
        config
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream {
            config: self,
            path: String::new(),
        })
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let target = Request.get(":path").unwrap_or_default();
        query::path(&target).clone_into(&mut self.path);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let mut rules = self.config.rules.iter();
        if let Some(rule) = rules.find(|rule| rule.is_for(&self.path, &Response)) {
            rule.apply(&Response);
        }
        Action::Continue
    }
}
