//! The filter and its streams.

use std::rc::Rc;

use filter_http::{Counter, Filter, Headers, Request};
use log::error;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::Config;

/// What all streams share.
pub(crate) struct Shared {
    config: Config,
    /// By version.
    requests: Vec<Counter>,
}

struct Stream {
    shared: Rc<Shared>,
    set_cookie: Option<String>,
}

impl Filter for Shared {
    const NAME: &'static str = "split";

    type Config = Config;

    fn new(config: Config) -> Self {
        let versions = config.versions.iter();
        let counter = |name: &str| Counter::define(&format!("split.{name}.requests"));
        let requests = versions.map(|version| counter(&version.name)).collect();
        Self { config, requests }
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream {
            shared: self,
            set_cookie: None,
        })
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
