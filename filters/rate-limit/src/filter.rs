//! The filter and its streams.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use filter_http::{Counter, Filter, shared};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::{By, Config, Headers, Scope};
use crate::decision::{Decision, Rest};
use crate::local::Counters;

/// Bytes of a header's value that tell its requests from others: clients must
/// not make us keep long ones.
const KEY_BYTES_MAX: usize = 256;

/// What all streams share.
pub(crate) struct Shared {
    config: Config,
    counters: RefCell<Counters>,
    ok: Counter,
    limited: Counter,
}

struct Stream {
    shared: Rc<Shared>,
    /// What the client is told, unless its request was refused.
    rest: Option<Rest>,
}

impl Filter for Shared {
    const NAME: &'static str = "rate-limit";

    type Config = Config;

    fn new(config: Config) -> Self {
        Self {
            config,
            counters: RefCell::default(),
            ok: Counter::define("rate_limit.ok"),
            limited: Counter::define("rate_limit.limited"),
        }
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream {
            shared: self,
            rest: None,
        })
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let now = self.get_current_time();
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let decision = match self.shared.config.scope {
            Scope::Node => self.count_in_shared_data(now),
            Scope::Worker => self.count_here(now),
        };
        let rest = match decision {
            Decision::Pass(_, rest) => {
                self.shared.ok.add(1);
                self.rest = Some(rest);
                return Action::Continue;
            }
            Decision::Refuse(rest) => rest,
        };
        self.shared.limited.add(1);
        let mut headers = vec![("retry-after", rest.seconds().to_string())];
        headers.extend(self.told(rest));
        let headers = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        self.send_http_response(429, headers, None);
        Action::Pause
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let Some(rest) = self.rest.take() {
            for (name, value) in self.told(rest) {
                self.set_http_response_header(name, Some(&value));
            }
        }
        Action::Continue
    }
}

impl Stream {
    fn count_in_shared_data(&self, now: Duration) -> Decision {
        shared::update(&self.key(), |kept| {
            let decision = self.shared.config.limit.decide(kept, now);
            let counted = match &decision {
                Decision::Pass(counted, _) => Some(counted.clone()),
                Decision::Refuse(_) => None,
            };
            (counted, decision)
        })
    }

    fn count_here(&self, now: Duration) -> Decision {
        let key = self.key();
        let mut counters = self.shared.counters.borrow_mut();
        let kept = counters.get(&key).map(<[u8]>::to_vec);
        let decision = self.shared.config.limit.decide(kept.as_deref(), now);
        let counted = match &decision {
            Decision::Pass(counted, _) => Some(counted.clone()),
            // needed, and so not to be forgotten
            Decision::Refuse(_) => kept,
        };
        if let Some(counted) = counted {
            counters.set(key, counted);
        }
        decision
    }

    /// The headers that tell of the limit.
    fn told(&self, rest: Rest) -> Vec<(&'static str, String)> {
        let Config {
            limit,
            name,
            headers,
            ..
        } = &self.shared.config;
        let (most, seconds) = (limit.burst.unwrap_or(limit.requests), rest.seconds());
        match headers {
            Headers::None => Vec::new(),
            Headers::XRatelimit => vec![
                ("x-ratelimit-limit", most.to_string()),
                ("x-ratelimit-remaining", rest.requests.to_string()),
                ("x-ratelimit-reset", seconds.to_string()),
            ],
            Headers::Ratelimit => {
                let name = if name.is_empty() { "default" } else { name };
                let window = limit.window_ms.get().div_ceil(1000);
                let quota = limit.requests;
                vec![
                    (
                        "ratelimit-policy",
                        format!("\"{name}\";q={quota};w={window}"),
                    ),
                    (
                        "ratelimit",
                        format!("\"{name}\";r={};t={seconds}", rest.requests),
                    ),
                ]
            }
        }
    }

    fn key(&self) -> String {
        let config = &self.shared.config;
        let who = match &config.by {
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
            config.name,
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
