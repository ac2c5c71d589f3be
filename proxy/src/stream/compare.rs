//! How two states of a message differ: what a filter has made of it in a callback, or
//! what two versions of a filter have made of it.

use bytes::Bytes;
use weir_abi::{BodyBuffer, HeaderMap};

/// How two maps of headers differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeaderChanges {
    /// Only in the order of different names.
    Order,
    /// By name, in the order of the first map and then of the second.
    Values(Vec<HeaderChange>),
}

/// What the two maps have under one name; nothing where there is no such header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderChange {
    pub(crate) name: Bytes,
    pub(crate) before: Vec<Bytes>,
    pub(crate) after: Vec<Bytes>,
}

/// How two maps differ, if they do; one that is not there is like one without headers.
pub(super) fn headers(
    before: Option<&HeaderMap>,
    after: Option<&HeaderMap>,
) -> Option<HeaderChanges> {
    let none = HeaderMap::new();
    let (before, after) = (before.unwrap_or(&none), after.unwrap_or(&none));
    if before == after {
        return None;
    }
    let mut changes: Vec<HeaderChange> = Vec::new();
    for (name, _) in before.entries().iter().chain(after.entries()) {
        let same = before.get_all(name).eq(after.get_all(name));
        let is_known = |change: &HeaderChange| change.name.eq_ignore_ascii_case(name);
        if !same && !changes.iter().any(is_known) {
            changes.push(HeaderChange {
                name: name.clone(),
                before: before.get_all(name).cloned().collect(),
                after: after.get_all(name).cloned().collect(),
            });
        }
    }
    Some(if changes.is_empty() {
        HeaderChanges::Order
    } else {
        HeaderChanges::Values(changes)
    })
}

/// Whether two bodies are the same. What neither has touched is not looked at.
pub(super) fn is_same_body(a: &BodyBuffer, b: &BodyBuffer) -> bool {
    let place = |chunk: &Bytes| (chunk.as_ptr(), chunk.len());
    let untouched = || a.chunks().map(place).eq(b.chunks().map(place));
    a.len() == b.len() && (untouched() || a.to_bytes() == b.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers.iter().copied().collect()
    }

    fn change(name: &str, before: &[&str], after: &[&str]) -> HeaderChange {
        let bytes = |text: &&str| Bytes::copy_from_slice(text.as_bytes());
        HeaderChange {
            name: bytes(&name),
            before: before.iter().map(bytes).collect(),
            after: after.iter().map(bytes).collect(),
        }
    }

    #[test]
    fn headers_are_compared_by_name() {
        let before = map(&[("a", "1"), ("b", "2"), ("c", "3"), ("c", "4")]);
        let after = map(&[("a", "1"), ("c", "3"), ("b", "5"), ("d", "6")]);
        let expected = [
            change("b", &["2"], &["5"]),
            change("c", &["3", "4"], &["3"]),
            change("d", &[], &["6"]),
        ];
        let expected = HeaderChanges::Values(expected.to_vec());
        assert_eq!(headers(Some(&before), Some(&after)), Some(expected));
    }

    #[test]
    fn what_is_not_there_has_no_headers() {
        assert_eq!(headers(None, None), None);
        assert_eq!(headers(None, Some(&HeaderMap::new())), None);
        let expected = HeaderChanges::Values(vec![change("a", &["1"], &[])]);
        assert_eq!(headers(Some(&map(&[("a", "1")])), None), Some(expected));
    }

    #[test]
    fn another_order_of_different_names_is_a_difference() {
        let (before, after) = (
            map(&[("a", "1"), ("b", "2")]),
            map(&[("b", "2"), ("a", "1")]),
        );
        assert_eq!(
            headers(Some(&before), Some(&after)),
            Some(HeaderChanges::Order)
        );
    }
}
