//! [`PrivateKey`]: what signatures are made with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use p256::ecdsa::signature::Signer as _;

use super::{PublicKey, SignatureError, section, verify_module};

/// Why a key does not sign.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivateKeyError {
    #[error(
        "this is a public key: signing takes the private one, which begins with \
         `-----BEGIN PRIVATE KEY-----`"
    )]
    Public,
    #[error("it is encrypted: `openssl pkey -in KEY -out PLAIN` asks for the password")]
    Encrypted,
    #[error("it is one of cosign's, which are encrypted: sign with `cosign`, or with another key")]
    Cosign,
    #[error(
        "this is no private key in PEM for ECDSA on P-256 or for Ed25519; `openssl genpkey \
         -algorithm ed25519` makes one"
    )]
    Unknown,
    #[error("a signature within a module takes a key for Ed25519, and this one is for {0}")]
    Embed(&'static str),
    #[error("what it signs is not found to be signed: {0}")]
    Refused(#[from] SignatureError),
}

/// A private key, for one kind of signature.
pub(crate) enum PrivateKey {
    P256(Box<p256::ecdsa::SigningKey>),
    Ed25519(Box<ed25519_dalek::SigningKey>),
}

impl PrivateKey {
    /// From PEM: PKCS #8, as `openssl genpkey` writes it, or SEC 1, as `openssl ecparam`
    /// does.
    ///
    /// # Errors
    /// [`PrivateKeyError`]; nothing of the key is in it.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, PrivateKeyError> {
        // `openssl ecparam` puts the curve in front.
        let begin = pem.find("-----BEGIN EC PRIVATE KEY").unwrap_or(0);
        let pem = pem[begin..].trim();
        for (label, error) in [
            ("PUBLIC KEY", PrivateKeyError::Public),
            ("ENCRYPTED PRIVATE KEY", PrivateKeyError::Encrypted),
            ("ENCRYPTED SIGSTORE PRIVATE KEY", PrivateKeyError::Cosign),
            ("ENCRYPTED COSIGN PRIVATE KEY", PrivateKeyError::Cosign),
        ] {
            if pem.starts_with(&format!("-----BEGIN {label}-----")) {
                return Err(error);
            }
        }
        if let Ok(key) = ed25519_dalek::SigningKey::from_pkcs8_pem(pem) {
            return Ok(Self::Ed25519(Box::new(key)));
        }
        let key = p256::SecretKey::from_pem(pem).map_err(|_| PrivateKeyError::Unknown)?;
        Ok(Self::P256(Box::new(key.into())))
    }

    /// What its signatures are checked with.
    pub(crate) fn public(&self) -> PublicKey {
        match self {
            Self::P256(key) => PublicKey::P256(Box::new(*key.verifying_key())),
            Self::Ed25519(key) => PublicKey::Ed25519(Box::new(key.verifying_key())),
        }
    }

    /// Signs: in DER for ECDSA, over the SHA-256 of `message`, or 64 bytes for Ed25519.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Self::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
        }
    }
}

/// The signature of a module, for a file beside it: in base64, as `cosign sign-blob`
/// writes it.
pub(crate) fn sign_beside(key: &PrivateKey, module: &[u8]) -> String {
    STANDARD.encode(key.sign(module))
}

/// The module with its signature in its first section, in place of any that is there.
///
/// # Errors
/// With a key for other signatures, and when what comes out would not be verified.
pub(crate) fn sign_within(key: &PrivateKey, module: &[u8]) -> Result<Vec<u8>, PrivateKeyError> {
    let PrivateKey::Ed25519(_) = key else {
        return Err(PrivateKeyError::Embed(key.public().algorithm()));
    };
    let signed = section::sign(key, module)?;
    verify_module(&key.public(), &signed, None)?;
    Ok(signed)
}
