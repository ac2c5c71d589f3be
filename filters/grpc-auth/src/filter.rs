//! The filter and its streams: who is asked, and what comes of it.

use std::rc::Rc;
use std::time::Duration;

use filter_http::Filter;
use log::warn;
use prost::Message;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::Action;

use crate::audit::Audit;
use crate::config::Config;
use crate::message::{CheckRequest, CheckResponse, Entry, Verdict};

const SERVICE: &str = "envoy.service.auth.v3.Authorization";
const METHOD: &str = "Check";

/// How often reports are sent.
const AUDIT_PERIOD: Duration = Duration::from_millis(100);

/// What all streams share.
pub(crate) struct Shared {
    config: Config,
    audit: Option<Audit>,
}

impl Filter for Shared {
    const NAME: &'static str = "grpc-auth";

    type Config = Config;

    fn new(config: Config) -> Self {
        let audit = config.audit.clone().map(Audit::new);
        if audit.is_some()
            && let Err(status) = hostcalls::set_tick_period(AUDIT_PERIOD)
        {
            warn!("grpc-auth: no tick to report requests in: {status:?}");
        }
        Self { config, audit }
    }

    fn on_tick(&self, root: &dyn RootContext) {
        if let Some(audit) = &self.audit {
            audit.send(root);
        }
    }

    fn on_grpc_stream_close(&self, stream: u32, status: u32) {
        warn!("grpc-auth: the audit stream has ended with status {status}");
        if let Some(audit) = &self.audit {
            audit.closed(stream);
        }
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream {
            shared: self,
            entry: Entry::default(),
        })
    }
}

struct Stream {
    shared: Rc<Shared>,
    entry: Entry,
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        // Values that are no text have no place in the message.
        let all = self.get_http_request_headers_bytes().into_iter();
        let text = all.map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()));
        let all: Vec<_> = text.collect();
        for (name, value) in &all {
            match &**name {
                ":method" => self.entry.method.clone_from(value),
                ":path" => self.entry.path.clone_from(value),
                _ => {}
            }
        }
        let message = CheckRequest::new(all).encode_to_vec();
        let config = &self.shared.config;
        let cluster = &config.cluster;
        let timeout = config.timeout();
        match self.dispatch_grpc_call(cluster, SERVICE, METHOD, vec![], Some(&message), timeout) {
            Ok(_) => Action::Pause,
            Err(status) => {
                warn!("grpc-auth: cannot call `{cluster}`: {status:?}");
                if !config.fail_open {
                    self.unavailable();
                    return Action::Pause;
                }
                Action::Continue
            }
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let status = self.get_http_response_header(":status");
        self.entry.status = status.and_then(|s| s.parse().ok()).unwrap_or(0);
        Action::Continue
    }

    fn on_log(&mut self) {
        if let Some(audit) = &self.shared.audit {
            audit.report(&self.entry);
        }
    }
}

impl Context for Stream {
    fn on_grpc_call_response(&mut self, _token: u32, status: u32, size: usize) {
        let answer = (status == 0).then(|| {
            let message = self.get_grpc_call_response_body(0, size);
            CheckResponse::decode(&*message.unwrap_or_default()).ok()
        });
        match answer.flatten().map(Verdict::from) {
            Some(Verdict::Pass(headers)) => {
                for (name, value) in headers {
                    self.set_http_request_header(&name, Some(&value));
                }
                self.resume_http_request();
            }
            Some(Verdict::Deny {
                status,
                headers,
                body,
            }) => {
                let headers = headers.iter().map(|(n, v)| (&**n, &**v)).collect();
                self.send_http_response(status, headers, Some(body.as_bytes()));
            }
            None => {
                warn!("grpc-auth: no answer: gRPC status {status}");
                if self.shared.config.fail_open {
                    self.resume_http_request();
                } else {
                    self.unavailable();
                }
            }
        }
    }
}

impl Stream {
    fn unavailable(&self) {
        self.send_http_response(503, vec![], Some(b"the request cannot be authorised\n"));
    }
}
