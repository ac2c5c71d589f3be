//! One issuer of tokens: where its tokens are, what they must claim, and its keys.

use std::cell::RefCell;
use std::num::NonZeroU64;
use std::time::Duration;

use filter_config::HeaderName;
use filter_http::Source;
use serde::Deserialize;

use crate::cache::{Ages, Cache};
use crate::claims::{Demands, audience};
use crate::grant::ClaimHeader;
use crate::keys::Keys;

/// A provider.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Fields")]
pub(crate) struct Provider {
    pub(crate) from: Vec<Source>,
    pub(crate) demands: Demands,
    pub(crate) keys: KeySource,
    /// Whether the token stays in the request.
    pub(crate) forward: bool,
    pub(crate) payload_header: Option<HeaderName>,
    pub(crate) claim_headers: Vec<ClaimHeader>,
    /// Tokens whose signature need not be computed again.
    pub(crate) token_cache: usize,
}

#[derive(Debug)]
pub(crate) enum KeySource {
    Inline(Keys),
    Remote(Remote, RefCell<Cache<Keys>>),
}

/// A key set on a server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remote {
    pub(crate) url: Url,
    pub(crate) cluster: String,
    #[serde(default = "Remote::timeout_ms")]
    timeout_ms: NonZeroU64,
    #[serde(default = "Remote::refresh_s")]
    refresh_s: NonZeroU64,
    #[serde(default = "Remote::expiry_s")]
    expiry_s: NonZeroU64,
    #[serde(default = "Remote::pause_s")]
    pause_s: NonZeroU64,
    /// Whether keys are fetched before there is a request.
    #[serde(default)]
    pub(crate) prefetch: bool,
}

/// The parts of `https://authority/path`.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(try_from = "String")]
pub(crate) struct Url {
    pub(crate) scheme: String,
    pub(crate) authority: String,
    pub(crate) path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    issuer: Option<String>,
    #[serde(default)]
    audiences: Vec<String>,
    jwks: Option<Keys>,
    remote_jwks: Option<Remote>,
    from: Option<Vec<Source>>,
    #[serde(default)]
    forward: bool,
    payload_header: Option<HeaderName>,
    #[serde(default)]
    claim_headers: Vec<ClaimHeader>,
    #[serde(default = "leeway_s")]
    leeway_s: u64,
    #[serde(default)]
    require_expiration: bool,
    #[serde(default = "token_cache")]
    token_cache: usize,
}

/// Envoy's `clock_skew_seconds`.
fn leeway_s() -> u64 {
    60
}

/// At most; 32 bytes each, and what a tree has around them.
fn token_cache() -> usize {
    1000
}

const fn number(number: u64) -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(number - 1)
}

impl Remote {
    fn timeout_ms() -> NonZeroU64 {
        number(1000)
    }

    fn refresh_s() -> NonZeroU64 {
        number(600)
    }

    fn expiry_s() -> NonZeroU64 {
        number(3600)
    }

    fn pause_s() -> NonZeroU64 {
        number(5)
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.get())
    }

    pub(crate) fn ages(&self) -> Ages {
        let milliseconds = |seconds: NonZeroU64| seconds.get().saturating_mul(1000);
        Ages {
            refresh: milliseconds(self.refresh_s),
            expiry: milliseconds(self.expiry_s),
            pause: milliseconds(self.pause_s),
        }
    }
}

impl TryFrom<String> for Url {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = "expected a URL such as https://id.example.com/keys";
        let (scheme, rest) = text.split_once("://").ok_or(wrong)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let visible = rest.bytes().all(|b| b.is_ascii_graphic());
        if !matches!(scheme, "https" | "http") || authority.is_empty() || !visible {
            return Err(wrong);
        }
        Ok(Self {
            scheme: scheme.to_owned(),
            authority: authority.to_owned(),
            path: if path.is_empty() { "/" } else { path }.to_owned(),
        })
    }
}

impl TryFrom<Fields> for Provider {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let keys = match (fields.jwks, fields.remote_jwks) {
            (Some(keys), None) => KeySource::Inline(keys),
            (None, Some(remote)) => KeySource::Remote(remote, RefCell::new(Cache::new())),
            _ => return Err("a provider has either `jwks` or `remote_jwks`"),
        };
        let from = fields.from.unwrap_or_else(|| {
            let parameter = Source::Query("access_token".to_owned());
            vec![Source::bearer(), parameter]
        });
        if from.is_empty() {
            return Err("`from` names no place for a token");
        }
        let audiences = fields.audiences.iter();
        Ok(Self {
            from,
            demands: Demands {
                issuer: fields.issuer,
                audiences: audiences.map(|a| audience(a).to_owned()).collect(),
                leeway: fields.leeway_s,
                expiration: fields.require_expiration,
            },
            keys,
            forward: fields.forward,
            payload_header: fields.payload_header,
            claim_headers: fields.claim_headers,
            token_cache: fields.token_cache,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_an_authority_and_a_path() {
        let url = |text: &str| Url::try_from(text.to_owned());
        let parts = |scheme: &str, authority: &str, path: &str| {
            Ok(Url {
                scheme: scheme.to_owned(),
                authority: authority.to_owned(),
                path: path.to_owned(),
            })
        };
        assert_eq!(url("https://a:8443/k?x"), parts("https", "a:8443", "/k?x"));
        assert_eq!(url("http://a"), parts("http", "a", "/"));
        for text in ["", "a/b", "ftp://a/b", "https:///b", "https://a/b c"] {
            assert!(url(text).is_err(), "{text}");
        }
    }
}
