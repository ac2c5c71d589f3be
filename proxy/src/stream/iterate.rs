//! Iteration: each direction's headers, body and trailers pass the filters one
//! by one until a filter pauses, and go on from there when it continues.
//!
//! The rules are those of Envoy's filter manager as the wasm filter sees it:
//!
//! - a filter that stops everything at the headers sees nothing of the body
//!   until it continues, and then all of it at once;
//! - a filter that stops and buffers in a body callback sees the whole of what
//!   it holds in the next one; what it held goes on with that callback's
//!   Continue;
//! - `continue_stream` passes held body on without another callback, except to
//!   a filter that has seen none of it;
//! - Continue from a body or trailers callback releases held headers too.

use std::rc::Rc;

use weir_abi::{
    BodyBuffer, BodyStatus, Direction, HeaderMap, HeadersStatus, TrailersStatus, VmFailed,
};

use super::context::Participant;
use super::slot::{Arrived, Iteration, Overflow, Presence, Slot};
use super::watch::{Action, Step};
use super::{FilteredStream, Frame, ResponseSource, ResponseState, count};

impl FilteredStream {
    /// The request's headers have arrived; they stand in the map already.
    pub(crate) fn request_headers(self: &Rc<Self>, end_of_stream: bool) {
        self.headers(Direction::Request, 0, end_of_stream);
    }

    /// A piece of the request's body has arrived.
    pub(crate) fn request_body(self: &Rc<Self>, data: BodyBuffer, end_of_stream: bool) {
        count(&self.info.bytes_received, data.len());
        self.handle_events();
        if !self.request_over.get() {
            self.body(Direction::Request, 0, data, end_of_stream);
        }
    }

    /// The request's trailers have arrived, which are its end.
    pub(crate) fn request_trailers(self: &Rc<Self>, trailers: HeaderMap) {
        self.handle_events();
        if !self.request_over.get() {
            *self.request_trailers.borrow_mut() = Some(trailers);
            self.trailers_from(Direction::Request, 0);
        }
    }

    /// The upstream's response headers have arrived.
    pub(crate) fn response_headers(self: &Rc<Self>, headers: HeaderMap, end_of_stream: bool) {
        self.handle_events();
        if self.response.get() != ResponseState::Awaited {
            return;
        }
        self.info.set_code_details(b"via_upstream");
        self.start_response(ResponseSource::Upstream, headers, end_of_stream);
    }

    /// A piece of the upstream's response body has arrived.
    pub(crate) fn response_body(self: &Rc<Self>, data: BodyBuffer, end_of_stream: bool) {
        self.handle_events();
        if self.source.get() == ResponseSource::Upstream && self.is_responding() {
            self.body(Direction::Response, 0, data, end_of_stream);
        }
    }

    /// The upstream's trailers have arrived, which are the end of the response.
    pub(crate) fn response_trailers(self: &Rc<Self>, trailers: HeaderMap) {
        self.handle_events();
        if self.source.get() == ResponseSource::Upstream && self.is_responding() {
            *self.response_trailers.borrow_mut() = Some(trailers);
            self.trailers_from(Direction::Response, 0);
        }
    }

    fn is_responding(&self) -> bool {
        self.response.get() == ResponseState::Started
    }

    pub(super) fn start_response(
        self: &Rc<Self>,
        source: ResponseSource,
        headers: HeaderMap,
        end_of_stream: bool,
    ) {
        self.response.set(ResponseState::Started);
        self.source.set(source);
        let info = &self.info;
        self.slots.iter().for_each(|slot| slot.responded(info));
        let code = headers.get(b":status").and_then(|s| parse_status(s));
        self.info.response_code.set(code);
        *self.response_headers.borrow_mut() = Some(headers);
        self.headers(Direction::Response, self.first(), end_of_stream);
    }

    /// Where the response enters the chain.
    pub(super) fn first(&self) -> usize {
        match self.source.get() {
            ResponseSource::LocalDirect => self.slots.len(),
            ResponseSource::Upstream | ResponseSource::Local => 0,
        }
    }

    /// Index of the filter at `position` of a direction: the response passes
    /// the chain backwards.
    fn index(&self, direction: Direction, position: usize) -> usize {
        match direction {
            Direction::Request => position,
            Direction::Response => self.slots.len() - 1 - position,
        }
    }

    /// Whether nothing moves in `direction`: it has been given up, or there is no
    /// response yet or any more.
    pub(super) fn is_over(&self, direction: Direction) -> bool {
        match direction {
            Direction::Request => self.request_over.get(),
            Direction::Response => !self.is_responding(),
        }
    }

    fn headers(self: &Rc<Self>, direction: Direction, from: usize, end_of_stream: bool) {
        for position in from..self.slots.len() {
            let index = self.index(direction, position);
            if direction == Direction::Request && !self.pass_gates(position) {
                return;
            }
            let slot = &self.slots[index];
            let here = slot.direction(direction);
            here.arrived.set(if end_of_stream {
                Arrived::End
            } else {
                Arrived::Partly
            });
            let going_on = HeadersStatus::Continue;
            let status = match self.participant(index, direction, end_of_stream) {
                Participant::Runs(vm, context) => {
                    let step = Step::Headers { end_of_stream };
                    let seen = self.before_callback(index, direction, step);
                    let clock = self.clock();
                    let status = match direction {
                        Direction::Request => vm.on_request_headers(context, end_of_stream),
                        Direction::Response => vm.on_response_headers(context, end_of_stream),
                    };
                    self.called(index, direction, clock);
                    if let Some(seen) = seen {
                        let action = status.map_or(Action::Failed, Action::Headers);
                        self.tell_watchers(index, direction, step, seen, action);
                    }
                    self.after_callback(index, direction, status, going_on)
                }
                Participant::Begun(status) => {
                    self.after_callback(index, direction, Ok(status), going_on)
                }
                Participant::PassedBy => Some(going_on),
                Participant::Refused => None,
            };
            let Some(status) = status else {
                return;
            };
            here.iteration.set(match status {
                HeadersStatus::Continue => Iteration::Running,
                HeadersStatus::StopIteration => Iteration::HoldHeaders,
                HeadersStatus::StopAllAndBuffer => Iteration::HoldAll(Overflow::Fail),
                HeadersStatus::StopAllAndWatermark => Iteration::HoldAll(Overflow::PushBack),
            });
            if status != HeadersStatus::Continue {
                self.note_pause(index, direction);
                return;
            }
            here.headers_passed.set(true);
        }
        if direction == Direction::Request && !self.pass_gates(self.slots.len()) {
            return;
        }
        self.emit(direction, Frame::Headers { end_of_stream });
    }

    /// Brings `data` to the filter at `from` and on.
    pub(super) fn body(
        self: &Rc<Self>,
        direction: Direction,
        from: usize,
        mut data: BodyBuffer,
        end_of_stream: bool,
    ) {
        for position in from..self.slots.len() {
            let index = self.index(direction, position);
            let slot = &self.slots[index];
            let here = slot.direction(direction);
            if end_of_stream {
                here.arrived.set(Arrived::End);
            }
            if let Iteration::HoldAll(overflow) = here.iteration.get() {
                here.body_pending.set(true);
                here.held.borrow_mut().append(data);
                self.check_limit(direction, slot, overflow);
                return;
            }
            let Some((vm, context)) = slot.live() else {
                continue;
            };
            // The filter sees all it holds if it buffers, else this chunk alone.
            let buffers = here.iteration.get() == Iteration::HoldBody(Overflow::Fail);
            let is_unseen = !buffers && !here.held.borrow().is_empty();
            let unseen = is_unseen.then(|| here.take_held());
            here.held.borrow_mut().append(data);
            let size = here.held.borrow().len();
            let step = Step::Body { end_of_stream };
            let seen = self.before_callback(index, direction, step);
            let clock = self.clock();
            let status = vm.on_body(context, direction, size, end_of_stream);
            self.called(index, direction, clock);
            if let Some(seen) = seen {
                let action = status.map_or(Action::Failed, Action::Body);
                self.tell_watchers(index, direction, step, seen, action);
            }
            let going_on = BodyStatus::Continue;
            let Some(status) = self.after_callback(index, direction, status, going_on) else {
                return;
            };
            let seen = here.take_held();
            if buffers && seen.len() > self.buffer_limit.get() {
                // What it buffers counts, whoever made it, also when it goes on.
                self.fail_over_limit(direction);
                return;
            }
            // A chunk that was shown alone goes; what is buffered, and this chunk with it,
            // stays.
            let kept = if status == BodyStatus::StopNoBuffer && !buffers {
                BodyBuffer::new()
            } else {
                seen
            };
            let held = match unseen {
                None => kept,
                Some(mut held) => {
                    held.append(kept);
                    held
                }
            };
            let overflow = match status {
                BodyStatus::Continue => {
                    here.iteration.set(Iteration::Running);
                    let headers_held = !here.headers_passed.replace(true);
                    if headers_held {
                        self.headers(direction, position + 1, false);
                    }
                    if headers_held || end_of_stream && self.trailers(direction).is_some() {
                        self.pass_body(direction, position + 1, held, end_of_stream);
                        return;
                    }
                    // Nothing has ended the direction, and no trailers were added.
                    data = held;
                    continue;
                }
                BodyStatus::StopAndBuffer => Overflow::Fail,
                BodyStatus::StopAndWatermark | BodyStatus::StopNoBuffer => Overflow::PushBack,
            };
            here.hold(held);
            here.iteration.set(Iteration::HoldBody(overflow));
            self.note_pause(index, direction);
            self.check_limit(direction, slot, overflow);
            return;
        }
        self.emit(
            direction,
            Frame::Body {
                data,
                end_of_stream,
            },
        );
    }

    /// Passes body on to `position`. Trailers that a filter has added at the end
    /// of the body become the end instead.
    fn pass_body(
        self: &Rc<Self>,
        direction: Direction,
        position: usize,
        data: BodyBuffer,
        end_of_stream: bool,
    ) {
        if self.is_over(direction) {
            return;
        }
        let trailers_added = end_of_stream && self.trailers(direction).is_some();
        self.body(direction, position, data, end_of_stream && !trailers_added);
        if trailers_added {
            self.trailers_from(direction, position);
        }
    }

    fn trailers_from(self: &Rc<Self>, direction: Direction, from: usize) {
        for position in from..self.slots.len() {
            if self.is_over(direction) {
                return;
            }
            let index = self.index(direction, position);
            let slot = &self.slots[index];
            let here = slot.direction(direction);
            here.arrived.set(Arrived::Trailers);
            if matches!(here.iteration.get(), Iteration::HoldAll(_)) {
                return;
            }
            let Some((vm, context)) = slot.live() else {
                continue;
            };
            let seen = self.before_callback(index, direction, Step::Trailers);
            let clock = self.clock();
            let status = vm.on_trailers(context, direction);
            self.called(index, direction, clock);
            if let Some(seen) = seen {
                let action = status.map_or(Action::Failed, Action::Trailers);
                self.tell_watchers(index, direction, Step::Trailers, seen, action);
            }
            match self.after_callback(index, direction, status, TrailersStatus::Continue) {
                None => return,
                Some(TrailersStatus::Stop) => {
                    here.iteration.set(Iteration::HoldTrailers);
                    self.note_pause(index, direction);
                    return;
                }
                Some(TrailersStatus::Continue) => {}
            }
            if !self.release(direction, position) {
                return;
            }
        }
        if !self.is_over(direction) {
            self.emit(direction, Frame::Trailers);
        }
    }

    /// Passes on the headers and body that the filter at `position` holds. False
    /// when the direction ended over it.
    fn release(self: &Rc<Self>, direction: Direction, position: usize) -> bool {
        let here = self.slots[self.index(direction, position)].direction(direction);
        here.iteration.set(Iteration::Running);
        let body_pending = here.body_pending.get();
        let held = here.take_held();
        let end = here.arrived.get() == Arrived::End;
        if !here.headers_passed.replace(true) {
            self.headers(direction, position + 1, end && !body_pending);
        }
        if body_pending {
            self.pass_body(direction, position + 1, held, end);
        }
        !self.is_over(direction)
    }

    /// The filter at `index` ends its pause. Harmless when it has none.
    pub(super) fn resume(self: &Rc<Self>, index: usize, direction: Direction) {
        if self.is_over(direction) {
            return;
        }
        let position = self.index(direction, index);
        let here = self.slots[index].direction(direction);
        if let Some(trace) = &self.info.trace {
            trace.resumed(index, direction);
        }
        let iteration = here.iteration.get();
        self.note_resumption(
            index,
            direction,
            !matches!(iteration, Iteration::HoldAll(_)),
        );
        match iteration {
            Iteration::Running => {}
            Iteration::HoldAll(_) => {
                here.iteration.set(Iteration::Running);
                let body_pending = here.body_pending.get();
                let held = here.take_held();
                let arrived = here.arrived.get();
                let end = arrived == Arrived::End;
                here.headers_passed.set(true);
                self.headers(direction, position + 1, end && !body_pending);
                if body_pending && !self.is_over(direction) {
                    // The filter has seen none of it.
                    self.body(direction, position, held, end);
                }
                if arrived == Arrived::Trailers && !self.is_over(direction) {
                    self.trailers_from(direction, position);
                }
            }
            Iteration::HoldHeaders | Iteration::HoldBody(_) | Iteration::HoldTrailers => {
                let trailers = here.arrived.get() == Arrived::Trailers;
                if self.release(direction, position) && trailers {
                    self.trailers_from(direction, position + 1);
                }
            }
        }
    }

    fn emit(self: &Rc<Self>, direction: Direction, frame: Frame) {
        if self.is_over(direction) {
            return;
        }
        let response_head =
            matches!(frame, Frame::Headers { .. }) && direction == Direction::Response;
        if response_head && self.status().is_none() && self.source.get() == ResponseSource::Upstream
        {
            self.fail_response_without_status();
            return;
        }
        let last = match &frame {
            Frame::Headers { end_of_stream } | Frame::Body { end_of_stream, .. } => *end_of_stream,
            Frame::Trailers => true,
        };
        match direction {
            Direction::Request => self.to_upstream.borrow_mut().push_back(frame),
            Direction::Response => {
                self.to_downstream.borrow_mut().push_back(frame);
                if last {
                    self.response.set(ResponseState::Complete);
                }
            }
        }
    }

    /// Status of the response as the filters left it.
    fn status(&self) -> Option<u16> {
        let headers = self.response_map()?;
        headers.get(b":status").and_then(|s| parse_status(s))
    }

    fn fail_over_limit(self: &Rc<Self>, direction: Direction) {
        match direction {
            Direction::Request => self.fail_too_large(),
            Direction::Response => self.fail_response_too_large(),
        }
    }

    fn check_limit(self: &Rc<Self>, direction: Direction, slot: &Slot, overflow: Overflow) {
        let size = slot.direction(direction).held.borrow().len();
        if overflow == Overflow::Fail && size > self.buffer_limit.get() {
            self.fail_over_limit(direction);
        }
    }

    /// What a callback comes to: `None` when it ended the course of the stream,
    /// be it by failing, by a local response or by a reset. A filter that pauses
    /// and continues in one callback is `going_on`.
    fn after_callback<S>(
        self: &Rc<Self>,
        index: usize,
        direction: Direction,
        status: Result<S, VmFailed>,
        going_on: S,
    ) -> Option<S> {
        let Ok(status) = status else {
            self.slots[index].presence.replace(Presence::Absent);
            self.fail_filter();
            return None;
        };
        if !self.has_events() {
            return (!self.is_over(direction)).then_some(status);
        }
        if self.diverted() || self.is_over(direction) {
            return None;
        }
        Some(if self.take_continue(index, direction) {
            going_on
        } else {
            status
        })
    }
}

/// The code of a `:status` value, if it is three digits.
pub(crate) fn parse_status(value: &[u8]) -> Option<u16> {
    match value {
        [a, b, c] if value.iter().all(u8::is_ascii_digit) => {
            Some(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
        }
        _ => None,
    }
}
