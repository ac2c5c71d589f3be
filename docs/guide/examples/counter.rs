//! Numbers requests, over all workers.

use log::warn;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, Status};

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
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let Some(number) = self.next_number() {
            self.set_http_request_header("x-number", Some(&number.to_string()));
        }
        Action::Continue
    }
}

// ANCHOR: cas
/// A number that no value has: it creates a value if there is none.
const NO_CAS: u32 = u32::MAX;

impl Stream {
    fn next_number(&self) -> Option<u64> {
        loop {
            let (value, cas) = self.get_shared_data("requests");
            let last = value.and_then(|value| value.try_into().ok());
            let next = last.map_or(0, u64::from_le_bytes) + 1;
            let cas = cas.unwrap_or(NO_CAS);
            match self.set_shared_data("requests", Some(&next.to_le_bytes()), Some(cas)) {
                Ok(()) => return Some(next),
                // Another worker was faster.
                Err(Status::CasMismatch) => {}
                Err(status) => {
                    warn!("cannot count: {status:?}");
                    return None;
                }
            }
        }
    }
}
// ANCHOR_END: cas
