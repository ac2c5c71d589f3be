//! The configuration.

use filter_config::{HeaderName, HeaderValue};
use filter_http::Source;
use serde::Deserialize;
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::key::Hash;

/// Who may pass, and where.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Fields")]
pub(crate) struct Config {
    keys: Vec<Key>,
    pub(crate) from: Vec<Source>,
    rules: Vec<Rule>,
    pub(crate) client_header: Option<HeaderName>,
    /// Whether the key stays in the request.
    pub(crate) forward: bool,
}

/// One key, and whose it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    client: HeaderValue,
    sha256: Hash,
}

/// Who may ask for some paths.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    prefix: String,
    /// All when none.
    clients: Option<Vec<String>>,
    /// Whether requests pass without a key.
    #[serde(default)]
    open: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    keys: Vec<Key>,
    from: Option<Vec<Source>>,
    #[serde(default)]
    rules: Vec<Rule>,
    client_header: Option<HeaderName>,
    #[serde(default)]
    forward: bool,
}

impl TryFrom<Fields> for Config {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let Fields {
            keys,
            from,
            rules,
            client_header,
            forward,
        } = fields;
        if keys.is_empty() {
            return Err("`keys` is empty: nobody could pass".to_owned());
        }
        for (number, key) in keys.iter().enumerate() {
            if keys[..number]
                .iter()
                .any(|other| other.sha256 == key.sha256)
            {
                return Err(format!("a key of `{}` is there twice", &*key.client));
            }
        }
        let default = || {
            vec![Source::Header(
                HeaderName::from_static("x-api-key"),
                String::new(),
            )]
        };
        let from = from.unwrap_or_else(default);
        if from.is_empty() {
            return Err("`from` names no place for a key".to_owned());
        }
        for rule in &rules {
            let clients = rule.clients.iter().flatten();
            if rule.open && rule.clients.is_some() {
                let prefix = &rule.prefix;
                return Err(format!(
                    "the rule for `{prefix}`: `open` and `clients` exclude one another"
                ));
            }
            for client in clients {
                if !keys.iter().any(|key| *key.client == **client) {
                    let prefix = &rule.prefix;
                    return Err(format!("the rule for `{prefix}`: no key of `{client}`"));
                }
            }
        }
        Ok(Self {
            keys,
            from,
            rules,
            client_header,
            forward,
        })
    }
}

/// What a key opens.
#[derive(Debug, PartialEq)]
pub(crate) enum Access<'c> {
    /// No key is needed.
    Open,
    Client(&'c str),
    /// There is no key, or one that nobody knows.
    Unknown,
    /// The key is one for other paths.
    Forbidden,
}

impl Config {
    /// Who asks for a path, which has no query, by this key. Without a path, as in
    /// CONNECT, nobody knows which of some rules is meant.
    pub(crate) fn access(&self, path: Option<&str>, key: Option<&str>) -> Access<'_> {
        let rule = self.rules.iter().find(|rule| match path {
            Some(path) => path.starts_with(&rule.prefix),
            None => rule.prefix.is_empty(),
        });
        if rule.is_some_and(|rule| rule.open) {
            return Access::Open;
        }
        let Some(client) = key.and_then(|key| self.client(key)) else {
            return Access::Unknown;
        };
        match rule.and_then(|rule| rule.clients.as_ref()) {
            Some(clients) if !clients.iter().any(|c| c == client) => Access::Forbidden,
            None if path.is_none() && rule.is_none() && !self.rules.is_empty() => Access::Forbidden,
            _ => Access::Client(client),
        }
    }

    /// Looks at all keys, whichever it is.
    fn client(&self, key: &str) -> Option<&str> {
        const NONE: u32 = u32::MAX;
        let hash = Hash::of(key);
        let mut found = NONE;
        for (number, key) in (0..).zip(&self.keys) {
            found.conditional_assign(&number, key.sha256.is(&hash));
        }
        match bool::from(found.ct_eq(&NONE)) {
            true => None,
            false => Some(&*self.keys.get(found as usize)?.client),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf abc | sha256sum, and of "" by FIPS 180-2
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(json: &str) -> Result<Config, String> {
        let json = json.replace("ABC", ABC).replace("EMPTY", EMPTY);
        filter_config::parse(Some(json.as_bytes())).map_err(|error| error.to_string())
    }

    #[test]
    fn documents_agree_with_what_is_read() {
        filter_schema::check_documents(env!("CARGO_MANIFEST_DIR"), |json| {
            filter_config::parse::<Config>(Some(json)).map(drop)
        });
    }

    #[test]
    fn a_key_opens_what_it_is_for() {
        let config = read(
            r#"{"keys": [{"client": "other", "sha256": "EMPTY"}, {"client": "one", "sha256": "ABC"}],
                "rules": [{"prefix": "/open", "open": true},
                          {"prefix": "/other", "clients": ["other"]},
                          {"prefix": "/one", "clients": ["one"]}]}"#,
        );
        let config = config.unwrap();
        for (path, key, expected) in [
            ("/open", None, Access::Open),
            ("/x", None, Access::Unknown),
            ("/x", Some("abd"), Access::Unknown),
            ("/x", Some("abc"), Access::Client("one")),
            ("/one", Some("abc"), Access::Client("one")),
            ("/other", Some("abc"), Access::Forbidden),
            ("/other", Some("abd"), Access::Unknown),
        ] {
            assert_eq!(config.access(Some(path), key), expected, "{path} {key:?}");
        }
        assert_eq!(config.access(None, Some("abc")), Access::Forbidden);
        assert_eq!(config.access(None, None), Access::Unknown);
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        for (json, words) in [
            ("{}", "missing field `keys`"),
            (r#"{"keys": []}"#, "`keys` is empty"),
            (
                r#"{"keys": [{"client": "a", "sha256": "abc"}]}"#,
                "field `keys[0].sha256`: expected the SHA-256",
            ),
            (
                r#"{"keys": [{"client": "a", "sha256": "ABC"}, {"client": "b", "sha256": "ABC"}]}"#,
                "a key of `b` is there twice",
            ),
            (
                r#"{"keys": [{"client": "a", "sha256": "ABC"}], "from": []}"#,
                "names no place",
            ),
            (
                r#"{"keys": [{"client": "a", "sha256": "ABC"}], "rules": [{"prefix": "/", "clients": ["b"]}]}"#,
                "the rule for `/`: no key of `b`",
            ),
            (
                r#"{"keys": [{"client": "a", "sha256": "ABC"}], "rules": [{"prefix": "/", "clients": [], "open": true}]}"#,
                "exclude one another",
            ),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
