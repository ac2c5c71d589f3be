//! Bytes as a person reads them.

/// Longer values are cut, with the number of bytes behind.
const SHOWN_BYTES: usize = 600;

/// `bytes` as text where it is text, else escaped; on one line.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    let shown = bytes.get(..SHOWN_BYTES).unwrap_or(bytes);
    // A character that is cut in two is none of the value's faults.
    let text = match std::str::from_utf8(shown) {
        Ok(text) => text.escape_debug().to_string(),
        Err(error) if error.error_len().is_none() => {
            let text = String::from_utf8_lossy(&shown[..error.valid_up_to()]);
            text.escape_debug().to_string()
        }
        Err(_) => shown.escape_ascii().to_string(),
    };
    let text = text.replace("\\\"", "\"").replace("\\'", "'");
    if shown.len() < bytes.len() {
        format!("{text}… ({} bytes)", bytes.len())
    } else {
        text
    }
}

/// A value in quotes, or `nothing`.
pub(crate) fn value(value: Option<&[u8]>) -> String {
    value.map_or_else(
        || "nothing".to_owned(),
        |value| format!("`{}`", bytes(value)),
    )
}
