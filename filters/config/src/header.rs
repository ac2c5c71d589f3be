//! Header names and values that came from a configuration.

use std::ops::Deref;

use serde::Deserialize;

/// A header name in lower case: a token (RFC 9110, section 5.1) and not a
/// pseudo-header.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(try_from = "String")]
pub struct HeaderName(String);

/// A header value without control characters and without blanks at its ends
/// (RFC 9110, section 5.5). May be empty.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct HeaderValue(String);

impl HeaderName {
    /// A name known to be right when the filter is compiled.
    ///
    /// # Panics
    ///
    /// If it is not a header name.
    #[must_use]
    pub fn from_static(name: &'static str) -> Self {
        match Self::try_from(name.to_owned()) {
            Ok(name) => name,
            Err(reason) => panic!("{reason}"),
        }
    }
}

impl TryFrom<String> for HeaderName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name.is_empty() {
            return Err("a header name cannot be empty".to_owned());
        }
        if let Some(wrong) = name.chars().find(|&c| !is_token_char(c)) {
            return Err(format!(
                "`{name}` is not a header name: {wrong:?} is not allowed in it"
            ));
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

impl TryFrom<String> for HeaderValue {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        if let Some(wrong) = value.chars().find(|&c| c.is_ascii_control() && c != '\t') {
            return Err(format!("{wrong:?} is not allowed in a header value"));
        }
        let blank = [' ', '\t'];
        if value.starts_with(blank) || value.ends_with(blank) {
            return Err(format!("{value:?} begins or ends with a blank"));
        }
        Ok(Self(value))
    }
}

impl Deref for HeaderName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Deref for HeaderValue {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// `tchar` of RFC 9110, section 5.6.2.
fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<HeaderName, String> {
        HeaderName::try_from(text.to_owned())
    }

    fn value(text: &str) -> Result<HeaderValue, String> {
        HeaderValue::try_from(text.to_owned())
    }

    #[test]
    fn names_are_lower_cased() {
        assert_eq!(name("X-Request-ID").as_deref(), Ok("x-request-id"));
    }

    #[test]
    fn names_that_would_break_framing_are_refused() {
        for text in ["", "a b", "a:b", ":status", "a\r\nb", "\u{e9}"] {
            assert!(name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn values_with_line_breaks_or_outer_blanks_are_refused() {
        for text in ["a\r\nx: y", "a\0", " a", "a\t", "\u{7f}"] {
            assert!(value(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn values_may_be_empty_or_hold_blanks_inside() {
        for text in ["", "max-age=1; preload", "a\tb", "\u{e9}"] {
            assert_eq!(value(text).as_deref(), Ok(text));
        }
    }
}
