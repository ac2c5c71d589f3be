//! E-mail addresses as people have them: no quoted local parts, no bare host names.

use super::window::is_word;
use super::{Found, Match, Undecided, Window};
use crate::limits::{MAX_DOMAIN_BYTES, MAX_EMAIL_LOCAL_BYTES, MAX_LABEL_BYTES};

/// An address that begins here; the `@` may be percent-encoded, as forms send it.
pub(super) fn find(window: &Window<'_>) -> Found {
    let mut offset = 0;
    while window.at(offset)?.is_some_and(is_local) {
        offset += 1;
        if offset > MAX_EMAIL_LOCAL_BYTES {
            return Ok(None);
        }
    }
    let domain = match window.at(offset)? {
        Some(b'@') => offset + 1,
        Some(b'%') if window.percent_escape(offset)? == Some(b'@') => offset + 3,
        _ => return Ok(None),
    };
    Ok(domain_end(window, domain)?.map(Match::of))
}

/// Where the domain name that begins at `start` ends: behind the last label that
/// can be a top-level domain.
fn domain_end(window: &Window<'_>, start: usize) -> Result<Option<usize>, Undecided> {
    let mut end = None;
    let mut label = start;
    loop {
        let Some(label_end) = label_end(window, label)? else {
            return Ok(end);
        };
        if label_end - start > MAX_DOMAIN_BYTES {
            return Ok(end);
        }
        if label > start && is_top_level(window, label, label_end)? {
            end = Some(label_end);
        }
        if window.at(label_end)? != Some(b'.') {
            return Ok(end);
        }
        label = label_end + 1;
    }
}

/// Where the label that begins at `start` ends: behind its last letter or digit.
fn label_end(window: &Window<'_>, start: usize) -> Result<Option<usize>, Undecided> {
    let mut end = None;
    for offset in start..=start + MAX_LABEL_BYTES {
        match window.at(offset)? {
            Some(byte) if byte.is_ascii_alphanumeric() => end = Some(offset + 1),
            Some(b'-') if end.is_some() => {}
            _ => return Ok(end),
        }
    }
    Ok(None) // too long
}

/// Two letters or more, or an encoded international name.
fn is_top_level(window: &Window<'_>, start: usize, end: usize) -> Result<bool, Undecided> {
    const ENCODED: &[u8] = b"xn--";
    let mut letters = true;
    let mut encoded = end - start > ENCODED.len();
    for offset in start..end {
        let byte = window.at(offset)?.unwrap_or_default();
        letters &= byte.is_ascii_alphabetic();
        encoded &= ENCODED
            .get(offset - start)
            .is_none_or(|c| byte.eq_ignore_ascii_case(c));
    }
    Ok(encoded || (letters && end - start >= 2))
}

/// The bytes of a local part in practice; RFC 5322 allows a few more.
const fn is_local(byte: u8) -> bool {
    is_word(byte) || matches!(byte, b'.' | b'+' | b'-')
}

#[cfg(test)]
mod tests {
    use super::super::testing::{matched, undecided};
    use super::*;

    #[test]
    fn addresses_are_found() {
        for address in [
            "a@b.co",
            "first.last+tag@mail.example.org",
            "_x-1@xn--bcher-kva.example",
            "post@example.xn--p1ai",
            "user%40example.com",
        ] {
            assert_eq!(matched(find, address), Some(address.len()), "{address}");
        }
    }

    #[test]
    fn what_follows_an_address_is_not_part_of_it() {
        for text in [
            "a@b.com.",
            "a@b.com, c",
            "a@b.com>",
            "a@b.com-",
            "a@b.com.2",
            "a@b.com%0A",
        ] {
            assert_eq!(matched(find, text), Some("a@b.com".len()), "{text}");
        }
    }

    #[test]
    fn other_uses_of_the_sign_are_left() {
        let long = format!("{}@example.com", "a".repeat(65));
        let long_label = format!("a@{}.com", "b".repeat(64));
        for text in [
            "user@localhost",
            "a@b.c",
            "a@b.12-",
            "a@.com",
            "a@1.2.3.4",
            "a @b.com",
            "a%2540b.com",
        ] {
            assert_eq!(matched(find, text), None, "{text}");
        }
        assert_eq!(matched(find, &long), None);
        assert_eq!(matched(find, &long_label), None);
    }

    #[test]
    fn address_that_may_go_on_is_undecided() {
        for text in ["a", "a@", "a%4", "a@b.com", "a@b.com."] {
            assert!(undecided(find, text), "{text}");
        }
        assert!(!undecided(find, "a@b.com "));
    }
}
