//! The filter and its streams.

use std::rc::Rc;

use filter_http::{Counter, Filter, Headers, Request, realm};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::Config;
use crate::credentials::{Credentials, Failure};

/// What all streams share.
pub(crate) struct Shared {
    config: Config,
    allowed: Counter,
    denied: Counter,
}

struct Stream(Rc<Shared>);

impl Filter for Shared {
    const NAME: &'static str = "basic-auth";

    type Config = Config;

    fn new(config: Config) -> Self {
        Self {
            config,
            allowed: Counter::define("basic_auth.allowed"),
            denied: Counter::define("basic_auth.denied"),
        }
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream(self))
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
