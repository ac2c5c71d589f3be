//! Words of a script as bytes, and bytes as words of a log line.

/// What is longer is logged by its beginning and a checksum.
const SHOWN: usize = 160;

/// A word as bytes: `-` is empty, `c*N` is a character N times, `%xx` is a byte.
pub fn decode(word: &str) -> Vec<u8> {
    if word == "-" {
        return Vec::new();
    }
    if let Some((filler, count)) = word.split_once('*')
        && let (1, Ok(count)) = (filler.len(), count.parse())
    {
        return vec![filler.as_bytes()[0]; count];
    }
    let bytes = word.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = word.get(at + 1..at + 3);
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(escaped) if byte == b'%' => {
                decoded.push(escaped);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// Bytes in quotes, on one line, with `%xx` for what is no printable ASCII.
pub fn show(bytes: &[u8]) -> String {
    let mut shown = String::from("\"");
    for &byte in bytes.iter().take(SHOWN) {
        match byte {
            b'"' | b'%' => shown += &format!("%{byte:02x}"),
            b' '..=b'~' => shown.push(char::from(byte)),
            _ => shown += &format!("%{byte:02x}"),
        }
    }
    shown.push('"');
    if bytes.len() > SHOWN {
        shown += &format!("... {} bytes, sum {:08x}", bytes.len(), checksum(bytes));
    }
    shown
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, &byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
