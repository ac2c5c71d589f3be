//! What is noted of a request.

use serde::Serialize;

/// Longer texts are cut: a record must not cost more than a request.
const TEXT_BYTES_MAX: usize = 2048;

/// One request and its response.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) method: String,
    pub(crate) authority: String,
    pub(crate) path: String,
    /// Empty where there was no response.
    pub(crate) status: String,
}

impl Record {
    /// The record as one line of JSON.
    pub(crate) fn to_json(&self) -> String {
        // Nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The text of a header, or what there is of it.
pub(crate) fn text(value: Option<Vec<u8>>) -> String {
    let mut value = value.unwrap_or_default();
    value.truncate(TEXT_BYTES_MAX);
    String::from_utf8_lossy(&value).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_whatever_is_in_it() {
        let record = Record {
            method: text(Some(b"GET".to_vec())),
            authority: text(None),
            path: text(Some(b"/a\n\"b\"\xff".to_vec())),
            status: text(Some(b"200".to_vec())),
        };
        let expected = r#"{"method":"GET","authority":"","path":"/a\n\"b\"�","status":"200"}"#;
        assert_eq!(record.to_json(), expected);
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(text(Some(vec![b'a'; 10_000])).len(), TEXT_BYTES_MAX);
    }
}
