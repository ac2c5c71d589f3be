//! The filter and its streams.
//!
//! Keys are fetched by the root context, in a tick that the first request in need of
//! them asks for: it outlives every request, so that an answer finds who asked.
//! Requests that wait are judged again when it comes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use filter_http::{Counter, Filter, Request, realm};
use log::{error, warn};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::Action;

use crate::config::Config;
use crate::failure::Failure;
use crate::grant::sanitize;
use crate::judge::{Verdict, judge};
use crate::keys::Keys;
use crate::provider::KeySource;

/// Bytes of a key set at the most.
const KEY_SET_BYTES_MAX: usize = 1 << 20;
/// How soon a fetch begins that a request asks for.
const SOON: Duration = Duration::from_millis(1);

/// What all streams share.
pub(crate) struct Shared {
    config: Config,
    /// Providers by the calls that fetch their keys.
    calls: RefCell<BTreeMap<u32, String>>,
    /// Streams whose requests wait for keys.
    waiting: RefCell<BTreeSet<u32>>,
    allowed: Counter,
    denied: Counter,
    known_tokens: Counter,
    fetches: Counter,
    failed_fetches: Counter,
}

impl Filter for Shared {
    const NAME: &'static str = "jwt-auth";

    type Config = Config;

    fn new(config: Config) -> Self {
        for provider in config.providers.values() {
            if let KeySource::Remote(remote, cache) = &provider.keys
                && remote.prefetch
            {
                cache.borrow_mut().want();
                tick(SOON);
            }
        }
        Self {
            config,
            calls: RefCell::default(),
            waiting: RefCell::default(),
            allowed: Counter::define("jwt_auth.allowed"),
            denied: Counter::define("jwt_auth.denied"),
            known_tokens: Counter::define("jwt_auth.token_cache_hits"),
            fetches: Counter::define("jwt_auth.jwks_fetches"),
            failed_fetches: Counter::define("jwt_auth.jwks_fetch_failures"),
        }
    }

    fn on_tick(&self, root: &dyn RootContext) {
        root.set_tick_period(Duration::ZERO);
        let mut failed = false;
        for (name, provider) in self.config.wanted() {
            let KeySource::Remote(remote, cache) = &provider.keys else {
                continue;
            };
            let headers = vec![
                (":method", "GET"),
                (":scheme", &remote.url.scheme),
                (":authority", &remote.url.authority),
                (":path", &remote.url.path),
                ("accept", "application/json"),
            ];
            self.fetches.add(1);
            match root.dispatch_http_call(&remote.cluster, headers, None, vec![], remote.timeout())
            {
                Ok(call) => {
                    cache.borrow_mut().begin();
                    self.calls.borrow_mut().insert(call, name.clone());
                }
                Err(status) => {
                    warn!("jwt-auth: cannot call `{}`: {status:?}", remote.cluster);
                    self.failed_fetches.add(1);
                    cache.borrow_mut().end(now(), None);
                    failed = true;
                }
            }
        }
        if failed {
            self.judge_waiting();
        }
    }

    fn on_http_call_response(
        &self,
        root: &dyn RootContext,
        call: u32,
        headers: usize,
        body: usize,
    ) {
        let Some(name) = self.calls.borrow_mut().remove(&call) else {
            return;
        };
        let Some(provider) = self.config.providers.get(&name) else {
            return;
        };
        let KeySource::Remote(_, cache) = &provider.keys else {
            return;
        };
        let keys = fetched(root, headers, body);
        if let Err(reason) = &keys {
            warn!("jwt-auth: the keys of `{name}` cannot be had: {reason}");
            self.failed_fetches.add(1);
        }
        cache.borrow_mut().end(now(), keys.ok());
        self.judge_waiting();
    }

    fn stream(self: Rc<Self>, id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream { shared: self, id })
    }
}

fn fetched(root: &dyn RootContext, headers: usize, body: usize) -> Result<Keys, String> {
    // The SDK panics if headers of an answer that was cut are asked for.
    if headers == 0 {
        return Err("there is no answer".to_owned());
    }
    let status = root.get_http_call_response_header_bytes(":status");
    let status = status.unwrap_or_default();
    if status != b"200" {
        let status = String::from_utf8_lossy(&status);
        return Err(format!("the server answers {status}"));
    }
    if body > KEY_SET_BYTES_MAX {
        return Err(format!(
            "the answer has more than {KEY_SET_BYTES_MAX} bytes"
        ));
    }
    let body = root.get_http_call_response_body(0, body);
    Keys::read(&body.unwrap_or_default())
}

fn tick(period: Duration) {
    if let Err(status) = hostcalls::set_tick_period(period) {
        error!("jwt-auth: no tick to fetch keys in: {status:?}");
    }
}

impl Shared {
    /// Judges the request of the stream `id`, which is the effective context.
    fn judge(&self, id: u32) -> Action {
        let verdict = judge(&self.config, &Request, now());
        if self.config.wanted().next().is_some() {
            tick(SOON);
        }
        match verdict {
            Verdict::Pass(grant) => {
                self.allowed.add(1);
                sanitize(self.config.providers.values(), &Request);
                if let Some(grant) = grant {
                    self.known_tokens.add(u64::from(grant.known));
                    grant.apply(&Request);
                }
                Action::Continue
            }
            Verdict::Deny(failure) => {
                self.denied.add(1);
                refuse(failure);
                Action::Pause
            }
            Verdict::Wait => {
                self.waiting.borrow_mut().insert(id);
                Action::Pause
            }
        }
    }

    /// Judges the requests that wait, each in the name of its stream.
    fn judge_waiting(&self) {
        let waiting = self.waiting.take();
        for id in waiting {
            if hostcalls::set_effective_context(id).is_ok()
                && self.judge(id) == Action::Continue
                && let Err(status) = hostcalls::resume_http_request()
            {
                error!("jwt-auth: a request does not go on: {status:?}");
            }
        }
    }
}

fn refuse(failure: Failure) {
    let mut challenge = format!("Bearer realm={}", realm(&Request));
    if failure != Failure::Missing {
        challenge += ", error=\"invalid_token\"";
    }
    let (headers, body) = ([("www-authenticate", &*challenge)], failure.to_string());
    let sent =
        hostcalls::send_http_response(failure.status(), headers.to_vec(), Some(body.as_bytes()));
    if let Err(status) = sent {
        error!("jwt-auth: a request cannot be refused: {status:?}");
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let time = hostcalls::get_current_time().unwrap_or(UNIX_EPOCH);
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

struct Stream {
    shared: Rc<Shared>,
    id: u32,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.shared.judge(self.id)
    }

    fn on_http_request_body(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        self.while_waiting()
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.while_waiting()
    }
}

impl Stream {
    /// A host may show what follows the headers of a request that waits.
    fn while_waiting(&self) -> Action {
        match self.shared.waiting.borrow().contains(&self.id) {
            true => Action::Pause,
            false => Action::Continue,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.waiting.borrow_mut().remove(&self.id);
    }
}
