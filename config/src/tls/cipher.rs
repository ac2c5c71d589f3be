//! Cipher suites of TLS 1.2.

use crate::read::words;

/// `cipher_suites[]`: a suite of TLS 1.2, by OpenSSL's name. Those of TLS 1.3 are not
/// chosen from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsCipher {
    /// `ECDHE-ECDSA-AES128-GCM-SHA256`
    EcdsaAes128,
    /// `ECDHE-ECDSA-AES256-GCM-SHA384`
    EcdsaAes256,
    /// `ECDHE-ECDSA-CHACHA20-POLY1305`
    EcdsaChacha20,
    /// `ECDHE-RSA-AES128-GCM-SHA256`
    RsaAes128,
    /// `ECDHE-RSA-AES256-GCM-SHA384`
    RsaAes256,
    /// `ECDHE-RSA-CHACHA20-POLY1305`
    RsaChacha20,
}

words!(TlsCipher, "a cipher suite of TLS 1.2 with forward secrecy",
    "ECDHE-ECDSA-AES128-GCM-SHA256" => Self::EcdsaAes128,
    "ECDHE-ECDSA-AES256-GCM-SHA384" => Self::EcdsaAes256,
    "ECDHE-ECDSA-CHACHA20-POLY1305" => Self::EcdsaChacha20,
    "ECDHE-RSA-AES128-GCM-SHA256" => Self::RsaAes128,
    "ECDHE-RSA-AES256-GCM-SHA384" => Self::RsaAes256,
    "ECDHE-RSA-CHACHA20-POLY1305" => Self::RsaChacha20);

/// Some of the suites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsCiphers(u8);

impl TlsCiphers {
    /// All of them.
    pub const ALL: Self = Self(0b11_1111);

    /// Whether `cipher` is among them.
    pub fn contains(self, cipher: TlsCipher) -> bool {
        self.0 & (1 << cipher as u8) != 0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<TlsCipher> for TlsCiphers {
    fn from_iter<I: IntoIterator<Item = TlsCipher>>(ciphers: I) -> Self {
        let add = |all: u8, cipher: TlsCipher| all | 1 << cipher as u8;
        Self(ciphers.into_iter().fold(0, add))
    }
}
