//! Credentials for registries, from Docker's `config.json`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

/// What a registry is shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    Password {
        user: String,
        password: String,
    },
    /// For the server that hands out tokens.
    Refresh(String),
    /// For the registry itself.
    Token(String),
}

/// Docker Hub, as `docker login` has called it from the beginning.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

impl Credentials {
    /// The ones for a repository, out of the text of a `config.json`; the error says
    /// what is wrong with that. Helpers that it names are not run.
    pub(super) fn find(
        text: &[u8],
        registry: &str,
        repository: &str,
    ) -> Result<Option<Self>, String> {
        // The text has passwords in it: an error must not repeat what it found.
        let config: Json = serde_json::from_slice(text)
            .map_err(|error| format!("line {} is not JSON", error.line()))?;
        let Some(auths) = config.get("auths") else {
            return Err("it has no `auths`, as a Docker `config.json` has".to_owned());
        };
        let Some(auths) = auths.as_object() else {
            return Err("`auths` is not an object".to_owned());
        };
        // The longest key that fits counts, so that repositories can differ.
        let fitting = auths
            .iter()
            .filter_map(|(key, auth)| Some((fits(key, registry, repository)?, auth)));
        match fitting.max_by_key(|(length, _)| *length) {
            Some((_, auth)) => Self::read(auth),
            None => Ok(None),
        }
    }

    fn read(auth: &Json) -> Result<Option<Self>, String> {
        let text = |key| {
            let text = auth.get(key).and_then(Json::as_str).unwrap_or_default();
            (!text.is_empty()).then(|| text.to_owned())
        };
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Self::Token(token)));
        }
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Self::Refresh(token)));
        }
        if let Some(auth) = text("auth") {
            let plain = STANDARD.decode(auth.trim()).ok();
            let plain = plain.and_then(|plain| String::from_utf8(plain).ok());
            let pair = plain.as_deref().and_then(|plain| plain.split_once(':'));
            let Some((user, password)) = pair else {
                return Err("an `auth` is not `user:password` in base64".to_owned());
            };
            return Ok(Some(Self::Password {
                user: user.to_owned(),
                password: password.trim_end_matches('\0').to_owned(),
            }));
        }
        let (Some(user), Some(password)) = (text("username"), text("password")) else {
            return Ok(None);
        };
        Ok(Some(Self::Password { user, password }))
    }

    /// The value of `authorization` that shows them, if they can be shown so.
    pub(super) fn basic(&self) -> Option<String> {
        let Self::Password { user, password } = self else {
            return None;
        };
        let pair = STANDARD.encode(format!("{user}:{password}"));
        Some(format!("Basic {pair}"))
    }
}

/// How many characters of a key are those of the repository; `None` if it is one for
/// others.
fn fits(key: &str, registry: &str, repository: &str) -> Option<usize> {
    if registry == "docker.io" && key == DOCKER_HUB {
        return Some(1);
    }
    let key = key.strip_prefix("https://").unwrap_or(key);
    let key = key.strip_prefix("http://").unwrap_or(key);
    let key = key.trim_end_matches('/');
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let path = match path {
        // What `docker login` puts behind the host.
        "v1" | "v2" => "",
        path => path,
    };
    let of_hub = registry == "docker.io" && host == "index.docker.io";
    if !host.eq_ignore_ascii_case(registry) && !of_hub {
        return None;
    }
    let rest = repository.strip_prefix(path)?;
    (path.is_empty() || rest.is_empty() || rest.starts_with('/')).then(|| host.len() + path.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str, registry: &str, repository: &str) -> Option<String> {
        match Credentials::find(text.as_bytes(), registry, repository).unwrap()? {
            Credentials::Password { user, .. } => Some(user),
            Credentials::Refresh(token) | Credentials::Token(token) => Some(token),
        }
    }

    #[test]
    fn credentials_are_those_of_the_registry() {
        let pair = STANDARD.encode("hub:secret");
        let text = format!(
            r#"{{"auths": {{
                "https://index.docker.io/v1/": {{ "auth": "{pair}" }},
                "r.io": {{ "username": "plain", "password": "p" }},
                "r.io/acme": {{ "username": "acme", "password": "p" }},
                "https://s.io/v2/": {{ "identitytoken": "refresh" }},
                "t.io:5000": {{ "registrytoken": "token", "auth": "{pair}" }},
                "empty.io": {{}}
            }}, "credsStore": "desktop"}}"#
        );
        let of = |registry, repository| user(&text, registry, repository);
        assert_eq!(of("docker.io", "library/a").as_deref(), Some("hub"));
        assert_eq!(of("r.io", "other/a").as_deref(), Some("plain"));
        assert_eq!(of("r.io", "acmes").as_deref(), Some("plain"));
        assert_eq!(of("r.io", "acme/a").as_deref(), Some("acme"));
        assert_eq!(of("s.io", "a").as_deref(), Some("refresh"));
        assert_eq!(of("t.io:5000", "a").as_deref(), Some("token"));
        for none in ["t.io", "empty.io", "evil-r.io", "r.io.evil.com"] {
            assert_eq!(of(none, "a"), None, "{none}");
        }
    }

    #[test]
    fn errors_do_not_repeat_passwords() {
        for text in [
            "{\"auths\": hunter2",
            "{}",
            "{\"auths\": \"hunter2\"}",
            "{\"auths\": {\"r.io\": {\"auth\": \"hunter2\"}}}",
        ] {
            let error = Credentials::find(text.as_bytes(), "r.io", "a")
                .err()
                .unwrap();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
