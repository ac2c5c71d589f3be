//! Values of expressions in the encodings of properties.

use bytes::Bytes;
use cel::Value;
use cel::objects::Key;

use crate::limits::EXPRESSION_RESULT_BYTES_MAX;
use crate::types::Status;
use crate::wire;

/// # Errors
/// [`Status::SerializationFailure`] for what has no encoding, or one that is larger
/// than the limit.
pub(super) fn encoded(value: &Value) -> Result<Vec<u8>, Status> {
    let mut room = EXPRESSION_RESULT_BYTES_MAX;
    encode(value, &mut room).ok_or(Status::SerializationFailure)
}

fn encode(value: &Value, room: &mut usize) -> Option<Vec<u8>> {
    let bytes = match value {
        Value::Int(n) => n.to_le_bytes().to_vec(),
        Value::UInt(n) => n.to_le_bytes().to_vec(),
        Value::Float(n) => n.to_le_bytes().to_vec(),
        Value::Bool(b) => vec![u8::from(*b)],
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Bytes(bytes) => bytes.to_vec(),
        Value::Duration(d) => d.num_nanoseconds()?.to_le_bytes().to_vec(),
        Value::Timestamp(t) => t.timestamp_nanos_opt()?.to_le_bytes().to_vec(),
        Value::List(items) => {
            let items = items
                .iter()
                .map(|item| Some((encode(item, room)?, Vec::new())));
            pairs(&items.collect::<Option<Vec<_>>>()?)
        }
        Value::Map(map) => {
            let entries = map.map.iter().map(|(key, value)| {
                let key = match key {
                    Key::Int(n) => n.to_le_bytes().to_vec(),
                    Key::Uint(n) => n.to_le_bytes().to_vec(),
                    Key::Bool(b) => vec![u8::from(*b)],
                    Key::String(text) => text.as_bytes().to_vec(),
                };
                Some((key, encode(value, room)?))
            });
            pairs(&entries.collect::<Option<Vec<_>>>()?)
        }
        _ => return None,
    };
    // Ten bytes stand beside each in a list.
    *room = room.checked_sub(bytes.len() + 10)?;
    Some(bytes)
}

fn pairs(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let pairs = pairs.iter().map(|(k, v)| (&k[..], &v[..]));
    let mut block = vec![0; wire::pairs_size(pairs.clone())];
    let fits = wire::encode_pairs(pairs, &mut block);
    debug_assert!(fits, "the block is as large as the pairs");
    block
}

/// A property as a value of an expression. `text` says whether bytes that may be a
/// text are one.
pub(super) fn value(property: crate::Property, text: bool) -> Value {
    use crate::Property;
    let bytes = |bytes: Bytes| match std::str::from_utf8(&bytes) {
        Ok(t) if text => Value::from(t),
        _ => Value::Bytes(std::sync::Arc::new(bytes.to_vec())),
    };
    match property {
        Property::Bytes(b) => bytes(b),
        Property::Int(n) => Value::Int(n),
        Property::Uint(n) => Value::UInt(n),
        Property::Double(n) => Value::Float(n),
        Property::Bool(b) => Value::Bool(b),
        Property::Timestamp(d) => {
            let nanoseconds = i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
            Value::Timestamp(chrono::DateTime::from_timestamp_nanos(nanoseconds).fixed_offset())
        }
        Property::Duration(d) => {
            let nanoseconds = i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
            Value::Duration(chrono::Duration::nanoseconds(nanoseconds))
        }
        Property::Map(pairs) => {
            let entry = |(k, v): (Bytes, Bytes)| {
                let key = String::from_utf8_lossy(&k).into_owned();
                (key, bytes(v))
            };
            let entries: std::collections::HashMap<String, Value> =
                pairs.into_iter().map(entry).collect();
            Value::Map(entries.into())
        }
    }
}
