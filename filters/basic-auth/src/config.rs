//! The configuration.

use std::collections::BTreeMap;

use filter_config::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::credentials::{Credentials, Failure};
use crate::password::Hash;

/// Who may pass.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Fields")]
pub(crate) struct Config {
    users: BTreeMap<String, Hash>,
    pub(crate) realm: Option<HeaderValue>,
    pub(crate) user_header: Option<HeaderName>,
    pub(crate) credential_header: HeaderName,
    pub(crate) forward: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default)]
    users: BTreeMap<String, Hash>,
    #[serde(default)]
    htpasswd: String,
    realm: Option<HeaderValue>,
    user_header: Option<HeaderName>,
    #[serde(default = "authorization")]
    credential_header: HeaderName,
    #[serde(default = "yes")]
    forward: bool,
}

fn authorization() -> HeaderName {
    HeaderName::from_static("authorization")
}

fn yes() -> bool {
    true
}

impl TryFrom<Fields> for Config {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let mut users = fields.users;
        for (number, line) in (1..).zip(fields.htpasswd.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (user, hash) = line
                .split_once(':')
                .ok_or_else(|| format!("`htpasswd`, line {number}: no colon"))?;
            let hash =
                Hash::read(hash).map_err(|why| format!("`htpasswd`, line {number}: {why}"))?;
            if users.insert(user.to_owned(), hash).is_some() {
                return Err(format!("the user `{user}` is there twice"));
            }
        }
        if users.is_empty() {
            return Err("neither `users` nor `htpasswd` names a user".to_owned());
        }
        for user in users.keys() {
            // also told to upstreams in a header
            if user.is_empty() || user.contains(':') || HeaderValue::try_from(user.clone()).is_err()
            {
                return Err(format!("`{user}` is not a user name"));
            }
        }
        if fields
            .realm
            .as_ref()
            .is_some_and(|r| r.contains(['"', '\\']))
        {
            return Err("a `realm` has no quotes and no backslashes".to_owned());
        }
        Ok(Self {
            users,
            realm: fields.realm,
            user_header: fields.user_header,
            credential_header: fields.credential_header,
            forward: fields.forward,
        })
    }
}

impl Config {
    /// Who it is.
    ///
    /// # Errors
    ///
    /// If the user is not known, or the password is another.
    pub(crate) fn user(&self, credentials: &Credentials) -> Result<&str, Failure> {
        let found = self.users.get_key_value(&credentials.user);
        // A user who is not known takes as long as a wrong password.
        let nobody = match self.users.values().next() {
            Some(Hash::Sha1(_)) => Hash::Sha1([0; 20]),
            Some(Hash::Sha256(_)) | None => Hash::Sha256([0; 32]),
        };
        let hash = found.map_or(&nobody, |(_, hash)| hash);
        match (hash.is_of(&credentials.password), found) {
            (true, Some((user, _))) => Ok(user),
            _ => Err(Failure::Wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Config, String> {
        let json = json.replace("HASH", "{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        filter_config::parse(Some(json.as_bytes())).map_err(|error| error.to_string())
    }

    #[test]
    fn documents_agree_with_what_is_read() {
        filter_schema::check_documents(env!("CARGO_MANIFEST_DIR"), |json| {
            filter_config::parse::<Config>(Some(json)).map(drop)
        });
    }

    #[test]
    fn users_are_known_by_their_passwords() {
        // printf pw | openssl sha1 -binary | base64
        let config = read(
            r##"{"htpasswd": "# people\n\n ada:{SHA}GpHWL3ymc5liWkNopqtdSjuqYHM=\n", "users": {"bob": "HASH"}}"##,
        );
        let config = config.unwrap();
        let user = |user: &str, password: &[u8]| {
            let (user, password) = (user.to_owned(), password.to_vec());
            config.user(&Credentials { user, password })
        };
        assert_eq!(user("ada", b"pw"), Ok("ada"));
        assert_eq!(user("ada", b"pW"), Err(Failure::Wrong));
        assert_eq!(user("bob", b"pw"), Err(Failure::Wrong));
        assert_eq!(user("eve", b"pw"), Err(Failure::Wrong));
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        for (json, words) in [
            ("{}", "names a user"),
            (
                r#"{"users": {"ada": "pw"}}"#,
                "field `users.ada`: expected {SHA}",
            ),
            (r#"{"htpasswd": "ada:HASH\nbob"}"#, "line 2: no colon"),
            (r#"{"htpasswd": "ada:$apr1$x"}"#, "line 1: expected {SHA}"),
            (
                r#"{"htpasswd": "ada:HASH\nada:HASH"}"#,
                "`ada` is there twice",
            ),
            (r#"{"users": {"a:b": "HASH"}}"#, "`a:b` is not a user name"),
            (r#"{"users": {"a": "HASH"}, "realm": "a\"b"}"#, "no quotes"),
            (r#"{"user": {}}"#, "unknown field `user`"),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
