//! [`TestStream`] is a request, its response, and what filters did with them.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use weir_abi::{
    BodyBuffer, Direction, FilterIndex, HeaderMap, HttpMap, LocalResponse, PropertiesFull,
    Property, PropertyError, Stream,
};

use super::{Journal, NOW};

/// One stream: a request, its response, and what filters did with them.
pub struct TestStream {
    pub journal: Journal,
    maps: [RefCell<Option<HeaderMap>>; 4],
    bodies: [RefCell<Option<BodyBuffer>>; 2],
    /// Whether trailers can follow a body.
    pub takes_trailers: Cell<bool>,
    pub properties: RefCell<HashMap<Vec<u8>, Bytes>>,
}

impl TestStream {
    pub fn new(journal: Journal) -> Self {
        let request = [
            (":authority", "example.com"),
            (":path", "/shop?q=1#top"),
            (":method", "GET"),
            (":scheme", "http"),
            ("x-one", "1"),
            ("x-two", "a"),
            ("x-empty", ""),
            ("x-two", "b"),
        ];
        let response = [(":status", "200"), ("content-type", "text/plain")];
        Self {
            journal,
            maps: [
                RefCell::new(Some(request.into_iter().collect())),
                RefCell::new(Some(HeaderMap::from_iter([("x-trail", "rq")]))),
                RefCell::new(Some(response.into_iter().collect())),
                RefCell::new(Some(HeaderMap::from_iter([("x-trail", "rs")]))),
            ],
            bodies: Default::default(),
            takes_trailers: Cell::new(true),
            properties: RefCell::default(),
        }
    }

    pub fn set_map(&self, map: HttpMap, headers: Option<HeaderMap>) {
        *self.maps[map as usize].borrow_mut() = headers;
    }

    pub fn set_body(&self, direction: Direction, body: &'static str) {
        let mut buffer = BodyBuffer::new();
        // In two chunks, as bodies come.
        let (first, second) = body.split_at(body.len() / 2);
        buffer.push(first.into());
        buffer.push(second.into());
        *self.bodies[direction as usize].borrow_mut() = Some(buffer);
    }

    pub fn body_text(&self, direction: Direction) -> String {
        let body = self.bodies[direction as usize].borrow();
        String::from_utf8(body.as_ref().unwrap().to_bytes().to_vec()).unwrap()
    }

    /// All entries of a map, as `name=value` and separated by blanks.
    pub fn text(&self, map: HttpMap) -> String {
        let headers = self.maps[map as usize].borrow();
        let entries = headers.as_ref().unwrap().iter();
        let entries = entries.map(|(k, v)| format!("{}={}", k.escape_ascii(), v.escape_ascii()));
        entries.collect::<Vec<_>>().join(" ")
    }
}

impl Stream for TestStream {
    fn headers(&self, map: HttpMap) -> Option<RefMut<'_, HeaderMap>> {
        RefMut::filter_map(self.maps[map as usize].borrow_mut(), Option::as_mut).ok()
    }

    fn add_trailers(&self, direction: Direction) -> bool {
        let map = match direction {
            Direction::Request => HttpMap::RequestTrailers,
            Direction::Response => HttpMap::ResponseTrailers,
        };
        self.journal.push(format!("trailers for {direction:?}"));
        if self.takes_trailers.get() {
            self.set_map(map, Some(HeaderMap::new()));
        }
        self.takes_trailers.get()
    }

    fn body(&self, _filter: FilterIndex, direction: Direction) -> Option<RefMut<'_, BodyBuffer>> {
        RefMut::filter_map(self.bodies[direction as usize].borrow_mut(), Option::as_mut).ok()
    }

    fn property(&self, path: &[&[u8]]) -> Result<Property, PropertyError> {
        let set = self.properties.borrow().get(&path.join(&0)).cloned();
        if let Some(value) = set {
            return Ok(value.into());
        }
        let text: Vec<_> = path.iter().map(|s| String::from_utf8_lossy(s)).collect();
        match text.join("/").as_str() {
            "response/code" => Ok(Property::Int(-2)),
            "connection/id" => Ok(Property::Uint(3)),
            "connection/mtls" => Ok(Property::Bool(true)),
            "request/time" => Ok(Property::Timestamp(Duration::from_nanos(NOW))),
            "request/duration" => Ok(Property::Duration(Duration::from_nanos(1_500))),
            "metadata" => Ok(Property::Map(vec![("k".into(), "v".into())])),
            "xds/null" => Err(PropertyError::NotSerializable),
            _ => Err(PropertyError::NotFound),
        }
    }

    fn set_property(&self, path: &[u8], value: Bytes) -> Result<(), PropertiesFull> {
        self.properties.borrow_mut().insert(path.to_vec(), value);
        Ok(())
    }

    fn clear_route_cache(&self) {
        self.journal.push("route cleared");
    }

    fn continue_stream(&self, filter: FilterIndex, direction: Direction) {
        self.journal
            .push(format!("{filter} continues {direction:?}"));
    }

    fn close_stream(&self, filter: FilterIndex) {
        self.journal.push(format!("{filter} closes"));
    }

    fn send_local_response(&self, filter: FilterIndex, r: LocalResponse) {
        self.journal.push(format!(
            "{filter} answers {} {:?} {:?} {:?} {:?}",
            r.code, r.details, r.body, r.headers, r.grpc_status
        ));
    }
}
