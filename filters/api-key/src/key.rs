//! Hashes of keys.

use serde::Deserialize;
use sha2::Sha256;
use sha2::digest::Digest;
use subtle::{Choice, ConstantTimeEq};

/// The SHA-256 of a key, in 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Hash([u8; 32]);

impl Hash {
    pub(crate) fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// Takes as long whatever the hashes are.
    pub(crate) fn is(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    /// Does not tell the text: it may be a key.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = "expected the SHA-256 of a key in 64 hexadecimal digits";
        let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
        let digits = digits.filter(|digits| digits.len() == 64).ok_or(wrong)?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::try_from(pair[0] * 16 + pair[1]).map_err(|_| wrong)?;
        }
        Ok(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_in_either_case() {
        // FIPS 180-2, appendix B.1
        let text = "BA7816BF8F01CFEA414140DE5DAE2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Hash::try_from(text.to_owned()), Ok(Hash::of("abc")));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in ["", "abc", &"g".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
            assert!(Hash::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
