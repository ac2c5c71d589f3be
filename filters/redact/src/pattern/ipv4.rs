//! IPv4 addresses in dotted decimals.

use super::window::is_word;
use super::{Found, Match, Undecided, Window};

/// An address that begins here; five numbers with dots are a version, not an
/// address.
pub(super) fn find(window: &Window<'_>) -> Found {
    if window.before() == Some(b'.') {
        return Ok(None);
    }
    let mut offset = 0;
    for place in 0..4 {
        if place > 0 {
            if window.at(offset)? != Some(b'.') {
                return Ok(None);
            }
            offset += 1;
        }
        match octet_len(window, offset)? {
            Some(len) => offset += len,
            None => return Ok(None),
        }
    }
    let goes_on = match window.at(offset)? {
        Some(b'.') => window
            .at(offset + 1)?
            .is_some_and(|byte| byte.is_ascii_digit()),
        Some(byte) => is_word(byte),
        None => false,
    };
    Ok((!goes_on).then_some(Match::of(offset)))
}

/// Digits of a number from 0 to 255 without leading zeros.
fn octet_len(window: &Window<'_>, start: usize) -> Result<Option<usize>, Undecided> {
    let mut value = 0;
    let mut len = 0;
    while let Some(digit @ b'0'..=b'9') = window.at(start + len)? {
        value = value * 10 + u32::from(digit - b'0');
        len += 1;
        if value > 255 || (len > 1 && value < 10) {
            return Ok(None);
        }
    }
    Ok((len > 0).then_some(len))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{matched, undecided};
    use super::*;

    #[test]
    fn addresses_are_found() {
        for address in ["0.0.0.0", "10.1.2.3", "255.255.255.255"] {
            assert_eq!(matched(find, address), Some(address.len()), "{address}");
        }
    }

    #[test]
    fn what_follows_an_address_is_not_part_of_it() {
        for text in ["10.1.2.3:80", "10.1.2.3/8", "10.1.2.3.", "10.1.2.3. 4"] {
            assert_eq!(matched(find, text), Some("10.1.2.3".len()), "{text}");
        }
    }

    #[test]
    fn versions_and_other_numbers_are_left() {
        for text in [
            "1.2.3",
            "1.2.3.256",
            "1.2.3.4.5",
            "01.2.3.4",
            "1.2.3.4a",
            "1.2..3",
            "1.2.3.",
        ] {
            assert_eq!(matched(find, text), None, "{text}");
        }
        assert_eq!(find(&Window::new(Some(b'.'), b"1.2.3.4", true)), Ok(None));
    }

    #[test]
    fn address_that_may_go_on_is_undecided() {
        for text in ["1", "1.2.3.4", "1.2.3.4."] {
            assert!(undecided(find, text), "{text}");
        }
    }
}
