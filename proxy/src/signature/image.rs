//! Signatures of images in registries, as `cosign sign` makes them.
//!
//! They lie in the same repository under a tag of their own ([`tag`]): an image each
//! of whose layers is a text in JSON, the "simple signing" payload, with the signature
//! over it in an annotation. The text names the digest of the manifest that it is for;
//! that is what keeps an old, properly signed image from being passed off as a new one.

use serde_json::Value;

use super::{PublicKey, SignatureError, decode};

/// The annotation of a layer that has the signature, in base64.
pub(crate) const ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// The media type of such layers.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// What the text says that it is.
const TYPE: &str = "cosign container image signature";

/// A signature that a registry has for an image, with what it is over. Neither is
/// worth anything before [`verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageSignature {
    /// What is signed, in JSON.
    pub(crate) payload: String,
    /// In base64.
    pub(crate) signature: String,
}

/// Under which tag the signatures of a manifest are; `sha256` is its digest, in
/// hexadecimal digits.
pub(crate) fn tag(sha256: &str) -> String {
    format!("sha256-{sha256}.sig")
}

/// Verifies that one of the signatures is of the key's owner, and for the manifest with
/// the digest `sha256`: that of the one that was fetched, not what a tag is said to be.
///
/// # Errors
/// What is wrong with the last of them; [`SignatureError::Missing`] if there is none.
pub(super) fn verify(
    key: &PublicKey,
    signatures: &[ImageSignature],
    sha256: &str,
) -> Result<(), SignatureError> {
    let mut result = Err(SignatureError::Missing);
    for signature in signatures {
        result = verify_one(key, signature, sha256);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn verify_one(
    key: &PublicKey,
    signature: &ImageSignature,
    sha256: &str,
) -> Result<(), SignatureError> {
    let ImageSignature { payload, signature } = signature;
    // Nothing in the text counts before this.
    key.verify(payload.as_bytes(), &decode(signature.as_bytes())?)?;
    let payload: Value = serde_json::from_str(payload)
        .map_err(|_| SignatureError::Malformed("what is signed is not JSON"))?;
    let critical = &payload["critical"];
    if critical["type"] != TYPE {
        let error = "what is signed is not a text for an image";
        return Err(SignatureError::Malformed(error));
    }
    let found = critical["image"]["docker-manifest-digest"].as_str();
    let expected = format!("sha256:{sha256}");
    if found == Some(&expected) {
        return Ok(());
    }
    Err(SignatureError::OtherImage {
        found: found.unwrap_or("nothing").to_owned(),
        expected,
    })
}
