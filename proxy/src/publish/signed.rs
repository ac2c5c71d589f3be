//! Signatures of images, put where `cosign sign` puts them: under a tag that is made of
//! the image's digest, beside those that are there already.

use serde_json::{Value as Json, json};
use weir_config::ImageReference;

use super::PublishError;
use super::layout::{CONFIG, MANIFEST, descriptor, image_config};
use crate::modules::{Door, FetchError, Repository, sha256};
use crate::signature::PrivateKey;
use crate::signature::image::{self, ImageSignature};

/// Signs an image that is in its registry. Gives its reference, with the digest that is
/// signed.
///
/// # Errors
/// What the registry refuses, and an image that is not the one that is named.
pub(crate) fn sign(
    image: &ImageReference,
    key: &PrivateKey,
    door: &Door,
) -> Result<ImageReference, PublishError> {
    let repository = Repository::open(image, door)
        .map_err(|error| PublishError::registry(image, door, None, error))?;
    let registry = repository.registry();
    let refused = |error| PublishError::registry(image, door, Some(&repository), error);
    let digest = sha256(&registry.manifest(image.version()).map_err(refused)?);
    if let Some(expected) = image
        .digest
        .as_deref()
        .and_then(|d| d.strip_prefix("sha256:"))
        && expected != digest
    {
        return Err(refused(FetchError::Digest {
            what: "the manifest",
            expected: expected.to_owned(),
            found: digest,
        }));
    }
    let name = format!("{}/{}", image.registry, image.repository);
    let signature = ImageSignature::sign(key, &name, &digest);
    let tag = image::tag(&digest);
    let before = registry.manifest_if_there(&tag).map_err(refused)?;
    let mut layers = match before {
        Some(before) => layers(&before).ok_or_else(|| PublishError::Signatures(tag.clone()))?,
        None => Vec::new(),
    };
    let layer = layer(&signature);
    if !layers.contains(&layer) {
        layers.push(layer);
        let pushed = || {
            registry.push_blob(signature.payload.as_bytes(), None)?;
            let digests = layers.iter().filter_map(|layer| layer["digest"].as_str());
            let digests: Vec<_> = digests.map(str::to_owned).collect();
            let config = image_config(&digests).to_string();
            registry.push_blob(config.as_bytes(), None)?;
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(CONFIG, config.as_bytes()),
                "layers": layers,
            });
            registry.push_manifest(&tag, MANIFEST, manifest.to_string().as_bytes())
        };
        pushed().map_err(refused)?;
    }
    // As a configuration with `verify` will.
    let signatures = registry.signatures(&digest).map_err(refused)?;
    image::verify(&key.public(), &signatures, &digest).map_err(|error| {
        PublishError::NotSigned {
            image: image.to_string(),
            error,
        }
    })?;
    Ok(ImageReference {
        digest: Some(format!("sha256:{digest}")),
        ..image.clone()
    })
}

/// The layers of a manifest; `None` if it is not one.
fn layers(manifest: &[u8]) -> Option<Vec<Json>> {
    let manifest: Json = serde_json::from_slice(manifest).ok()?;
    manifest["layers"].as_array().cloned()
}

fn layer(signature: &ImageSignature) -> Json {
    let mut layer = descriptor(image::MEDIA_TYPE, signature.payload.as_bytes());
    layer["annotations"] = json!({ (image::ANNOTATION): signature.signature });
    layer
}
