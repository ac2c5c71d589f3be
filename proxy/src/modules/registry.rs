//! A registry, as the OCI distribution specification has it.

use std::cell::RefCell;
use std::fmt::Write;

use serde_json::Value as Json;
use ureq::http::{HeaderMap, Method, StatusCode, Uri, header};
use weir_config::ImageReference;

use super::address::host_and_port;
use super::client::{Answer, Ask, Client, Content};
use super::error::FetchError;
use super::manifest::{self, Blob, Layer, Manifest};
use super::secret::Credentials;
use super::sha256;
use crate::limits::{
    BUNDLE_BYTES_MAX, IMAGE_SIGNATURE_BYTES_MAX, IMAGE_SIGNATURES_MAX, MANIFEST_BYTES_MAX,
    TOKEN_BYTES_MAX,
};
use crate::signature::image::{self, ImageSignature};

/// What registries answer that do not list referrers.
const LISTS_NOTHING: [StatusCode; 3] = [
    StatusCode::NOT_FOUND,
    StatusCode::BAD_REQUEST,
    StatusCode::METHOD_NOT_ALLOWED,
];

/// A repository in a registry, for one fetch.
pub(crate) struct Registry<'a> {
    pub(super) client: &'a Client,
    base: Uri,
    pub(super) repository: &'a str,
    credentials: Option<Credentials>,
    /// What tokens are asked for.
    access: Access,
    /// What the registry is shown, since it has asked for something.
    authorization: RefCell<Option<String>>,
}

/// What is to be done in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Pull,
    Push,
}

impl Access {
    /// The actions of a token's scope (Docker Registry token scope documentation).
    fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
        }
    }
}

/// What the digest of an image's manifest has to be.
#[derive(Clone, Copy)]
pub(super) enum Expected<'a> {
    Anything,
    /// As the reference says.
    Digest(&'a str),
    /// As `sha256` says.
    Sha256(&'a str),
}

impl<'a> Registry<'a> {
    pub(super) fn new(
        client: &'a Client,
        base: Uri,
        repository: &'a str,
        credentials: Option<Credentials>,
        access: Access,
    ) -> Self {
        let token = match &credentials {
            Some(Credentials::Token(token)) => Some(format!("Bearer {token}")),
            _ => None,
        };
        Self {
            client,
            base,
            repository,
            credentials,
            access,
            authorization: RefCell::new(token),
        }
    }

    /// The digest of an image's manifest, and the layer with the module.
    pub(super) fn image(
        &self,
        image: &ImageReference,
        expected: Expected<'_>,
    ) -> Result<(String, Layer), FetchError> {
        let bytes = self.manifest(image.version())?;
        let found = sha256(&bytes);
        let what = "the manifest";
        match expected {
            Expected::Digest(digest) if digest != found => {
                let expected = digest.to_owned();
                return Err(FetchError::Digest {
                    what,
                    expected,
                    found,
                });
            }
            Expected::Sha256(digest) if digest != found => {
                return Err(FetchError::Sha256 { what, found });
            }
            Expected::Anything | Expected::Digest(_) | Expected::Sha256(_) => {}
        }
        let layer = match Manifest::read(&bytes)? {
            Manifest::Image(layer) => layer,
            Manifest::Index(blob) => {
                let bytes = self.manifest(&format!("sha256:{}", blob.sha256))?;
                verify("the manifest in the index", &bytes, &blob.sha256)?;
                match Manifest::read(&bytes)? {
                    Manifest::Image(layer) => layer,
                    Manifest::Index(_) => {
                        let message = "the index leads to another index";
                        return Err(FetchError::Layout(message.to_owned()));
                    }
                }
            }
        };
        Ok((found, layer))
    }

    /// The signatures of the image whose manifest has this digest, not yet verified.
    pub(crate) fn signatures(&self, sha256: &str) -> Result<Vec<ImageSignature>, FetchError> {
        let mut signatures = self.bundles(sha256)?;
        signatures.extend(self.simple_signatures(sha256)?);
        signatures.truncate(IMAGE_SIGNATURES_MAX);
        Ok(signatures)
    }

    /// Those in Sigstore bundles that refer to the image.
    fn bundles(&self, sha256: &str) -> Result<Vec<ImageSignature>, FetchError> {
        let Some(index) = self.referrers(sha256)? else {
            return Ok(Vec::new());
        };
        let mut signatures = Vec::new();
        for referrer in manifest::bundles(&index)? {
            let bytes = self.manifest(&format!("sha256:{}", referrer.sha256))?;
            verify("the manifest of a signature", &bytes, &referrer.sha256)?;
            if let Some(blob) = manifest::bundle(&bytes)? {
                let bundle = self.blob(&blob, BUNDLE_BYTES_MAX)?;
                signatures.extend(ImageSignature::of_bundle(&bundle));
            }
        }
        Ok(signatures)
    }

    /// The index of what refers to the image, if there is one.
    fn referrers(&self, sha256: &str) -> Result<Option<Vec<u8>>, FetchError> {
        let kind = encoded(image::BUNDLE_ARTIFACT_TYPE);
        let path = format!(
            "/v2/{}/referrers/sha256:{sha256}?artifactType={kind}",
            self.repository
        );
        let listed = self.get(&path, Some(manifest::ACCEPT));
        let listed = listed.and_then(|answer| answer.body("the referrers", MANIFEST_BYTES_MAX));
        match listed {
            // A registry that does not know of such lists may have one under a tag.
            Err(FetchError::Status { status, .. }) if LISTS_NOTHING.contains(&status) => {}
            listed => return listed.map(Some),
        }
        self.manifest_if_there(&image::referrers_tag(sha256))
    }

    /// Those under the image's tag for signatures.
    fn simple_signatures(&self, sha256: &str) -> Result<Vec<ImageSignature>, FetchError> {
        let Some(bytes) = self.manifest_if_there(&image::tag(sha256))? else {
            return Ok(Vec::new());
        };
        let signature = |(blob, signature): (Blob, String)| {
            let payload = self.blob(&blob, IMAGE_SIGNATURE_BYTES_MAX)?;
            let payload = String::from_utf8(payload).map_err(|_| {
                let message = "a signature of the image is over something that is not text";
                FetchError::Layout(message.to_owned())
            })?;
            Ok(ImageSignature {
                form: image::Form::SimpleSigning,
                payload,
                signature,
            })
        };
        let signatures = manifest::signatures(&bytes)?;
        signatures.into_iter().map(signature).collect()
    }

    /// The bytes of a manifest, under a tag or a digest.
    pub(crate) fn manifest(&self, version: &str) -> Result<Vec<u8>, FetchError> {
        let path = format!("/v2/{}/manifests/{version}", self.repository);
        let answer = self.get(&path, Some(manifest::ACCEPT))?;
        let said = answer.headers().get(manifest::DIGEST).cloned();
        let bytes = answer.body("the manifest", MANIFEST_BYTES_MAX)?;
        let said = said.as_ref().and_then(|said| said.to_str().ok());
        if let Some(said) = said.and_then(|said| said.strip_prefix("sha256:")) {
            verify("the manifest", &bytes, said)?;
        }
        Ok(bytes)
    }

    /// The manifest under a tag, if there is one.
    pub(crate) fn manifest_if_there(&self, tag: &str) -> Result<Option<Vec<u8>>, FetchError> {
        match self.manifest(tag) {
            Err(FetchError::Status { status, .. }) if status == StatusCode::NOT_FOUND => Ok(None),
            manifest => manifest.map(Some),
        }
    }

    /// The bytes of a layer, of at most `limit`.
    pub(super) fn blob(&self, blob: &Blob, limit: usize) -> Result<Vec<u8>, FetchError> {
        let what = "the layer";
        if blob.size > limit as u64 {
            return Err(FetchError::TooLarge { what, limit });
        }
        let path = format!("/v2/{}/blobs/sha256:{}", self.repository, blob.sha256);
        let bytes = self.get(&path, None)?.body(what, limit)?;
        verify(what, &bytes, &blob.sha256)?;
        Ok(bytes)
    }

    fn get(&self, path: &str, accept: Option<&str>) -> Result<Answer, FetchError> {
        let ask = Ask {
            accept,
            ..Ask::default()
        };
        self.request(&self.uri(path)?, &ask)
    }

    /// Whether `uri` is of the registry itself.
    pub(super) fn is_own(&self, uri: &Uri) -> bool {
        uri.scheme() == self.base.scheme() && host_and_port(uri) == host_and_port(&self.base)
    }

    /// Something in the registry.
    pub(super) fn uri(&self, path: &str) -> Result<Uri, FetchError> {
        let (scheme, authority) = (self.base.scheme_str(), self.base.authority());
        let uri = format!(
            "{}://{}{path}",
            scheme.unwrap_or("https"),
            authority.map_or("", |a| a.as_str())
        );
        uri.parse()
            .map_err(|_| FetchError::Protocol(format!("`{uri}` is not a URI")))
    }

    /// Asks the registry, and shows it what it wants to be shown.
    pub(super) fn request(&self, uri: &Uri, ask: &Ask<'_>) -> Result<Answer, FetchError> {
        let ask = |authorization: Option<&str>| {
            let ask = Ask {
                method: ask.method.clone(),
                authorization,
                ..*ask
            };
            self.client.follow(uri, &ask)
        };
        let shown = self.authorization.borrow().clone();
        let answer = ask(shown.as_deref())?;
        // What was given by hand is all that there is.
        let fixed = matches!(self.credentials, Some(Credentials::Token(_)));
        if answer.status() != StatusCode::UNAUTHORIZED || fixed && shown.is_some() {
            return Ok(answer);
        }
        // A token may have been good for what came before, and have expired.
        match self.authorize(answer.headers())? {
            Some(authorization) if shown.as_ref() != Some(&authorization) => {
                let answer = ask(Some(&authorization));
                *self.authorization.borrow_mut() = Some(authorization);
                answer
            }
            _ => Ok(answer),
        }
    }

    /// What to show to a registry that has refused something; `None` if there is
    /// nothing.
    fn authorize(&self, headers: &HeaderMap) -> Result<Option<String>, FetchError> {
        let challenges = headers.get_all(header::WWW_AUTHENTICATE);
        for challenge in challenges.iter().filter_map(|value| value.to_str().ok()) {
            let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                return self.token(rest).map(Some);
            }
            if scheme.eq_ignore_ascii_case("basic") {
                let credentials = self.credentials.as_ref();
                return Ok(credentials.and_then(Credentials::basic));
            }
        }
        Ok(None)
    }

    /// A token from where the registry says that there are some.
    fn token(&self, challenge: &str) -> Result<String, FetchError> {
        let parameters = parameters(challenge);
        let parameter = |name: &str| {
            let mut all = parameters.iter();
            let found = all.find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map_or("", |(_, value)| value)
        };
        let realm = parameter("realm");
        let forbidden = |why| FetchError::Leads {
            what: "the realm of the registry's tokens",
            to: realm.to_owned(),
            why,
        };
        let base: Uri = realm.parse().map_err(|_| forbidden("that is not a URI"))?;
        self.client.check(&base).map_err(forbidden)?;
        if self.base.scheme_str() == Some("https") && base.scheme_str() != Some("https") {
            return Err(forbidden("what began with TLS goes on with TLS"));
        }
        let scope = format!("repository:{}:{}", self.repository, self.access.actions());
        let mut query = format!("scope={}", encoded(&scope));
        let service = parameter("service");
        if !service.is_empty() {
            query.push_str("&service=");
            query.push_str(&encoded(service));
        }
        let answer = if let Some(Credentials::Refresh(token)) = &self.credentials {
            let grant = "grant_type=refresh_token&client_id=weir";
            let form = format!("{grant}&{query}&refresh_token={}", encoded(token));
            let ask = Ask {
                method: Method::POST,
                content: Some(Content {
                    media_type: "application/x-www-form-urlencoded",
                    range: None,
                    bytes: form.as_bytes(),
                }),
                ..Ask::default()
            };
            self.client.ask(&base, &ask)?
        } else {
            let separator = if base.query().is_some() { '&' } else { '?' };
            let uri = format!("{realm}{separator}{query}");
            let uri: Uri = uri.parse().map_err(|_| forbidden("that is not a URI"))?;
            let authorization = self.credentials.as_ref().and_then(Credentials::basic);
            let ask = Ask {
                authorization: authorization.as_deref(),
                ..Ask::default()
            };
            self.client.ask(&uri, &ask)?
        };
        let answer = match self.access {
            Access::Pull => answer,
            Access::Push => {
                let what = format!("a token for {scope} at {realm}");
                answer.expect(&what, &[StatusCode::OK])?
            }
        };
        let body = answer.body("the answer with a token", TOKEN_BYTES_MAX)?;
        let json: Json = serde_json::from_slice(&body).unwrap_or_default();
        let token = json.get("token").or_else(|| json.get("access_token"));
        match token.and_then(Json::as_str).filter(|t| !t.is_empty()) {
            Some(token) => Ok(format!("Bearer {token}")),
            None => {
                let message = format!("{realm} answers, and not with a token");
                Err(FetchError::Protocol(message))
            }
        }
    }
}

pub(super) fn verify(what: &'static str, bytes: &[u8], expected: &str) -> Result<(), FetchError> {
    let found = sha256(bytes);
    if found == expected {
        return Ok(());
    }
    let expected = expected.to_owned();
    Err(FetchError::Digest {
        what,
        expected,
        found,
    })
}

/// `key="value", …` of a challenge (RFC 9110, 11.2).
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((key, behind)) = rest.split_once('=') {
        let key = key.trim_matches([' ', '\t', ',']).to_owned();
        let mut value = String::new();
        let behind = behind.trim_start();
        if let Some(quoted) = behind.strip_prefix('"') {
            let mut chars = quoted.chars();
            while let Some(c) = chars.next() {
                match c {
                    '"' => break,
                    '\\' => value.extend(chars.next()),
                    c => value.push(c),
                }
            }
            rest = chars.as_str();
        } else {
            let end = behind.find(',').unwrap_or(behind.len());
            value.push_str(behind[..end].trim());
            rest = &behind[end..];
        }
        found.push((key, value));
    }
    found
}

/// A text as it may stand in a query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let text = r#"realm="https://a.io/token?x=1,2", service=r.io ,scope="a\"b,c""#;
        let expected = [
            ("realm", "https://a.io/token?x=1,2"),
            ("service", "r.io"),
            ("scope", "a\"b,c"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(parameters(text), expected);
        for odd in ["", "realm", "realm=", "realm=\"", "=", ",,=,"] {
            parameters(odd);
        }
        assert_eq!(encoded("repository:a/b:pull"), "repository%3Aa%2Fb%3Apull");
    }
}
