//! [`View`]: a stream as its filter sees it.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use weir_abi::{
    BodyBuffer, Direction, FilterIndex, HeaderMap, HttpMap, LifeSpan, LocalResponse,
    PropertiesFull, Property, PropertyError, PropertyRule, Refused, Stream,
};

use super::half::Half;

/// Properties by their path, whose segments a dot joins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Properties(pub(crate) BTreeMap<String, Property>);

impl Properties {
    pub(crate) fn get(&self, path: &[&[u8]]) -> Result<Property, PropertyError> {
        self.0
            .get(&dotted(path))
            .cloned()
            .ok_or(PropertyError::NotFound)
    }

    /// These, and `more` in front of them.
    pub(crate) fn with(&self, more: &Self) -> Self {
        let mut all = self.clone();
        all.0.extend(more.0.clone());
        all
    }
}

/// A path with dots between its segments.
pub(super) fn dotted(path: &[&[u8]]) -> String {
    let segments = path.iter().filter(|segment| !segment.is_empty());
    let segments = segments.map(|segment| String::from_utf8_lossy(segment));
    segments.collect::<Vec<_>>().join(".")
}

/// Path of a property as a guest gives it: segments with a NUL behind each.
pub(super) fn dotted_path(path: &[u8]) -> String {
    dotted(&weir_abi::wire::property_segments(path).collect::<Vec<_>>())
}

/// What the filter has asked for, in order.
pub(super) enum Event {
    Continue(Direction),
    Close,
    Reply(LocalResponse),
}

/// A value that the filter has set.
struct Set {
    value: Bytes,
    read_only: bool,
}

/// One stream.
#[derive(Default)]
pub(super) struct View {
    pub(super) request: Half,
    pub(super) response: Half,
    pub(super) properties: Properties,
    set: RefCell<BTreeMap<String, Set>>,
    pub(super) events: RefCell<VecDeque<Event>>,
    pub(super) response_started: Cell<bool>,
    pub(super) route_cleared: Cell<bool>,
}

impl View {
    pub(super) fn new(properties: Properties) -> Self {
        Self {
            properties,
            ..Self::default()
        }
    }

    pub(super) fn half(&self, direction: Direction) -> &Half {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }

    /// A property that the filter has set; filter state by its key alone.
    pub(super) fn set_value(&self, path: &str) -> Option<Bytes> {
        self.set.borrow().get(path).map(|set| set.value.clone())
    }

    fn store(&self, path: String, value: Bytes, read_only: bool) -> Result<(), Refused> {
        let mut set = self.set.borrow_mut();
        if set.get(&path).is_some_and(|set| set.read_only) {
            return Err(Refused::NotTaken);
        }
        set.insert(path, Set { value, read_only });
        Ok(())
    }
}

impl Stream for View {
    fn headers(&self, map: HttpMap) -> Option<RefMut<'_, HeaderMap>> {
        let some = |map| RefMut::filter_map(map, Option::as_mut).ok();
        match map {
            HttpMap::RequestHeaders => Some(self.request.headers.borrow_mut()),
            HttpMap::RequestTrailers => some(self.request.trailers.borrow_mut()),
            HttpMap::ResponseHeaders if self.response_started.get() => {
                Some(self.response.headers.borrow_mut())
            }
            HttpMap::ResponseHeaders => None,
            HttpMap::ResponseTrailers => some(self.response.trailers.borrow_mut()),
        }
    }

    fn add_trailers(&self, direction: Direction) -> bool {
        let mut trailers = self.half(direction).trailers.borrow_mut();
        trailers.get_or_insert_default();
        true
    }

    fn body(&self, _filter: FilterIndex, direction: Direction) -> Option<RefMut<'_, BodyBuffer>> {
        Some(self.half(direction).held.borrow_mut())
    }

    fn property(&self, path: &[&[u8]]) -> Result<Property, PropertyError> {
        let own = match path {
            [b"filter_state", key] => self.set_value(&String::from_utf8_lossy(key)),
            path => self.set_value(&dotted(path)),
        };
        match (own, path) {
            (Some(own), _) => Ok(own.into()),
            (None, [b"response", b"code"]) if self.response_started.get() => {
                let headers = self.response.headers.borrow();
                let code = headers.get(b":status");
                let code = code.and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
                code.map_or_else(|| self.properties.get(path), |code| Ok(Property::Int(code)))
            }
            (None, path) => self.properties.get(path),
        }
    }

    fn set_property(&self, path: &[u8], value: Bytes) -> Result<(), PropertiesFull> {
        // What cannot be set again stays as it is.
        let _ = self.store(dotted_path(path), value, false);
        Ok(())
    }

    fn set_declared_property(
        &self,
        path: &[u8],
        value: Bytes,
        rule: PropertyRule,
    ) -> Result<(), Refused> {
        self.store(dotted_path(path), value, rule.read_only)
    }

    fn set_filter_state(&self, key: &[u8], value: Bytes, _span: LifeSpan) -> Result<(), Refused> {
        self.store(String::from_utf8_lossy(key).into_owned(), value, false)
    }

    fn clear_route_cache(&self) {
        self.route_cleared.set(true);
    }

    fn continue_stream(&self, _filter: FilterIndex, direction: Direction) {
        self.events
            .borrow_mut()
            .push_back(Event::Continue(direction));
    }

    fn close_stream(&self, _filter: FilterIndex) {
        self.events.borrow_mut().push_back(Event::Close);
    }

    fn send_local_response(&self, _filter: FilterIndex, response: LocalResponse) {
        self.events.borrow_mut().push_back(Event::Reply(response));
    }
}
