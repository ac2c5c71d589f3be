//! Bytes as they stand in cases and observations.

/// What is longer is shown by its beginning, its length and a checksum.
const SHOWN: usize = 200;

/// Text of a step as bytes: `c*N` is a character N times, `\r`, `\n`, `\t`, `\0`,
/// `\\` and `\xNN` stand for bytes, all else for itself.
#[must_use]
pub fn decode(text: &str) -> Vec<u8> {
    if let Some((filler, count)) = text.split_once('*')
        && let (1, Ok(count)) = (filler.len(), count.parse())
    {
        return vec![filler.as_bytes()[0]; count];
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'\\' {
            decoded.push(*byte);
            continue;
        }
        let [escape, after @ ..] = rest else {
            decoded.push(b'\\');
            break;
        };
        rest = after;
        match escape {
            b'r' => decoded.push(b'\r'),
            b'n' => decoded.push(b'\n'),
            b't' => decoded.push(b'\t'),
            b'0' => decoded.push(0),
            b'\\' => decoded.push(b'\\'),
            b'x' => {
                let digits = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
                match digits.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                    Some(byte) => {
                        decoded.push(byte);
                        rest = &rest[2..];
                    }
                    None => decoded.extend(b"\\x"),
                }
            }
            other => decoded.extend([b'\\', *other]),
        }
    }
    decoded
}

/// Bytes on one line: printable ASCII as it is, the rest escaped as [`decode`]
/// takes it.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\r' => shown += "\\r",
            b'\n' => shown += "\\n",
            b'\t' => shown += "\\t",
            0 => shown += "\\0",
            b'\\' => shown += "\\\\",
            b' '..=b'~' => shown.push(char::from(byte)),
            _ => shown += &format!("\\x{byte:02x}"),
        }
    }
    shown
}

/// The same, cut if it is long.
#[must_use]
pub fn show(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN {
        return escape(bytes);
    }
    format!(
        "{}... {} bytes, sum {:08x}",
        escape(&bytes[..SHOWN / 4]),
        bytes.len(),
        checksum(bytes)
    )
}

/// FNV-1a, to tell long bodies apart.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, &byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_back() {
        let bytes = b"a b\r\n\t\0\\\x7f\xff*3";
        assert_eq!(decode(&escape(bytes)), bytes);
    }

    #[test]
    fn repetition_is_one_character_and_a_count() {
        assert_eq!(decode("a*3"), b"aaa");
        assert_eq!(decode("ab*3"), b"ab*3");
    }
}
