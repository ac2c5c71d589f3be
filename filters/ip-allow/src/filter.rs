//! The root and connection contexts.

use std::rc::Rc;

use log::error;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, RootContext, StreamContext};
use proxy_wasm::types::{Action, ContextType, MetricType};

use crate::config::Config;

/// Counts the connections that were not let in.
const REFUSED: &str = "ip_allow.refused";

#[derive(Default)]
pub(crate) struct Root {
    config: Rc<Config>,
    refused: Option<u32>,
}

struct Connection {
    config: Rc<Config>,
    refused: Option<u32>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match filter_config::parse::<Config>(self.get_plugin_configuration().as_deref()) {
            Ok(config) => self.config = Rc::new(config),
            Err(reason) => {
                error!("ip-allow: configuration refused: {reason}");
                return false;
            }
        }
        self.refused = hostcalls::define_metric(MetricType::Counter, REFUSED).ok();
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::StreamContext)
    }

    fn create_stream_context(&self, _context_id: u32) -> Option<Box<dyn StreamContext>> {
        Some(Box::new(Connection {
            config: Rc::clone(&self.config),
            refused: self.refused,
        }))
    }
}

impl Context for Connection {}

impl StreamContext for Connection {
    fn on_new_connection(&mut self) -> Action {
        let address = self.get_property(vec!["source", "address"]);
        if self.config.lets_in(&address.unwrap_or_default()) {
            return Action::Continue;
        }
        if let Some(refused) = self.refused {
            // Without its metric, the connection is refused all the same.
            let _ = hostcalls::increment_metric(refused, 1);
        }
        self.close_downstream();
        Action::Pause
    }
}
