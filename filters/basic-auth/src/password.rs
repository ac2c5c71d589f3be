//! Hashes of passwords.

use base64ct::{Base64, Encoding};
use serde::Deserialize;
use sha1::Sha1;
use sha2::Sha256;
use sha2::digest::Digest;
use subtle::ConstantTimeEq;

/// `{SHA}` as `htpasswd -s` writes it, or `{SHA256}`: the hash in base64.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(try_from = "String")]
pub(crate) enum Hash {
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

impl TryFrom<String> for Hash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::read(&text)
    }
}

impl Hash {
    /// # Errors
    ///
    /// If it is none. Does not tell the text: it may be a password.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let wrong = || "expected {SHA} or {SHA256} and the hash of the password in base64";
        let decoded = |text| Base64::decode_vec(text).ok();
        let hash = if let Some(hash) = text.strip_prefix("{SHA}") {
            decoded(hash)
                .and_then(|h| h.try_into().ok())
                .map(Self::Sha1)
        } else if let Some(hash) = text.strip_prefix("{SHA256}") {
            decoded(hash)
                .and_then(|h| h.try_into().ok())
                .map(Self::Sha256)
        } else {
            None
        };
        hash.ok_or_else(|| wrong().to_owned())
    }

    /// Whether it is that of a password; takes as long for a wrong one.
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Self::Sha1(hash) => Sha1::digest(password).as_slice().ct_eq(hash),
            Self::Sha256(hash) => Sha256::digest(password).as_slice().ct_eq(hash),
        }
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf 'pw:1' | openssl sha1 -binary | base64
    const SHA1: &str = "{SHA}VeSJXJfcc/+Y/cqE3Gelkwpghto=";
    const SHA256: &str = "{SHA256}RX4Q+CFxZocdrzNgwkyReDoviR54OuG7k2fvbtHLThU=";

    #[test]
    fn a_password_has_one_hash() {
        for text in [SHA1, SHA256] {
            let hash = Hash::read(text).unwrap();
            assert!(hash.is_of(b"pw:1"), "{text}");
            assert!(!hash.is_of(b"pw:2"), "{text}");
            assert!(!hash.is_of(b""), "{text}");
        }
    }

    #[test]
    fn what_is_no_hash_is_refused_and_not_told() {
        for text in [
            "secret",
            "{SHA}secret",
            "{SHA256}VeSJXJfcc/+Y/cqE3Gelkwpghto=",
            "$2y$05$secret",
        ] {
            let message = Hash::read(text).unwrap_err();
            assert!(
                message.contains("{SHA256}") && !message.contains("secret"),
                "{message}"
            );
        }
    }
}
