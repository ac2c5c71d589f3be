//! Collects a record of every request in one place, over all workers. What it
//! does and how it is configured stands in its README.

mod config;
mod receiver;
mod record;
mod sender;

use std::rc::Rc;

use filter_http::Filter;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::LogLevel;

use config::{Config, Role};
use receiver::Receiver;
use sender::Sender;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| filter_http::root::<Audit>());
}}

/// One of the two sides.
enum Audit {
    Sender(Sender),
    Receiver(Receiver),
}

/// A stream of the receiver, of which nothing is wanted.
struct Passing;

impl Context for Passing {}
impl HttpContext for Passing {}

impl Filter for Audit {
    const NAME: &'static str = "audit";

    type Config = Config;

    fn new(config: Config) -> Self {
        match config.role {
            Role::Receive => Self::Receiver(Receiver::new(&config.queue)),
            Role::Send => Self::Sender(Sender::new(config)),
        }
    }

    fn on_queue_ready(&self) {
        if let Self::Receiver(receiver) = self {
            receiver.receive();
        }
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        match &*self {
            Self::Sender(sender) => Box::new(sender.stream()),
            Self::Receiver(_) => Box::new(Passing),
        }
    }
}
