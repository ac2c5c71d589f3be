//! Serialised forms out of the hands of guests.

use weir_abi::{HeaderMap, wire};
use weir_stress::Random;

/// Bytes that are read in one round.
const TRIES: usize = 200;

pub(crate) fn play(random: &mut Random) -> Result<(), String> {
    for _ in 0..TRIES {
        pairs(random)?;
        let length = random.below(64);
        let path = random.bytes(length);
        let segments = wire::property_segments(&path).count();
        if segments > path.len() + 1 {
            return Err(format!("{path:?} has {segments} segments"));
        }
    }
    Ok(())
}

/// What is well-formed is read as it was written; what is damaged is refused or
/// read as no more than there is.
fn pairs(random: &mut Random) -> Result<(), String> {
    let field = |random: &mut Random| {
        let length = random.below(20);
        random.bytes(length)
    };
    let pairs: Vec<_> = (0..random.below(12))
        .map(|_| (field(random), field(random)))
        .collect();
    let borrowed = || pairs.iter().map(|(k, v)| (&k[..], &v[..]));
    let mut bytes = vec![0; wire::pairs_size(borrowed())];
    if !wire::encode_pairs(borrowed(), &mut bytes) {
        return Err(format!("{pairs:?} do not fit"));
    }
    let read = wire::decode_pairs(&bytes).ok_or("what was written cannot be read")?;
    if !read.iter().map(|(k, v)| (&k[..], &v[..])).eq(borrowed()) {
        return Err(format!("{pairs:?} come back as {read:?}"));
    }
    damage(random, &mut bytes);
    if let Some(read) = wire::decode_pairs(&bytes) {
        let total: usize = read.iter().map(|(k, v)| k.len() + v.len() + 10).sum();
        if total > bytes.len() {
            return Err(format!("{bytes:?} are read as more than they are"));
        }
        let map: HeaderMap = read.into_iter().collect();
        let sum: usize = map.iter().map(|(k, v)| k.len() + v.len()).sum();
        if map.byte_size() != sum {
            return Err(format!("a map of {sum} bytes says {}", map.byte_size()));
        }
    }
    Ok(())
}

/// Flips bits, cuts, repeats.
pub(crate) fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => {
                let length = random.below(9);
                let more = random.bytes(length);
                bytes.splice(at..at, more);
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
}
