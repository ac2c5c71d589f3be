//! [`Audit`]: one stream a worker, which all its requests are reported on.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use log::warn;
use prost::Message;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::Context;

use crate::message::Entry;

pub(crate) const SERVICE: &str = "weir.audit.v1.Audit";
pub(crate) const METHOD: &str = "Report";

/// Entries that wait for a stream; more are not reported.
const WAITING_MAX: usize = 1000;

/// The stream, and what waits for one.
pub(crate) struct Audit {
    cluster: String,
    stream: Cell<Option<u32>>,
    waiting: RefCell<VecDeque<Vec<u8>>>,
}

impl Audit {
    pub(crate) fn new(cluster: String) -> Self {
        Self {
            cluster,
            stream: Cell::default(),
            waiting: RefCell::default(),
        }
    }

    /// Keeps an entry until the next [`Audit::send`].
    pub(crate) fn report(&self, entry: &Entry) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() < WAITING_MAX {
            waiting.push_back(entry.encode_to_vec());
        }
    }

    /// Sends what waits, over a new stream where there is none. In the name of the
    /// root context, to which the stream belongs.
    pub(crate) fn send(&self, root: &dyn Context) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            return;
        }
        if self.stream.get().is_none() {
            let opened = root.open_grpc_stream(&self.cluster, SERVICE, METHOD, vec![]);
            let opened = opened.map_err(|s| warn!("grpc-auth: no audit stream: {s:?}"));
            self.stream.set(opened.ok());
        }
        let Some(stream) = self.stream.get() else {
            return;
        };
        while let Some(entry) = waiting.front() {
            // What cannot be sent now waits for the next time.
            if hostcalls::send_grpc_stream_message(stream, Some(entry), false).is_err() {
                return;
            }
            waiting.pop_front();
        }
    }

    /// A stream has ended; the next entry opens another.
    pub(crate) fn closed(&self, stream: u32) {
        if self.stream.get() == Some(stream) {
            self.stream.set(None);
            // Of our side; that the other has closed is known.
            let _ = hostcalls::close_grpc_stream(stream);
        }
    }
}
