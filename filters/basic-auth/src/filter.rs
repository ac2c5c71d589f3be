//! The root and stream contexts.

use std::rc::Rc;

use filter_http::{Counter, Headers, Request, realm};
use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::config::Config;
use crate::credentials::{Credentials, Failure};

#[derive(Default)]
pub(crate) struct Root {
    shared: Option<Rc<Shared>>,
}

/// What all streams share.
struct Shared {
    config: Config,
    allowed: Counter,
    denied: Counter,
}

struct Stream(Rc<Shared>);

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match filter_config::parse(self.get_plugin_configuration().as_deref()) {
            Ok(config) => {
                self.shared = Some(Rc::new(Shared {
                    config,
                    allowed: Counter::define("basic_auth.allowed"),
                    denied: Counter::define("basic_auth.denied"),
                }));
            }
            Err(reason) => {
                error!("basic-auth: configuration refused: {reason}");
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
        let Shared {
            config,
            allowed,
            denied,
        } = &*self.0;
        let header = Request.get(&config.credential_header);
        let credentials = Credentials::read(header.as_deref());
        match credentials.and_then(|credentials| config.user(&credentials)) {
            Ok(user) => {
                allowed.add(1);
                if !config.forward {
                    Request.set(&config.credential_header, None);
                }
                if let Some(name) = &config.user_header {
                    Request.set(name, Some(user));
                }
                Action::Continue
            }
            Err(failure) => {
                denied.add(1);
                self.refuse(failure);
                Action::Pause
            }
        }
    }
}

impl Stream {
    fn refuse(&self, failure: Failure) {
        let realm = match &self.0.config.realm {
            Some(name) => format!("\"{}\"", &**name),
            None => realm(&Request),
        };
        let challenge = format!("Basic realm={realm}");
        let (headers, body) = ([("www-authenticate", &*challenge)], failure.to_string());
        self.send_http_response(401, headers.to_vec(), Some(body.as_bytes()));
    }
}
