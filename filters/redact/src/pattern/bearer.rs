//! Bearer tokens (RFC 6750): the word `Bearer` and what follows it.

use super::{Found, Match, Undecided, Window};
use crate::limits::{MAX_TOKEN_BLANKS, MIN_TOKEN_CHARS};

const WORD: &[u8] = b"bearer";

/// A token behind the word that begins here. The word stays; the token may be of
/// any length, and only its beginning has to be seen.
pub(super) fn find(window: &Window<'_>) -> Found {
    for (offset, letter) in WORD.iter().enumerate() {
        if !window
            .at(offset)?
            .is_some_and(|byte| byte.eq_ignore_ascii_case(letter))
        {
            return Ok(None);
        }
    }
    let mut keep = WORD.len();
    for _ in 0..MAX_TOKEN_BLANKS {
        keep += blank(window, keep)?;
    }
    let mut len = keep;
    if keep > WORD.len() {
        for _ in 0..MIN_TOKEN_CHARS {
            match token_char(window, len)? {
                0 => return Ok(None),
                bytes => len += bytes,
            }
        }
    }
    Ok((len > keep).then_some(Match {
        keep,
        len,
        open: true,
    }))
}

/// Bytes of the blank at this offset, 0 if there is none. Forms write it as `+` or
/// `%20`.
fn blank(window: &Window<'_>, offset: usize) -> Result<usize, Undecided> {
    match window.at(offset)? {
        Some(b' ' | b'\t' | b'+') => Ok(1),
        Some(b'%') if window.percent_escape(offset)? == Some(b' ') => Ok(3),
        _ => Ok(0),
    }
}

/// Bytes of the token character at this offset, 0 if there is none: RFC 6750,
/// section 2.1, as it is, with its slash escaped as JSON may, or percent-encoded.
pub(crate) fn token_char(window: &Window<'_>, offset: usize) -> Result<usize, Undecided> {
    match window.at(offset)? {
        Some(byte) if is_token(byte) => Ok(1),
        Some(b'\\') if window.at(offset + 1)? == Some(b'/') => Ok(2),
        Some(b'%') if window.percent_escape(offset)?.is_some_and(is_token) => Ok(3),
        _ => Ok(0),
    }
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use super::super::testing::undecided;
    use super::*;

    fn found(text: &str) -> Option<Match> {
        find(&Window::new(None, text.as_bytes(), true)).unwrap()
    }

    #[test]
    fn word_stays_and_the_token_is_open() {
        for (text, keep) in [
            ("Bearer abcdefghij.KLMNOP=", 7),
            ("bearer  abcdefghij_123456", 8),
            ("BEARER%20abcdefghij~123456", 9),
            ("Bearer+abcdefghijklmnop", 7),
        ] {
            let expected = Match {
                keep,
                len: keep + MIN_TOKEN_CHARS,
                open: true,
            };
            assert_eq!(found(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn escaped_characters_count_as_one() {
        let expected = Match {
            keep: 7,
            len: 7 + 15 + 2,
            open: true,
        };
        assert_eq!(found(r"Bearer abc\/efghijklmnop"), Some(expected));
        let expected = Match {
            keep: 7,
            len: 7 + 15 + 3,
            open: true,
        };
        assert_eq!(found("Bearer abc%2Fefghijklmnop"), Some(expected));
    }

    #[test]
    fn speech_of_bearers_is_left() {
        for text in [
            "bearer of good news",
            "Bearer authentication",
            "Bearers",
            "Bearer:x",
            "Bear",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn token_is_decided_once_its_beginning_is_seen() {
        assert!(undecided(find, "Bearer abcdefghijklmno"));
        assert!(!undecided(find, "Bearer abcdefghijklmnop"));
    }
}
