//! The signature that a configuration asks for.

use std::io;
use std::path::{Path, PathBuf};

use weir_config::{Config, ConfigError, ModuleUri, Span, Spanned, Verify, VerifyKey};

use super::image::{self, ImageSignature};
use super::{PublicKey, SignatureError, verify_module};

/// Where a module comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) place: Place<'a>,
    /// Where the configuration names it.
    pub(crate) span: Span,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    File(&'a Path),
    /// A file on a server, or an image.
    Server {
        uri: &'a ModuleUri,
        /// The digest of the file or of the image's manifest, in hexadecimal digits.
        sha256: &'a str,
        /// Those that the registry has for the image.
        signatures: &'a [ImageSignature],
    },
    /// The configuration itself, or the environment.
    Text,
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
    let name = match origin.place {
        Place::File(file) => format!("the module {}", file.display()),
        Place::Server { uri, .. } => format!("the module {uri}"),
        Place::Text => "the module".to_owned(),
    };
    let refused = |reason: &dyn std::fmt::Display| {
        config.error(origin.span, format!("{name} is refused: {reason}"))
    };
    let verified = match origin.place {
        Place::File(file) => {
            let path = beside(file);
            let signature = read_if_there(&path).map_err(|error| {
                let path = path.display();
                refused(&format_args!("cannot read its signature {path}: {error}"))
            })?;
            files.push(path);
            verify_module(&key, module, signature.as_deref())
        }
        Place::Server {
            signatures, sha256, ..
        } if !signatures.is_empty() => image::verify(&key, signatures, sha256),
        Place::Server { .. } | Place::Text => verify_module(&key, module, None),
    };
    match verified {
        Ok(()) => Ok(()),
        Err(SignatureError::Missing) if !verify.required => {
            tracing::warn!("{name} is not signed, which `required: false` allows");
            Ok(())
        }
        Err(error @ SignatureError::Missing) => {
            let place = match origin.place {
                Place::File(file) => {
                    format!("there is no file {}, and ", beside(file).display())
                }
                Place::Server {
                    uri: ModuleUri::Image(image),
                    sha256,
                    ..
                } => {
                    let (registry, repository) = (&image.registry, &image.repository);
                    let tag = image::tag(sha256);
                    format!("there is no image {registry}/{repository}:{tag}, and ")
                }
                Place::Server { .. } | Place::Text => String::new(),
            };
            let help = format!("{place}the module has no section `signature` at its beginning");
            Err(refused(&error).with_help(&help))
        }
        Err(error) => Err(refused(&error)),
    }
}

/// Where the signature of a file is: `auth.wasm.sig` of `auth.wasm`.
pub(crate) fn beside(file: &Path) -> PathBuf {
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
