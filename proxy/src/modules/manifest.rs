//! Manifests of images, and which layer of one has the module.

use serde_json::Value as Json;

use super::error::FetchError;
use crate::limits::{IMAGE_SIGNATURE_BYTES_MAX, IMAGE_SIGNATURES_MAX};
use crate::signature::image;

/// What is asked for.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// The header that tells the digest of a manifest or blob.
pub(super) const DIGEST: &str = "docker-content-digest";

/// Layers that are files in a tar: of Docker and of the OCI, packed or not.
const TAR: [&str; 4] = [
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.oci.image.layer.v1.tar",
];

/// A layer that is a module: of the CNCF's artifact, or of those before it, such as
/// `application/vnd.module.wasm.content.layer.v1+wasm`.
fn is_wasm(media_type: &str) -> bool {
    media_type == "application/wasm" || media_type.ends_with("+wasm")
}

/// What a registry has under a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Manifest {
    /// Of several images, the one to take.
    Index(Blob),
    Image(Layer),
}

/// Where the module is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) blob: Blob,
    pub(super) form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The layer is the module.
    Module,
    /// The layer is a tar with the module in it.
    Tar,
}

/// Something that a registry has under its digest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Blob {
    /// 64 hexadecimal digits.
    pub(super) sha256: String,
    /// Bytes.
    pub(super) size: u64,
}

impl Blob {
    fn read(descriptor: &Json) -> Result<Self, FetchError> {
        let digest = text(descriptor, "digest");
        let sha256 = digest.strip_prefix("sha256:").unwrap_or_default();
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if sha256.len() != 64 || !sha256.bytes().all(hex) {
            let message = format!("the manifest has a digest that is not a SHA-256: `{digest}`");
            return Err(FetchError::Layout(message));
        }
        let Some(size) = descriptor.get("size").and_then(Json::as_u64) else {
            let message = "the manifest does not say how large something is";
            return Err(FetchError::Layout(message.to_owned()));
        };
        Ok(Self {
            sha256: sha256.to_owned(),
            size,
        })
    }
}

fn text<'j>(json: &'j Json, key: &str) -> &'j str {
    json.get(key).and_then(Json::as_str).unwrap_or_default()
}

fn list<'j>(json: &'j Json, key: &str) -> &'j [Json] {
    let list = json.get(key).and_then(Json::as_array);
    list.map_or(&[], Vec::as_slice)
}

impl Manifest {
    pub(super) fn read(text: &[u8]) -> Result<Self, FetchError> {
        let json = json(text)?;
        if json.get("manifests").is_some() {
            return choose(list(&json, "manifests")).map(Self::Index);
        }
        if json.get("layers").is_none() {
            let message = "the manifest has no `layers`: is it of the first version of Docker's?";
            return Err(FetchError::Layout(message.to_owned()));
        }
        module_layer(list(&json, "layers")).map(Self::Image)
    }
}

/// Of the manifest of signatures, the signatures, newest first, and where what each is
/// over is.
pub(super) fn signatures(text: &[u8]) -> Result<Vec<(Blob, String)>, FetchError> {
    let json = json(text)?;
    let layers = list(&json, "layers").iter().rev();
    let signatures = layers.filter_map(|layer| {
        let signature = self::text(layer.get("annotations")?, image::ANNOTATION);
        let is_one = self::text(layer, "mediaType") == image::MEDIA_TYPE
            && (1..=IMAGE_SIGNATURE_BYTES_MAX).contains(&signature.len());
        is_one.then(|| Ok((Blob::read(layer)?, signature.to_owned())))
    });
    signatures.take(IMAGE_SIGNATURES_MAX).collect()
}

/// Of an index of referrers, the manifests of Sigstore bundles that may have signatures
/// in them, newest first.
pub(super) fn bundles(text: &[u8]) -> Result<Vec<Blob>, FetchError> {
    let json = json(text)?;
    let manifests = list(&json, "manifests").iter().rev();
    let bundles = manifests.filter(|manifest| {
        let predicate = manifest.pointer("/annotations/dev.sigstore.bundle.predicateType");
        let signs = predicate.is_none_or(|predicate| predicate == image::SIGN_PREDICATE);
        signs && self::text(manifest, "artifactType").starts_with(image::BUNDLE_MEDIA_TYPE)
    });
    bundles.take(IMAGE_SIGNATURES_MAX).map(Blob::read).collect()
}

/// Of the manifest of a Sigstore bundle, the bundle.
pub(super) fn bundle(text: &[u8]) -> Result<Option<Blob>, FetchError> {
    let json = json(text)?;
    let is_bundle =
        |layer: &&Json| self::text(layer, "mediaType").starts_with(image::BUNDLE_MEDIA_TYPE);
    let layer = list(&json, "layers").iter().find(is_bundle);
    layer.map(Blob::read).transpose()
}

fn json(text: &[u8]) -> Result<Json, FetchError> {
    serde_json::from_slice(text)
        .map_err(|_| FetchError::Layout("the manifest is not JSON".to_owned()))
}

/// Of the layers, the one with the module: one that is a module or, as Istio has it,
/// the last.
fn module_layer(layers: &[Json]) -> Result<Layer, FetchError> {
    let wasm = layers
        .iter()
        .find(|layer| is_wasm(text(layer, "mediaType")));
    if let Some(layer) = wasm {
        let blob = Blob::read(layer)?;
        let form = Form::Module;
        return Ok(Layer { blob, form });
    }
    match layers.last() {
        Some(layer) if TAR.contains(&text(layer, "mediaType")) => {
            let blob = Blob::read(layer)?;
            let form = Form::Tar;
            Ok(Layer { blob, form })
        }
        Some(layer) => {
            let kind = text(layer, "mediaType");
            let message = format!(
                "the image has no layer that is a module, and the last one is `{kind}`: Weir \
                 takes `application/wasm`, and `plugin.wasm` in a layer of files"
            );
            Err(FetchError::Layout(message))
        }
        None => Err(FetchError::Layout("the image has no layers".to_owned())),
    }
}

/// Of the images of an index, the one for WebAssembly, or else for the platform that
/// tools take for want of a better one, or else the only one.
fn choose(images: &[Json]) -> Result<Blob, FetchError> {
    let architecture = |image: &Json| {
        let platform = image.get("platform");
        platform.map_or("", |p| text(p, "architecture")).to_owned()
    };
    // Attestations stand beside images as if they were some.
    let real: Vec<_> = images
        .iter()
        .filter(|image| architecture(image) != "unknown")
        .collect();
    let of = |wanted: &str| real.iter().find(|image| architecture(image) == wanted);
    let only = (real.len() == 1).then(|| &real[0]);
    match of("wasm").or_else(|| of("amd64")).or(only) {
        Some(image) => Blob::read(image),
        None => {
            let message = "the index has no image for the architecture `wasm` or `amd64`";
            Err(FetchError::Layout(message.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str, digit: char) -> String {
        let digest = digit.to_string().repeat(64);
        format!(r#"{{"mediaType": "{media_type}", "size": 8, "digest": "sha256:{digest}"}}"#)
    }

    fn read(layers: &[String]) -> Result<Manifest, FetchError> {
        Manifest::read(format!(r#"{{"layers": [{}]}}"#, layers.join(",")).as_bytes())
    }

    fn found(layers: &[String]) -> (char, Form) {
        match read(layers).unwrap() {
            Manifest::Image(layer) => (layer.blob.sha256.chars().next().unwrap(), layer.form),
            Manifest::Index(_) => panic!(),
        }
    }

    #[test]
    fn the_layer_with_the_module_is_found_in_every_layout() {
        for tar in TAR {
            let layers = [descriptor(TAR[0], 'a'), descriptor(tar, 'b')];
            assert_eq!(found(&layers), ('b', Form::Tar));
        }
        for wasm in [
            "application/wasm",
            "application/vnd.module.wasm.content.layer.v1+wasm",
        ] {
            let layers = [descriptor(wasm, 'a'), descriptor("text/plain", 'b')];
            assert_eq!(found(&layers), ('a', Form::Module));
        }
        for wrong in [vec![], vec![descriptor("text/plain", 'a')]] {
            assert!(read(&wrong).is_err());
        }
        assert!(read(&[descriptor(TAR[0], 'x')]).is_err());
        assert!(Manifest::read(b"{}").is_err());
        assert!(Manifest::read(b"<html>").is_err());
    }

    #[test]
    fn of_an_index_the_image_for_wasm_is_taken() {
        let image = |architecture: &str, digit: char| {
            let descriptor = descriptor("x", digit);
            let start = descriptor.trim_end_matches('}');
            format!(r#"{start}, "platform": {{"architecture": "{architecture}"}}}}"#)
        };
        let chosen = |images: &[String]| {
            let text = format!(r#"{{"manifests": [{}]}}"#, images.join(","));
            match Manifest::read(text.as_bytes()) {
                Ok(Manifest::Index(blob)) => blob.sha256.chars().next(),
                _ => None,
            }
        };
        let (arm, amd) = (image("arm64", 'a'), image("amd64", 'b'));
        let (wasm, none) = (image("wasm", 'c'), image("unknown", 'd'));
        assert_eq!(chosen(&[arm.clone(), amd.clone(), wasm]), Some('c'));
        assert_eq!(chosen(&[none.clone(), arm.clone(), amd]), Some('b'));
        assert_eq!(chosen(&[none, arm.clone()]), Some('a'));
        assert_eq!(chosen(&[arm, image("s390x", 'e')]), None);
    }
}
