//! A user name and a password as a client sends them (RFC 7617).

use std::fmt;

use base64ct::{Base64Unpadded, Encoding};

/// Why there are none, in the words of Envoy's `basic_auth`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Failure {
    Missing,
    Scheme,
    Format,
    Wrong,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User authentication failed. ")?;
        f.write_str(match self {
            Self::Missing => "Missing username and password.",
            Self::Scheme => "Expected 'Basic' authentication scheme.",
            Self::Format => "Invalid basic credential format.",
            Self::Wrong => "Invalid username/password combination.",
        })
    }
}

/// A user name and a password.
#[derive(Debug, PartialEq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: Vec<u8>,
}

impl Credentials {
    /// Reads the value of an `authorization` header.
    ///
    /// # Errors
    ///
    /// If there are none in it.
    pub(crate) fn read(header: Option<&str>) -> Result<Self, Failure> {
        let header = header.ok_or(Failure::Missing)?;
        let encoded = header.strip_prefix("Basic ").ok_or(Failure::Scheme)?;
        let mut both = Base64Unpadded::decode_vec(encoded.trim_end_matches('='))
            .map_err(|_| Failure::Format)?;
        let colon = both.iter().position(|&byte| byte == b':');
        let colon = colon.ok_or(Failure::Format)?;
        let password = both.split_off(colon + 1);
        both.truncate(colon);
        let user = String::from_utf8(both).map_err(|_| Failure::Format)?;
        Ok(Self { user, password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Credentials, Failure> {
        Credentials::read(Some(text))
    }

    #[test]
    fn the_user_ends_at_the_first_colon() {
        let credentials = read("Basic YWRhOnB3OjE=").unwrap();
        assert_eq!(credentials.user, "ada");
        assert_eq!(credentials.password, b"pw:1");
        assert_eq!(read("Basic YWRhOnB3OjE"), Ok(credentials));
    }

    #[test]
    fn what_is_not_there_is_told() {
        assert_eq!(Credentials::read(None), Err(Failure::Missing));
        assert_eq!(read("Bearer x"), Err(Failure::Scheme));
        assert_eq!(read("Basic !!"), Err(Failure::Format));
        assert_eq!(read("Basic YWRh"), Err(Failure::Format));
        assert_eq!(read("Basic /zo="), Err(Failure::Format));
    }
}
