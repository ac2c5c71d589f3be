//! Signatures of images in registries, as `cosign sign` makes them.
//!
//! Before its version 3, they lie in the same repository under a tag of their own
//! ([`tag`]): an image each of whose layers is a text in JSON, the "simple signing"
//! payload, with the signature over it in an annotation. Since then, each is a Sigstore
//! bundle with an in-toto statement in a DSSE envelope, in an image that refers to the
//! signed one (OCI distribution specification, "Listing Referrers"). Either text names
//! the digest of the manifest that it is for; that is what keeps an old, properly signed
//! image from being passed off as a new one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{PrivateKey, PublicKey, SignatureError, decode};
use crate::limits::{IMAGE_SIGNATURE_BYTES_MAX, IMAGE_SIGNATURES_MAX};

/// The annotation of a layer that has the signature, in base64.
pub(crate) const ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// The media type of such layers.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// What the text says that it is.
const TYPE: &str = "cosign container image signature";

/// How the media types of Sigstore bundles begin, whatever their version.
pub(crate) const BUNDLE_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle";

/// What is listed of them.
pub(crate) const BUNDLE_ARTIFACT_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// What a DSSE envelope has in it, if it is a statement.
const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";

/// What a statement says, if it is a signature and no attestation.
pub(crate) const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// What a signature of an image is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The payload itself.
    SimpleSigning,
    /// The payload, a statement, as DSSE encodes it.
    Statement,
}

/// A signature that a registry has for an image, with what it is over. Neither is
/// worth anything before [`verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageSignature {
    pub(crate) form: Form,
    /// What is signed, in JSON.
    pub(crate) payload: String,
    /// In base64.
    pub(crate) signature: String,
}

impl ImageSignature {
    /// Signs the manifest with the digest `sha256`, of an image of that name:
    /// `registry/repository`.
    pub(crate) fn sign(key: &PrivateKey, name: &str, sha256: &str) -> Self {
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": name },
                "image": { "docker-manifest-digest": format!("sha256:{sha256}") },
                "type": TYPE,
            },
            "optional": null,
        });
        let payload = payload.to_string();
        Self {
            form: Form::SimpleSigning,
            signature: STANDARD.encode(key.sign(payload.as_bytes())),
            payload,
        }
    }

    /// Those in a Sigstore bundle: none, if it is a bundle of something else, such as
    /// the list of what an image is made of.
    pub(crate) fn of_bundle(bundle: &[u8]) -> Vec<Self> {
        let bundle: Value = serde_json::from_slice(bundle).unwrap_or_default();
        let envelope = &bundle["dsseEnvelope"];
        if envelope["payloadType"] != STATEMENT_TYPE {
            return Vec::new();
        }
        let payload = envelope["payload"].as_str();
        let payload = payload.and_then(|payload| STANDARD.decode(payload).ok());
        let payload = payload.filter(|payload| payload.len() <= IMAGE_SIGNATURE_BYTES_MAX);
        let Some(payload) = payload.and_then(|payload| String::from_utf8(payload).ok()) else {
            return Vec::new();
        };
        let statement: Value = serde_json::from_str(&payload).unwrap_or_default();
        if statement["predicateType"] != SIGN_PREDICATE {
            return Vec::new();
        }
        let signatures = envelope["signatures"].as_array().into_iter().flatten();
        let signatures = signatures.filter_map(|signature| signature["sig"].as_str());
        let signatures = signatures.filter(|text| text.len() <= IMAGE_SIGNATURE_BYTES_MAX);
        let signature = |signature: &str| Self {
            form: Form::Statement,
            payload: payload.clone(),
            signature: signature.to_owned(),
        };
        signatures
            .take(IMAGE_SIGNATURES_MAX)
            .map(signature)
            .collect()
    }

    /// The bytes that are signed (DSSE, `protocol.md`: "PAE").
    fn message(&self) -> Vec<u8> {
        let payload = &self.payload;
        match self.form {
            Form::SimpleSigning => payload.as_bytes().to_vec(),
            Form::Statement => {
                let (kind, of_kind, length) = (STATEMENT_TYPE, STATEMENT_TYPE.len(), payload.len());
                format!("DSSEv1 {of_kind} {kind} {length} {payload}").into_bytes()
            }
        }
    }
}

/// Under which tag a registry that lists no referrers has those of a manifest.
pub(crate) fn referrers_tag(sha256: &str) -> String {
    format!("sha256-{sha256}")
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
pub(crate) fn verify(
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
    let ImageSignature {
        payload,
        signature: text,
        form,
    } = signature;
    // Nothing in the text counts before this.
    key.verify(&signature.message(), &decode(text.as_bytes())?)?;
    let payload: Value = serde_json::from_str(payload)
        .map_err(|_| SignatureError::Malformed("what is signed is not JSON"))?;
    let expected = format!("sha256:{sha256}");
    let found = match form {
        Form::SimpleSigning => of_payload(&payload)?,
        Form::Statement => of_statement(&payload, sha256)?,
    };
    if found.as_deref() == Some(&*expected) {
        return Ok(());
    }
    Err(SignatureError::OtherImage {
        found: found.unwrap_or_else(|| "nothing".to_owned()),
        expected,
    })
}

/// The digest that a payload of simple signing is for.
fn of_payload(payload: &Value) -> Result<Option<String>, SignatureError> {
    let critical = &payload["critical"];
    if critical["type"] != TYPE {
        let error = "what is signed is not a text for an image";
        return Err(SignatureError::Malformed(error));
    }
    let digest = critical["image"]["docker-manifest-digest"].as_str();
    Ok(digest.map(str::to_owned))
}

/// The digest that a statement is for: the one that is looked for, if it is among them.
fn of_statement(statement: &Value, sha256: &str) -> Result<Option<String>, SignatureError> {
    if statement["predicateType"] != SIGN_PREDICATE {
        let error = "what is signed is not a statement that signs an image";
        return Err(SignatureError::Malformed(error));
    }
    let subjects = statement["subject"].as_array().into_iter().flatten();
    let digests = subjects.filter_map(|subject| subject["digest"]["sha256"].as_str());
    let digests: Vec<_> = digests.collect();
    let found = digests.iter().find(|digest| **digest == sha256);
    let found = found.or(digests.first());
    Ok(found.map(|digest| format!("sha256:{digest}")))
}
