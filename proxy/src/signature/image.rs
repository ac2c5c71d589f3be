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

/// A layer of the image that holds the signatures. Its digest has been checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layer<'a> {
    /// Its bytes.
    pub(crate) payload: &'a [u8],
    /// Its [`ANNOTATION`].
    pub(crate) signature: &'a str,
}

/// Under which tag the signatures of the manifest with this digest are: `sha256:…`.
pub(crate) fn tag(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

/// Verifies that one of the signatures is of the key's owner and for the manifest with
/// `digest` (`sha256:…`) and, if `repository` is given, for that one.
///
/// `digest` is that of the manifest that was fetched, not what a tag is said to be.
///
/// # Errors
/// What is wrong with the last of them; [`SignatureError::Missing`] if there is none.
pub(crate) fn verify(
    key: &PublicKey,
    layers: &[Layer<'_>],
    digest: &str,
    repository: Option<&str>,
) -> Result<(), SignatureError> {
    let mut result = Err(SignatureError::Missing);
    for layer in layers {
        result = verify_layer(key, *layer, digest, repository);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn verify_layer(
    key: &PublicKey,
    layer: Layer<'_>,
    digest: &str,
    repository: Option<&str>,
) -> Result<(), SignatureError> {
    // Nothing in the text counts before this.
    key.verify(layer.payload, &decode(layer.signature.as_bytes())?)?;
    let payload: Value = serde_json::from_slice(layer.payload)
        .map_err(|_| SignatureError::Malformed("what is signed is not JSON"))?;
    let critical = &payload["critical"];
    if critical["type"] != TYPE {
        let error = "what is signed is not a text for an image";
        return Err(SignatureError::Malformed(error));
    }
    let same = |found: &Value, expected: &str| {
        if found == expected {
            return Ok(());
        }
        Err(SignatureError::OtherImage {
            found: found.as_str().unwrap_or("nothing").to_owned(),
            expected: expected.to_owned(),
        })
    };
    same(&critical["image"]["docker-manifest-digest"], digest)?;
    match repository {
        Some(repository) => same(&critical["identity"]["docker-reference"], repository),
        None => Ok(()),
    }
}
