//! What is in a module, and who could run it.

mod hosts;
mod module;
mod origin;
mod signature;
mod text;

use std::path::Path;

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use weir_abi::AbiVersion;

use self::hosts::Verdict;
use self::module::Contents;
use self::signature::Signatures;
pub(crate) use self::text::text;
use crate::hostcalls;

/// All that is told of a module.
pub(crate) struct Report {
    file: String,
    bytes: usize,
    digest: String,
    contents: Contents,
    origin: origin::Origin,
    signatures: Signatures,
    hosts: Vec<(&'static str, Verdict)>,
}

/// Looks at `wasm`, which is the file `path`.
///
/// # Errors
/// Why it is no module.
pub(crate) fn inspect(path: &Path, wasm: &[u8]) -> Result<Report, String> {
    let contents = Contents::read(wasm)?;
    let digest = Sha256::digest(wasm);
    Ok(Report {
        file: path.display().to_string(),
        bytes: wasm.len(),
        digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        origin: origin::of(&contents),
        signatures: signature::of(path, wasm),
        hosts: hosts::verdicts(&contents, wasm),
        contents,
    })
}

impl Report {
    /// The ABI version, as the first marker has it.
    fn abi(&self) -> Option<AbiVersion> {
        self.contents.abi()
    }

    /// The report for programs.
    pub(crate) fn json(&self) -> Json {
        let contents = &self.contents;
        let imports = contents.imports.iter().map(|import| {
            json!({
                "module": import.module,
                "name": import.name,
                "type": import.ty,
                "meaning": hostcalls::meaning(&import.module, &import.name),
            })
        });
        let exports = contents.exports.iter().map(|export| {
            json!({
                "name": export.name,
                "type": export.ty,
                "meaning": hostcalls::meaning_of_export(&export.name),
            })
        });
        let memories = contents.memories.iter().map(|memory| {
            json!({
                "initial_bytes": memory.initial,
                "maximum_bytes": memory.maximum,
                "shared": memory.shared,
            })
        });
        let sections = contents.sections.iter();
        let sections =
            sections.map(|s| json!({ "name": s.name, "bytes": s.bytes, "items": s.items }));
        let custom = contents.custom.iter();
        let custom = custom.map(|(name, bytes)| json!({ "name": name, "bytes": bytes }));
        let hosts = self.hosts.iter().map(|(name, verdict)| {
            json!({
                "name": name,
                "loads": verdict.loads(),
                "why_not": verdict.obstacles,
                "remarks": verdict.remarks,
            })
        });
        json!({
            "file": self.file,
            "bytes": self.bytes,
            "sha256": self.digest,
            "abi_version": self.abi().map(|abi| abi.to_string()),
            "markers": contents.markers(),
            "language": self.origin.language,
            "sdk": self.origin.sdk,
            "producers": contents.producers.iter().map(|producer| json!({
                "field": producer.field, "name": producer.name, "version": producer.version,
            })).collect::<Vec<_>>(),
            "imports": imports.collect::<Vec<_>>(),
            "exports": exports.collect::<Vec<_>>(),
            "memories": memories.collect::<Vec<_>>(),
            "sections": sections.collect::<Vec<_>>(),
            "custom_sections": custom.collect::<Vec<_>>(),
            "signature": {
                "section": self.signatures.section,
                "beside": self.signatures.beside,
            },
            "hosts": hosts.collect::<Vec<_>>(),
        })
    }
}
