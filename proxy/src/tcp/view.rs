//! [`ConnectionView`]: a connection as one of its filters sees it.

use std::cell::RefMut;
use std::rc::Rc;

use bytes::Bytes;
use weir_abi::{
    BodyBuffer, Connection, FilterIndex, LifeSpan, PropertiesFull, Property, PropertyError,
    Refused, Side,
};

use super::chain::{Event, FilterChain};

/// A connection as the filter at one place of its chain sees it. Its VM holds it
/// for as long as the filter's context lives.
pub(super) struct ConnectionView {
    pub(super) chain: Rc<FilterChain>,
    pub(super) index: usize,
}

impl Connection for ConnectionView {
    fn data(&self, _filter: FilterIndex, side: Side) -> Option<RefMut<'_, BodyBuffer>> {
        self.chain.touch();
        let flow = match side {
            Side::Downstream => &self.chain.downstream,
            Side::Upstream => &self.chain.upstream,
        };
        Some(flow.arrived.borrow_mut())
    }

    fn property(&self, path: &[&[u8]]) -> Result<Property, PropertyError> {
        self.chain.record.property(path)
    }

    fn set_property(&self, path: &[u8], value: Bytes) -> Result<(), PropertiesFull> {
        self.chain.record.set_property(path, value)
    }

    fn set_filter_state(&self, key: &[u8], value: Bytes) -> Result<(), Refused> {
        let state = self.chain.record.filter_state_for(key, LifeSpan::default());
        state.borrow_mut().set(key, value, false)
    }

    fn continue_reading(&self, _filter: FilterIndex) {
        self.chain.push(Event::Continue(self.index));
    }

    fn close(&self, _filter: FilterIndex) {
        self.chain.push(Event::Close);
    }
}

impl Drop for ConnectionView {
    /// The context is gone: deleted as it should be, which the chain knows, or
    /// because its VM has failed, which the connection may be waiting for in vain.
    fn drop(&mut self) {
        self.chain.push(Event::ContextGone(self.index));
    }
}
