//! `oci://registry/repository:tag`: a module in an OCI registry.

use std::fmt;
use std::str::FromStr;

/// Characters of a repository's name, as the distribution specification has it.
const REPOSITORY_MAX: usize = 255;

/// Characters of a tag (distribution specification).
const TAG_MAX: usize = 128;

/// An image in an OCI registry, by tag or by digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageReference {
    /// Host of the registry, and port if there is one.
    pub registry: String,
    /// Name within the registry, such as `acme/auth`.
    pub repository: String,
    /// `latest` if neither tag nor digest is given. Beside a digest, it only tells
    /// people which version that is.
    pub tag: Option<String>,
    /// `sha256:` and 64 hexadecimal digits: of the manifest.
    pub digest: Option<String>,
}

impl ImageReference {
    /// What a registry calls it: the digest if there is one.
    pub fn version(&self) -> &str {
        self.digest
            .as_deref()
            .or(self.tag.as_deref())
            .unwrap_or("latest")
    }

    /// Whether the registry can only be this machine.
    pub fn is_loopback(&self) -> bool {
        super::remote::is_loopback_authority(&self.registry)
    }

    /// Reads what follows `oci://`; the error says what is wrong, and what to do.
    pub(super) fn parse(text: &str) -> Result<Self, (String, &'static str)> {
        let wrong = |message: String, help| Err((message, help));
        let Some((registry, rest)) = text.split_once('/') else {
            let message = format!("`{text}` names no repository");
            return wrong(message, "write `oci://registry/repository:tag`");
        };
        let is_host = registry.contains(['.', ':']) || registry == "localhost";
        if !is_host || !host_and_port(registry) {
            let message = format!("`{registry}` is not the host of a registry");
            let help = "name the registry too: `oci://docker.io/...` for Docker Hub";
            return wrong(message, help);
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if let Some(digest) = digest
            && !digest.strip_prefix("sha256:").is_some_and(is_sha256)
        {
            let message = format!("`{digest}` is not a digest");
            return wrong(message, "a digest is `sha256:` and 64 hexadecimal digits");
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            let message = format!("`{tag}` is not a tag");
            let help = "a tag is up to 128 letters, digits, `_`, `.` and `-`";
            return wrong(message, help);
        }
        if repository.len() > REPOSITORY_MAX || !repository.split('/').all(is_component) {
            let message = format!("`{repository}` is not the name of a repository");
            let help = "it is made of lower case letters and digits, with `/`, `.`, `_` and `-` \
                        between them";
            return wrong(message, help);
        }
        let tag = match (tag, digest) {
            (None, None) => Some("latest"),
            (tag, _) => tag,
        };
        let (registry, repository) = match registry {
            "docker.io" | "index.docker.io" if !repository.contains('/') => {
                ("docker.io", format!("library/{repository}"))
            }
            "index.docker.io" => ("docker.io", repository.to_owned()),
            registry => (registry, repository.to_owned()),
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_ascii_lowercase),
        })
    }
}

impl FromStr for ImageReference {
    type Err = String;

    /// From `oci://registry/repository:tag`; the error says what is wrong, and what to
    /// do.
    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("oci://").ok_or_else(|| {
            format!("`{text}` is not an image: write `oci://registry/repository:tag`")
        })?;
        Self::parse(rest).map_err(|(message, help)| format!("{message}: {help}"))
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// Whether a text is 64 hexadecimal digits.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a text can stand in a URL as host and port.
pub(super) fn host_and_port(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host_is_valid = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let in_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            !host.is_empty() && host.bytes().all(in_name)
        }
    };
    host_is_valid && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_tag(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    !text.is_empty()
        && text.len() <= TAG_MAX
        && !text.starts_with(['.', '-'])
        && text.bytes().all(inside)
}

/// Whether a text can be a part of a repository's name: letters and digits, with
/// separators between them.
fn is_component(text: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes
            .iter()
            .all(|b| alphanumeric(b) || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        ImageReference::parse(text).unwrap().to_string()
    }

    #[test]
    fn references_are_read_as_docker_reads_them() {
        assert_eq!(
            shown("ghcr.io/acme/auth:1.2"),
            "oci://ghcr.io/acme/auth:1.2"
        );
        assert_eq!(shown("localhost:5000/a"), "oci://localhost:5000/a:latest");
        assert_eq!(shown("[::1]:5000/a:b"), "oci://[::1]:5000/a:b");
        assert_eq!(shown("docker.io/a"), "oci://docker.io/library/a:latest");
        let digest = format!("sha256:{}", "Ab".repeat(32));
        let image = ImageReference::parse(&format!("r.io/a:v1@{digest}")).unwrap();
        assert_eq!(image.version(), digest.to_ascii_lowercase());
        assert_eq!(image.tag.as_deref(), Some("v1"));
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for wrong in [
            "",
            "auth",
            "acme/auth",
            "r.io/",
            "r.io//a",
            "r.io/A",
            "r.io/a:",
            "r.io/a:-x",
            "r.io/a@sha256:00",
            "r.io/a@md5:00",
            "r.io:0/a",
            "r.io:99999/a",
            "u:p@r.io/a",
            "r.io/../a",
            "r.io/a b",
            "r.io/a?b",
            "r.io/-a",
            "[::1/a:b",
        ] {
            assert!(ImageReference::parse(wrong).is_err(), "{wrong}");
        }
    }
}
