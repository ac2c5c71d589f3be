//! The side that makes a record of each request.

use std::rc::Rc;

use log::warn;
use proxy_wasm::traits::{Context, HttpContext};

use crate::config::Config;
use crate::record::{Record, text};

/// What all streams of a sender know.
pub(crate) struct Sender {
    config: Rc<Config>,
}

pub(crate) struct Stream {
    config: Rc<Config>,
}

impl Sender {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config: Rc::new(config),
        }
    }

    pub(crate) fn stream(&self) -> Stream {
        Stream {
            config: Rc::clone(&self.config),
        }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    /// All headers can be read once more when the stream is complete.
    fn on_log(&mut self) {
        let request = |name| text(self.get_http_request_header_bytes(name));
        let record = Record {
            method: request(":method"),
            authority: request(":authority"),
            path: request(":path"),
            status: text(self.get_http_response_header_bytes(":status")),
        };
        self.send(&record.to_json());
    }
}

impl Stream {
    /// The queue is looked up every time: it goes and comes with its receiver.
    fn send(&self, record: &str) {
        let Config {
            receiver, queue, ..
        } = &*self.config;
        let sent = self
            .resolve_shared_queue(receiver, queue)
            .is_some_and(|id| {
                self.enqueue_shared_queue(id, Some(record.as_bytes()))
                    .is_ok()
            });
        if !sent {
            warn!("audit: no queue `{queue}` of vm_id `{receiver}`: {record}");
        }
    }
}
