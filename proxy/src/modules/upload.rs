//! The other way: what is put into a registry (OCI distribution specification, "Push").

use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::{HeaderMap, Method, StatusCode, Uri};
use weir_config::ImageReference;

use super::client::{Answer, Ask, Client, Content};
use super::error::FetchError;
use super::manifest;
use super::registry::{Access, Registry, verify};
use super::secret::Credentials;
use super::{certificates_in, registry_at, sha256, small_file};
use crate::limits::UPLOAD_CHUNK_BYTES;

const BYTES: &str = "application/octet-stream";

/// Says how small the pieces of an upload may be.
const CHUNK_MIN: &str = "oci-chunk-min-length";

/// How to get into a registry.
#[derive(Debug, Default)]
pub(crate) struct Door {
    /// A Docker `config.json`, and whether it was asked for by name.
    pub(crate) credentials: Option<(PathBuf, bool)>,
    pub(crate) ca_file: Option<PathBuf>,
    /// Whether one that is not on this machine may be spoken to without TLS.
    pub(crate) insecure: bool,
    /// What all of it may take.
    pub(crate) timeout: Duration,
}

/// A repository that is written to.
pub(crate) struct Repository {
    client: Client,
    base: Uri,
    name: String,
    credentials: Option<Credentials>,
}

impl Repository {
    /// That of `image`. Nobody is asked yet.
    ///
    /// # Errors
    /// Files of `door` that cannot be used.
    pub(crate) fn open(image: &ImageReference, door: &Door) -> Result<Self, FetchError> {
        let local = image.is_loopback() && door.ca_file.is_none();
        let base = registry_at(&image.registry, door.insecure || local);
        let invalid = |_| FetchError::Protocol(format!("`{base}` is not a URI"));
        let base: Uri = base.parse().map_err(invalid)?;
        let certificates = door.ca_file.clone().map(certificates_in).transpose()?;
        let credentials = match &door.credentials {
            Some((path, by_name)) => credentials(path, *by_name, image)?,
            None => None,
        };
        Ok(Self {
            client: Client::new(&base, None, certificates, door.insecure, door.timeout)?,
            base,
            name: image.repository.clone(),
            credentials,
        })
    }

    /// Whether there is anything to show to the registry.
    pub(crate) fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// What the registry has of it.
    pub(crate) fn registry(&self) -> Registry<'_> {
        let credentials = self.credentials.clone();
        let base = self.base.clone();
        Registry::new(&self.client, base, &self.name, credentials, Access::Push)
    }
}

/// Those for an image; none where there is no file, unless it was asked for by name.
fn credentials(
    path: &Path,
    by_name: bool,
    image: &ImageReference,
) -> Result<Option<Credentials>, FetchError> {
    let read = small_file(path).map_err(|error| error.to_string());
    let found = read.and_then(|text| Credentials::find(&text, &image.registry, &image.repository));
    match found {
        Err(_) if !by_name => Ok(None),
        found => found.map_err(|why| FetchError::Secret {
            path: path.to_owned(),
            why,
        }),
    }
}

impl Registry<'_> {
    /// Puts bytes into the repository, under their digest, unless they are there
    /// already: as a whole, or in pieces of `chunk` bytes where that is given or the
    /// registry does not take them as a whole.
    ///
    /// # Errors
    /// What the registry refuses, and a digest of its that is not that of the bytes.
    pub(crate) fn push_blob(&self, bytes: &[u8], chunk: Option<usize>) -> Result<(), FetchError> {
        let digest = format!("sha256:{}", sha256(bytes));
        let path = format!("/v2/{}/blobs/{digest}", self.repository);
        let is_there = self.request(
            &self.uri(&path)?,
            &Ask {
                method: Method::HEAD,
                ..Ask::default()
            },
        )?;
        if is_there.status() == StatusCode::OK {
            return Ok(());
        }
        let (location, chunk_min) = self.begin_upload()?;
        let what = format!("the blob {digest}");
        if let Some(chunk) = chunk {
            return self.push_chunks(location, bytes, chunk.max(chunk_min), &digest);
        }
        let answer = self.send(Method::PUT, &complete(&location, &digest)?, bytes, None)?;
        if answer.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let (location, chunk_min) = self.begin_upload()?;
            let chunk = UPLOAD_CHUNK_BYTES.max(chunk_min);
            return self.push_chunks(location, bytes, chunk, &digest);
        }
        let answer = answer.expect(&what, &[StatusCode::CREATED])?;
        is_for(answer.headers(), "the blob as the registry has it", bytes)
    }

    /// Where an upload goes, and how small its pieces may be.
    fn begin_upload(&self) -> Result<(Uri, usize), FetchError> {
        let uri = self.uri(&format!("/v2/{}/blobs/uploads/", self.repository))?;
        let answer = self.send(Method::POST, &uri, b"", None)?;
        let what = format!("an upload to `{}`", self.repository);
        let answer = answer.expect(&what, &[StatusCode::ACCEPTED])?;
        let headers = answer.headers();
        let chunk_min = headers.get(CHUNK_MIN).and_then(|min| min.to_str().ok());
        let chunk_min = chunk_min.and_then(|min| min.parse().ok()).unwrap_or(1);
        let location = self
            .client
            .led("the beginning of an upload", &uri, headers)?;
        Ok((location, chunk_min))
    }

    fn push_chunks(
        &self,
        mut location: Uri,
        bytes: &[u8],
        chunk: usize,
        digest: &str,
    ) -> Result<(), FetchError> {
        let mut first = 0;
        for piece in bytes.chunks(chunk) {
            let last = first + piece.len() - 1;
            let answer = self.send(Method::PATCH, &location, piece, Some((first, last)))?;
            let what = format!("bytes {first} to {last} of the blob {digest}");
            let answer = answer.expect(&what, &[StatusCode::ACCEPTED])?;
            location = self
                .client
                .led("a piece of an upload", &location, answer.headers())?;
            first = last + 1;
        }
        let answer = self.send(Method::PUT, &complete(&location, digest)?, b"", None)?;
        let what = format!("the blob {digest}");
        let answer = answer.expect(&what, &[StatusCode::CREATED])?;
        is_for(answer.headers(), "the blob as the registry has it", bytes)
    }

    /// Puts a manifest under a tag, and reads it back by its digest, which is given in
    /// hexadecimal digits.
    ///
    /// # Errors
    /// What the registry refuses, and when it has something else then.
    pub(crate) fn push_manifest(
        &self,
        tag: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<String, FetchError> {
        let uri = self.uri(&format!("/v2/{}/manifests/{tag}", self.repository))?;
        let ask = Ask {
            method: Method::PUT,
            content: Some(Content {
                media_type,
                range: None,
                bytes,
            }),
            ..Ask::default()
        };
        let answer = self.request(&uri, &ask)?;
        let what = format!("the manifest `{tag}` in `{}`", self.repository);
        let answer = answer.expect(&what, &[StatusCode::CREATED])?;
        is_for(
            answer.headers(),
            "the manifest as the registry has it",
            bytes,
        )?;
        let digest = sha256(bytes);
        let read = self.manifest(&format!("sha256:{digest}"))?;
        verify("the manifest as the registry has it", &read, &digest)?;
        Ok(digest)
    }

    /// Sends bytes to where an upload is.
    fn send(
        &self,
        method: Method,
        uri: &Uri,
        bytes: &[u8],
        range: Option<(usize, usize)>,
    ) -> Result<Answer, FetchError> {
        let ask = Ask {
            method,
            content: Some(Content {
                media_type: BYTES,
                range,
                bytes,
            }),
            ..Ask::default()
        };
        // Storage that a registry leads to is not shown what is for the registry.
        if self.is_own(uri) {
            self.request(uri, &ask)
        } else {
            self.client.ask(uri, &ask)
        }
    }
}

/// Where an upload is completed.
fn complete(location: &Uri, digest: &str) -> Result<Uri, FetchError> {
    let separator = if location.query().is_some() { '&' } else { '?' };
    let uri = format!("{location}{separator}digest={digest}");
    let invalid = |_| FetchError::Protocol(format!("`{uri}` is not a URI"));
    uri.parse().map_err(invalid)
}

/// What a registry says that the digest is.
fn is_for(headers: &HeaderMap, what: &'static str, bytes: &[u8]) -> Result<(), FetchError> {
    let said = headers
        .get(manifest::DIGEST)
        .and_then(|said| said.to_str().ok());
    match said.and_then(|said| said.strip_prefix("sha256:")) {
        Some(said) if said != sha256(bytes) => Err(FetchError::Digest {
            what,
            expected: sha256(bytes),
            found: said.to_owned(),
        }),
        _ => Ok(()),
    }
}
