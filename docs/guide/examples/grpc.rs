//! Asks a gRPC service how much a client may have.

use std::time::Duration;

use prost::Message;
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

// ANCHOR: messages
#[derive(Clone, PartialEq, Message)]
struct QuotaRequest {
    #[prost(string, tag = "1")]
    client: String,
}

#[derive(Clone, PartialEq, Message)]
struct QuotaResponse {
    #[prost(uint32, tag = "1")]
    left: u32,
}
// ANCHOR_END: messages

struct Stream;

// ANCHOR: call
impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let client = self.get_http_request_header_bytes("x-client");
        let client = String::from_utf8(client.unwrap_or_default()).unwrap_or_default();
        let message = QuotaRequest { client }.encode_to_vec();
        let called = self.dispatch_grpc_call(
            "quota",
            "quota.v1.Quota",
            "Take",
            vec![],
            Some(&message),
            Duration::from_millis(200),
        );
        if called.is_err() {
            self.send_http_response(503, vec![], None);
        }
        Action::Pause
    }
}

impl Context for Stream {
    fn on_grpc_call_response(&mut self, _token: u32, status: u32, size: usize) {
        let message = (status == 0).then(|| self.get_grpc_call_response_body(0, size));
        let quota = QuotaResponse::decode(&*message.flatten().unwrap_or_default());
        match quota {
            Ok(quota) if quota.left > 0 => {
                self.set_http_request_header("x-quota-left", Some(&quota.left.to_string()));
                self.resume_http_request();
            }
            _ => self.send_http_response(429, vec![], None),
        }
    }
}
// ANCHOR_END: call
