//! `weir filter sign`

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use weir_config::ImageReference;

use super::RegistryOptions;
use crate::modules::small_file;
use crate::publish::{self, PublishError};
use crate::signature::{PrivateKey, PrivateKeyError, beside, sign_beside, sign_within};

#[derive(Args)]
pub(super) struct Sign {
    /// A file with a module, or an image: `oci://registry/repository:tag`.
    what: What,
    /// A private key in PEM, for Ed25519 or ECDSA on P-256. `openssl genpkey -algorithm
    /// ed25519 -out KEY` makes one, and `openssl pkey -in KEY -pubout` tells the public
    /// one, for `verify`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Put the signature into the module, as `wasmsign2` does, and not beside it. The
    /// key has to be for Ed25519.
    #[arg(long)]
    embed: bool,
    /// Write to this file: in place of the module's name with `.sig` or, with --embed,
    /// in place of the module's own.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryOptions,
}

/// What is signed.
#[derive(Debug, Clone)]
enum What {
    File(PathBuf),
    Image(ImageReference),
}

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("oci://") {
            return text.parse().map(Self::Image);
        }
        Ok(Self::File(text.into()))
    }
}

impl Sign {
    pub(super) fn execute(self) -> Result<(), PublishError> {
        let key = key(&self.key)?;
        match &self.what {
            What::File(file) => {
                let (default, bytes) = self.signed(file, &key)?;
                let written = self.output.unwrap_or(default);
                publish::write(&written, &bytes)?;
                println!("{}", written.display());
            }
            What::Image(image) => {
                let of_files = [("--embed", self.embed), ("--output", self.output.is_some())];
                if let Some((option, _)) = of_files.into_iter().find(|(_, given)| *given) {
                    return Err(PublishError::OfFiles(option));
                }
                let signed = publish::sign(image, &key, &self.registry.door())?;
                println!("{signed}");
            }
        }
        Ok(())
    }
}

impl Sign {
    /// What is to be written for a module that is signed, and where unless something
    /// else is said.
    fn signed(&self, file: &Path, key: &PrivateKey) -> Result<(PathBuf, Vec<u8>), PublishError> {
        let module = publish::module(file)?;
        if self.embed {
            let signed = sign_within(key, &module);
            let signed = signed.map_err(|error| cannot_be_used(&self.key, &error))?;
            return Ok((file.to_owned(), signed));
        }
        let signature = sign_beside(key, &module) + "\n";
        Ok((beside(file), signature.into_bytes()))
    }
}

fn key(path: &Path) -> Result<PrivateKey, PublishError> {
    let text = small_file(path).map_err(|source| PublishError::Read {
        path: path.to_owned(),
        source,
    })?;
    let key = PrivateKey::from_pem(&String::from_utf8_lossy(&text));
    key.map_err(|error| cannot_be_used(path, &error))
}

fn cannot_be_used(path: &Path, error: &PrivateKeyError) -> PublishError {
    PublishError::Key {
        path: path.to_owned(),
        why: error.to_string(),
    }
}
