//! [`Copy`]: a stream as a shadow sees it.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use bytes::Bytes;
use weir_abi::{
    BodyBuffer, Direction, FilterIndex, HeaderMap, HttpMap, LifeSpan, LocalResponse,
    PropertiesFull, Property, PropertyError, PropertyRule, Refused, Stream,
};

use super::maps;
use crate::stream::slot::Slot;
use crate::stream::{FilterState, FilteredStream, some};

/// What a shadow has asked for.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) reply: Option<LocalResponse>,
    pub(super) closed: bool,
    pub(super) continued: [bool; 2],
}

/// A stream as a shadow sees it.
pub(super) struct Copy {
    stream: Rc<FilteredStream>,
    index: usize,
    maps: [RefCell<Option<HeaderMap>>; 4],
    pub(super) bodies: [RefCell<BodyBuffer>; 2],
    /// What it has set, over what the stream has.
    own: RefCell<FilterState>,
    pub(super) asked: RefCell<Asked>,
}

/// Place of a map in [`Copy::maps`].
fn place(map: HttpMap) -> usize {
    match map {
        HttpMap::RequestHeaders => 0,
        HttpMap::RequestTrailers => 1,
        HttpMap::ResponseHeaders => 2,
        HttpMap::ResponseTrailers => 3,
    }
}

impl Copy {
    pub(super) fn new(stream: &Rc<FilteredStream>, index: usize) -> Self {
        Self {
            stream: Rc::clone(stream),
            index,
            maps: Default::default(),
            bodies: Default::default(),
            own: RefCell::default(),
            asked: RefCell::default(),
        }
    }

    /// Takes over what the filter is about to see in one direction.
    pub(super) fn take(&self, stream: &FilteredStream, slot: &Slot, direction: Direction) {
        let (headers, trailers) = maps(direction);
        for map in [headers, trailers] {
            let copied = stream.map(map).map(|map| map.clone());
            self.maps[place(map)].replace(copied);
        }
        let body = slot.direction(direction).held.borrow().clone();
        self.bodies[direction as usize].replace(body);
    }

    /// Takes over all that there is for the log.
    pub(super) fn take_all(&self, stream: &FilteredStream) {
        for direction in [Direction::Request, Direction::Response] {
            self.take(stream, &stream.slots[self.index], direction);
        }
    }
}

impl Stream for Copy {
    fn headers(&self, map: HttpMap) -> Option<RefMut<'_, HeaderMap>> {
        some(&self.maps[place(map)])
    }

    fn add_trailers(&self, direction: Direction) -> bool {
        let (_, trailers) = maps(direction);
        self.maps[place(trailers)]
            .borrow_mut()
            .get_or_insert_default();
        true
    }

    fn body(&self, _filter: FilterIndex, direction: Direction) -> Option<RefMut<'_, BodyBuffer>> {
        Some(self.bodies[direction as usize].borrow_mut())
    }

    fn property(&self, path: &[&[u8]]) -> Result<Property, PropertyError> {
        let own = match path {
            [b"filter_state", key] => self.own.borrow().get(key),
            [name] => self.own.borrow().get(&[FilterState::OWN, name].concat()),
            _ => None,
        };
        match own {
            Some(value) => Ok(value.into()),
            None => self.stream.property_at(self.index, path),
        }
    }

    fn set_property(&self, path: &[u8], value: Bytes) -> Result<(), PropertiesFull> {
        let key = [FilterState::OWN, path].concat();
        match self.own.borrow_mut().set(&key, value, false) {
            Err(Refused::NoRoom) => Err(PropertiesFull),
            Ok(()) | Err(Refused::NotTaken) => Ok(()),
        }
    }

    fn set_declared_property(
        &self,
        path: &[u8],
        value: Bytes,
        rule: PropertyRule,
    ) -> Result<(), Refused> {
        let key = [FilterState::OWN, path].concat();
        self.own.borrow_mut().set(&key, value, rule.read_only)
    }

    fn set_filter_state(&self, key: &[u8], value: Bytes, _span: LifeSpan) -> Result<(), Refused> {
        self.own.borrow_mut().set(key, value, false)
    }

    fn continue_stream(&self, _filter: FilterIndex, direction: Direction) {
        self.asked.borrow_mut().continued[direction as usize] = true;
    }

    fn close_stream(&self, _filter: FilterIndex) {
        self.asked.borrow_mut().closed = true;
    }

    fn send_local_response(&self, _filter: FilterIndex, response: LocalResponse) {
        self.asked.borrow_mut().reply.get_or_insert(response);
    }

    fn drops_callout(&self) -> bool {
        true
    }
}
