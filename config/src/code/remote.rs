//! `code.remote`: Envoy's `RemoteDataSource`, and modules in OCI registries.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::image::{ImageReference, host_and_port, is_sha256};
use crate::defaults::{FETCH_RETRIES, FETCH_TIMEOUT};
use crate::error::Problem;
use crate::failure::Backoff;
use crate::limits::MAX_FETCH_RETRIES;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml, mismatch, nearest, words};
use crate::schema::Shape;
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`remote`",
    keys: &[
        ("uri", "oci://ghcr.io/acme/auth:1.2"),
        (
            "http_uri",
            "{ uri: \"https://example.com/auth.wasm\", timeout: 10s }",
        ),
        ("sha256", "0123456789abcdef..."),
        ("timeout", "15s"),
        ("retry_policy", "{ num_retries: 3 }"),
        ("pull_policy", "IfNotPresent"),
        ("pull_secret", "/etc/weir/docker-config.json"),
        ("ca_file", "/etc/weir/registry-ca.pem"),
        ("insecure", "true"),
    ],
    not_yet: &[],
    hints: &[
        ("url", "uri", "it is called `uri` here"),
        ("image_pull_policy", "", "it is called `pull_policy` here"),
        (
            "image_pull_secret",
            "",
            "it is called `pull_secret` here, and names a file",
        ),
    ],
};

pub(crate) static HTTP_URI_BLOCK: Block = Block {
    name: "`http_uri`",
    keys: &[
        ("uri", "https://example.com/auth.wasm"),
        ("cluster", "web"),
        ("timeout", "10s"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static RETRY_BLOCK: Block = Block {
    name: "`retry_policy`",
    keys: &[
        ("num_retries", "3"),
        ("retry_back_off", "{ base_interval: 1s }"),
    ],
    not_yet: &[],
    hints: &[],
};

/// `remote`: a module that is fetched when the configuration is taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteCode {
    /// `uri`, or Envoy's `http_uri.uri`: where it is. Required.
    pub uri: Spanned<ModuleUri>,
    /// `http_uri`, its `cluster`: whose endpoints are connected to, in place of the host
    /// in the URI. Default: none.
    pub cluster: Option<Spanned<String>>,
    /// `timeout`, or Envoy's `http_uri.timeout`: what one attempt may take, with all
    /// of its redirects. Default: 15s.
    pub timeout: Duration,
    /// `sha256`: of the file that a server sends, or of an image's manifest. Default:
    /// none, which takes what comes.
    pub sha256: Option<Spanned<String>>,
    /// `retry_policy`: what happens after an attempt that failed.
    pub retries: Retries,
    /// `pull_policy`: whether a copy that is there already will do. Default: it
    /// will, except for an image with the tag `latest`.
    pub pull_policy: Option<PullPolicy>,
    /// `pull_secret`: a Docker `config.json` with the credentials for the registry.
    /// Default: none.
    pub pull_secret: Option<Spanned<PathBuf>>,
    /// `ca_file`: certificates in PEM that the server's must descend from. Default:
    /// those that browsers trust.
    pub ca_file: Option<Spanned<PathBuf>>,
    /// `insecure`: whether a server that is not on this machine may be asked without
    /// TLS. Default: false.
    pub insecure: bool,
}

/// `uri`: where a module is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ModuleUri {
    /// `https://…` or `http://…`: a module, or an archive with one in it.
    Http(String),
    /// `oci://…`: an image.
    Image(ImageReference),
}

/// `pull_policy`: whether a copy that is there already will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PullPolicy {
    /// `IfNotPresent`: it will, and the server is not asked.
    IfNotPresent,
    /// `Always`: only if the server says that it is the same.
    Always,
}

words! {
    PullPolicy, "a pull policy",
    "IfNotPresent" => Self::IfNotPresent,
    "Always" => Self::Always,
}

/// `retry_policy`: of Envoy's, what concerns fetching code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// `num_retries`: further attempts, at most 10. Default: 1, as in Envoy.
    pub number: u32,
    /// `retry_back_off`: pauses before them. Default: 1s, then up to 10s.
    pub backoff: Backoff,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            number: FETCH_RETRIES,
            backoff: Backoff::default(),
        }
    }
}

impl RemoteCode {
    /// Whether what is asked can only be this machine.
    pub fn is_loopback(&self) -> bool {
        // A cluster's endpoints may be anywhere, whatever the host is called.
        self.cluster.is_none() && self.uri.value.is_loopback()
    }

    /// What is fetched: `pull_policy`, or its default.
    pub fn pull_policy(&self) -> PullPolicy {
        self.pull_policy.unwrap_or_else(|| match &self.uri.value {
            ModuleUri::Image(image) if image.version() == "latest" && self.sha256.is_none() => {
                PullPolicy::Always
            }
            ModuleUri::Image(_) | ModuleUri::Http(_) => PullPolicy::IfNotPresent,
        })
    }
}

impl ModuleUri {
    /// Host and port, as in a URL.
    pub fn authority(&self) -> &str {
        match self {
            Self::Http(url) => authority(url.split_once("://").map_or("", |(_, rest)| rest)),
            Self::Image(image) => &image.registry,
        }
    }

    /// Whether the host can only be this machine.
    fn is_loopback(&self) -> bool {
        is_loopback_authority(self.authority())
    }
}

/// Whether a host, perhaps with a port, can only be this machine.
pub(super) fn is_loopback_authority(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    };
    is_loopback(host.trim_start_matches('[').trim_end_matches(']'))
}

/// Whether a host, without port and brackets, can only be this machine.
pub fn is_loopback(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

impl fmt::Display for ModuleUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => f.write_str(url),
            Self::Image(image) => image.fmt(f),
        }
    }
}

/// Of what follows `scheme://`.
fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

impl FromYaml for ModuleUri {
    const EXPECTED: &'static str = "a URI, such as `oci://ghcr.io/acme/auth:1.2`";

    fn placeholder() -> Self {
        Self::Http(String::new())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some(text) = node.text() else {
            return mismatch(node, problems);
        };
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let scheme = scheme.to_ascii_lowercase();
        let (message, help) = match scheme.as_str() {
            "oci" => match ImageReference::parse(rest) {
                Ok(image) => return Self::Image(image),
                Err(wrong) => wrong,
            },
            "http" | "https" if authority(rest).contains('@') => (
                "credentials in a URI end up in logs".to_owned(),
                "remove them, and use `pull_secret`",
            ),
            "http" | "https"
                if host_and_port(authority(rest)) && rest.bytes().all(|b| b.is_ascii_graphic()) =>
            {
                return Self::Http(format!("{scheme}://{rest}"));
            }
            "http" | "https" => (
                format!("`{text}` is not a URI"),
                "it begins with a host, and blanks are written as `%20`",
            ),
            "" => (
                format!("`{text}` has no scheme"),
                "write `oci://` in front of an image, or `https://`",
            ),
            scheme => {
                let help = match nearest(scheme, ["oci", "https"].into_iter()) {
                    Some("oci") => "did you mean `oci`?",
                    Some(_) => "did you mean `https`?",
                    None => "modules come by `https`, `http` and `oci`",
                };
                (format!("no modules come by `{scheme}`"), help)
            }
        };
        problems.push(Problem::new(node.span, message).help(help));
        Self::placeholder()
    }

    fn shape() -> Shape {
        Shape::text()
    }
}

/// Envoy's `HttpUri`.
struct HttpUri {
    uri: Spanned<ModuleUri>,
    cluster: Option<Spanned<String>>,
    timeout: Option<Duration>,
}

impl FromYaml for HttpUri {
    const EXPECTED: &'static str = HTTP_URI_BLOCK.name;

    fn placeholder() -> Self {
        Self {
            uri: FromYaml::placeholder(),
            cluster: None,
            timeout: None,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = HTTP_URI_BLOCK.open(node, problems);
        Self {
            uri: fields.required("uri"),
            cluster: fields.optional("cluster"),
            timeout: timeout(&mut fields),
        }
    }
}

/// 0 would mean that nothing is ever fetched.
fn timeout(fields: &mut Fields<'_, '_>) -> Option<Duration> {
    let timeout = fields.valid::<Duration>("timeout")?;
    if timeout.is_zero() {
        let problem = Problem::new(timeout.span, "`timeout` must be more than 0");
        fields.problems.push(problem);
    }
    Some(timeout.value)
}

impl FromYaml for Retries {
    const EXPECTED: &'static str = RETRY_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = RETRY_BLOCK.open(node, problems);
        let number = fields.valid::<u32>("num_retries");
        if let Some(number) = number.filter(|n| n.value > MAX_FETCH_RETRIES) {
            let message = format!("`num_retries` is more than {MAX_FETCH_RETRIES}");
            fields.problems.push(Problem::new(number.span, message));
        }
        Self {
            number: number.map_or(FETCH_RETRIES, |number| number.value),
            backoff: fields.optional("retry_back_off").unwrap_or_default(),
        }
    }
}

/// 64 hexadecimal digits.
struct Sha256(String);

impl FromYaml for Sha256 {
    const EXPECTED: &'static str = "a SHA-256 digest of 64 hexadecimal digits";

    fn placeholder() -> Self {
        Self(String::new())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        match node.text() {
            // As Envoy takes it that a field of no text is not set.
            Some(text) if text.is_empty() || is_sha256(text) => Self(text.to_ascii_lowercase()),
            Some(_) => {
                let message = format!("this is not {}", Self::EXPECTED);
                let help = "`sha256sum auth.wasm` prints it";
                problems.push(Problem::new(node.span, message).help(help));
                Self::placeholder()
            }
            None => mismatch(node, problems),
        }
    }

    fn shape() -> Shape {
        Shape::text()
    }
}

impl FromYaml for RemoteCode {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            uri: FromYaml::placeholder(),
            cluster: None,
            timeout: FETCH_TIMEOUT,
            sha256: None,
            retries: Retries::default(),
            pull_policy: None,
            pull_secret: None,
            ca_file: None,
            insecure: false,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let before = problems.total();
        let mut fields = BLOCK.open(node, problems);
        let own = timeout(&mut fields);
        let given = fields.one_of(&["uri", "http_uri"]);
        let from = if given == Some("http_uri") {
            let http: Spanned<HttpUri> = fields.required("http_uri");
            if own.is_some() && http.timeout.is_some() {
                let message = "`timeout` stands in `http_uri` already";
                let problem = Problem::new(fields.key_span("timeout"), message);
                fields.problems.push(problem);
            }
            http.value
        } else {
            HttpUri {
                uri: fields.required("uri"),
                cluster: None,
                timeout: None,
            }
        };
        let sha256: Option<Spanned<Sha256>> = fields.optional("sha256");
        let sha256 = sha256.map(|sha256| Spanned::new(sha256.value.0, sha256.span));
        let code = Self {
            uri: from.uri,
            cluster: from.cluster.filter(|cluster| !cluster.is_empty()),
            timeout: own.or(from.timeout).unwrap_or(FETCH_TIMEOUT),
            sha256: sha256.filter(|sha256| !sha256.is_empty()),
            retries: fields.optional("retry_policy").unwrap_or_default(),
            pull_policy: fields.optional("pull_policy"),
            pull_secret: fields.optional("pull_secret"),
            ca_file: fields.optional("ca_file"),
            insecure: fields.optional("insecure").unwrap_or_default(),
        };
        if problems.total() == before {
            code.check(problems);
        }
        code
    }
}

impl RemoteCode {
    /// Notes what would be fetched in a way that anybody could meddle with, and
    /// digests that contradict each other.
    fn check(&self, problems: &mut Problems) {
        match &self.uri.value {
            ModuleUri::Http(url)
                if url.starts_with("http:")
                    && !self.insecure
                    && self.sha256.is_none()
                    && !self.is_loopback() =>
            {
                let message = "nobody vouches for a module that comes by `http`";
                let help = "use `https`, or give its `sha256`, or set `insecure: true`";
                problems.push(Problem::new(self.uri.span, message).help(help));
            }
            ModuleUri::Image(image) => {
                let of_uri = image.digest.as_deref();
                let of_uri = of_uri.and_then(|digest| digest.strip_prefix("sha256:"));
                if let (Some(of_uri), Some(given)) = (of_uri, &self.sha256)
                    && of_uri != given.value
                {
                    let message = "this is not the digest that the image has in `uri`";
                    let problem = Problem::new(given.span, message)
                        .related(self.uri.span, "the image stands here")
                        .help("`sha256` of an image is that of its manifest: leave it out");
                    problems.push(problem);
                }
            }
            ModuleUri::Http(_) => {}
        }
    }
}
