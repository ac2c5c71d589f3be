//! [`TestConnection`] is a connection and what filters did with it.

use std::cell::{RefCell, RefMut};
use std::collections::HashMap;

use bytes::Bytes;
use weir_abi::{BodyBuffer, Connection, FilterIndex, Property, PropertyError, Side};

use super::Journal;

/// One connection, with bytes from both sides.
pub struct TestConnection {
    pub journal: Journal,
    data: [RefCell<BodyBuffer>; 2],
    properties: RefCell<HashMap<Vec<u8>, Bytes>>,
}

impl TestConnection {
    pub fn new(journal: Journal) -> Self {
        let buffer = |text: &'static str| {
            let mut buffer = BodyBuffer::new();
            buffer.push(text.into());
            RefCell::new(buffer)
        };
        Self {
            journal,
            data: [buffer("from-client"), buffer("from-upstream")],
            properties: RefCell::default(),
        }
    }

    pub fn text(&self, side: Side) -> String {
        let data = self.data[side as usize].borrow().to_bytes();
        String::from_utf8(data.to_vec()).unwrap()
    }
}

impl Connection for TestConnection {
    fn data(&self, _filter: FilterIndex, side: Side) -> Option<RefMut<'_, BodyBuffer>> {
        Some(self.data[side as usize].borrow_mut())
    }

    fn property(&self, path: &[&[u8]]) -> Result<Property, PropertyError> {
        match path {
            [b"source", b"port"] => Ok(Property::Int(7)),
            [name] => {
                let properties = self.properties.borrow();
                let value = properties.get(*name).cloned();
                value.map(Into::into).ok_or(PropertyError::NotFound)
            }
            _ => Err(PropertyError::NotFound),
        }
    }

    fn set_property(&self, path: &[u8], value: Bytes) -> Result<(), weir_abi::PropertiesFull> {
        self.properties.borrow_mut().insert(path.to_vec(), value);
        Ok(())
    }

    fn continue_reading(&self, filter: FilterIndex) {
        self.journal.push(format!("continue by {filter}"));
    }

    fn close(&self, filter: FilterIndex) {
        self.journal.push(format!("close by {filter}"));
    }
}
