//! [`DeclaredLength`]: the body of a message against its content-length.

use weir_abi::{BodyBuffer, HeaderMap};

use super::TooShort;
use super::fields::HeadError;

/// What a message's content-length still allows. A filter may declare one length
/// and leave a body of another: the next message on the connection must not
/// begin inside this one, so what is too much is dropped, and a message that is
/// too short is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeclaredLength(Option<u64>);

impl DeclaredLength {
    /// No length is declared, or none that binds.
    pub(super) const NONE: Self = Self(None);

    /// The content-length of `headers`.
    ///
    /// # Errors
    /// When it is not one number.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, HeadError> {
        let Some(value) = headers.get(b"content-length") else {
            return Ok(Self::NONE);
        };
        parse(value)
            .map(|length| Self(Some(length)))
            .ok_or_else(|| HeadError::InvalidValue("content-length".to_owned()))
    }

    /// The message ends with its headers.
    ///
    /// # Errors
    /// When they declare a body.
    pub(super) fn finish_with_headers(self) -> Result<(), HeadError> {
        self.finish()
            .map_err(|_| HeadError::InvalidValue("content-length".to_owned()))
    }

    pub(super) fn is_declared(self) -> bool {
        self.0.is_some()
    }

    /// Drops from `data` what exceeds the length.
    pub(super) fn admit(&mut self, data: &mut BodyBuffer) {
        if let Some(left) = &mut self.0 {
            data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= data.len() as u64;
        }
    }

    /// The body ends here.
    pub(super) fn finish(self) -> Result<(), TooShort> {
        match self.0 {
            None | Some(0) => Ok(()),
            Some(_) => Err(TooShort),
        }
    }
}

/// A content-length: digits and nothing else.
pub(super) fn parse(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_body_is_cut_at_its_length_and_missed_when_short() {
        let headers: HeaderMap = [("content-length", "5")].into_iter().collect();
        let mut length = DeclaredLength::of(&headers).unwrap();
        let mut data = BodyBuffer::from(Bytes::from_static(b"abc"));
        length.admit(&mut data);
        assert_eq!(data.to_bytes(), "abc");
        assert_eq!(length.finish(), Err(TooShort));
        let mut data = BodyBuffer::from(Bytes::from_static(b"defg"));
        length.admit(&mut data);
        assert_eq!(data.to_bytes(), "de");
        assert_eq!(length.finish(), Ok(()));
    }

    #[test]
    fn only_one_number_is_a_length() {
        for bad in ["", "3,7", "+3", " 3", "-1", "0x3", "99999999999999999999"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse(b"0042"), Some(42));
    }
}
