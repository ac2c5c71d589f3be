//! [`HeaderValues`]: what guests see of header values that are not UTF-8.

use std::fmt::Write;

use bytes::Bytes;

use crate::headers::HeaderMap;

/// What a guest sees of header values that are not UTF-8. Guests of the Rust SDK
/// fail on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HeaderValues {
    /// The bytes as they are, as in Envoy.
    #[default]
    Pass,
    /// Each byte that does not belong to a character as `%` and two digits.
    Escape,
    /// Nothing of the header; the message keeps it.
    Drop,
}

impl HeaderValues {
    /// What is shown of a value, if anything is.
    pub(crate) fn shown(self, value: &Bytes) -> Option<Bytes> {
        if self == Self::Pass || is_text(value) {
            return Some(value.clone());
        }
        (self == Self::Escape).then(|| escaped(value).into())
    }

    /// The headers that are shown, if those are not just all of them.
    pub(crate) fn pairs(self, headers: &HeaderMap) -> Option<Vec<(Bytes, Bytes)>> {
        if self == Self::Pass {
            return None;
        }
        let bytes = Bytes::copy_from_slice;
        let pairs = headers.iter();
        let shown =
            pairs.filter_map(|(name, value)| Some((bytes(name), self.shown(&bytes(value))?)));
        Some(shown.collect())
    }

    /// Number of headers that are shown.
    pub(crate) fn count(self, headers: &HeaderMap) -> usize {
        match self {
            Self::Pass | Self::Escape => headers.len(),
            Self::Drop => headers.iter().filter(|(_, value)| is_text(value)).count(),
        }
    }

    /// Gives back to `pairs`, which a guest has made of `before`, what it was not
    /// shown.
    pub(crate) fn restore(self, before: &HeaderMap, pairs: &mut Vec<(Bytes, Bytes)>) {
        if self == Self::Pass {
            return;
        }
        let bytes = Bytes::copy_from_slice;
        for (name, value) in before.iter().filter(|(_, value)| !is_text(value)) {
            if self == Self::Drop {
                pairs.push((bytes(name), bytes(value)));
                continue;
            }
            let escaped = escaped(value);
            let same = |(n, v): &&mut (Bytes, Bytes)| n == name && *v == escaped;
            if let Some((_, shown)) = pairs.iter_mut().find(same) {
                *shown = bytes(value);
            }
        }
    }
}

fn is_text(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok()
}

fn escaped(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len() + 8);
    for chunk in value.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATIN: &[u8] = b"caf\xe9 100%";

    fn map() -> HeaderMap {
        let mut map = HeaderMap::new();
        map.add("a", "plain");
        map.add("b", Bytes::from_static(LATIN));
        map
    }

    #[test]
    fn bytes_that_are_no_characters_are_escaped_or_hidden() {
        let latin = Bytes::from_static(LATIN);
        assert_eq!(HeaderValues::Pass.shown(&latin).unwrap(), LATIN);
        assert_eq!(HeaderValues::Escape.shown(&latin).unwrap(), "caf%E9 100%");
        assert_eq!(HeaderValues::Drop.shown(&latin), None);
        assert_eq!(HeaderValues::Pass.pairs(&map()), None);
        assert_eq!(HeaderValues::Drop.pairs(&map()).unwrap().len(), 1);
        assert_eq!(HeaderValues::Drop.count(&map()), 1);
        assert_eq!(HeaderValues::Escape.count(&map()), 2);
    }

    #[test]
    fn what_a_guest_was_not_shown_stays_in_the_message() {
        for values in [HeaderValues::Escape, HeaderValues::Drop] {
            let mut pairs = values.pairs(&map()).unwrap();
            values.restore(&map(), &mut pairs);
            let kept = (Bytes::from("b"), Bytes::from_static(LATIN));
            assert_eq!(pairs[1], kept, "{values:?}");
        }
    }
}
