//! The filter and its streams: what is read from and written to the headers.

use std::rc::Rc;

use filter_http::Filter;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::Config;
use crate::policy::{self, Policy, Response};

/// Remembers the request's scheme: a response callback cannot read it.
struct Stream {
    policy: Rc<Policy>,
    https: bool,
}

impl Filter for Policy {
    const NAME: &'static str = "security-headers";

    type Config = Config;

    fn new(config: Config) -> Self {
        config.into()
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream {
            policy: self,
            https: false,
        })
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
