//! The signature that a configuration asks for.

use std::io;
use std::path::{Path, PathBuf};

use weir_config::{Config, ConfigError, Span, Spanned, Verify, VerifyKey};

use super::{PublicKey, SignatureError, verify_module};

/// Where a module comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// The file, if it is one.
    pub(crate) file: Option<&'a Path>,
    /// Where the configuration names it.
    pub(crate) span: Span,
}

/// Checks that `module` is signed as `verify` asks. Files that were looked for, there
/// or not, are added to `files`.
///
/// # Errors
/// A key that cannot be used, and a module that is refused, each with its place in
/// the configuration.
pub(crate) fn check(
    config: &Config,
    folder: &Path,
    verify: &Spanned<Verify>,
    module: &[u8],
    origin: Origin<'_>,
    files: &mut Vec<PathBuf>,
) -> Result<(), ConfigError> {
    let key = key(config, folder, &verify.key, files)?;
    let name = origin.file.map_or_else(
        || "the module".to_owned(),
        |file| format!("the module {}", file.display()),
    );
    let beside = origin.file.map(beside);
    let refused = |reason: &dyn std::fmt::Display| {
        config.error(origin.span, format!("{name} is refused: {reason}"))
    };
    let signature = match &beside {
        Some(path) => {
            files.push(path.clone());
            read_if_there(path).map_err(|error| {
                let path = path.display();
                refused(&format_args!("cannot read its signature {path}: {error}"))
            })?
        }
        None => None,
    };
    match verify_module(&key, module, signature.as_deref()) {
        Ok(()) => Ok(()),
        Err(SignatureError::Missing) if !verify.required => {
            tracing::warn!("{name} is not signed, which `required: false` allows");
            Ok(())
        }
        Err(error @ SignatureError::Missing) => {
            let place = beside.map_or_else(String::new, |path| {
                format!("there is no file {}, and ", path.display())
            });
            let help = format!("{place}the module has no section `signature` at its beginning");
            Err(refused(&error).with_help(&help))
        }
        Err(error) => Err(refused(&error)),
    }
}

/// Where the signature of a file is: `auth.wasm.sig` of `auth.wasm`.
fn beside(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".sig");
    path.into()
}

fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn key(
    config: &Config,
    folder: &Path,
    key: &Spanned<VerifyKey>,
    files: &mut Vec<PathBuf>,
) -> Result<PublicKey, ConfigError> {
    let read;
    let (pem, name) = match &key.value {
        VerifyKey::Pem(pem) => (pem, "the key".to_owned()),
        VerifyKey::File(path) => {
            let path = folder.join(path);
            let name = format!("the key {}", path.display());
            read = std::fs::read_to_string(&path)
                .map_err(|error| config.error(key.span, format!("cannot read {name}: {error}")))?;
            files.push(path);
            (&read, name)
        }
    };
    PublicKey::from_pem(pem)
        .map_err(|error| config.error(key.span, format!("{name} cannot be used: {error}")))
}
