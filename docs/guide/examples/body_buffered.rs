//! Removes the field `password` of every JSON body that a client sends.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use serde_json::Value;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

/// The root context makes a context for each stream.
struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream))
    }
}

struct Stream;

impl Context for Stream {}

impl HttpContext for Stream {
    // ANCHOR: buffer
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        if !end_of_stream {
            // The body will have another length.
            self.remove_http_request_header("content-length");
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if !end_of_stream {
            return Action::Pause;
        }
        let body = self.get_http_request_body(0, size).unwrap_or_default();
        if let Ok(Value::Object(mut fields)) = serde_json::from_slice(&body) {
            fields.remove("password");
            let body = Value::Object(fields).to_string();
            self.set_http_request_body(0, size, body.as_bytes());
        }
        Action::Continue
    }
    // ANCHOR_END: buffer
}
