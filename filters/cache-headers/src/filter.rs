//! The root and stream contexts.

use std::rc::Rc;

use filter_http::{Headers, Request, Response, query};
use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::config::Config;

#[derive(Default)]
pub(crate) struct Root {
    config: Option<Rc<Config>>,
}

struct Stream {
    config: Rc<Config>,
    /// Of the request, without the query.
    path: String,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match filter_config::parse(self.get_plugin_configuration().as_deref()) {
            Ok(config) => self.config = Some(Rc::new(config)),
            Err(reason) => {
                error!("cache-headers: configuration refused: {reason}");
                return false;
            }
        }
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            config: Rc::clone(self.config.as_ref()?),
            path: String::new(),
        }))
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let target = Request.get(":path").unwrap_or_default();
        query::path(&target).clone_into(&mut self.path);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let mut rules = self.config.rules.iter();
        if let Some(rule) = rules.find(|rule| rule.is_for(&self.path, &Response)) {
            rule.apply(&Response);
        }
        Action::Continue
    }
}
