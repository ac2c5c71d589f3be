//! The configuration.

use std::collections::BTreeMap;
use std::net::IpAddr;

use filter_config::HeaderName;
use filter_http::{Network, query};
use serde::Deserialize;

use crate::country::Countries;
use crate::list::List;

/// Who is let in, and whether that is asked of connections or of requests.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Fields")]
pub(crate) struct Config {
    lists: Lists,
    pub(crate) http: Option<Http>,
}

/// What there is for requests.
#[derive(Debug)]
pub(crate) struct Http {
    /// Who may say in `x-forwarded-for` for whom it asks.
    trusted_proxies: List,
    countries: Option<Countries>,
    /// By the beginning of the path: lists in the place of those for all.
    rules: Vec<(String, Lists)>,
    pub(crate) status: Status,
    pub(crate) body: String,
}

/// Networks that are let in, and that are not.
#[derive(Debug)]
struct Lists {
    /// `None`: all are.
    allow: Option<List>,
    deny: List,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default)]
    sets: BTreeMap<String, Vec<Network>>,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
    http: Option<HttpFields>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpFields {
    #[serde(default)]
    trusted_proxies: Vec<String>,
    countries: Option<Countries>,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default = "Http::status")]
    status: Status,
    #[serde(default = "Http::body")]
    body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    prefix: String,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
}

impl TryFrom<Fields> for Config {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let sets = &fields.sets;
        if let Some(name) = sets.keys().find(|name| name.parse::<Network>().is_ok()) {
            return Err(format!(
                "`{name}` is a network, and no name for one of `sets`"
            ));
        }
        let list = |place: &str, items: &[String]| {
            List::new(items, sets).map_err(|reason| format!("{place}{reason}"))
        };
        let lists = |place: &str, allow: &[String], deny: &[String]| {
            let allowed = list(&format!("{place}allow"), allow)?;
            Ok::<_, String>(Lists {
                // Names of sets that are empty let nobody in.
                allow: (!allow.is_empty()).then_some(allowed),
                deny: list(&format!("{place}deny"), deny)?,
            })
        };
        let http = |http: HttpFields| {
            let rules = http.rules.into_iter().enumerate();
            let rules = rules.map(|(place, rule)| {
                let place = format!("http.rules[{place}].");
                Ok((rule.prefix, lists(&place, &rule.allow, &rule.deny)?))
            });
            Ok::<_, String>(Http {
                trusted_proxies: list("http.trusted_proxies", &http.trusted_proxies)?,
                countries: http.countries,
                rules: rules.collect::<Result<_, String>>()?,
                status: http.status,
                body: http.body,
            })
        };
        Ok(Self {
            lists: lists("", &fields.allow, &fields.deny)?,
            http: fields.http.map(http).transpose()?,
        })
    }
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

    /// The header that names the country of a request that comes over a connection from
    /// `address`, if that is to be looked at: it has to come from a trusted proxy.
    pub(crate) fn country_header(&self, address: &[u8]) -> Option<&HeaderName> {
        let countries = self.countries.as_ref()?;
        let connection = filter_http::address(address)?;
        let trusted = self.trusted_proxies.contains(connection);
        trusted.then_some(&countries.header)
    }

    /// Who asks: the other end of the connection or, as long as that is trusted,
    /// the one for which it says that it asks.
    fn client(&self, connection: IpAddr, forwarded_for: Option<&[u8]>) -> Option<IpAddr> {
        let trusted = |address: IpAddr| self.trusted_proxies.contains(address);
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

impl Lists {
    /// Whether no network of `deny` contains it, and, if there is an `allow`, some
    /// network of that does.
    fn let_in(&self, address: IpAddr) -> bool {
        let Self { allow, deny } = self;
        let is_allowed = allow.as_ref().is_none_or(|allow| allow.contains(address));
        is_allowed && !deny.contains(address)
    }
}

impl Config {
    /// Whether a connection from `address`, which is the property
    /// `source.address`, is let in. One that cannot be read is not.
    pub(crate) fn lets_in(&self, address: &[u8]) -> bool {
        filter_http::address(address).is_some_and(|address| self.lists.let_in(address))
    }

    /// Whether a request for `target` over such a connection is let in, from the country
    /// that [`Http::country_header`] names.
    pub(crate) fn lets_in_request(
        &self,
        http: &Http,
        address: &[u8],
        forwarded_for: Option<&[u8]>,
        country: Option<&str>,
        target: Option<&str>,
    ) -> bool {
        let countries = http.countries.as_ref();
        if countries.is_some_and(|countries| !countries.let_in(country)) {
            return false;
        }
        let connection = filter_http::address(address);
        let Some(client) = connection.and_then(|a| http.client(a, forwarded_for)) else {
            return false;
        };
        // Without a path, as in CONNECT, nobody knows which of some rules is meant.
        let path = target.map(query::path);
        let rule = http.rules.iter().find(|(prefix, _)| match path {
            Some(path) => path.starts_with(prefix),
            None => prefix.is_empty(),
        });
        match rule {
            Some((_, lists)) => lists.let_in(client),
            None if path.is_none() && !http.rules.is_empty() => false,
            None => self.lists.let_in(client),
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
                None,
                Some("/"),
            );
            assert_eq!(let_in, expected, "{connection} {forwarded}");
        }
        let http = config.http.as_ref().unwrap();
        assert!(config.lets_in_request(http, b"127.0.0.1:5", None, None, Some("/")));
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
            let let_in = config.lets_in_request(http, address.as_bytes(), None, None, Some(target));
            assert_eq!(let_in, expected, "{address} {target}");
        }
        let http = config.http.as_ref().unwrap();
        assert!(!config.lets_in_request(http, b"10.1.0.1", None, None, None));
    }

    #[test]
    fn sets_stand_for_their_networks() {
        let json = r#"{"sets": {"office": ["192.0.2.0/24"], "none": []}, "allow": ["office"],
            "http": {"rules": [{"prefix": "/x", "deny": ["office", "none"]}]}}"#;
        let config = config(json);
        assert!(config.lets_in(b"192.0.2.1:5") && !config.lets_in(b"198.51.100.1:5"));
        let http = config.http.as_ref().unwrap();
        assert!(!config.lets_in_request(http, b"192.0.2.1:5", None, None, Some("/x")));
    }

    #[test]
    fn a_set_that_is_empty_lets_nobody_in() {
        let config = config(r#"{"sets": {"none": []}, "allow": ["none"]}"#);
        assert!(!config.lets_in(b"192.0.2.1:5"));
    }

    #[test]
    fn a_country_is_believed_to_trusted_proxies() {
        let json = r#"{"http": {"trusted_proxies": ["127.0.0.1"],
            "countries": {"header": "x-country", "deny": ["XX"]}}}"#;
        let config = config(json);
        let http = config.http.as_ref().unwrap();
        assert!(http.country_header(b"127.0.0.1:5").is_some());
        assert!(http.country_header(b"127.0.0.2:5").is_none());
        for (country, expected) in [(Some("xx"), false), (Some("DE"), true), (None, true)] {
            let let_in = config.lets_in_request(http, b"127.0.0.1:5", None, country, Some("/"));
            assert_eq!(let_in, expected, "{country:?}");
        }
    }

    #[test]
    fn an_error_names_the_field() {
        for (json, words) in [
            (
                r#"{"allow": ["10.0.0.0/8", "10.0.0.0/40"]}"#,
                "allow[1]: `10.0.0.0/40`: expected an IP address or a network",
            ),
            (
                r#"{"http": {"rules": [{"prefix": "/", "deny": ["de"]}]}}"#,
                "http.rules[0].deny[0]: `de`",
            ),
            (r#"{"sets": {"de": ["x"]}}"#, "field `sets.de[0]`"),
            (r#"{"sets": {"::1": []}}"#, "no name for one of `sets`"),
            (
                r#"{"http": {"countries": {"header": "x", "allow": ["DEU"]}}}"#,
                "field `http.countries.allow[0]`",
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
