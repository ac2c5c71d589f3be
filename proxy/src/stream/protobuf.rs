//! [`Message`]: a protobuf message that is being written.

use bytes::{BufMut, Bytes, BytesMut};

/// How the value of a field is laid out.
enum Kind {
    Varint = 0,
    Fixed64 = 1,
    Delimited = 2,
}

/// A protobuf message; fields stand in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Message(BytesMut);

impl Message {
    /// Adds a text, unless it is empty, as proto3 does.
    pub(crate) fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    pub(crate) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, Kind::Delimited);
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn message(&mut self, field: u32, message: &Self) {
        self.bytes(field, &message.0);
    }

    pub(crate) fn double(&mut self, field: u32, number: f64) {
        self.key(field, Kind::Fixed64);
        self.0.put_f64_le(number);
    }

    pub(crate) fn varint(&mut self, field: u32, number: u64) {
        self.key(field, Kind::Varint);
        self.number(number);
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.0.freeze()
    }

    fn key(&mut self, field: u32, kind: Kind) {
        self.number(u64::from(field) << 3 | kind as u64);
    }

    /// Seven bits a byte, the lowest first; all but the last have the eighth.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.put_u8(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.put_u8(number.to_le_bytes()[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_as_many_bytes_as_they_need() {
        let mut message = Message::default();
        message.varint(1, 0);
        message.varint(2, 300);
        message.double(16, 1.0);
        assert_eq!(
            message.into_bytes(),
            &b"\x08\x00\x10\xac\x02\x81\x01\0\0\0\0\0\0\xf0\x3f"[..]
        );
    }
}
