//! Header maps: u32 count, a pair of u32 lengths each, then names and values,
//! each ended by NUL.

use crate::text;

/// `a=1;b=2` serialised. `%3b` and `%3d` stand for the separators.
pub fn encode(word: &str) -> Vec<u8> {
    let pairs: Vec<_> = word
        .split(';')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| {
            (
                text::decode(name),
                if value.is_empty() {
                    Vec::new()
                } else {
                    text::decode(value)
                },
            )
        })
        .collect();
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(0).to_le_bytes();
    let mut encoded = u32::try_from(pairs.len())
        .unwrap_or(0)
        .to_le_bytes()
        .to_vec();
    for (name, value) in &pairs {
        encoded.extend(length(name));
        encoded.extend(length(value));
    }
    for bytes in pairs.iter().flat_map(|(name, value)| [name, value]) {
        encoded.extend(bytes);
        encoded.push(0);
    }
    encoded
}

fn decode(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let number = |at: usize| {
        let word = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(word) as usize)
    };
    let count = number(0)?;
    let mut at = 4 + count.checked_mul(8)?;
    let mut take = |length: usize| {
        let taken = bytes.get(at..at + length)?;
        at += length + 1;
        Some(taken)
    };
    (0..count)
        .map(|i| Some((take(number(4 + i * 8)?)?, take(number(8 + i * 8)?)?)))
        .collect()
}

pub fn show(bytes: &[u8]) -> String {
    lines(bytes).map_or_else(
        || text::show(bytes),
        |lines| format!("{} {}", lines.len(), lines.join(" ")),
    )
}

/// The same for maps that have no order.
pub fn show_sorted(bytes: &[u8]) -> String {
    let Some(mut lines) = lines(bytes) else {
        return text::show(bytes);
    };
    lines.sort();
    format!("{} {}", lines.len(), lines.join(" "))
}

fn lines(bytes: &[u8]) -> Option<Vec<String>> {
    let shown = |bytes: &[u8]| text::show(bytes).replacen('"', "", 1).replacen('"', "", 1);
    let pairs = decode(bytes)?;
    let line = |(name, value): (&[u8], &[u8])| format!("[{}: {}]", shown(name), shown(value));
    Some(pairs.into_iter().map(line).collect())
}
