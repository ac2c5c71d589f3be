//! What filters ask of their stream, in the order in which they asked.

use std::rc::Rc;

use weir_abi::{Direction, LocalResponse};

use super::reply::Origin;
use super::{FilteredStream, ResponseState};

/// Something a filter asked for while a callback ran, or between callbacks.
#[derive(Debug)]
pub(crate) enum Event {
    /// The filter at this place ends its pause.
    Continue(usize, Direction),
    /// The stream is to be reset.
    Close,
    /// A filter answers the request.
    LocalResponse(LocalResponse),
}

impl FilteredStream {
    /// Handles everything that is queued.
    pub(crate) fn handle_events(self: &Rc<Self>) {
        while let Some(event) = self.next_event(|_| true) {
            self.handle(event);
        }
    }

    /// Handles what the callback that has just returned asked for, as far as it
    /// ends the stream's present course. True if it does: the iteration that
    /// made the callback must stop.
    pub(super) fn diverted(self: &Rc<Self>) -> bool {
        let ends = |e: &Event| matches!(e, Event::Close | Event::LocalResponse(_));
        let mut diverted = false;
        while let Some(event) = self.next_event(ends) {
            diverted = true;
            self.handle(event);
        }
        diverted
    }

    fn next_event(&self, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        let mut events = self.events.borrow_mut();
        let index = events.iter().position(wanted)?;
        events.remove(index)
    }

    fn handle(self: &Rc<Self>, event: Event) {
        match event {
            Event::Continue(filter, direction) => self.resume(filter, direction),
            Event::Close => self.reset(),
            Event::LocalResponse(response) => self.local_response(Origin::Filter, &response),
        }
    }

    /// Ends both directions at once. What the client already has stays.
    pub(crate) fn reset(&self) {
        if self.response.get() != ResponseState::Complete {
            self.response.set(ResponseState::Reset);
            self.to_downstream.borrow_mut().clear();
        }
        self.end_request();
    }

    /// The request goes nowhere any more.
    pub(super) fn end_request(&self) {
        self.request_over.set(true);
        self.to_upstream.borrow_mut().clear();
        for slot in &self.slots {
            slot.direction(Direction::Request).take_held();
        }
    }
}
