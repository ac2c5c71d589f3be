//! How a module is laid out in an image. The same module makes the same image, down to
//! its digest.

use std::io::Write;

use clap::ValueEnum;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use serde_json::{Value as Json, json};

use crate::modules::{PLUGIN, sha256};

/// How a module is laid out in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Layout {
    /// An OCI image with `plugin.wasm` in its layer: every host that fetches takes it.
    #[default]
    Oci,
    /// The same as a Docker image.
    Docker,
    /// An OCI artifact with the media types of `wasm-to-oci`, which Istio knows.
    Artifact,
    /// An OCI artifact with the media types of the CNCF.
    Cncf,
}

/// What is put into a registry.
pub(super) struct Image {
    pub(super) layer: Vec<u8>,
    pub(super) config: Vec<u8>,
    pub(super) manifest: Vec<u8>,
    /// Of the manifest.
    pub(super) media_type: &'static str,
}

/// The media type of an OCI image's manifest.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The media type of what an OCI image says of itself.
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

impl Layout {
    /// Media types of the manifest, of what an image says of itself, and of the layer.
    fn media_types(self) -> [&'static str; 3] {
        match self {
            Self::Oci => [
                MANIFEST,
                CONFIG,
                "application/vnd.oci.image.layer.v1.tar+gzip",
            ],
            Self::Docker => [
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            ],
            Self::Artifact => [
                MANIFEST,
                "application/vnd.module.wasm.config.v1+json",
                "application/vnd.module.wasm.content.layer.v1+wasm",
            ],
            Self::Cncf => [
                MANIFEST,
                "application/vnd.wasm.config.v0+json",
                "application/wasm",
            ],
        }
    }
}

impl Image {
    pub(super) fn of(module: &[u8], layout: Layout) -> Self {
        let [kind, config_type, layer_type] = layout.media_types();
        let (layer, config) = match layout {
            Layout::Oci | Layout::Docker => {
                let files = tar(module);
                (gzip(&files), image_config(&[digest(&files)]))
            }
            Layout::Artifact => (module.to_vec(), json!({})),
            Layout::Cncf => {
                let config = json!({
                    // Required, and not the time: the same module is the same image.
                    "created": "1970-01-01T00:00:00Z",
                    "architecture": "wasm",
                    "os": "wasip1",
                    "layerDigests": [digest(module)],
                });
                (module.to_vec(), config)
            }
        };
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": kind,
            "config": descriptor(config_type, &config),
            "layers": [descriptor(layer_type, &layer)],
        });
        Self {
            layer,
            config,
            manifest: manifest.to_string().into_bytes(),
            media_type: kind,
        }
    }
}

/// What an image says of itself, whose layers have these digests before they are packed.
pub(super) fn image_config(layers: &[String]) -> Json {
    json!({
        "architecture": "wasm",
        "os": "wasip1",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": layers },
    })
}

/// How a manifest refers to bytes.
pub(super) fn descriptor(media_type: &str, bytes: &[u8]) -> Json {
    json!({ "mediaType": media_type, "size": bytes.len(), "digest": digest(bytes) })
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

/// An archive with the module alone.
fn tar(module: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_size(module.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    let mut archive = tar::Builder::new(Vec::new());
    let written = archive.append_data(&mut header, PLUGIN, module);
    in_memory(written.and_then(|()| archive.into_inner()))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed: GzEncoder<_> = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::best());
    let written = packed.write_all(bytes);
    in_memory(written.and_then(|()| packed.finish()))
}

/// Writing to memory does not fail.
fn in_memory(written: std::io::Result<Vec<u8>>) -> Vec<u8> {
    written.unwrap_or_else(|error| unreachable!("{error}"))
}
