//! Protobuf messages of foreign functions: their fields, read and written.

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Fixed-width numbers, which none of the messages has.
    Other,
}

/// The fields of a message in order; ends with `None` in the place of a field
/// where it is malformed. Groups, deprecated since 2008, count as malformed.
pub(super) fn fields(mut rest: &[u8]) -> impl Iterator<Item = Option<(u64, Value<'_>)>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field)
    })
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = varint(rest)?;
    let number = key >> 3;
    if number == 0 || number >= 1 << 29 {
        return None;
    }
    let value = match key & 7 {
        0 => Value::Varint(varint(rest)?),
        1 => take(rest, 8).map(|_| Value::Other)?,
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Value::Bytes(take(rest, length)?)
        }
        5 => take(rest, 4).map(|_| Value::Other)?,
        _ => return None,
    };
    Some((number, value))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..70).step_by(7) {
        let byte = take(rest, 1)?[0];
        if shift < 64 {
            number |= u64::from(byte & 0x7f) << shift;
        }
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Adds a field of bytes, unless it is empty, as proto3 does.
pub(super) fn put_bytes(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    message.push(field << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        message.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_order() {
        let message = b"\x0a\x03own\x10\x01\x1d....\x22\x00";
        let fields: Option<Vec<_>> = fields(message).collect();
        let expected = vec![
            (1, Value::Bytes(&b"own"[..])),
            (2, Value::Varint(1)),
            (3, Value::Other),
            (4, Value::Bytes(&b""[..])),
        ];
        assert_eq!(fields, Some(expected));
    }

    #[test]
    fn what_is_malformed_is_told_once() {
        for message in [
            &b"junk"[..],
            b"\x0a",
            b"\x0a\x05a",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x",
            b"\x00\x00",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            let read: Vec<_> = fields(message).collect();
            assert_eq!(read.last(), Some(&None), "{message:?}");
            assert_eq!(read.iter().filter(|f| f.is_none()).count(), 1);
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let long = [7; 300];
        let mut message = Vec::new();
        put_bytes(&mut message, 3, &long);
        put_bytes(&mut message, 1, b"");
        let read: Vec<_> = fields(&message).collect();
        assert_eq!(read, [Some((3, Value::Bytes(&long[..])))]);
    }
}
