//! Serialised forms that cross the guest boundary: header-map pairs, property
//! paths, integers. Pure functions over bytes; no guest, no engine.
//!
//! Pairs: `u32` count, then `(u32 key length, u32 value length)` for each, then
//! `key 0x00 value 0x00` for each; little endian, lengths without the NULs.

use bytes::Bytes;

use crate::limits::{PAIRS_BYTES_MAX, PAIRS_COUNT_MAX};

/// Bytes that [`encode_pairs`] will need: `4 + sum(8 + key + 1 + value + 1)`.
pub fn pairs_size<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> usize {
    pairs.fold(4, |size, (k, v)| size + 10 + k.len() + v.len())
}

/// Writes `pairs` into `out`, which must be [`pairs_size`] bytes long. Returns
/// false, having written a part, when it is not.
pub fn encode_pairs<'a, I>(pairs: I, out: &mut [u8]) -> bool
where
    I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
{
    let mut writer = Writer { out, at: 0 };
    let count = pairs.clone().count();
    let done = writer.length(count)
        && pairs
            .clone()
            .all(|(k, v)| writer.length(k.len()) && writer.length(v.len()))
        && pairs.into_iter().all(|(k, v)| {
            writer.bytes(k) && writer.bytes(&[0]) && writer.bytes(v) && writer.bytes(&[0])
        });
    done && writer.at == writer.out.len()
}

struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> bool {
        let end = self.at + bytes.len();
        let Some(space) = self.out.get_mut(self.at..end) else {
            return false;
        };
        space.copy_from_slice(bytes);
        self.at = end;
        true
    }

    fn length(&mut self, length: usize) -> bool {
        u32::try_from(length).is_ok_and(|n| self.bytes(&n.to_le_bytes()))
    }
}

/// Reads the pairs a guest handed over.
///
/// `None` for anything malformed: too large, too many, truncated, a missing
/// NUL, or bytes left over. Zero bytes, a zero count, and the single 0x00 that
/// the specification allows are all the empty map.
#[must_use]
pub fn decode_pairs(wire: &[u8]) -> Option<Vec<(Bytes, Bytes)>> {
    if wire.is_empty() || wire == [0] {
        return Some(Vec::new());
    }
    if wire.len() > PAIRS_BYTES_MAX {
        return None;
    }
    let count = read_u32(wire, 0)? as usize;
    if count > PAIRS_COUNT_MAX {
        return None;
    }
    let lengths = wire.get(4..4 + count * 8)?;
    // One copy of the whole; names and values are slices of it.
    let text = Bytes::copy_from_slice(&wire[4 + count * 8..]);
    let mut at = 0;
    let mut field = |length: usize| -> Option<Bytes> {
        let end = at + length;
        if text.get(end)? != &0 {
            return None;
        }
        let field = text.slice(at..end);
        at = end + 1;
        Some(field)
    };
    let pairs = lengths
        .chunks_exact(8)
        .map(|l| {
            let key = field(read_u32(l, 0)? as usize)?;
            let value = field(read_u32(l, 4)? as usize)?;
            Some((key, value))
        })
        .collect::<Option<Vec<_>>>()?;
    (at == text.len()).then_some(pairs)
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map(u32::from_le_bytes)
}

/// Segments of a property path: separated by NUL, one trailing NUL tolerated.
/// A dot separates nothing.
pub fn property_segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let path = path.strip_suffix(&[0]).unwrap_or(path);
    path.split(|b| *b == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pair<'a> = (&'a [u8], &'a [u8]);

    fn encode(pairs: &[Pair<'_>]) -> Vec<u8> {
        let mut out = vec![0xaa; pairs_size(pairs.iter().copied())];
        assert!(encode_pairs(pairs.iter().copied(), &mut out));
        out
    }

    fn decoded(wire: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        decode_pairs(wire).map(|p| {
            p.into_iter()
                .map(|(k, v)| (k.to_vec(), v.to_vec()))
                .collect()
        })
    }

    #[test]
    fn pairs_have_the_specified_layout() {
        assert_eq!(
            encode(&[(b"a", b"xy"), (b"bc", b"")]),
            [
                &[2, 0, 0, 0][..],
                &[1, 0, 0, 0, 2, 0, 0, 0],
                &[2, 0, 0, 0, 0, 0, 0, 0],
                b"a\0xy\0bc\0\0",
            ]
            .concat()
        );
    }

    #[test]
    fn pairs_survive_a_round_trip_with_order_duplicates_and_any_byte() {
        let pairs: [Pair<'_>; 4] = [(b"a", b"1"), (b"b", b"\xff\0\n"), (b"a", b"2"), (b"", b"")];
        let back = decoded(&encode(&pairs)).unwrap();
        let expected: Vec<_> = pairs
            .iter()
            .map(|(k, v)| (k.to_vec(), v.to_vec()))
            .collect();
        assert_eq!(back, expected);
    }

    #[test]
    fn all_three_spellings_of_the_empty_map_are_read() {
        for wire in [&b""[..], b"\0", b"\0\0\0\0"] {
            assert_eq!(decoded(wire), Some(vec![]), "{wire:?}");
        }
    }

    #[test]
    fn every_truncation_and_every_extra_byte_is_refused() {
        let wire = encode(&[(b"key", b"value"), (b"k", b"v")]);
        for cut in 2..wire.len() {
            assert_eq!(decoded(&wire[..cut]), None, "cut at {cut}");
        }
        assert_eq!(decoded(&[&wire[..], b"\0"].concat()), None);
    }

    #[test]
    fn lying_lengths_and_counts_are_refused() {
        assert_eq!(decoded(&u32::MAX.to_le_bytes()), None);
        assert_eq!(decoded(&1025u32.to_le_bytes()), None);
        let mut wire = encode(&[(b"key", b"value")]);
        wire[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decoded(&wire), None);
        wire[4..8].copy_from_slice(&4u32.to_le_bytes());
        assert_eq!(decoded(&wire), None, "no NUL where the length says");
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let length = (seed % 64) as usize;
            let wire: Vec<u8> = (0..length)
                .map(|i| (seed.rotate_left(i as u32) & 0x13) as u8)
                .collect();
            if let Some(pairs) = decode_pairs(&wire) {
                assert!(pairs.len() <= wire.len());
            }
        }
    }

    #[test]
    fn a_path_is_split_at_nul_only() {
        let split = |p: &'static [u8]| property_segments(p).collect::<Vec<_>>();
        assert_eq!(split(b"request\0path"), [&b"request"[..], b"path"]);
        assert_eq!(split(b"request\0path\0"), [&b"request"[..], b"path"]);
        assert_eq!(split(b"request.path"), [&b"request.path"[..]]);
        assert_eq!(split(b""), [&b""[..]]);
    }
}
