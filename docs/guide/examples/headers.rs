//! Tells the upstream which shop a request is for, and keeps its secrets.

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
        Some(Box::new(Stream::default()))
    }
}

#[derive(Default)]
struct Stream {
    shop: Vec<u8>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    // ANCHOR: request
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let host = self.get_http_request_header_bytes(":authority");
        let host = host.unwrap_or_default();
        let Some(shop) = host.strip_suffix(b".example.com") else {
            // ANCHOR: answer
            let headers = vec![("content-type", "text/plain")];
            self.send_http_response(404, headers, Some(b"there is no such shop\n"));
            return Action::Pause;
            // ANCHOR_END: answer
        };
        self.shop = shop.to_vec();
        self.set_http_request_header_bytes("x-shop", Some(shop));
        self.add_http_request_header("via", "1.1 shops");
        Action::Continue
    }
    // ANCHOR_END: request

    // ANCHOR: response
    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.remove_http_response_header("x-powered-by");
        // The request's headers cannot be read any more: what is needed is kept.
        self.set_http_response_header_bytes("x-shop", Some(&self.shop));
        Action::Continue
    }
    // ANCHOR_END: response
}
