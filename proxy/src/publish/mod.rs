//! Publishing: modules and their signatures go into a registry, from where they are
//! fetched ([`modules`](crate::modules)) and verified
//! ([`signature`](crate::signature)).

mod layout;
mod signed;

use std::fmt;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use weir_config::ImageReference;

use self::layout::Image;
pub(crate) use self::layout::Layout;
pub(crate) use self::signed::sign;
use crate::modules::{Door, FetchError, Repository};
use crate::signature::{MODULE_HEADER, SignatureError};

/// Why something is not published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot write {}: {source}", path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} is not a WebAssembly binary: it does not begin with `\\0asm`", .0.display())]
    NotAModule(PathBuf),
    #[error("the key {} cannot be used: {why}", path.display())]
    Key { path: PathBuf, why: String },
    #[error("{image} is signed, and that is not found: {error}")]
    NotSigned {
        image: String,
        error: SignatureError,
    },
    #[error("`{0}` is for files; the signature of an image goes into its registry")]
    OfFiles(&'static str),
    #[error("{0}: an image is pushed under a tag, and gets its digest then")]
    Digest(String),
    #[error("{0}: the signatures of the image are not a manifest in JSON")]
    Signatures(String),
    #[error("{image}: {error}{hint}")]
    Registry {
        image: String,
        error: Box<FetchError>,
        hint: CredentialsHint,
    },
}

/// Where credentials would be, when a registry wants others.
#[derive(Debug)]
pub(crate) enum CredentialsHint {
    Nothing,
    /// There is a file, with credentials for the registry in it or without.
    File(PathBuf, bool),
    NoFile,
}

impl fmt::Display for CredentialsHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::File(path, true) => {
                write!(f, "\n  it was shown the credentials in {}", path.display())
            }
            Self::File(path, false) => write!(
                f,
                "\n  there are no credentials for it in {}: `docker login` writes them, and \
                 `--auth` names another file",
                path.display()
            ),
            Self::NoFile => f.write_str("\n  `--auth` names a file with credentials"),
        }
    }
}

impl PublishError {
    /// What the registry of `image` has refused.
    fn registry(
        image: &ImageReference,
        door: &Door,
        repository: Option<&Repository>,
        error: FetchError,
    ) -> Self {
        let hint = match &door.credentials {
            _ if !error.is_for_credentials() => CredentialsHint::Nothing,
            Some((path, _)) => {
                let shown = repository.is_some_and(Repository::has_credentials);
                CredentialsHint::File(path.clone(), shown)
            }
            None => CredentialsHint::NoFile,
        };
        let error = match error {
            // What it says of a configuration helps nobody here.
            FetchError::Status { host, status } if !matches!(hint, CredentialsHint::Nothing) => {
                FetchError::Refused {
                    host,
                    what: "the image".to_owned(),
                    status,
                    challenge: None,
                    said: None,
                }
            }
            error => error,
        };
        Self::Registry {
            image: image.to_string(),
            error: Box::new(error),
            hint,
        }
    }
}

/// Reads a module.
///
/// # Errors
/// When it cannot be read, or is none.
pub(crate) fn module(path: &Path) -> Result<Vec<u8>, PublishError> {
    let bytes = std::fs::read(path).map_err(|source| PublishError::Read {
        path: path.to_owned(),
        source,
    })?;
    if !bytes.starts_with(MODULE_HEADER) {
        return Err(PublishError::NotAModule(path.to_owned()));
    }
    Ok(bytes)
}

/// Writes a file at once: whoever reads it meanwhile has the old one or the new one. It
/// keeps its mode.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    let written = || {
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let before = std::fs::metadata(path)
            .map(|found| found.permissions())
            .ok();
        let mut aside = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(folder.unwrap_or(Path::new(".")))?;
        aside.write_all(bytes)?;
        if let Some(permissions) = before {
            aside.as_file().set_permissions(permissions)?;
        }
        aside.persist(path)?;
        Ok(())
    };
    written().map_err(|source: io::Error| PublishError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Puts a module into a registry, laid out as `layout` says, its layer in pieces of
/// `chunk` bytes if that is given. Gives the reference by which it can be fetched: with
/// the tag, and the digest of the manifest.
///
/// # Errors
/// What the registry refuses.
pub(crate) fn push(
    image: &ImageReference,
    module: &[u8],
    layout: Layout,
    door: &Door,
    chunk: Option<usize>,
) -> Result<ImageReference, PublishError> {
    let (Some(tag), None) = (&image.tag, &image.digest) else {
        return Err(PublishError::Digest(image.to_string()));
    };
    let repository = Repository::open(image, door)
        .map_err(|error| PublishError::registry(image, door, None, error))?;
    let pushed = || {
        let registry = repository.registry();
        let Image {
            layer,
            config,
            manifest,
            media_type,
        } = Image::of(module, layout);
        registry.push_blob(&layer, chunk)?;
        registry.push_blob(&config, None)?;
        registry.push_manifest(tag, media_type, &manifest)
    };
    let digest =
        pushed().map_err(|error| PublishError::registry(image, door, Some(&repository), error))?;
    Ok(ImageReference {
        digest: Some(format!("sha256:{digest}")),
        ..image.clone()
    })
}
