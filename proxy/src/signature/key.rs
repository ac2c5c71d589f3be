//! [`PublicKey`]: what a signature is checked with.

use ed25519_dalek::pkcs8::DecodePublicKey as _;
use p256::ecdsa::signature::Verifier as _;

use super::SignatureError;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error(
        "this is no public key in PEM for ECDSA on P-256 or for Ed25519; it begins with \
         `-----BEGIN PUBLIC KEY-----`"
    )]
    Unknown,
    #[error("this is one of the Ed25519 keys under which everything is signed")]
    Weak,
}

/// A public key, for one kind of signature.
#[derive(Debug, Clone)]
pub(crate) enum PublicKey {
    P256(Box<p256::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

impl PublicKey {
    /// From PEM (`SubjectPublicKeyInfo`), as `cosign generate-key-pair`, `openssl`
    /// and `wasmsign2` write it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub(crate) fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let pem = pem.trim();
        if let Ok(key) = p256::ecdsa::VerifyingKey::from_public_key_pem(pem) {
            return Ok(Self::P256(Box::new(key)));
        }
        let key = ed25519_dalek::VerifyingKey::from_public_key_pem(pem);
        let key = key.map_err(|_| KeyError::Unknown)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self::Ed25519(Box::new(key)))
    }

    /// Verifies a signature: in DER for ECDSA, which signs the SHA-256 of `message`,
    /// or 64 bytes for Ed25519.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        match self {
            Self::P256(key) => {
                let malformed = SignatureError::Malformed("it is no ECDSA signature in DER");
                let signature = p256::ecdsa::Signature::from_der(signature);
                let signature = signature.map_err(|_| malformed)?;
                let verified = key.verify(message, &signature);
                verified.map_err(|_| SignatureError::Wrong)
            }
            Self::Ed25519(key) => {
                let malformed = SignatureError::Malformed("it has not the 64 bytes of Ed25519");
                let signature = ed25519_dalek::Signature::from_slice(signature);
                let signature = signature.map_err(|_| malformed)?;
                let verified = key.verify_strict(message, &signature);
                verified.map_err(|_| SignatureError::Wrong)
            }
        }
    }

    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Self::P256(_) => "ECDSA on P-256",
            Self::Ed25519(_) => "Ed25519",
        }
    }
}
