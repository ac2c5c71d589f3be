//! The root and stream contexts: what is read from and written to the headers.

use std::rc::Rc;

use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::config::Config;
use crate::policy::{self, Policy, Response};

#[derive(Default)]
pub(crate) struct Root {
    policy: Rc<Policy>,
}

/// Remembers the request's scheme: a response callback cannot read it.
struct Stream {
    policy: Rc<Policy>,
    https: bool,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match filter_config::parse::<Config>(self.get_plugin_configuration().as_deref()) {
            Ok(config) => self.policy = Rc::new(config.into()),
            Err(reason) => {
                error!("security-headers: configuration refused: {reason}");
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
            policy: Rc::clone(&self.policy),
            https: false,
        }))
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let is_https = |name| {
            let value = self.get_http_request_header_bytes(name);
            value.is_some_and(|value| value.eq_ignore_ascii_case(b"https"))
        };
        self.https = is_https("x-forwarded-proto") || is_https(":scheme");
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if self.get_http_response_header_bytes(":status").as_deref() == Some(b"101") {
            return Action::Continue; // the connection stops being HTTP
        }
        for name in &self.policy.remove {
            self.remove_http_response_header(name);
        }
        let content_type = self.get_http_response_header_bytes("content-type");
        let document = policy::is_document(content_type.as_deref());
        let response = Response {
            https: self.https,
            document,
        };
        for header in self
            .policy
            .set
            .iter()
            .filter(|header| header.applies_to(response))
        {
            if self.policy.replace || self.get_http_response_header_bytes(&header.name).is_none() {
                self.set_http_response_header(&header.name, Some(&header.value));
            }
        }
        Action::Continue
    }
}
