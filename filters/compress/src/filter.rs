//! The filter and its streams.

use std::io::Write as _;
use std::rc::Rc;

use filter_http::{Counter, Filter, Headers, Request, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use log::{error, warn};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType};

use crate::accept::accepts_gzip;
use crate::config::Config;
use crate::plan::Plan;

/// What all streams share.
pub(crate) struct Shared {
    config: Config,
    compressed: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    broken_streams: Counter,
}

struct Stream {
    shared: Rc<Shared>,
    /// Whether the client accepts gzip.
    accepted: bool,
    /// Present while the response is compressed; gives out what it has written.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Filter for Shared {
    const NAME: &'static str = "compress";

    type Config = Config;

    fn new(config: Config) -> Self {
        Self {
            config,
            compressed: Counter::define("compress.compressed"),
            bytes_in: Counter::define("compress.bytes_in"),
            bytes_out: Counter::define("compress.bytes_out"),
            broken_streams: Counter::define("compress.broken_streams"),
        }
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream {
            shared: self,
            accepted: false,
            encoder: None,
        })
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let accepted = Request.get("accept-encoding");
        self.accepted = accepted.as_deref().is_some_and(accepts_gzip);
        if self.shared.config.remove_accept_encoding && accepted.is_some() {
            Request.set("accept-encoding", None);
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        if end_of_stream {
            return Action::Continue;
        }
        let config = &self.shared.config;
        let plan = config.plan(&Response, self.accepted);
        plan.apply(&Response);
        if plan == Plan::Compress {
            let level = Compression::new(config.level.0);
            self.encoder = Some(GzEncoder::new(Vec::new(), level));
            self.shared.compressed.add(1);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let Some(mut encoder) = self.encoder.take() else {
            return Action::Continue;
        };
        let body = hostcalls::get_buffer(BufferType::HttpResponseBody, 0, size);
        let body = body.ok().flatten().unwrap_or_default();
        self.shared
            .bytes_in
            .add(u64::try_from(body.len()).unwrap_or(0));
        // What is there goes out: the client of a stream of events waits for it.
        let written = encoder.write_all(&body).and_then(|()| match end_of_stream {
            true => encoder.try_finish(),
            false => encoder.flush(),
        });
        let compressed = std::mem::take(encoder.get_mut());
        self.shared
            .bytes_out
            .add(u64::try_from(compressed.len()).unwrap_or(0));
        let set = hostcalls::set_buffer(BufferType::HttpResponseBody, 0, size, &compressed);
        if written.is_err() || set.is_err() {
            error!("compress: a body cannot be replaced: {written:?}, {set:?}");
            return self.reset();
        }
        if !end_of_stream {
            self.encoder = Some(encoder);
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        match self.encoder.take() {
            None => Action::Continue,
            Some(_) => {
                warn!(
                    "compress: a response has trailers that no `trailer` header announced, and \
                     its end cannot be written any more: stream is reset"
                );
                self.reset()
            }
        }
    }
}

impl Stream {
    /// A body without its end must not look complete.
    fn reset(&self) -> Action {
        self.shared.broken_streams.add(1);
        if let Err(status) = hostcalls::reset_http_response() {
            error!("compress: the host refused to reset the stream with {status:?}");
        }
        Action::Pause
    }
}
