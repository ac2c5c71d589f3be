//! The root and stream contexts.

use std::rc::Rc;

use filter_http::{Counter, Headers, Request, query};
use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::config::{Access, Config};

#[derive(Default)]
pub(crate) struct Root {
    shared: Option<Rc<Shared>>,
}

/// What all streams share.
struct Shared {
    config: Config,
    allowed: Counter,
    unauthorized: Counter,
    forbidden: Counter,
}

struct Stream(Rc<Shared>);

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match filter_config::parse(self.get_plugin_configuration().as_deref()) {
            Ok(config) => {
                self.shared = Some(Rc::new(Shared {
                    config,
                    allowed: Counter::define("api_key.allowed"),
                    unauthorized: Counter::define("api_key.unauthorized"),
                    forbidden: Counter::define("api_key.forbidden"),
                }));
            }
            Err(reason) => {
                error!("api-key: configuration refused: {reason}");
                return false;
            }
        }
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream(Rc::clone(self.shared.as_ref()?))))
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
