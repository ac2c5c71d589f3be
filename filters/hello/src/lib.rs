//! A first filter: sets one request header and one response header, each to a
//! value from its configuration.

use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use serde::Deserialize;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Hello::default()));
}}

/// Both contexts in one: the root context reads the configuration, and every
/// stream context is a copy of it.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hello {
    request: String,
    response: String,
}

impl Context for Hello {}

impl RootContext for Hello {
    fn on_configure(&mut self, _size: usize) -> bool {
        let json = self.get_plugin_configuration().unwrap_or_default();
        match serde_json::from_slice(&json) {
            Ok(hello) => *self = hello,
            Err(reason) => {
                error!("hello: bad configuration: {reason}");
                return false;
            }
        }
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(self.clone()))
    }
}

impl HttpContext for Hello {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.set_http_request_header("x-hello", Some(&self.request));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.set_http_response_header("x-hello", Some(&self.response));
        Action::Continue
    }
}
