//! Hides digits of response bodies as they stream by.

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

impl Context for Stream {}

impl HttpContext for Stream {
    // ANCHOR: stream
    fn on_http_response_body(&mut self, size: usize, _end_of_stream: bool) -> Action {
        let Some(mut piece) = self.get_http_response_body(0, size) else {
            return Action::Continue;
        };
        for byte in piece.iter_mut().filter(|byte| byte.is_ascii_digit()) {
            *byte = b'#';
        }
        self.set_http_response_body(0, size, &piece);
        Action::Continue
    }
    // ANCHOR_END: stream
}
