//! The filter and its streams: the callbacks, and what they ask of the host.

use std::rc::Rc;

use filter_http::{Counter, Filter};
use log::{error, warn};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType, MapType, Status};

use crate::config::{Config, Direction, EncodedBodies};
use crate::plan::{BODY_HEADERS, Message, Plan};
use crate::rewrite::{Buffer, Next, Rewrite};
use crate::rules::Rules;
use crate::scanner::Scanner;

/// What all streams share.
pub(crate) struct Shared {
    config: Config,
    rules: Rc<Rules>,
    redactions: Counter,
    encoded_bodies: Counter,
    broken_streams: Counter,
}

impl Filter for Shared {
    const NAME: &'static str = "redact";

    type Config = Config;

    fn new(mut config: Config) -> Self {
        Self {
            rules: Rc::new(config.take_rules()),
            config,
            redactions: Counter::define("redact.redactions"),
            encoded_bodies: Counter::define("redact.encoded_bodies"),
            broken_streams: Counter::define("redact.broken_streams"),
        }
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        let side = |direction| Side {
            direction,
            shared: Rc::clone(&self),
            rewrite: None,
        };
        Box::new(Stream {
            request: side(Direction::Request),
            response: side(Direction::Response),
        })
    }
}

struct Stream {
    request: Side,
    response: Side,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let config = &self.request.shared.config;
        if config.directions.response {
            if config.force_identity {
                self.set_http_request_header("accept-encoding", Some("identity"));
            }
            // a part of the body could begin in the middle of a secret
            self.remove_http_request_header("range");
            self.remove_http_request_header("if-range");
        }
        let wanted = config.directions.request && !end_of_stream;
        self.request.headers(wanted)
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.request.body(size, end_of_stream)
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.request.trailers()
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let wanted = self.response.shared.config.directions.response && !end_of_stream;
        self.response.headers(wanted)
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.response.body(size, end_of_stream)
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        self.response.trailers()
    }
}

/// One direction of a stream.
struct Side {
    direction: Direction,
    shared: Rc<Shared>,
    /// Present while this direction's body is rewritten.
    rewrite: Option<Rewrite>,
}

impl Side {
    fn headers(&mut self, wanted: bool) -> Action {
        self.rewrite = None;
        if !wanted {
            return Action::Continue;
        }
        self.choose().unwrap_or_else(|status| self.give_up(status))
    }

    fn choose(&mut self) -> Result<Action, Status> {
        let map = match self.direction {
            Direction::Request => MapType::HttpRequestHeaders,
            Direction::Response => MapType::HttpResponseHeaders,
        };
        let header = |name| hostcalls::get_map_value_bytes(map, name);
        let (content_type, content_encoding) =
            (header("content-type")?, header("content-encoding")?);
        let message = Message {
            content_type: content_type.as_deref(),
            content_encoding: content_encoding.as_deref(),
        };
        match Plan::of(&message, &self.shared.config) {
            Plan::Leave => Ok(Action::Continue),
            Plan::Encoded => {
                self.shared.encoded_bodies.add(1);
                match self.shared.config.encoded_bodies {
                    EncodedBodies::Pass => Ok(Action::Continue),
                    EncodedBodies::Reject => self.reject(),
                }
            }
            Plan::Rewrite => {
                let trailers_announced = header("trailer")?.is_some();
                for name in BODY_HEADERS {
                    hostcalls::remove_map_value(map, name)?;
                }
                let scanner = Scanner::new(Rc::clone(&self.shared.rules));
                self.rewrite = Some(Rewrite::new(scanner, trailers_announced));
                Ok(Action::Continue)
            }
        }
    }

    fn reject(&self) -> Result<Action, Status> {
        let (code, body) = match self.direction {
            Direction::Request => (415, "the request's content-encoding is not accepted here\n"),
            Direction::Response => (
                502,
                "the upstream's content-encoding is not accepted here\n",
            ),
        };
        hostcalls::send_http_response(code, Vec::new(), Some(body.as_bytes()))?;
        Ok(Action::Pause)
    }

    fn body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let buffer = HostBuffer::of(self.direction);
        self.proceed(|rewrite| rewrite.body(&buffer, size, end_of_stream))
    }

    fn trailers(&mut self) -> Action {
        let buffer = HostBuffer::of(self.direction);
        self.proceed(|rewrite| rewrite.trailers(&buffer))
    }

    fn proceed(&mut self, call: impl FnOnce(&mut Rewrite) -> Result<Next, Status>) -> Action {
        let Some(rewrite) = &mut self.rewrite else {
            return Action::Continue;
        };
        let next = call(rewrite);
        match rewrite.take_redactions() {
            0 => {}
            redactions => self.shared.redactions.add(redactions),
        }
        match next {
            Ok(Next::Continue) => Action::Continue,
            Ok(Next::Hold) => Action::Pause,
            Ok(Next::Break) => {
                warn!(
                    "redact: {:?} has trailers that no `trailer` header announced, and the end of \
                     its body is withheld: stream is reset",
                    self.direction
                );
                self.reset()
            }
            Err(status) => self.give_up(status),
        }
    }

    fn give_up(&self, status: Status) -> Action {
        error!("redact: the host refused a call with {status:?}: stream is reset");
        self.reset()
    }

    /// A message that cannot be rewritten to its end is broken off: the receiver
    /// must not take it for complete.
    fn reset(&self) -> Action {
        self.shared.broken_streams.add(1);
        let reset = match self.direction {
            Direction::Request => hostcalls::reset_http_request(),
            Direction::Response => hostcalls::reset_http_response(),
        };
        if let Err(status) = reset {
            error!("redact: the host refused to reset the stream with {status:?}");
        }
        Action::Pause
    }
}

struct HostBuffer(BufferType);

impl HostBuffer {
    const fn of(direction: Direction) -> Self {
        Self(match direction {
            Direction::Request => BufferType::HttpRequestBody,
            Direction::Response => BufferType::HttpResponseBody,
        })
    }
}

impl Buffer for HostBuffer {
    type Error = Status;

    fn read(&self, start: usize, length: usize) -> Result<Vec<u8>, Status> {
        hostcalls::get_buffer(self.0, start, length).map(Option::unwrap_or_default)
    }

    fn replace(&self, length: usize, bytes: &[u8]) -> Result<(), Status> {
        hostcalls::set_buffer(self.0, 0, length, bytes)
    }
}
