//! The filters that proxies are measured with, in one module: the configuration names
//! the one that is wanted. Each does the least that a filter of its kind does.

mod read;

use std::cell::Cell;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use self::read::READ;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root { filter: Filter::Headers }));
}}

/// What the filter does.
#[derive(Clone, Copy)]
enum Filter {
    /// Ten request headers are read, one header of each direction is written.
    Headers,
    /// The request's body is held until it is complete, and read.
    ReadBody,
    /// The response's body is held until it is complete, and written anew.
    RewriteBody,
    /// The filter answers itself.
    LocalResponse,
    /// The cluster `callout` is asked first.
    Callout,
    /// Each hundredth stream of an instance is a trap.
    Trap,
}

impl Filter {
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"headers" => Self::Headers,
            b"read-body" => Self::ReadBody,
            b"rewrite-body" => Self::RewriteBody,
            b"local-response" => Self::LocalResponse,
            b"callout" => Self::Callout,
            b"trap" => Self::Trap,
            _ => return None,
        })
    }
}

/// Streams of an instance until it traps.
const TRAP_EVERY: u32 = 100;

thread_local! {
    static STREAMS: Cell<u32> = const { Cell::new(0) };
}

struct Root {
    filter: Filter,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let name = self.get_plugin_configuration().unwrap_or_default();
        let filter = Filter::named(&name);
        self.filter = filter.unwrap_or(self.filter);
        filter.is_some()
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            filter: self.filter,
        }))
    }
}

struct Stream {
    filter: Filter,
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _token: u32, _headers: usize, _body: usize, _: usize) {
        self.resume_http_request();
    }
}

impl Stream {
    /// Reads headers as a filter does that decides by them.
    fn read_headers(&self) {
        let read = READ.map(|name| self.get_http_request_header(name));
        let bytes: usize = read.iter().flatten().map(String::len).sum();
        self.set_http_request_header("x-read", Some(&bytes.to_string()));
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        match self.filter {
            Filter::Headers => self.read_headers(),
            Filter::LocalResponse => {
                let headers = vec![("content-type", "text/plain")];
                self.send_http_response(200, headers, Some(b"from the filter"));
                return Action::Pause;
            }
            Filter::Callout => {
                let headers = vec![
                    (":method", "GET"),
                    (":path", "/"),
                    (":authority", "callout"),
                ];
                let limit = Duration::from_secs(5);
                let sent = self.dispatch_http_call("callout", headers, None, vec![], limit);
                if sent.is_ok() {
                    return Action::Pause;
                }
            }
            Filter::Trap => {
                let streams = STREAMS.get() + 1;
                STREAMS.set(streams);
                assert!(streams < TRAP_EVERY, "a trap, as was wanted");
            }
            Filter::ReadBody | Filter::RewriteBody => {}
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if !matches!(self.filter, Filter::ReadBody) {
            return Action::Continue;
        }
        if !end_of_stream {
            return Action::Pause;
        }
        let body = self.get_http_request_body(0, size).unwrap_or_default();
        let sum = body
            .iter()
            .fold(0_u32, |sum, &byte| sum.wrapping_add(byte.into()));
        // Whoever looks at each byte has to be seen to use it.
        self.set_property(vec!["bench_sum"], Some(&sum.to_le_bytes()));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if matches!(self.filter, Filter::Headers) {
            self.set_http_response_header("x-written", Some("by the filter"));
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if !matches!(self.filter, Filter::RewriteBody) {
            return Action::Continue;
        }
        if !end_of_stream {
            return Action::Pause;
        }
        // As many bytes as before: the length in the headers stays true.
        let mut body = self.get_http_response_body(0, size).unwrap_or_default();
        body.make_ascii_uppercase();
        self.set_http_response_body(0, size, &body);
        Action::Continue
    }
}
