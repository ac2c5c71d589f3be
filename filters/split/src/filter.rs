//! The root and stream contexts.

use std::rc::Rc;

use filter_http::{Counter, Headers, Request};
use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::config::Config;

#[derive(Default)]
pub(crate) struct Root {
    shared: Option<Rc<Shared>>,
}

/// What all streams share.
struct Shared {
    config: Config,
    /// By version.
    requests: Vec<Counter>,
}

struct Stream {
    shared: Rc<Shared>,
    set_cookie: Option<String>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let config: Config = match filter_config::parse(self.get_plugin_configuration().as_deref())
        {
            Ok(config) => config,
            Err(reason) => {
                error!("split: configuration refused: {reason}");
                return false;
            }
        };
        let versions = config.versions.iter();
        let counter = |name: &str| Counter::define(&format!("split.{name}.requests"));
        let requests = versions.map(|version| counter(&version.name)).collect();
        self.shared = Some(Rc::new(Shared { config, requests }));
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            shared: Rc::clone(self.shared.as_ref()?),
            set_cookie: None,
        }))
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let Shared { config, requests } = &*self.shared;
        let choice = config.choose(&Request, chance);
        Request.set(&config.header, Some(choice.version));
        let place = config
            .versions
            .iter()
            .position(|v| *v.name == *choice.version);
        if let Some(counter) = place.and_then(|place| requests.get(place)) {
            counter.add(1);
        }
        self.set_cookie = choice.set_cookie;
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let Some(cookie) = self.set_cookie.take() {
            self.add_http_response_header("set-cookie", &cookie);
        }
        Action::Continue
    }
}

/// A number by chance; the first version's if the host has no random bytes.
fn chance() -> u64 {
    getrandom::u64().unwrap_or_else(|reason| {
        error!("split: the host gives no random bytes: {reason}");
        0
    })
}
