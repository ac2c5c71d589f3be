//! Modules that are fetched: over HTTP and from OCI registries, with copies on disk.
//!
//! All of it blocks, and is done where generations are built, off the workers. What
//! comes from a server is not trusted: it is bounded in time and size, compared with
//! its digests, and does not decide where Weir connects to.

mod address;
mod cache;
mod client;
mod environment;
mod error;
mod manifest;
mod registry;
mod secret;
mod unpack;
mod upload;

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use ureq::http::Uri;
use ureq::tls::Certificate;
use weir_config::{
    Cluster, Code, Config, ConfigError, HttpFilter, ImageReference, Listener, ModuleUri,
    PullPolicy, RemoteCode, Span,
};

pub(crate) use self::environment::from_environment;
pub(crate) use self::error::FetchError;
pub(crate) use self::unpack::PLUGIN;
pub(crate) use self::upload::{Door, Repository};

use self::cache::{Cache, Copy};
use self::client::{Ask, Client};
use self::manifest::Form;
use self::registry::{Access, Expected, Registry};
use self::secret::Credentials;
use crate::limits::{ARCHIVE_OVERHEAD_BYTES, FETCHES_AT_ONCE, SECRET_BYTES_MAX};
use crate::signature::image::ImageSignature;
use crate::signature::is_signed;
use crate::telemetry::fetches;

/// The modules on servers that a configuration names.
#[derive(Default)]
pub(crate) struct RemoteModules {
    /// By what they were asked for with.
    found: HashMap<String, Result<Found, FetchError>>,
    /// Whether copies are in memory only.
    volatile: bool,
}

/// A module, and what it was in.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) module: Bytes,
    /// Digest of the file, or of the image's manifest, in hexadecimal digits.
    pub(crate) origin: String,
    /// Those that the registry has for the image, if they were asked for. They are not
    /// verified.
    pub(crate) signatures: Vec<ImageSignature>,
}

/// Something to fetch.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    remote: &'a RemoteCode,
    /// Whether it is an image whose signatures are wanted too.
    signed: bool,
}

impl RemoteModules {
    /// Fetches all of them, several at a time. `previous` has what an earlier
    /// configuration has fetched, and could not write down.
    ///
    /// # Errors
    /// When the folder for copies that is configured cannot be used. What cannot be
    /// fetched is told by [`Self::get`].
    pub(crate) fn fetch(
        config: &Config,
        folder: &Path,
        previous: Option<&Self>,
    ) -> Result<Self, ConfigError> {
        let mut wanted = HashMap::new();
        for each in all(config) {
            wanted.entry(each.key()).or_insert(each);
        }
        if wanted.is_empty() {
            return Ok(Self::default());
        }
        let cache = cache(config, folder)?;
        let job = Job {
            config,
            folder,
            cache: cache.as_ref(),
            previous,
        };
        let wanted: Vec<_> = wanted.into_iter().collect();
        let next = AtomicUsize::new(0);
        let found = Mutex::new(HashMap::new());
        thread::scope(|scope| {
            for _ in 0..wanted.len().min(FETCHES_AT_ONCE) {
                scope.spawn(|| {
                    while let Some((key, each)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let result = job.module(*each);
                        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                        found.insert(key.clone(), result);
                    }
                });
            }
        });
        if let Some(Err(error)) = cache.as_ref().map(Cache::tidy) {
            tracing::warn!(%error, "cannot tidy up the cache of modules");
        }
        Ok(Self {
            found: found.into_inner().unwrap_or_else(PoisonError::into_inner),
            volatile: cache.is_none(),
        })
    }

    /// The module that was fetched for `remote`; `verified` tells whether it will be.
    ///
    /// # Errors
    /// Why it was not, with the place in the configuration that is to blame.
    pub(crate) fn get(
        &self,
        config: &Config,
        remote: &RemoteCode,
        verified: bool,
    ) -> Result<Found, ConfigError> {
        match self.found.get(&Wanted::new(remote, verified).key()) {
            Some(Ok(found)) => Ok(found.clone()),
            Some(Err(error)) => {
                let span = place(remote, error);
                let message = format!("cannot fetch the module {}: {error}", remote.uri);
                Err(config.error(span, message))
            }
            None => {
                let message = format!("the module {} was not asked for", remote.uri);
                Err(config.error(remote.uri.span, message))
            }
        }
    }

    /// What the next configuration has to get from this one.
    pub(crate) fn kept(self) -> Self {
        if self.volatile { self } else { Self::default() }
    }

    /// The files that `remote` names.
    pub(crate) fn files(folder: &Path, remote: &RemoteCode) -> Vec<PathBuf> {
        let files = [&remote.pull_secret, &remote.ca_file].into_iter().flatten();
        files.map(|path| folder.join(&path.value)).collect()
    }
}

/// Every filter of `config`, access loggers among them: what generations are made of.
pub(crate) fn filters(config: &Config) -> impl Iterator<Item = &HttpFilter> {
    let chains = config.listeners.iter().flat_map(Listener::chains);
    chains.flat_map(|chain| chain.filters().iter().chain(&chain.access_loggers))
}

/// Every module on a server that `config` names.
fn all(config: &Config) -> impl Iterator<Item = Wanted<'_>> {
    let versions = filters(config).flat_map(HttpFilter::versions);
    versions.filter_map(|wasm| {
        let vm = &wasm.vm_config;
        match &vm.code.value {
            Code::Remote(remote) => Some(Wanted::new(remote, vm.verify.is_some())),
            Code::File(_) | Code::Inline(_) | Code::Environment(_) => None,
        }
    })
}

impl<'a> Wanted<'a> {
    fn new(remote: &'a RemoteCode, verified: bool) -> Self {
        let is_image = matches!(remote.uri.value, ModuleUri::Image(_));
        Self {
            remote,
            signed: verified && is_image,
        }
    }

    /// What tells two things to fetch apart, within one configuration.
    fn key(self) -> String {
        let remote = self.remote;
        let path =
            |path: &Option<weir_config::Spanned<PathBuf>>| path.as_ref().map(|p| p.value.clone());
        format!(
            "{}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
            self.source(),
            remote.cluster.as_ref().map(|c| &c.value),
            remote.timeout,
            remote.retries,
            remote.pull_policy(),
            path(&remote.pull_secret),
            path(&remote.ca_file),
            remote.insecure,
        )
    }

    /// What a copy is a copy of.
    fn source(self) -> String {
        let remote = self.remote;
        let mut source = remote.uri.to_string();
        if let Some(sha256) = &remote.sha256 {
            source += " sha256:";
            source += &sha256.value;
        } else if remote.insecure {
            // What nobody vouches for is no copy for those who want more.
            source += " insecure";
        }
        if let Some(cluster) = &remote.cluster {
            source += " via ";
            source += &cluster.value;
        }
        if self.signed {
            source += " with signatures";
        }
        source
    }

    /// Whether a copy will do for now. An image without a signature may have been
    /// signed since.
    fn is_content(self, copy: &Found) -> bool {
        let signed = !copy.signatures.is_empty() || is_signed(&copy.module);
        let pulls_always = self.remote.pull_policy() == PullPolicy::Always;
        !pulls_always && (!self.signed || signed)
    }
}

fn place(remote: &RemoteCode, error: &FetchError) -> Span {
    let key = match error {
        FetchError::Sha256 { .. } => remote.sha256.as_ref().map(|s| s.span),
        FetchError::Secret { .. } => remote.pull_secret.as_ref().map(|s| s.span),
        FetchError::Certificates { .. } => remote.ca_file.as_ref().map(|s| s.span),
        _ => None,
    };
    key.unwrap_or(remote.uri.span)
}

/// 64 hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The folder for copies; `None` if there is none by default.
fn cache(config: &Config, folder: &Path) -> Result<Option<Cache>, ConfigError> {
    let modules = &config.modules;
    let open = |path: &Path| Cache::open(path, modules.cache_size, modules.cache_expiry);
    if let Some(path) = &modules.cache {
        let path_of = folder.join(&path.value);
        return open(&path_of).map(Some).map_err(|error| {
            let message = format!("cannot keep modules in {}: {error}", path_of.display());
            config.error(path.span, message)
        });
    }
    let Some(path) = default_folder() else {
        tracing::warn!("modules are not kept on disk: `modules.cache` can name a folder");
        return Ok(None);
    };
    match open(&path) {
        Ok(cache) => Ok(Some(cache)),
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "modules are not kept on disk");
            Ok(None)
        }
    }
}

/// Where systemd or the user has caches.
fn default_folder() -> Option<PathBuf> {
    let folder = |name| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    if let Some(own) = folder("CACHE_DIRECTORY") {
        return Some(own);
    }
    let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    caches.map(|caches| caches.join("weir"))
}

/// What modules are fetched for.
struct Job<'a> {
    config: &'a Config,
    folder: &'a Path,
    cache: Option<&'a Cache>,
    previous: Option<&'a RemoteModules>,
}

impl Job<'_> {
    /// A module, from a copy or from its server.
    fn module(&self, wanted: Wanted<'_>) -> Result<Found, FetchError> {
        let uri = &wanted.remote.uri;
        let source = wanted.source();
        let copy = self.copy(wanted, &source);
        if let Some(copy) = copy.as_ref().filter(|copy| wanted.is_content(copy)) {
            fetches().hits.inc();
            tracing::debug!(%uri, "the module is there already");
            return Ok(copy.clone());
        }
        fetches().misses.inc();
        let found = self.retried(wanted, copy.as_ref());
        match &found {
            Ok(_) => fetches().successes.inc(),
            Err(_) => fetches().failures.inc(),
        }
        let found = found?;
        let is_new = copy
            .is_none_or(|copy| copy.origin != found.origin || copy.signatures != found.signatures);
        if let Some(cache) = self.cache.filter(|_| is_new) {
            let copy = Copy {
                origin: found.origin.clone(),
                module: found.module.to_vec(),
                signatures: found.signatures.clone(),
            };
            // It is there to be served, whether it can be kept or not.
            if let Err(error) = cache.put(&source, &copy) {
                tracing::warn!(%uri, %error, "the module cannot be kept on disk");
            }
        }
        Ok(found)
    }

    /// What is there already.
    fn copy(&self, wanted: Wanted<'_>, source: &str) -> Option<Found> {
        let limit = self.config.modules.module_size;
        if let Some(cache) = self.cache {
            let copy = cache.get(source, limit)?;
            return Some(Found {
                module: copy.module.into(),
                origin: copy.origin,
                signatures: copy.signatures,
            });
        }
        let found = self.previous?.found.get(&wanted.key())?;
        found.as_ref().ok().cloned()
    }

    /// Fetches a module, again and again if that may help.
    fn retried(&self, wanted: Wanted<'_>, copy: Option<&Found>) -> Result<Found, FetchError> {
        let remote = wanted.remote;
        let mut pause = remote.retries.backoff.base_interval;
        let mut left = remote.retries.number;
        loop {
            let error = match self.attempt(wanted, copy) {
                Ok(found) => return Ok(found),
                Err(error) if left == 0 || !error.is_transient() => return Err(error),
                Err(error) => error,
            };
            tracing::warn!(uri = %remote.uri, %error, "cannot fetch a module, and will try again");
            thread::sleep(pause);
            pause = (pause * 2).min(remote.retries.backoff.max_interval);
            left -= 1;
        }
    }

    fn attempt(&self, wanted: Wanted<'_>, copy: Option<&Found>) -> Result<Found, FetchError> {
        let remote = wanted.remote;
        tracing::info!(uri = %remote.uri, "fetching a module");
        let certificates = remote.ca_file.as_ref();
        let certificates = certificates
            .map(|path| certificates_in(self.folder.join(&path.value)))
            .transpose()?;
        let base = base(remote)?;
        let via = remote.cluster.as_ref();
        let via = via
            .and_then(|name| self.config.cluster(name))
            .map(endpoints);
        let plain = match &remote.uri.value {
            ModuleUri::Http(_) => remote.insecure || remote.sha256.is_some(),
            ModuleUri::Image(_) => remote.insecure,
        };
        let client = Client::new(&base, via, certificates, plain, remote.timeout)?;
        match &remote.uri.value {
            ModuleUri::Http(_) => self.file(remote, &client, &base),
            ModuleUri::Image(image) => self.image(wanted, image, &client, base, copy),
        }
    }

    /// A module, or an archive with one, that a server has under a URI.
    fn file(&self, remote: &RemoteCode, client: &Client, uri: &Uri) -> Result<Found, FetchError> {
        let limit = self.config.modules.module_size;
        let host = remote.uri.authority();
        let path = uri.path().trim_start_matches('/');
        let credentials = self.credentials(remote, host, path)?;
        // Those are for nobody else to read.
        let may_show = uri.scheme_str() == Some("https") || remote.insecure || remote.is_loopback();
        let authorization = credentials.filter(|_| may_show);
        let authorization = authorization.as_ref().and_then(Credentials::basic);
        let ask = Ask {
            authorization: authorization.as_deref(),
            ..Ask::default()
        };
        let answer = client.follow(uri, &ask)?;
        let bytes = answer.body("the file", limit.saturating_add(ARCHIVE_OVERHEAD_BYTES))?;
        let origin = sha256(&bytes);
        if remote.sha256.as_ref().is_some_and(|s| s.value != origin) {
            return Err(FetchError::Sha256 {
                what: "the file",
                found: origin,
            });
        }
        let module = unpack::file(bytes, limit)?.into();
        Ok(Found {
            module,
            origin,
            signatures: Vec::new(),
        })
    }

    /// The module in an image; that of `copy`, if it is the same image.
    fn image(
        &self,
        wanted: Wanted<'_>,
        image: &ImageReference,
        client: &Client,
        base: Uri,
        copy: Option<&Found>,
    ) -> Result<Found, FetchError> {
        let remote = wanted.remote;
        let limit = self.config.modules.module_size;
        let credentials = self.credentials(remote, &image.registry, &image.repository)?;
        let registry = Registry::new(client, base, &image.repository, credentials, Access::Pull);
        let digest = image.digest.as_deref();
        let expected = match (
            digest.and_then(|d| d.strip_prefix("sha256:")),
            &remote.sha256,
        ) {
            (Some(digest), _) => Expected::Digest(digest),
            (None, Some(sha256)) => Expected::Sha256(&sha256.value),
            (None, None) => Expected::Anything,
        };
        let (origin, layer) = registry.image(image, expected)?;
        let signatures = if wanted.signed {
            registry.signatures(&origin)?
        } else {
            Vec::new()
        };
        if let Some(copy) = copy.filter(|copy| copy.origin == origin) {
            return Ok(Found {
                module: copy.module.clone(),
                origin,
                signatures,
            });
        }
        let module = match layer.form {
            Form::Module => unpack::module(registry.blob(&layer.blob, limit)?, limit)?,
            Form::Tar => {
                let packed =
                    registry.blob(&layer.blob, limit.saturating_add(ARCHIVE_OVERHEAD_BYTES))?;
                unpack::layer(&packed, limit)?
            }
        };
        Ok(Found {
            module: module.into(),
            origin,
            signatures,
        })
    }

    fn credentials(
        &self,
        remote: &RemoteCode,
        host: &str,
        path: &str,
    ) -> Result<Option<Credentials>, FetchError> {
        let Some(secret) = &remote.pull_secret else {
            return Ok(None);
        };
        let file = self.folder.join(&secret.value);
        let found = small_file(&file).map_err(|error| error.to_string());
        let found = found.and_then(|text| Credentials::find(&text, host, path));
        found.map_err(|why| FetchError::Secret { path: file, why })
    }
}

/// Where the first request goes: to the file, or to the registry.
fn base(remote: &RemoteCode) -> Result<Uri, FetchError> {
    let text = match &remote.uri.value {
        ModuleUri::Http(uri) => uri.split('#').next().unwrap_or(uri).to_owned(),
        ModuleUri::Image(image) => {
            let local = remote.is_loopback() && remote.ca_file.is_none();
            registry_at(&image.registry, remote.insecure || local)
        }
    };
    let invalid = |_| FetchError::Protocol(format!("`{text}` is not a URI"));
    text.parse().map_err(invalid)
}

/// Where a registry is asked, without TLS if it is `plain`.
fn registry_at(name: &str, plain: bool) -> String {
    let host = match name {
        "docker.io" => "registry-1.docker.io",
        host => host,
    };
    let scheme = if plain { "http" } else { "https" };
    format!("{scheme}://{host}/")
}

fn certificates_in(path: PathBuf) -> Result<Vec<Certificate<'static>>, FetchError> {
    let read = small_file(&path).map_err(|error| error.to_string());
    let read = read.and_then(|pem| client::certificates(&pem));
    read.map_err(|why| FetchError::Certificates { path, why })
}

fn endpoints(cluster: &Cluster) -> Vec<weir_config::Endpoint> {
    let endpoints = cluster.endpoints.iter();
    endpoints
        .map(|endpoint| endpoint.address.value.clone())
        .collect()
}

/// The bytes of a file of which none is large.
pub(crate) fn small_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(SECRET_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}
