//! Signatures of a module: whether there are any. Whether they are good, only who has
//! the key can tell: `weir check` does, for a configuration with `verify`.

use std::path::{Path, PathBuf};

use wasmparser::{Parser, Payload};

/// The signatures that were found.
#[derive(Debug, Default)]
pub(super) struct Signatures {
    /// A `signature` section of wasmsign2: whether it stands first, where hosts look.
    pub(super) section: Option<&'static str>,
    /// The file beside the module that is its signature by its name.
    pub(super) beside: Option<String>,
}

pub(super) fn of(path: &Path, wasm: &[u8]) -> Signatures {
    let mut section = None;
    let payloads = Parser::new(0).parse_all(wasm).filter_map(Result::ok);
    let sections = payloads.filter(|payload| !matches!(payload, Payload::Version { .. }));
    for (index, payload) in sections.enumerate() {
        if let Payload::CustomSection(custom) = payload
            && custom.name() == "signature"
        {
            section = Some(match index {
                0 => "wasmsign2",
                _ => "wasmsign2, but not as the first section: hosts do not see it",
            });
            break;
        }
    }
    // Where Weir looks for it.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sig");
    let beside = Some(PathBuf::from(beside)).filter(|path| path.is_file());
    Signatures {
        section,
        beside: beside.map(|path| path.display().to_string()),
    }
}
