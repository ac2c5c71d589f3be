//! Which pages of other origins may read responses (Envoy's `cors_filter.cc`).

use bytes::Bytes;
use weir_abi::HeaderMap;

use super::matcher::TextMatcher;

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct Cors {
    pub(super) origins: Vec<TextMatcher>,
    pub(super) methods: String,
    pub(super) headers: String,
    pub(super) exposed: String,
    /// Seconds, as they are told.
    pub(super) max_age: Option<String>,
    pub(super) credentials: bool,
}

const ORIGIN: &str = "access-control-allow-origin";
const CREDENTIALS: &str = "access-control-allow-credentials";

impl Cors {
    /// The request's origin, if its pages may read responses.
    pub(crate) fn origin(&self, request: &HeaderMap) -> Option<Bytes> {
        let origin = request.get(b"origin").filter(|o| !o.is_empty())?;
        let allowed = self.origins.iter().any(|wanted| wanted.matches(origin));
        allowed.then(|| origin.clone())
    }

    /// What a preflight from `origin` is answered with, if `request` is one.
    pub(crate) fn preflight(
        &self,
        origin: &Bytes,
        request: &HeaderMap,
    ) -> Option<Vec<(Bytes, Bytes)>> {
        let asks = |name: &[u8]| request.get(name).is_some_and(|v| !v.is_empty());
        let is_options = request.get(b":method").is_some_and(|m| m == "OPTIONS");
        if !is_options || !asks(b"access-control-request-method") {
            return None;
        }
        let credentials = if self.credentials { "true" } else { "" };
        let max_age = self.max_age.as_deref().unwrap_or_default();
        let told = [
            (CREDENTIALS, credentials),
            ("access-control-allow-methods", &self.methods),
            ("access-control-allow-headers", &self.headers),
            ("access-control-max-age", max_age),
        ];
        let told = told.into_iter().filter(|(_, value)| !value.is_empty());
        let told =
            told.map(|(name, value)| (name.into(), Bytes::copy_from_slice(value.as_bytes())));
        let first = (Bytes::from_static(ORIGIN.as_bytes()), origin.clone());
        Some(std::iter::once(first).chain(told).collect())
    }

    /// Marks a response for pages of `origin`, that to a preflight too, as Envoy does.
    pub(crate) fn mark(&self, origin: &Bytes, response: &mut HeaderMap) {
        response.overwrite(ORIGIN, origin.clone());
        if self.credentials {
            response.overwrite(CREDENTIALS, "true");
        }
        if !self.exposed.is_empty() {
            response.overwrite("access-control-expose-headers", self.exposed.clone());
        }
    }
}
