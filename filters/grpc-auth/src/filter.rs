//! The root and stream contexts: who is asked, and what comes of it.

use std::rc::Rc;
use std::time::Duration;

use log::{error, warn};
use prost::Message;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::audit::Audit;
use crate::config::Config;
use crate::message::{CheckRequest, CheckResponse, Entry, Verdict};

const SERVICE: &str = "envoy.service.auth.v3.Authorization";
const METHOD: &str = "Check";

/// How often reports are sent.
const AUDIT_PERIOD: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(crate) struct Root {
    config: Option<Rc<Config>>,
    audit: Option<Rc<Audit>>,
}

impl Context for Root {
    fn on_grpc_stream_close(&mut self, stream: u32, status: u32) {
        warn!("grpc-auth: the audit stream has ended with status {status}");
        if let Some(audit) = &self.audit {
            audit.closed(stream);
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match filter_config::parse::<Config>(self.get_plugin_configuration().as_deref()) {
            Ok(config) => {
                self.audit = config.audit.clone().map(|c| Rc::new(Audit::new(c)));
                self.config = Some(Rc::new(config));
            }
            Err(reason) => {
                error!("grpc-auth: configuration refused: {reason}");
                return false;
            }
        }
        if self.audit.is_some() {
            self.set_tick_period(AUDIT_PERIOD);
        }
        true
    }

    fn on_tick(&mut self) {
        if let Some(audit) = &self.audit {
            audit.send(self);
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            config: Rc::clone(self.config.as_ref()?),
            audit: self.audit.clone(),
            entry: Entry::default(),
        }))
    }
}

struct Stream {
    config: Rc<Config>,
    audit: Option<Rc<Audit>>,
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
        let Config { cluster, .. } = &*self.config;
        let timeout = self.config.timeout();
        match self.dispatch_grpc_call(cluster, SERVICE, METHOD, vec![], Some(&message), timeout) {
            Ok(_) => Action::Pause,
            Err(status) => {
                warn!("grpc-auth: cannot call `{cluster}`: {status:?}");
                if !self.config.fail_open {
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
        if let Some(audit) = &self.audit {
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
                if self.config.fail_open {
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
