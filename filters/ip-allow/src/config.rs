//! The configuration.

use std::net::IpAddr;

use filter_http::{Network, query};
use serde::Deserialize;

/// Who is let in, and whether that is asked of connections or of requests.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    allow: Vec<Network>,
    deny: Vec<Network>,
    pub(crate) http: Option<Http>,
}

/// What there is for requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// Who may say in `x-forwarded-for` for whom it asks.
    #[serde(default)]
    trusted_proxies: Vec<Network>,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default = "Http::status")]
    pub(crate) status: Status,
    #[serde(default = "Http::body")]
    pub(crate) body: String,
}

/// Lists for paths, in the place of those for all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    prefix: String,
    #[serde(default)]
    allow: Vec<Network>,
    #[serde(default)]
    deny: Vec<Network>,
}

/// The status of a refusal.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub(crate) struct Status(pub(crate) u32);

impl TryFrom<u32> for Status {
    type Error = &'static str;

    fn try_from(status: u32) -> Result<Self, Self::Error> {
        match status {
            400..600 => Ok(Self(status)),
            _ => Err("a request is refused with a status from 400 to 599"),
        }
    }
}

impl Http {
    fn status() -> Status {
        Status(403)
    }

    fn body() -> String {
        "this address is not let in\n".to_owned()
    }

    /// Who asks: the other end of the connection or, as long as that is trusted,
    /// the one for which it says that it asks.
    fn client(&self, connection: IpAddr, forwarded_for: Option<&[u8]>) -> Option<IpAddr> {
        let trusted = |address: IpAddr| self.trusted_proxies.iter().any(|n| n.contains(address));
        let mut client = connection;
        let before = forwarded_for.into_iter();
        let mut before = before.flat_map(|value| value.rsplit(|&byte| byte == b','));
        while trusted(client) {
            match before.next() {
                None => break,
                // one that cannot be read could be anybody
                Some(address) => client = filter_http::address(address.trim_ascii())?,
            }
        }
        Some(client)
    }
}

/// Whether no network of `deny` contains it, and, unless `allow` is empty, some
/// network of that does.
fn let_in(allow: &[Network], deny: &[Network], address: IpAddr) -> bool {
    let within = |networks: &[Network]| networks.iter().any(|n| n.contains(address));
    !within(deny) && (allow.is_empty() || within(allow))
}

impl Config {
    /// Whether a connection from `address`, which is the property
    /// `source.address`, is let in. One that cannot be read is not.
    pub(crate) fn lets_in(&self, address: &[u8]) -> bool {
        filter_http::address(address).is_some_and(|a| let_in(&self.allow, &self.deny, a))
    }

    /// Whether a request for `target` over such a connection is let in.
    pub(crate) fn lets_in_request(
        &self,
        http: &Http,
        address: &[u8],
        forwarded_for: Option<&[u8]>,
        target: Option<&str>,
    ) -> bool {
        let connection = filter_http::address(address);
        let Some(client) = connection.and_then(|a| http.client(a, forwarded_for)) else {
            return false;
        };
        // Without a path, as in CONNECT, nobody knows which of some rules is meant.
        let path = target.map(query::path);
        let rule = http.rules.iter().find(|rule| match path {
            Some(path) => path.starts_with(&rule.prefix),
            None => rule.prefix.is_empty(),
        });
        match rule {
            Some(rule) => let_in(&rule.allow, &rule.deny, client),
            None if path.is_none() && !http.rules.is_empty() => false,
            None => let_in(&self.allow, &self.deny, client),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Config {
        filter_config::parse(Some(json.as_bytes())).unwrap()
    }

    #[test]
    fn documents_agree_with_what_is_read() {
        filter_schema::check_documents(env!("CARGO_MANIFEST_DIR"), |json| {
            filter_config::parse::<Config>(Some(json)).map(drop)
        });
    }

    #[test]
    fn only_allowed_networks_are_let_in() {
        let config = config(r#"{"allow": ["10.0.0.0/8", "::1"]}"#);
        assert!(config.lets_in(b"10.1.2.3:5000"));
        assert!(config.lets_in(b"[::1]:5000"));
        assert!(!config.lets_in(b"11.1.2.3:5000"));
    }

    #[test]
    fn denied_networks_are_not_let_in_whatever_is_allowed() {
        let config = config(r#"{"allow": ["10.0.0.0/8"], "deny": ["10.9.0.0/16"]}"#);
        assert!(config.lets_in(b"10.1.2.3:5000"));
        assert!(!config.lets_in(b"10.9.2.3:5000"));
    }

    #[test]
    fn nothing_configured_lets_everyone_in() {
        assert!(config("{}").lets_in(b"203.0.113.9"));
    }

    #[test]
    fn an_address_that_cannot_be_read_is_not_let_in() {
        let config = config("{}");
        assert!(!config.lets_in(b""));
        assert!(!config.lets_in(b"/run/socket"));
        assert!(!config.lets_in(b"\xff"));
    }

    #[test]
    fn trusted_proxies_say_for_whom_they_ask() {
        let json = r#"{"deny": ["192.0.2.0/24"],
            "http": {"trusted_proxies": ["10.0.0.0/8", "127.0.0.1"]}}"#;
        let config = config(json);
        for (connection, forwarded, expected) in [
            ("127.0.0.1:5", "", false),
            ("127.0.0.1:5", "192.0.2.1,", false),
            ("127.0.0.1:5", "192.0.2.1", false),
            ("127.0.0.1:5", "192.0.2.1, 10.0.0.1", false),
            ("127.0.0.1:5", "192.0.2.1, 198.51.100.1, 10.0.0.1", true),
            ("127.0.0.1:5", "unknown", false),
            ("127.0.0.1:5", "\u{e9}, 192.0.2.1", false),
            ("127.0.0.1:5", "\u{e9}, 127.0.0.1", false),
            ("198.51.100.1:5", "192.0.2.1", true),
            ("192.0.2.1:5", "198.51.100.1", false),
        ] {
            let http = config.http.as_ref().unwrap();
            let let_in = config.lets_in_request(
                http,
                connection.as_bytes(),
                Some(forwarded.as_bytes()),
                Some("/"),
            );
            assert_eq!(let_in, expected, "{connection} {forwarded}");
        }
        let http = config.http.as_ref().unwrap();
        assert!(config.lets_in_request(http, b"127.0.0.1:5", None, Some("/")));
    }

    #[test]
    fn paths_have_lists_of_their_own() {
        let json = r#"{"allow": ["10.0.0.0/8"], "http": {"rules": [
            {"prefix": "/open"}, {"prefix": "/admin", "allow": ["10.1.0.0/16"]}]}}"#;
        let config = config(json);
        for (address, target, expected) in [
            ("10.9.0.1", "/x", true),
            ("192.0.2.1", "/x", false),
            ("192.0.2.1", "/open?x", true),
            ("10.9.0.1", "/admin", false),
            ("10.1.0.1", "/admin", true),
        ] {
            let http = config.http.as_ref().unwrap();
            let let_in = config.lets_in_request(http, address.as_bytes(), None, Some(target));
            assert_eq!(let_in, expected, "{address} {target}");
        }
        let http = config.http.as_ref().unwrap();
        assert!(!config.lets_in_request(http, b"10.1.0.1", None, None));
    }

    #[test]
    fn an_error_names_the_field() {
        for (json, words) in [
            (
                r#"{"allow": ["10.0.0.0/8", "10.0.0.0/40"]}"#,
                "field `allow[1]`",
            ),
            (r#"{"http": {"status": 200}}"#, "field `http.status`"),
            (
                r#"{"http": {"rules": [{"allow": []}]}}"#,
                "missing field `prefix`",
            ),
        ] {
            let error = filter_config::parse::<Config>(Some(json.as_bytes())).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
