//! What filters ask of their stream, in the order in which they asked.

use std::rc::Rc;

use bytes::Bytes;
use weir_abi::{Direction, LocalResponse};

use super::slot::{Iteration, Presence};
use super::{FilteredStream, ResponseState};

/// Something a filter asked for while a callback ran, or between callbacks.
#[derive(Debug)]
pub(super) enum Event {
    /// The filter at this place ends its pause.
    Continue(usize, Direction),
    /// The stream is to be reset.
    Close,
    /// A filter answers the request.
    LocalResponse(LocalResponse),
    /// The details of an answer that came second.
    Details(Bytes),
    /// The context of the filter at this place is gone.
    ContextGone(usize),
}

impl FilteredStream {
    pub(super) fn queue(&self, event: Event) {
        self.events.borrow_mut().push_back(event);
        self.wake();
    }

    /// Has whoever waits for the stream look at it again.
    pub(super) fn wake(&self) {
        if let Some(waiting) = &*self.waiting.borrow() {
            waiting.wake_by_ref();
        }
    }

    /// Queues the answer of the filter at `index`. Of two that wait, the first wins; of the second
    /// only the details are kept, as in Envoy.
    pub(super) fn queue_local_response(&self, index: usize, response: LocalResponse) {
        let is_response = |e: &Event| matches!(e, Event::LocalResponse(_));
        let answered = self.events.borrow().iter().any(is_response);
        if answered {
            self.queue(Event::Details(response.details));
        } else {
            self.note_answer(index, &response);
            self.queue(Event::LocalResponse(response));
        }
    }

    /// Whether something is queued. Mostly nothing is.
    #[inline]
    pub(super) fn has_events(&self) -> bool {
        !self.events.borrow().is_empty()
    }

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

    /// Whether the filter at `index` has continued `direction` in the callback
    /// that has just returned. The continue is taken from the queue: it must not
    /// end a later pause.
    pub(super) fn take_continue(&self, index: usize, direction: Direction) -> bool {
        let mut events = self.events.borrow_mut();
        let before = events.len();
        events.retain(|e| !matches!(e, Event::Continue(i, d) if (*i, *d) == (index, direction)));
        events.len() != before
    }

    /// Whether the filter at `index` has continued `direction` and it is still in the
    /// queue.
    pub(super) fn has_continued(&self, index: usize, direction: Direction) -> bool {
        let events = self.events.borrow();
        let mut events = events.iter();
        events.any(|e| matches!(e, Event::Continue(i, d) if (*i, *d) == (index, direction)))
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
            Event::LocalResponse(response) => self.local_response(&response),
            Event::Details(details) => self.info.set_code_details(&details),
            Event::ContextGone(filter) => self.context_gone(filter),
        }
    }

    /// The VM of the filter at `index` has failed. If it holds something, nobody
    /// is left to let it go, so the stream fails now; else at the filter's next
    /// callback, if there is one.
    fn context_gone(self: &Rc<Self>, index: usize) {
        let slot = &self.slots[index];
        let holds = [Direction::Request, Direction::Response]
            .into_iter()
            .filter(|d| !self.is_over(*d))
            .any(|d| slot.direction(d).iteration.get() != Iteration::Running);
        if slot.live().is_some() && holds {
            slot.presence.replace(Presence::Absent);
            self.fail_filter();
        }
    }

    /// Ends both directions at once. What the client's connection has not taken
    /// yet is dropped.
    pub(super) fn reset(&self) {
        if self.response.get() != ResponseState::Complete || !self.to_downstream.borrow().is_empty()
        {
            self.to_downstream.borrow_mut().clear();
            self.response.set(ResponseState::Reset);
        }
        self.end_request();
    }

    /// Ends both directions after what has passed all filters.
    pub(super) fn cut(&self) {
        self.response.set(ResponseState::Reset);
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
