//! [`Exchange`]: a request and its response, as they pass one filter.
//!
//! The rules are those of a proxy's chain:
//!
//! - a filter that holds everything at the headers is shown nothing of the body
//!   until it continues, and then all of it at once;
//! - one that buffers body is shown all that it holds each time;
//! - `continue_stream` passes on what was shown already without another callback;
//! - a local response ends the request, and passes the filter as a response.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use weir_abi::{
    BodyBuffer, BodyStatus, ContextId, Direction, HeaderMap, HeadersStatus, LocalResponse,
    TrailersStatus, Vm, VmFailed,
};

use super::half::{Arrived, Half, Hold, Passed};
use super::reply;
use super::view::{Event, Properties, View};

/// How a stream has ended, as far as it has not just passed the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The filter has answered itself.
    Replied(LocalResponse),
    /// The filter has reset it.
    Closed,
    /// The filter's VM has failed, or it held more than it may: an answer of the
    /// proxy's, with this code.
    Failed(u16),
}

/// A stream and its filter.
pub(crate) struct Exchange {
    vm: Rc<Vm>,
    context: Option<ContextId>,
    view: Rc<View>,
    buffer_limit: usize,
    request_over: Cell<bool>,
    response_over: Cell<bool>,
    outcome: RefCell<Option<Outcome>>,
    ended: Cell<bool>,
}

impl Exchange {
    pub(super) fn open(
        vm: &Rc<Vm>,
        root: ContextId,
        properties: Properties,
        buffer_limit: usize,
    ) -> Rc<Self> {
        let view = Rc::new(View::new(properties));
        let context = vm.create_stream(root, Rc::clone(&view) as _, 0).ok();
        let failed = context.is_none().then_some(Outcome::Failed(FAILED));
        Rc::new(Self {
            vm: Rc::clone(vm),
            context,
            view,
            buffer_limit,
            request_over: Cell::new(failed.is_some()),
            response_over: Cell::new(failed.is_some()),
            outcome: RefCell::new(failed),
            ended: Cell::new(false),
        })
    }

    /// What has come out behind the filter in `direction`.
    pub(crate) fn passed(&self, direction: Direction) -> Passed {
        self.view.half(direction).passed.borrow().clone()
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome.borrow().clone()
    }

    /// Whether the filter holds something of `direction` back.
    pub(crate) fn is_held(&self, direction: Direction) -> bool {
        !self.is_over(direction) && self.view.half(direction).hold.get() != Hold::Nothing
    }

    /// A property that the filter has set.
    pub(crate) fn set_property(&self, path: &str) -> Option<Bytes> {
        self.view.set_value(path)
    }

    /// Whether the filter has had a new route chosen, since this was asked last.
    pub(crate) fn take_route_cleared(&self) -> bool {
        self.view.route_cleared.take()
    }

    pub(crate) fn is_over(&self, direction: Direction) -> bool {
        match direction {
            Direction::Request => self.request_over.get(),
            Direction::Response => self.response_over.get(),
        }
    }

    /// Headers have arrived.
    pub(crate) fn headers(&self, direction: Direction, headers: HeaderMap, end: bool) {
        self.settle();
        if self.is_over(direction) {
            return;
        }
        if direction == Direction::Response {
            self.view.response_started.set(true);
        }
        let half = self.view.half(direction);
        half.headers.replace(headers);
        half.arrived
            .set(if end { Arrived::End } else { Arrived::Partly });
        let Some(context) = self.context else { return };
        let status = match direction {
            Direction::Request => self.vm.on_request_headers(context, end),
            Direction::Response => self.vm.on_response_headers(context, end),
        };
        let Some(status) = self.after_callback(direction, status, HeadersStatus::Continue) else {
            return;
        };
        half.hold.set(match status {
            HeadersStatus::Continue => {
                half.headers_passed.set(true);
                half.pass_headers(end);
                Hold::Nothing
            }
            HeadersStatus::StopIteration => Hold::Headers,
            HeadersStatus::StopAllAndBuffer | HeadersStatus::StopAllAndWatermark => Hold::All,
        });
    }

    /// A piece of body has arrived.
    pub(crate) fn body(&self, direction: Direction, data: Bytes, end: bool) {
        self.settle();
        self.show_body(direction, data.into(), end);
    }

    fn show_body(&self, direction: Direction, data: BodyBuffer, end: bool) {
        let half = self.view.half(direction);
        let Some(context) = self.context.filter(|_| !self.is_over(direction)) else {
            return;
        };
        if end {
            half.arrived.set(Arrived::End);
        }
        if half.hold.get() == Hold::All {
            half.body_pending.set(true);
            half.held.borrow_mut().append(data);
            self.check_limit(direction);
            return;
        }
        let buffers = half.hold.get() == Hold::Body { whole: true };
        let unseen = match buffers {
            true => BodyBuffer::new(),
            false => half.take_held(),
        };
        half.held.borrow_mut().append(data);
        let size = half.held.borrow().len();
        let status = self.vm.on_body(context, direction, size, end);
        let Some(status) = self.after_callback(direction, status, BodyStatus::Continue) else {
            return;
        };
        let mut held = unseen;
        let seen = half.take_held();
        let whole = match status {
            BodyStatus::Continue => {
                held.append(seen);
                half.hold.set(Hold::Nothing);
                self.pass_on(direction, Some(held), end);
                return;
            }
            BodyStatus::StopAndBuffer => {
                held.append(seen);
                true
            }
            BodyStatus::StopAndWatermark => {
                held.append(seen);
                false
            }
            BodyStatus::StopNoBuffer => {
                // What was buffered before, and this chunk with it, stays.
                if buffers {
                    held.append(seen);
                }
                false
            }
        };
        half.keep(held);
        half.hold.set(Hold::Body { whole });
        if whole {
            self.check_limit(direction);
        }
    }

    /// Trailers have arrived, which are the end.
    pub(crate) fn trailers(&self, direction: Direction, trailers: HeaderMap) {
        self.settle();
        if self.is_over(direction) {
            return;
        }
        self.view.half(direction).trailers.replace(Some(trailers));
        self.show_trailers(direction);
    }

    fn show_trailers(&self, direction: Direction) {
        let half = self.view.half(direction);
        half.arrived.set(Arrived::Trailers);
        let Some(context) = self.context.filter(|_| half.hold.get() != Hold::All) else {
            return;
        };
        let status = self.vm.on_trailers(context, direction);
        match self.after_callback(direction, status, TrailersStatus::Continue) {
            None => {}
            Some(TrailersStatus::Stop) => half.hold.set(Hold::Trailers),
            Some(TrailersStatus::Continue) => {
                half.hold.set(Hold::Nothing);
                self.release(direction);
                half.pass_trailers();
            }
        }
    }

    /// Passes body on, and the headers before it if they are still here. Trailers that
    /// the filter has added at the end of the body become the end instead.
    fn pass_on(&self, direction: Direction, body: Option<BodyBuffer>, end: bool) {
        let half = self.view.half(direction);
        if !half.headers_passed.replace(true) {
            half.pass_headers(end && body.is_none());
        }
        if let Some(body) = body {
            let added = end && half.trailers.borrow().is_some();
            half.pass_body(&body, end && !added);
            if added {
                half.pass_trailers();
            }
        }
    }

    /// Passes on the headers and body that the filter holds.
    fn release(&self, direction: Direction) {
        let half = self.view.half(direction);
        let pending = half.body_pending.get();
        let held = half.take_held();
        let end = half.arrived.get() == Arrived::End;
        self.pass_on(direction, pending.then_some(held), end);
    }

    /// The filter ends its pause. Harmless when it has none.
    fn resume(&self, direction: Direction) {
        let half = self.view.half(direction);
        match half.hold.replace(Hold::Nothing) {
            Hold::Nothing => {}
            Hold::All => {
                let pending = half.body_pending.get();
                let held = half.take_held();
                let arrived = half.arrived.get();
                let end = arrived == Arrived::End;
                self.pass_on(direction, None, end && !pending);
                if pending && !self.is_over(direction) {
                    self.show_body(direction, held, end);
                }
                if arrived == Arrived::Trailers && !self.is_over(direction) {
                    self.show_trailers(direction);
                }
            }
            Hold::Headers | Hold::Body { .. } | Hold::Trailers => {
                self.release(direction);
                if half.arrived.get() == Arrived::Trailers {
                    half.pass_trailers();
                }
            }
        }
    }

    /// Carries out what the filter has asked for between callbacks.
    pub(crate) fn settle(&self) {
        while let Some(event) = self.next_event(|_| true) {
            match event {
                Event::Continue(direction) => {
                    let begun = self.view.half(direction).arrived.get() != Arrived::Nothing;
                    if begun && !self.is_over(direction) {
                        self.resume(direction);
                    }
                }
                Event::Close => self.close(Outcome::Closed),
                Event::Reply(response) => self.reply(response),
            }
        }
        let held = self.is_held(Direction::Request) || self.is_held(Direction::Response);
        if held && self.vm.failure().is_some() {
            self.fail(FAILED, "");
        }
    }

    fn next_event(&self, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        let mut events = self.view.events.borrow_mut();
        let index = events.iter().position(wanted)?;
        events.remove(index)
    }

    /// What a callback comes to: `None` when it has ended the stream's course. A filter
    /// that pauses and continues in one callback goes on.
    fn after_callback<S>(
        &self,
        direction: Direction,
        status: Result<S, VmFailed>,
        going_on: S,
    ) -> Option<S> {
        let Ok(status) = status else {
            self.fail(FAILED, "");
            return None;
        };
        let ends = |event: &Event| matches!(event, Event::Close | Event::Reply(_));
        let mut diverted = false;
        while let Some(event) = self.next_event(ends) {
            diverted = true;
            match event {
                Event::Reply(response) => self.reply(response),
                Event::Close | Event::Continue(_) => self.close(Outcome::Closed),
            }
        }
        if diverted || self.is_over(direction) {
            return None;
        }
        let mut continued = false;
        while self
            .next_event(|event| matches!(event, Event::Continue(d) if *d == direction))
            .is_some()
        {
            continued = true;
        }
        Some(if continued { going_on } else { status })
    }

    /// The filter answers. Before the response has begun, the answer passes the filter;
    /// later it takes the response's place, unless something of that has gone out.
    fn reply(&self, response: LocalResponse) {
        if self.outcome.borrow().is_some() || self.response_over.get() {
            self.request_over.set(true);
            return;
        }
        let (headers, body) = reply::compose(&response, &self.view.request.headers.borrow());
        self.outcome.replace(Some(Outcome::Replied(response)));
        self.request_over.set(true);
        self.view.request.take_held();
        let end = body.is_empty();
        let half = &self.view.response;
        if !self.view.response_started.get() {
            self.headers(Direction::Response, headers, end);
            if !end {
                self.show_body(Direction::Response, body.into(), true);
            }
        } else if half.passed.borrow().headers.is_some() {
            self.response_over.set(true);
        } else {
            replace(half, headers, &body);
            self.response_over.set(true);
        }
    }

    /// The proxy answers in the filter's place.
    fn fail(&self, code: u16, body: &str) {
        let half = &self.view.response;
        self.request_over.set(true);
        if half.passed.borrow().headers.is_none() {
            let response = LocalResponse {
                code,
                details: Bytes::new(),
                body: Bytes::copy_from_slice(body.as_bytes()),
                headers: Vec::new(),
                grpc_status: None,
            };
            let (headers, body) = reply::compose(&response, &self.view.request.headers.borrow());
            replace(half, headers, &body);
        }
        self.close(Outcome::Failed(code));
    }

    fn close(&self, outcome: Outcome) {
        self.request_over.set(true);
        self.response_over.set(true);
        let mut known = self.outcome.borrow_mut();
        known.get_or_insert(outcome);
    }

    fn check_limit(&self, direction: Direction) {
        if self.view.half(direction).held.borrow().len() > self.buffer_limit {
            match direction {
                Direction::Request => self.fail(413, "Payload Too Large"),
                Direction::Response => self.fail(500, "Internal Server Error"),
            }
        }
    }

    /// The stream is over: `proxy_on_log`, `proxy_on_done`, `proxy_on_delete`. Has no
    /// effect a second time.
    pub(crate) fn end(&self) {
        if self.ended.replace(true) {
            return;
        }
        self.settle();
        self.close(Outcome::Closed);
        if let Some(context) = self.context {
            // One that has failed has nothing to end.
            let _ = self.vm.on_log(context);
            let _ = self.vm.delete_stream(context);
        }
    }
}

/// Status of the answer to a stream whose filter has failed.
const FAILED: u16 = 503;

/// A response that passes no filter.
fn replace(half: &Half, headers: HeaderMap, body: &Bytes) {
    half.take_held();
    half.headers.replace(headers);
    half.trailers.replace(None);
    half.pass_headers(body.is_empty());
    half.pass_body(&body.clone().into(), true);
}
