//! [`FilterState`]: what filters set for each other and for the proxy.

use std::cell::RefCell;

use bytes::Bytes;
use weir_abi::{LifeSpan, Refused};

use super::FilteredStream;
use crate::limits::FILTER_STATE_BYTES_MAX;

/// Values by key; those of `set_property` begin with [`FilterState::OWN`].
#[derive(Debug, Default)]
pub(crate) struct FilterState {
    entries: Vec<Entry>,
    /// Of all keys and values.
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    key: Vec<u8>,
    value: Bytes,
    read_only: bool,
}

impl FilterState {
    /// Begins the key of a property that a filter has set.
    pub(crate) const OWN: &[u8] = b"wasm.";

    pub(crate) fn get(&self, key: &[u8]) -> Option<Bytes> {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        entry.map(|entry| entry.value.clone())
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Sets a value; `read_only` counts for one that is new.
    pub(crate) fn set(&mut self, key: &[u8], value: Bytes, read_only: bool) -> Result<(), Refused> {
        let position = self.entries.iter().position(|entry| entry.key == key);
        let old = position.and_then(|at| self.entries.get_mut(at));
        let freed = old.as_ref().map_or(0, |old| key.len() + old.value.len());
        let bytes = self.bytes - freed + key.len() + value.len();
        if bytes > FILTER_STATE_BYTES_MAX {
            return Err(Refused::NoRoom);
        }
        match old {
            Some(old) if old.read_only => return Err(Refused::NotTaken),
            Some(old) => old.value = value,
            None => self.entries.push(Entry {
                key: key.to_vec(),
                value,
                read_only,
            }),
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl FilteredStream {
    /// A value that is kept for this stream or for its connection.
    pub(crate) fn filter_state(&self, key: &[u8]) -> Option<Bytes> {
        let own = self.filter_state.borrow().get(key);
        own.or_else(|| self.info.connection.filter_state.borrow().get(key))
    }

    /// Where a value is to be set: where it is, or else where `span` says.
    pub(crate) fn filter_state_for(&self, key: &[u8], span: LifeSpan) -> &RefCell<FilterState> {
        let connection = &*self.info.connection.filter_state;
        let of_connection = match span {
            _ if self.filter_state.borrow().contains(key) => false,
            LifeSpan::Connection => true,
            LifeSpan::Request | LifeSpan::FilterChain => connection.borrow().contains(key),
        };
        if of_connection {
            connection
        } else {
            &self.filter_state
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_value_is_set_once() {
        let mut state = FilterState::default();
        assert_eq!(state.set(b"a", "1".into(), true), Ok(()));
        assert_eq!(state.set(b"a", "2".into(), false), Err(Refused::NotTaken));
        assert_eq!(state.get(b"a"), Some("1".into()));
    }

    #[test]
    fn there_is_room_for_so_much() {
        let mut state = FilterState::default();
        let large = || Bytes::from(vec![0; FILTER_STATE_BYTES_MAX - 1]);
        assert_eq!(state.set(b"a", large(), false), Ok(()));
        assert_eq!(state.set(b"b", Bytes::new(), false), Err(Refused::NoRoom));
        assert_eq!(state.set(b"a", large(), false), Ok(()), "in its place");
        assert_eq!(state.set(b"a", Bytes::new(), false), Ok(()));
        assert_eq!(state.set(b"b", Bytes::new(), false), Ok(()));
    }
}
