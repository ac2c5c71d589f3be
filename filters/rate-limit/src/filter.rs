//! The root and stream contexts.

use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::config::{By, Config};
use crate::window::{Decision, decide};

/// Bytes of a header's value that tell its requests from others: clients must
/// not make us keep long ones.
const KEY_BYTES_MAX: usize = 256;

/// Stands for no value at all: it never is the number of one before four billion
/// values were set. A set with it fails once somebody has set the key, where one
/// without a number would overwrite that.
const NO_VALUE: u32 = u32::MAX;

#[derive(Default)]
pub(crate) struct Root {
    config: Option<Rc<Config>>,
}

struct Stream {
    config: Rc<Config>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match filter_config::parse(self.get_plugin_configuration().as_deref()) {
            Ok(config) => self.config = Some(Rc::new(config)),
            Err(reason) => {
                error!("rate-limit: configuration refused: {reason}");
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

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let now = self.get_current_time();
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let milliseconds = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let length = self.config.window_ms.get();
        if self.passes(milliseconds / length) {
            return Action::Continue;
        }
        let rest = Duration::from_millis(length - milliseconds % length);
        let seconds = rest.as_secs() + u64::from(rest.subsec_nanos() > 0);
        let headers = [("retry-after", &*seconds.to_string())];
        self.send_http_response(429, headers.to_vec(), None);
        Action::Pause
    }
}

impl Stream {
    /// Counts the request, unless the window has had its requests. Each round
    /// that is lost was won by a request on another worker.
    fn passes(&self, window: u64) -> bool {
        let key = self.key();
        loop {
            let (stored, cas) = self.get_shared_data(&key);
            let Decision::Pass(counted) =
                decide(stored.as_deref(), window, self.config.limit.get())
            else {
                return false;
            };
            let cas = Some(cas.unwrap_or(NO_VALUE));
            if self.set_shared_data(&key, Some(&counted), cas).is_ok() {
                return true;
            }
        }
    }

    fn key(&self) -> String {
        let who = match &self.config.by {
            By::All => None,
            By::Client => self
                .get_property(vec!["source", "address"])
                .map(|address| without_port(&address).to_vec()),
            By::Header(name) => self.get_http_request_header_bytes(name),
        };
        let mut who = who.unwrap_or_default();
        who.truncate(KEY_BYTES_MAX);
        format!(
            "rate-limit/{}/{}",
            self.config.name,
            String::from_utf8_lossy(&who)
        )
    }
}

/// `1.2.3.4:5` and `[::1]:5` up to the last colon.
fn without_port(address: &[u8]) -> &[u8] {
    let colon = address.iter().rposition(|&byte| byte == b':');
    &address[..colon.unwrap_or(address.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_port() {
        for (address, expected) in [
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:8080", "[::1]"),
            ("unix", "unix"),
        ] {
            assert_eq!(without_port(address.as_bytes()), expected.as_bytes());
        }
    }
}
