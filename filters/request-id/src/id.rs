//! The request id: which incoming ones are usable, and what a new one looks like.

/// Longer ids are not passed on: an id ends up in every log line of every hop.
pub(crate) const MAX_ID_BYTES: usize = 128;

/// Whether an id from a client may be passed on: visible ASCII only, so that it
/// cannot forge a log line, and no longer than [`MAX_ID_BYTES`].
pub(crate) fn is_usable(id: &[u8]) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// A version 4 UUID made of the random bytes (RFC 9562, section 5.4).
pub(crate) fn uuid_v4(random: [u8; 16]) -> String {
    let mut bytes = random;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = hex(&bytes);
    let (a, b, c, d, e) = (
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    );
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_has_the_version_4_shape_whatever_the_bytes() {
        assert_eq!(uuid_v4([0x00; 16]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid_v4([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn uuid_keeps_the_other_random_bits_in_order() {
        let random = std::array::from_fn(|at| u8::try_from(at * 17).unwrap());
        assert_eq!(uuid_v4(random), "00112233-4455-4677-8899-aabbccddeeff");
    }

    #[test]
    fn visible_ascii_is_usable() {
        assert!(is_usable(b"req-42/a=b"));
        assert!(is_usable(&[b'a'; MAX_ID_BYTES]));
    }

    #[test]
    fn empty_long_spaced_and_binary_ids_are_not_usable() {
        for id in [
            &b""[..],
            b"a b",
            b"a\nb",
            b"\xff\xfe",
            &[b'a'; MAX_ID_BYTES + 1],
        ] {
            assert!(!is_usable(id), "{id:?}");
        }
    }
}
