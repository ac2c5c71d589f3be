//! Collects a record of every request in one place, over all workers. What it
//! does and how it is configured stands in its README.

mod config;
mod receiver;
mod record;
mod sender;

use config::{Config, Role};
use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};

use receiver::Receiver;
use sender::Sender;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::<Root>::default());
}}

#[derive(Default)]
struct Root {
    sender: Option<Sender>,
    receiver: Option<Receiver>,
}

/// A stream of the receiver, of which nothing is wanted.
struct Passing;

impl Context for Passing {}
impl HttpContext for Passing {}
impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let config: Config = match filter_config::parse(self.get_plugin_configuration().as_deref())
        {
            Ok(config) => config,
            Err(reason) => {
                error!("audit: configuration refused: {reason}");
                return false;
            }
        };
        match config.role {
            Role::Receive => {
                let queue = self.register_shared_queue(&config.queue);
                self.receiver = Some(Receiver::new(queue));
            }
            Role::Send => self.sender = Some(Sender::new(config)),
        }
        true
    }

    fn on_queue_ready(&mut self, _queue: u32) {
        if let Some(receiver) = &self.receiver {
            receiver.receive();
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(match &self.sender {
            Some(sender) => Box::new(sender.stream()),
            None => Box::new(Passing),
        })
    }
}
