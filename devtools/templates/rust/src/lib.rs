//! Sets the header `x-{{name}}` in requests and responses to its configuration, and
//! answers requests for `/greeting` with it.

use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Filter::default()));
}}

/// The root context reads the configuration; each stream has a copy of it.
#[derive(Clone, Default)]
struct Filter {
    greeting: String,
}

impl Context for Filter {}

impl RootContext for Filter {
    fn on_configure(&mut self, _size: usize) -> bool {
        let greeting = self.get_plugin_configuration().unwrap_or_default();
        match String::from_utf8(greeting) {
            Ok(greeting) if !greeting.is_empty() => {
                self.greeting = greeting;
                true
            }
            _ => {
                error!("{{name}}: the configuration has to be a greeting");
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(self.clone()))
    }
}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        // In bytes: the functions on strings panic when a value is not UTF-8.
        if self.get_http_request_header_bytes(":path").as_deref() == Some(b"/greeting") {
            self.send_http_response(200, vec![], Some(self.greeting.as_bytes()));
            return Action::Pause;
        }
        self.set_http_request_header("x-{{name}}", Some(&self.greeting));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.set_http_response_header("x-{{name}}", Some(&self.greeting));
        Action::Continue
    }
}
