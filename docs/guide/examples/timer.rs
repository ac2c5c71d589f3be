//! Closes the shop while `closed` is in the shared data.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

#[derive(Default)]
struct Root {
    closed: Rc<Cell<bool>>,
}

impl Context for Root {}

impl RootContext for Root {
    // ANCHOR: tick
    fn on_configure(&mut self, _size: usize) -> bool {
        self.set_tick_period(Duration::from_secs(5));
        true
    }

    fn on_tick(&mut self) {
        let (closed, _) = self.get_shared_data("closed");
        self.closed
            .set(closed.is_some_and(|closed| closed == b"yes"));
    }
    // ANCHOR_END: tick

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        let closed = Rc::clone(&self.closed);
        Some(Box::new(Stream { closed }))
    }
}

struct Stream {
    closed: Rc<Cell<bool>>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if self.closed.get() {
            self.send_http_response(503, vec![("retry-after", "60")], None);
            return Action::Pause;
        }
        Action::Continue
    }
}
