//! The filter and its streams.

use std::rc::Rc;

use filter_http::{Counter, Filter, Headers, Request, query};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::{Access, Config};

/// What all streams share.
pub(crate) struct Shared {
    config: Config,
    allowed: Counter,
    unauthorized: Counter,
    forbidden: Counter,
}

struct Stream(Rc<Shared>);

impl Filter for Shared {
    const NAME: &'static str = "api-key";

    type Config = Config;

    fn new(config: Config) -> Self {
        Self {
            config,
            allowed: Counter::define("api_key.allowed"),
            unauthorized: Counter::define("api_key.unauthorized"),
            forbidden: Counter::define("api_key.forbidden"),
        }
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream(self))
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let shared = &self.0;
        let config = &shared.config;
        let path = Request.get(":path");
        let key = config.from.iter().find_map(|source| source.find(&Request));
        let path = path.as_deref().map(query::path);
        let client = match config.access(path, key.as_deref()) {
            Access::Open => None,
            Access::Client(name) => Some(name),
            Access::Unknown => {
                shared.unauthorized.add(1);
                self.send_http_response(401, vec![], Some(b"Client authentication failed."));
                return Action::Pause;
            }
            Access::Forbidden => {
                shared.forbidden.add(1);
                self.send_http_response(403, vec![], Some(b"Client is forbidden."));
                return Action::Pause;
            }
        };
        shared.allowed.add(1);
        // On open paths, what is there may be the upstream's own.
        if client.is_some() && !config.forward {
            for source in &config.from {
                if source.find(&Request).is_some() {
                    source.strip(&Request);
                }
            }
        }
        if let Some(name) = &config.client_header {
            Request.set(name, client);
        }
        Action::Continue
    }
}
