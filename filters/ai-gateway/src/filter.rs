//! The filter and its streams.

use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use filter_http::{Counter, Filter, Headers, Request, Response, query, shared as shared_data};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use serde_json::json;

use crate::budget::{self, Spent};
use crate::config::Config;
use crate::request::Asked;
use crate::usage::Reader;

/// Bytes of text for a token, where a response does not tell its usage.
const BYTES_PER_TOKEN: u64 = 4;

/// What all streams share.
pub(crate) struct Shared {
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
    /// Bytes of the bodies of request and response, and whether that is a success: for
    /// one that does not tell its usage.
    bytes: u64,
    success: bool,
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

impl Filter for Shared {
    const NAME: &'static str = "ai-gateway";

    type Config = Config;

    fn new(config: Config) -> Self {
        let counters = config.providers.iter().map(|provider| {
            let counter = |what| Counter::define(&format!("ai_gateway.{}.{what}", provider.name.0));
            Counters {
                requests: counter("requests"),
                prompt_tokens: counter("prompt_tokens"),
                completion_tokens: counter("completion_tokens"),
            }
        });
        Self {
            counters: counters.collect(),
            config,
            refused: Counter::define("ai_gateway.refused"),
            unknown_usage: Counter::define("ai_gateway.unknown_usage"),
        }
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream {
            shared: self,
            spent: None,
            bytes: 0,
            success: false,
            state: State::Over,
        })
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
        let connect = Request
            .get(":method")
            .is_some_and(|method| method == "CONNECT");
        if connect || Request.get("upgrade").is_some() {
            // What follows is no body, and tells no usage.
            if shared.config.budget.is_none() {
                return Action::Continue;
            }
            let message = "a connection cannot be charged to a budget";
            self.refuse(403, message, "upgrade_refused", None);
            return Action::Pause;
        }
        if let Some(budget) = &shared.config.budget {
            let Some(client) = budget.by.iter().find_map(|source| source.find(&Request)) else {
                self.refuse(401, "no client is named", "invalid_api_key", None);
                return Action::Pause;
            };
            let key = budget::key(budget, &client);
            let kept = shared_data::get(&key);
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
            let status = Response.get(":status").unwrap_or_default();
            self.success = status.starts_with('2');
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.bytes = self.bytes.saturating_add(u64::try_from(size).unwrap_or(0));
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
        self.bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let path = query::path(&target).trim_end_matches('/');
        if shared.config.ask_for_usage && path.ends_with("/completions") {
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
        let usage = reader.and_then(Reader::finish);
        let tokens = match usage {
            Some(usage) => {
                let counters = &self.shared.counters[place];
                counters.prompt_tokens.add(usage.prompt);
                counters.completion_tokens.add(usage.completion);
                usage.total()
            }
            // Not to tell must not be the cheapest.
            None => {
                self.shared.unknown_usage.add(1);
                u64::from(self.success) * self.bytes.div_ceil(BYTES_PER_TOKEN)
            }
        };
        if let (Some(budget), Some(key)) = (&self.shared.config.budget, &self.spent) {
            let now = self.now();
            shared_data::update(key, |kept| {
                let spent = Spent::read(kept, budget, now).and(tokens);
                (Some(spent.to_vec()), ())
            });
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
