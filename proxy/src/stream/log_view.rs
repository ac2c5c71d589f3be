//! [`LogView`]: a complete stream as a wasm access logger sees it.

use std::cell::RefMut;
use std::rc::Rc;

use bytes::Bytes;
use weir_abi::{
    BodyBuffer, Direction, FilterIndex, HeaderMap, HttpMap, LocalResponse, PropertiesFull,
    Property, PropertyError, Stream,
};

use super::{FilteredStream, property};

/// A complete stream: there is nothing to be done about it any more, which the
/// VM sees to.
pub(crate) struct LogView(pub(crate) Rc<FilteredStream>);

impl Stream for LogView {
    fn headers(&self, map: HttpMap) -> Option<RefMut<'_, HeaderMap>> {
        self.0.map(map)
    }

    fn add_trailers(&self, _direction: Direction) -> bool {
        false
    }

    fn body(&self, _filter: FilterIndex, _direction: Direction) -> Option<RefMut<'_, BodyBuffer>> {
        None
    }

    fn property(&self, path: &[&[u8]]) -> Result<Property, PropertyError> {
        property::get(&self.0, path, |_| true)
    }

    fn set_property(&self, _path: &[u8], _value: Bytes) -> Result<(), PropertiesFull> {
        Ok(())
    }

    fn continue_stream(&self, _filter: FilterIndex, _direction: Direction) {}

    fn close_stream(&self, _filter: FilterIndex) {}

    fn send_local_response(&self, _filter: FilterIndex, _response: LocalResponse) {}
}
