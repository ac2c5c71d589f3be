//! The root and stream contexts.

use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use filter_http::{Counter, Headers, Request, Response, query};
use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};
use serde_json::json;

use crate::budget::{self, Spent};
use crate::config::{Budget, Config};
use crate::request::Asked;
use crate::usage::Reader;

/// Stands for no value at all: it never is the number of one before four billion
/// values were set.
const NO_VALUE: u32 = u32::MAX;

#[derive(Default)]
pub(crate) struct Root {
    shared: Option<Rc<Shared>>,
}

/// What all streams share.
struct Shared {
    config: Config,
    /// By provider.
    counters: Vec<Counters>,
    refused: Counter,
    unknown_usage: Counter,
}

struct Counters {
    requests: Counter,
    prompt_tokens: Counter,
    completion_tokens: Counter,
}

struct Stream {
    shared: Rc<Shared>,
    /// Where shared data has what the client has spent.
    spent: Option<String>,
    state: State,
}

enum State {
    /// The request's body is awaited.
    Asking,
    /// This provider answers, and the response's body is read once it is there.
    Answering(usize, Option<Reader>),
    /// There is no more to do.
    Over,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let config: Config = match filter_config::parse(self.get_plugin_configuration().as_deref())
        {
            Ok(config) => config,
            Err(reason) => {
                error!("ai-gateway: configuration refused: {reason}");
                return false;
            }
        };
        let counters = config.providers.iter().map(|provider| {
            let counter = |what| Counter::define(&format!("ai_gateway.{}.{what}", provider.name.0));
            Counters {
                requests: counter("requests"),
                prompt_tokens: counter("prompt_tokens"),
                completion_tokens: counter("completion_tokens"),
            }
        });
        self.shared = Some(Rc::new(Shared {
            counters: counters.collect(),
            config,
            refused: Counter::define("ai_gateway.refused"),
            unknown_usage: Counter::define("ai_gateway.unknown_usage"),
        }));
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            shared: Rc::clone(self.shared.as_ref()?),
            spent: None,
            state: State::Over,
        }))
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let shared = Rc::clone(&self.shared);
        // Nobody but this filter chooses the provider.
        Request.set(&shared.config.provider_header, None);
        if end_of_stream {
            return Action::Continue;
        }
        if let Some(budget) = &shared.config.budget {
            let Some(client) = budget.by.iter().find_map(|source| source.find(&Request)) else {
                self.refuse(401, "no client is named", "invalid_api_key", None);
                return Action::Pause;
            };
            let key = budget::key(&client);
            let (kept, _) = self.get_shared_data(&key);
            let now = self.now();
            if Spent::read(kept.as_deref(), budget, now).tokens >= budget.tokens.get() {
                let rest = budget::rest(budget, now);
                self.refuse(
                    429,
                    "the budget of tokens is spent",
                    "insufficient_quota",
                    Some(rest),
                );
                return Action::Pause;
            }
            self.spent = Some(key);
        }
        self.state = State::Asking;
        Action::Pause
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if !matches!(self.state, State::Asking) {
            return Action::Continue;
        }
        if size > self.shared.config.request_bytes_max {
            self.refuse(413, "the request is too large", "request_too_large", None);
            return Action::Pause;
        }
        if !end_of_stream {
            return Action::Pause;
        }
        self.route(size)
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        match self.state {
            // The body has ended without saying so; it is all there.
            State::Asking => self.route(self.shared.config.request_bytes_max),
            State::Answering(..) | State::Over => Action::Continue,
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let State::Answering(_, reader) = &mut self.state {
            let content_type = Response.get("content-type").unwrap_or_default();
            let encoded = Response.get("content-encoding").is_some();
            *reader = Reader::of(&content_type).filter(|_| !encoded);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if let State::Answering(_, Some(reader)) = &mut self.state {
            let piece = proxy_wasm::hostcalls::get_buffer(
                proxy_wasm::types::BufferType::HttpResponseBody,
                0,
                size,
            );
            if let Ok(Some(piece)) = piece {
                reader.push(&piece);
            }
        }
        if end_of_stream {
            self.account();
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        // A stream that broke off has cost what it has told.
        self.account();
    }
}

impl Stream {
    /// Sends the request, whose body is there, to the provider of its model.
    fn route(&mut self, size: usize) -> Action {
        let shared = Rc::clone(&self.shared);
        let body = self.get_http_request_body(0, size).unwrap_or_default();
        let Some(mut asked) = Asked::read(&body) else {
            self.refuse(
                400,
                "the body is no JSON with a model",
                "invalid_request",
                None,
            );
            return Action::Pause;
        };
        let Some(place) = shared.config.provider_of(asked.model()) else {
            let message = format!("the model `{}` is not served here", asked.model());
            self.refuse(404, &message, "model_not_found", None);
            return Action::Pause;
        };
        let provider = &shared.config.providers[place];
        if let Some(alias) = provider.alias(asked.model()) {
            asked.set_model(alias);
        }
        let target = Request.get(":path").unwrap_or_default();
        if shared.config.ask_for_usage && query::path(&target).ends_with("/completions") {
            asked.ask_for_usage();
        }
        if let Some(body) = asked.into_body() {
            Request.set("content-length", None);
            self.set_http_request_body(0, size, &body);
        }
        // a compressed response could not be read
        Request.set("accept-encoding", Some("identity"));
        if !provider.path_prefix.is_empty() {
            Request.set(":path", Some(&format!("{}{target}", provider.path_prefix)));
        }
        if let Some(authority) = &provider.authority {
            Request.set(":authority", Some(authority));
        }
        for (name, value) in &provider.headers {
            Request.set(name, Some(value));
        }
        Request.set(&shared.config.provider_header, Some(&provider.name.0));
        shared.counters[place].requests.add(1);
        self.state = State::Answering(place, None);
        Action::Continue
    }

    /// Counts what the response has cost, once.
    fn account(&mut self) {
        let State::Answering(place, reader) = std::mem::replace(&mut self.state, State::Over)
        else {
            return;
        };
        let Some(usage) = reader.and_then(Reader::finish) else {
            self.shared.unknown_usage.add(1);
            return;
        };
        let counters = &self.shared.counters[place];
        counters.prompt_tokens.add(usage.prompt);
        counters.completion_tokens.add(usage.completion);
        if let (Some(budget), Some(key)) = (&self.shared.config.budget, &self.spent) {
            self.spend(budget, key, usage.total());
        }
    }

    /// Each round that is lost was won by a response on another worker.
    fn spend(&self, budget: &Budget, key: &str, tokens: u64) {
        let now = self.now();
        loop {
            let (kept, cas) = self.get_shared_data(key);
            let spent = Spent::read(kept.as_deref(), budget, now).and(tokens);
            let cas = Some(cas.unwrap_or(NO_VALUE));
            match self.set_shared_data(key, Some(&spent), cas) {
                Ok(()) => return,
                Err(proxy_wasm::types::Status::CasMismatch) => {}
                Err(status) => {
                    error!("ai-gateway: what was spent is not kept: {status:?}");
                    return;
                }
            }
        }
    }

    /// Answers with an error as the API has them.
    fn refuse(&mut self, status: u32, message: &str, code: &str, retry_after: Option<u64>) {
        self.state = State::Over;
        self.shared.refused.add(1);
        let error = json!({ "error": { "message": message, "type": code, "code": code } });
        let seconds = retry_after.map(|seconds| seconds.to_string());
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(seconds.as_deref().map(|seconds| ("retry-after", seconds)));
        self.send_http_response(status, headers, Some(error.to_string().as_bytes()));
    }

    /// The time since 1970.
    fn now(&self) -> Duration {
        let now = self.get_current_time();
        now.duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}
