//! What is looked for: literals, regexes and named detectors. Each only says
//! whether it matches at the very beginning of a [`Window`]; walking through the
//! body is the scanner's part.
//!
//! A pattern reads the window through [`Window::at`] alone and gives up at a byte
//! that has not arrived yet. So its answer, once there is one, cannot depend on
//! where the body was cut into chunks.

mod bearer;
mod card;
mod email;
mod ipv4;
mod literal;
mod regex;
mod window;

pub(crate) use bearer::token_char;
pub(crate) use literal::Literal;
pub(crate) use regex::Regex;
pub(crate) use window::{Undecided, Window, is_word};

use serde::Deserialize;

/// What a pattern found at the beginning of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Match {
    /// Bytes in front of the secret that belong to the pattern and stay.
    pub(crate) keep: usize,
    /// Bytes of the whole match.
    pub(crate) len: usize,
    /// The token characters that follow belong to the secret, too, however many.
    pub(crate) open: bool,
}

impl Match {
    /// A match of so many bytes, all of them secret.
    pub(crate) const fn of(len: usize) -> Self {
        Self {
            keep: 0,
            len,
            open: false,
        }
    }
}

pub(crate) type Found = Result<Option<Match>, Undecided>;

#[derive(Debug)]
pub(crate) enum Pattern {
    Literal(Literal),
    Regex(Box<Regex>),
    Detector(Detector),
}

/// The named detectors. They look at whole words only: not behind a letter, digit
/// or underscore, and not inside an escape sequence.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Detector {
    CreditCard,
    Email,
    Ipv4,
    BearerToken,
}

impl Pattern {
    pub(crate) fn find(&self, window: &Window<'_>) -> Found {
        match self {
            Self::Literal(literal) => literal.find(window),
            Self::Regex(regex) => regex.find(window),
            Self::Detector(Detector::CreditCard) => card::find(window),
            Self::Detector(Detector::Email) => email::find(window),
            Self::Detector(Detector::Ipv4) => ipv4::find(window),
            Self::Detector(Detector::BearerToken) => bearer::find(window),
        }
    }

    /// Whether a match can begin with this byte.
    pub(crate) fn begins_with(&self, byte: u8) -> bool {
        match self {
            Self::Literal(literal) => literal.begins_with(byte),
            Self::Regex(regex) => regex.begins_with(byte),
            Self::Detector(Detector::CreditCard) => matches!(byte, b'2'..=b'6'),
            Self::Detector(Detector::Email) => is_word(byte),
            Self::Detector(Detector::Ipv4) => byte.is_ascii_digit(),
            Self::Detector(Detector::BearerToken) => matches!(byte, b'B' | b'b'),
        }
    }

    pub(crate) const fn wants_whole_words(&self) -> bool {
        matches!(self, Self::Detector(_))
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{Found, Window};

    /// The length that `find` matches at the start of a complete body.
    pub(crate) fn matched(find: fn(&Window<'_>) -> Found, text: &str) -> Option<usize> {
        let found = find(&Window::new(None, text.as_bytes(), true));
        found.unwrap().map(|found| found.len)
    }

    /// Whether `find` wants to see more of a body that begins with `text`.
    pub(crate) fn undecided(find: fn(&Window<'_>) -> Found, text: &str) -> bool {
        find(&Window::new(None, text.as_bytes(), false)).is_err()
    }
}
