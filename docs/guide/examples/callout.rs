//! Lets a request pass if a service says so.

use std::time::Duration;

use log::warn;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

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

// ANCHOR: ask
impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let token = self.get_http_request_header_bytes("authorization");
        let token = token.and_then(|token| String::from_utf8(token).ok());
        let asked = self.dispatch_http_call(
            "auth",
            vec![
                (":method", "GET"),
                (":path", "/check"),
                (":authority", "auth.internal"),
                ("authorization", token.as_deref().unwrap_or_default()),
            ],
            None,
            vec![],
            Duration::from_millis(500),
        );
        if let Err(status) = asked {
            warn!("cannot ask: {status:?}");
            self.send_http_response(503, vec![], None);
        }
        Action::Pause
    }
}
// ANCHOR_END: ask

// ANCHOR: answer
impl Context for Stream {
    fn on_http_call_response(&mut self, _token: u32, headers: usize, _body: usize, _: usize) {
        // An answer that was cut has no headers, and the SDK panics if one is asked for.
        let status = (headers > 0).then(|| self.get_http_call_response_header(":status"));
        match status.flatten().as_deref() {
            Some("200") => self.resume_http_request(),
            Some("401" | "403") => self.send_http_response(403, vec![], None),
            _ => self.send_http_response(503, vec![], None),
        }
    }
}
// ANCHOR_END: answer
