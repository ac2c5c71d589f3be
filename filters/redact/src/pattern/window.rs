//! The part of a body that a pattern may look at.

/// A byte is needed that has not arrived yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Undecided;

/// A place in the body: what stands before it and what is known to follow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    before: Option<u8>,
    rest: &'a [u8],
    complete: bool,
}

impl<'a> Window<'a> {
    /// `before` is the byte in front, none at the start of the body. `complete`
    /// says that the body ends with `rest`.
    pub(crate) const fn new(before: Option<u8>, rest: &'a [u8], complete: bool) -> Self {
        Self {
            before,
            rest,
            complete,
        }
    }

    /// The byte in front; none at the start of the body.
    pub(crate) const fn before(&self) -> Option<u8> {
        self.before
    }

    /// The bytes that have arrived; for skipping what nothing can begin with, no
    /// more: how many they are depends on the chunks.
    pub(crate) const fn arrived(&self) -> &'a [u8] {
        self.rest
    }

    /// The byte at this offset; none behind the end of the body.
    pub(crate) fn at(&self, offset: usize) -> Result<Option<u8>, Undecided> {
        match self.rest.get(offset) {
            Some(&byte) => Ok(Some(byte)),
            None if self.complete => Ok(None),
            None => Err(Undecided),
        }
    }

    /// The value of two hexadecimal digits that follow a percent sign at this
    /// offset; none if there is no such escape.
    pub(crate) fn percent_escape(&self, offset: usize) -> Result<Option<u8>, Undecided> {
        if self.at(offset)? != Some(b'%') {
            return Ok(None);
        }
        let Some(high) = self.at(offset + 1)?.and_then(hex_value) else {
            return Ok(None);
        };
        let Some(low) = self.at(offset + 2)?.and_then(hex_value) else {
            return Ok(None);
        };
        Ok(Some(high << 4 | low))
    }

    /// Bytes of the escape sequence that begins here: `\n` and `\u00e9` as in JSON,
    /// `%20` as in forms; 0 if none does. What stands in it is no text.
    pub(crate) fn escape_len(&self) -> Result<usize, Undecided> {
        match self.at(0)? {
            Some(b'%') => Ok(if self.percent_escape(0)?.is_some() {
                3
            } else {
                0
            }),
            Some(b'\\') => match self.at(1)? {
                Some(b'u') => {
                    for offset in 2..6 {
                        if self.at(offset)?.and_then(hex_value).is_none() {
                            return Ok(2);
                        }
                    }
                    Ok(6)
                }
                Some(_) => Ok(2),
                None => Ok(0),
            },
            _ => Ok(0),
        }
    }
}

/// Letters, digits and underscore: the bytes that make up a word.
pub(crate) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn hex_value(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escape_len(text: &str) -> Result<usize, Undecided> {
        Window::new(None, text.as_bytes(), false).escape_len()
    }

    #[test]
    fn escapes_of_json_and_forms_are_measured() {
        assert_eq!(escape_len(r"\n."), Ok(2));
        assert_eq!(escape_len(r"\\."), Ok(2));
        assert_eq!(escape_len(r"\u00e9."), Ok(6));
        assert_eq!(escape_len(r"\user"), Ok(2));
        assert_eq!(escape_len("%2F."), Ok(3));
        assert_eq!(escape_len("% of"), Ok(0));
        assert_eq!(escape_len("x"), Ok(0));
    }

    #[test]
    fn escape_that_may_go_on_is_undecided() {
        for text in [r"\", r"\u00e", "%", "%2"] {
            assert_eq!(escape_len(text), Err(Undecided), "{text}");
        }
    }

    #[test]
    fn bytes_behind_the_end_are_none_only_when_the_body_is_complete() {
        assert_eq!(Window::new(None, b"a", true).at(1), Ok(None));
        assert_eq!(Window::new(None, b"a", false).at(1), Err(Undecided));
    }
}
