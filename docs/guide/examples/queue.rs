//! Collects the paths of all requests in one place.

use log::info;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

#[derive(Default)]
struct Root {
    queue: u32,
}

impl Context for Root {}

impl RootContext for Root {
    // ANCHOR: receive
    fn on_configure(&mut self, _size: usize) -> bool {
        self.queue = self.register_shared_queue("paths");
        true
    }

    fn on_queue_ready(&mut self, queue: u32) {
        while let Ok(Some(path)) = self.dequeue_shared_queue(queue) {
            info!("asked for {}", String::from_utf8_lossy(&path));
        }
    }
    // ANCHOR_END: receive

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { queue: self.queue }))
    }
}

struct Stream {
    queue: u32,
}

impl Context for Stream {}

impl HttpContext for Stream {
    // ANCHOR: send
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let path = self.get_http_request_header_bytes(":path");
        // A queue that is gone is no reason to fail the request.
        let _ = self.enqueue_shared_queue(self.queue, path.as_deref());
        Action::Continue
    }
    // ANCHOR_END: send
}
