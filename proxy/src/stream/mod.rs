//! The stream engine: one request and its response on their way through a chain
//! of filters.
//!
//! [`FilteredStream`] knows no sockets. What arrives is fed in
//! ([`FilteredStream::request_headers`], `request_body`, …), what may go on is
//! taken out as [`Frame`]s, one queue a direction. In between, each direction
//! passes the filters one by one, request in chain order, response in reverse;
//! a filter that pauses holds what has arrived at it until it continues
//! ([`iterate`]). Whatever filters ask for (continue, close, a local response)
//! comes back as an [`Event`] in one queue, handled in order between callbacks.

mod compare;
mod context;
mod event;
mod filter_state;
mod flags;
mod gate;
mod info;
mod iterate;
mod log_view;
mod metadata;
mod property;
pub(crate) mod protobuf;
mod reply;
mod shadow;
mod slot;
mod tap;
#[cfg(test)]
mod tests;
mod view;
mod watch;

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use weir_abi::{BodyBuffer, Direction, HeaderMap};

pub(crate) use self::compare::{HeaderChange, HeaderChanges};
use self::event::Event;
pub(crate) use self::filter_state::FilterState;
pub(crate) use self::flags::ResponseFlags;
pub(crate) use self::info::{ConnectionInfo, Facts, Protocol, StreamInfo, clean_details, count};
pub(crate) use self::iterate::parse_status;
pub(crate) use self::log_view::LogView;
pub(crate) use self::metadata::of_node;
pub(crate) use self::property::grpc_status as grpc_status_of;
pub(crate) use self::reply::{UpstreamFailure, grpc_status, is_grpc};
use self::slot::{Presence, Slot};
pub(crate) use self::tap::Look;
pub(crate) use self::watch::Action;
use crate::http::reset;
use crate::rollout::Link;

/// A piece of a message that has passed all filters.
#[derive(Debug)]
pub(crate) enum Frame {
    /// The headers, which stand in the stream's map.
    Headers { end_of_stream: bool },
    /// Body bytes.
    Body {
        data: BodyBuffer,
        end_of_stream: bool,
    },
    /// The trailers, which stand in the stream's map.
    Trailers,
}

/// How a stream stands towards the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResponseState {
    /// No response has passed the filters.
    Awaited,
    /// A response is on its way through the filters or out.
    Started,
    /// The end of the response has passed all filters.
    Complete,
    /// The stream was reset; what has not been sent will not be.
    Reset,
}

/// Where the response comes from, which decides the filters it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResponseSource {
    Upstream,
    /// A local response to the request: passes the filters that have seen it.
    Local,
    /// A local response in place of a response: passes no filter.
    LocalDirect,
}

/// One request and its response on their way through a chain of filters.
pub(crate) struct FilteredStream {
    pub(crate) info: StreamInfo,
    slots: Vec<Slot>,
    request_headers: RefCell<HeaderMap>,
    request_trailers: RefCell<Option<HeaderMap>>,
    response_headers: RefCell<Option<HeaderMap>>,
    response_trailers: RefCell<Option<HeaderMap>>,
    /// What filters have set for the length of this stream.
    filter_state: RefCell<FilterState>,
    events: RefCell<VecDeque<Event>>,
    /// Who waits for an event.
    waiting: RefCell<Option<Waker>>,
    to_upstream: RefCell<VecDeque<Frame>>,
    to_downstream: RefCell<VecDeque<Frame>>,
    response: Cell<ResponseState>,
    source: Cell<ResponseSource>,
    /// The request goes nowhere any more: it was answered or reset.
    request_over: Cell<bool>,
    /// The HTTP/2 error code for a stream that is reset.
    reset_code: Cell<u32>,
    /// Response headers have been handed to the client's connection.
    headers_sent: Cell<bool>,
    /// It was answered with a 400 that does not come from the upstream.
    bad_request: Cell<bool>,
    /// The request as it came was HEAD: no response to it has a body.
    is_head: bool,
    /// The request as it came was gRPC: local responses speak gRPC, too.
    is_grpc: bool,
    /// Bytes that a filter may hold in one direction.
    buffer_limit: Cell<usize>,
    /// Whose pages may read the response.
    origin: RefCell<Option<gate::Origin>>,
}

impl FilteredStream {
    /// A stream with a `chain` of filters.
    pub(crate) fn new(
        info: StreamInfo,
        headers: HeaderMap,
        chain: &[Link],
        buffer_limit: usize,
    ) -> Rc<Self> {
        let is_head = headers.get(b":method").is_some_and(|m| m == "HEAD");
        let is_grpc = reply::is_grpc(&headers);
        let client = info.client.ip();
        let tapped = info.tap.is_some();
        let slot = |link| Slot::new(link, &headers, client, tapped);
        Rc::new(Self {
            slots: chain.iter().map(slot).collect(),
            info,
            request_headers: RefCell::new(headers),
            request_trailers: RefCell::default(),
            response_headers: RefCell::default(),
            response_trailers: RefCell::default(),
            filter_state: RefCell::default(),
            events: RefCell::default(),
            waiting: RefCell::default(),
            to_upstream: RefCell::default(),
            to_downstream: RefCell::default(),
            response: Cell::new(ResponseState::Awaited),
            source: Cell::new(ResponseSource::Upstream),
            request_over: Cell::new(false),
            reset_code: Cell::new(reset::INTERNAL_ERROR),
            headers_sent: Cell::new(false),
            bad_request: Cell::new(false),
            is_head,
            is_grpc,
            buffer_limit: Cell::new(buffer_limit),
            origin: RefCell::default(),
        })
    }

    /// Sets how many bytes a filter may hold in one direction.
    pub(crate) fn set_buffer_limit(&self, limit: usize) {
        self.buffer_limit.set(limit);
    }

    /// The request's headers as the filters left them.
    pub(crate) fn request_map(&self) -> RefMut<'_, HeaderMap> {
        self.request_headers.borrow_mut()
    }

    /// The response's headers as the filters left them.
    pub(crate) fn response_map(&self) -> Option<RefMut<'_, HeaderMap>> {
        some(&self.response_headers)
    }

    /// Bytes of the headers of `direction` as they are now, names and values.
    pub(crate) fn headers_bytes(&self, direction: Direction) -> u64 {
        let bytes = match direction {
            Direction::Request => self.request_map().byte_size(),
            Direction::Response => self.response_map().map_or(0, |map| map.byte_size()),
        };
        bytes as u64
    }

    /// Trailers of `direction` as the filters left them.
    pub(crate) fn trailers(&self, direction: Direction) -> Option<RefMut<'_, HeaderMap>> {
        some(match direction {
            Direction::Request => &self.request_trailers,
            Direction::Response => &self.response_trailers,
        })
    }

    /// The next piece for the upstream.
    pub(crate) fn next_for_upstream(&self) -> Option<Frame> {
        self.to_upstream.borrow_mut().pop_front()
    }

    /// The next piece for the client.
    pub(crate) fn next_for_downstream(&self) -> Option<Frame> {
        self.to_downstream.borrow_mut().pop_front()
    }

    pub(crate) fn response_state(&self) -> ResponseState {
        self.response.get()
    }

    /// Whether the request goes nowhere any more, and the upstream, if there is
    /// one, should be let go.
    pub(crate) fn request_over(&self) -> bool {
        self.request_over.get()
    }

    /// The driver has handed the response headers to the client's connection:
    /// from here on the response cannot be replaced.
    pub(crate) fn set_headers_sent(&self) {
        self.headers_sent.set(true);
    }

    /// Whether Weir, a route or a filter has found the request bad.
    pub(crate) fn is_bad_request(&self) -> bool {
        self.bad_request.get()
    }

    /// Whether the sender of `direction` should pause: some filter holds as
    /// much as it may.
    pub(crate) fn is_over_watermark(&self, direction: Direction) -> bool {
        self.slots.iter().any(|s| {
            s.direction(direction)
                .is_over_watermark(self.buffer_limit.get())
        })
    }

    /// Whether there are filters in its chain.
    pub(crate) fn has_filters(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Name of the filter at `index`.
    pub(crate) fn filter_name(&self, index: usize) -> Option<&str> {
        self.slots.get(index).map(|slot| slot.plugin.name())
    }

    /// A callback begins; the moment, if somebody wants to know.
    fn clock(&self) -> Option<Instant> {
        self.info.trace.as_ref().map(|_| Instant::now())
    }

    /// A callback of the filter at `index` has ended.
    fn called(&self, index: usize, direction: Direction, began: Option<Instant>) {
        if let (Some(trace), Some(began)) = (&self.info.trace, began) {
            trace.called(index, direction, began);
        }
    }

    /// Waits until an event is queued.
    pub(crate) fn poll_events(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.has_events() {
            return Poll::Ready(());
        }
        match &mut *self.waiting.borrow_mut() {
            Some(waiting) => waiting.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// The HTTP/2 error code with which the stream was reset.
    pub(crate) fn reset_code(&self) -> u32 {
        self.reset_code.get()
    }

    /// The stream ends, whatever its state: filters log it, in chain order, and
    /// their contexts are deleted. Has no effect a second time.
    ///
    /// Contexts and stream hold each other, so a stream that filters have seen
    /// must not go without this.
    pub(crate) fn finish(self: &Rc<Self>) {
        self.info.complete();
        // Nobody is to look at what contexts leave behind that go.
        self.waiting.take();
        if self.response.get() != ResponseState::Complete {
            self.reset();
        }
        // All log before the first is deleted. Of one alone, all of it can be done at once.
        let at_once = self.slots.len() == 1 && self.takes_two_at_once(0);
        for index in 0..self.slots.len() {
            if let Some((vm, context)) = self.context_for_log(index)
                && !at_once
            {
                // Failures are reported by the VM's host; the stream is over.
                let _ = vm.on_log(context);
            }
        }
        self.finish_shadows();
        self.tell_tap();
        for slot in &self.slots {
            slot.responded(&self.info);
            if let Presence::Live(vm, context) = slot.presence.replace(Presence::Absent) {
                let _ = if at_once {
                    vm.log_and_delete_stream(context)
                } else {
                    vm.delete_stream(context)
                };
            }
        }
        self.events.borrow_mut().clear();
    }
}

fn some(map: &RefCell<Option<HeaderMap>>) -> Option<RefMut<'_, HeaderMap>> {
    RefMut::filter_map(map.borrow_mut(), Option::as_mut).ok()
}
