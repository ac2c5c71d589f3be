//! Whose code it is: signatures over modules, made with a private key and checked with
//! a public one.
//!
//! | Signature | Over | Keys |
//! |---|---|---|
//! | beside a file, as `cosign sign-blob` and `openssl` make it | the file | ECDSA on P-256 with SHA-256, Ed25519 |
//! | in the module's first section, as `wasmsign2` makes it | the SHA-256 of what follows it | Ed25519 |
//! | of an image, as `cosign sign` makes it | a text that names the digest of its manifest | as beside a file |

mod check;
pub(crate) mod image;
mod key;
mod section;
mod sign;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

pub(crate) use self::check::{Origin, Place, beside, check};
#[cfg(test)]
use self::key::KeyError;
pub(crate) use self::key::PublicKey;
pub(crate) use self::section::{MODULE_HEADER, is_signed};
pub(crate) use self::sign::{PrivateKey, PrivateKeyError, sign_beside, sign_within};

/// Why a module is not taken for that of the key's owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    /// There is none at all.
    #[error("it is not signed")]
    Missing,
    /// It cannot be read.
    #[error("its signature cannot be read: {0}")]
    Malformed(&'static str),
    /// It is of a kind that the key is not for.
    #[error("it is signed with Ed25519, and the key is for {0}")]
    OtherAlgorithm(&'static str),
    /// It is for other bytes, or made with another key.
    #[error(
        "its signature does not fit: the module was changed, or signed with another key or as \
         another module"
    )]
    Wrong,
    /// It is a good signature for something else.
    #[error("its signature is for {found}, not for {expected}")]
    OtherImage {
        /// What is signed.
        found: String,
        /// What should be.
        expected: String,
    },
}

/// Verifies a module: with the signature beside it, if there is one, or else with the
/// one in its first section.
///
/// # Errors
/// [`SignatureError`]; [`SignatureError::Missing`] only if there is neither.
pub(crate) fn verify_module(
    key: &PublicKey,
    module: &[u8],
    beside: Option<&[u8]>,
) -> Result<(), SignatureError> {
    match beside {
        Some(signature) => key.verify(module, &decode(signature)?),
        None => section::verify(key, module),
    }
}

/// The bytes of a signature, which may be in base64, or that in a Sigstore bundle. Of a
/// bundle nothing else counts: who has signed is told by the key.
fn decode(signature: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let Ok(text) = std::str::from_utf8(signature) else {
        return Ok(signature.to_vec());
    };
    let text = text.trim();
    if text.starts_with('{') {
        let bundle: Option<Value> = serde_json::from_str(text).ok();
        let signature = bundle.as_ref().and_then(|bundle| {
            let places = ["/messageSignature/signature", "/base64Signature"];
            let mut found = places.iter().filter_map(|place| bundle.pointer(place));
            STANDARD.decode(found.next()?.as_str()?).ok()
        });
        let malformed = "it is JSON, but no Sigstore bundle with a signature of a file";
        return signature.ok_or(SignatureError::Malformed(malformed));
    }
    let decoded = STANDARD.decode(text);
    Ok(decoded.unwrap_or_else(|_| signature.to_vec()))
}
