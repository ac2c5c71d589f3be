//! Sets a request header to a value, both from its configuration.

use std::rc::Rc;

use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use serde::Deserialize;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

// ANCHOR: config
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    header: String,
    #[serde(default = "default_value")]
    value: String,
}

fn default_value() -> String {
    "yes".to_owned()
}
// ANCHOR_END: config

// ANCHOR: root
#[derive(Default)]
struct Root {
    config: Option<Rc<Config>>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        match serde_json::from_slice(&bytes) {
            Ok(config) => self.config = Some(Rc::new(config)),
            Err(reason) => {
                error!("bad configuration: {reason}");
                return false;
            }
        }
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        let config = Rc::clone(self.config.as_ref()?);
        Some(Box::new(Stream { config }))
    }
}
// ANCHOR_END: root

struct Stream {
    config: Rc<Config>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.set_http_request_header(&self.config.header, Some(&self.config.value));
        Action::Continue
    }
}
