//! A fixed string, wherever it stands.

use super::{Found, Match, Window};

#[derive(Debug)]
pub(crate) struct Literal {
    /// In lower case if `ignore_case`.
    bytes: Vec<u8>,
    ignore_case: bool,
}

impl Literal {
    /// `ignore_case` concerns ASCII letters.
    pub(crate) fn new(text: &str, ignore_case: bool) -> Self {
        let mut bytes = text.as_bytes().to_vec();
        if ignore_case {
            bytes.make_ascii_lowercase();
        }
        Self { bytes, ignore_case }
    }

    pub(crate) fn find(&self, window: &Window<'_>) -> Found {
        for (offset, &wanted) in self.bytes.iter().enumerate() {
            if window.at(offset)?.map(|byte| self.fold(byte)) != Some(wanted) {
                return Ok(None);
            }
        }
        Ok(Some(Match::of(self.bytes.len())))
    }

    pub(crate) fn begins_with(&self, byte: u8) -> bool {
        self.bytes.first() == Some(&self.fold(byte))
    }

    const fn fold(&self, byte: u8) -> u8 {
        if self.ignore_case {
            byte.to_ascii_lowercase()
        } else {
            byte
        }
    }
}
