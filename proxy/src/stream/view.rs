//! [`FilterView`]: a stream as one of its filters sees it.

use std::cell::RefMut;
use std::rc::Rc;

use bytes::Bytes;
use weir_abi::{
    BodyBuffer, Direction, FilterIndex, HeaderMap, HttpMap, LifeSpan, LocalResponse,
    PropertiesFull, Property, PropertyError, PropertyRule, Refused, Stream,
};

use super::event::Event;
use super::slot::Slot;
use super::{FilterState, FilteredStream, property, some};

/// A stream as the filter at one place of its chain sees it. Its VM holds it for
/// as long as the filter's context lives.
pub(super) struct FilterView {
    pub(super) stream: Rc<FilteredStream>,
    pub(super) index: usize,
}

impl FilteredStream {
    /// A property, for the filter at `index`.
    pub(super) fn property_at(
        &self,
        index: usize,
        path: &[&[u8]],
    ) -> Result<Property, PropertyError> {
        let slot = &self.slots[index];
        let visible = |direction| {
            !slot.direction(direction).headers_passed.get() || self.info.duration().is_some()
        };
        property::get(self, path, visible)
    }

    /// The map, if it exists by now.
    pub(super) fn map(&self, map: HttpMap) -> Option<RefMut<'_, HeaderMap>> {
        match map {
            HttpMap::RequestHeaders => Some(self.request_headers.borrow_mut()),
            HttpMap::RequestTrailers => some(&self.request_trailers),
            HttpMap::ResponseHeaders => some(&self.response_headers),
            HttpMap::ResponseTrailers => some(&self.response_trailers),
        }
    }

    /// A property of a connection that carries no HTTP.
    pub(crate) fn property(&self, path: &[&[u8]]) -> Result<Property, PropertyError> {
        property::get(self, path, |_| false)
    }

    /// Stores what a filter sets, for all filters.
    pub(crate) fn set_property(&self, path: &[u8], value: Bytes) -> Result<(), PropertiesFull> {
        let key = [FilterState::OWN, path].concat();
        let state = self.filter_state_for(&key, LifeSpan::default());
        let stored = state.borrow_mut().set(&key, value, false);
        match stored {
            Err(Refused::NoRoom) => Err(PropertiesFull),
            // What cannot be set again stays as it is.
            Ok(()) | Err(Refused::NotTaken) => Ok(()),
        }
    }
}

impl Stream for FilterView {
    fn headers(&self, map: HttpMap) -> Option<RefMut<'_, HeaderMap>> {
        self.stream.map(map)
    }

    fn add_trailers(&self, direction: Direction) -> bool {
        let trailers = match direction {
            Direction::Request => &self.stream.request_trailers,
            Direction::Response => &self.stream.response_trailers,
        };
        trailers.borrow_mut().get_or_insert_default();
        true
    }

    fn body(&self, _filter: FilterIndex, direction: Direction) -> Option<RefMut<'_, BodyBuffer>> {
        // A filter that takes from what it holds makes room: the sender may go on.
        self.stream.wake();
        let slot = self.stream.slots.get(self.index)?;
        Some(slot.direction(direction).held.borrow_mut())
    }

    fn property(&self, path: &[&[u8]]) -> Result<Property, PropertyError> {
        self.stream.property_at(self.index, path)
    }

    fn set_property(&self, path: &[u8], value: Bytes) -> Result<(), PropertiesFull> {
        self.stream.set_property(path, value)
    }

    fn set_declared_property(
        &self,
        path: &[u8],
        value: Bytes,
        rule: PropertyRule,
    ) -> Result<(), Refused> {
        let key = [FilterState::OWN, path].concat();
        let state = self.stream.filter_state_for(&key, rule.span);
        state.borrow_mut().set(&key, value, rule.read_only)
    }

    fn set_filter_state(&self, key: &[u8], value: Bytes, span: LifeSpan) -> Result<(), Refused> {
        let state = self.stream.filter_state_for(key, span);
        state.borrow_mut().set(key, value, false)
    }

    fn continue_stream(&self, _filter: FilterIndex, direction: Direction) {
        // What has not begun, or is over, is not paused.
        if !self.stream.is_over(direction) {
            self.stream.queue(Event::Continue(self.index, direction));
        }
    }

    fn close_stream(&self, _filter: FilterIndex) {
        self.stream.queue(Event::Close);
    }

    fn send_local_response(&self, _filter: FilterIndex, response: LocalResponse) {
        self.stream.queue_local_response(self.index, response);
    }
}

impl Drop for FilterView {
    /// The context is gone: deleted as it should be, for which the stream has parted
    /// with it before, or because its VM has failed, which the stream may be waiting for
    /// in vain.
    fn drop(&mut self) {
        let slot = self.stream.slots.get(self.index);
        if !slot.is_some_and(Slot::is_absent) {
            self.stream.queue(Event::ContextGone(self.index));
        }
    }
}
