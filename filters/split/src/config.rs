//! The configuration.

use filter_config::{HeaderName, HeaderValue};
use filter_http::{Headers, Source, cookie};
use serde::Deserialize;

/// The versions, and who gets which.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Fields")]
pub(crate) struct Config {
    pub(crate) header: HeaderName,
    pub(crate) versions: Vec<Version>,
    /// Of all versions; not 0.
    total: u64,
    rules: Vec<Rule>,
    pub(crate) sticky: Option<Sticky>,
}

/// One version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Version {
    /// The value of the header that routes go by.
    pub(crate) name: HeaderValue,
    /// Its share of the requests that no rule decides about.
    #[serde(default)]
    weight: u32,
}

/// Requests with a header or a cookie of this value get this version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    from: Source,
    /// Any when none.
    value: Option<String>,
    version: String,
}

/// How a client stays with its version.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sticky {
    /// It is told by a cookie.
    Cookie(Cookie),
    /// What is there decides, the same everywhere.
    By(Source),
}

/// A cookie that names a version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cookie {
    name: Token,
    #[serde(default = "Cookie::day")]
    max_age_s: u32,
}

/// A name that a cookie may have.
#[derive(Debug, Deserialize)]
#[serde(from = "HeaderName")]
struct Token(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default = "header")]
    header: HeaderName,
    versions: Vec<Version>,
    #[serde(default)]
    rules: Vec<Rule>,
    sticky: Option<Sticky>,
}

fn header() -> HeaderName {
    HeaderName::from_static("x-version")
}

impl From<HeaderName> for Token {
    /// A token, as the name of a header is (RFC 6265, section 4.1.1).
    fn from(name: HeaderName) -> Self {
        Self(name.to_string())
    }
}

impl TryFrom<Fields> for Config {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let versions = fields.versions;
        let total = versions.iter().map(|v| u64::from(v.weight)).sum();
        if total == 0 {
            return Err("no version has a `weight`: requests would go nowhere".to_owned());
        }
        for (place, version) in versions.iter().enumerate() {
            let name = &*version.name;
            if name.is_empty() || name.contains([';', ',', '"', ' ', '\\']) || !name.is_ascii() {
                return Err(format!(
                    "`{name}` cannot be a version: a cookie may have to hold it"
                ));
            }
            if versions[..place]
                .iter()
                .any(|other| other.name == version.name)
            {
                return Err(format!("the version `{name}` is there twice"));
            }
        }
        for rule in &fields.rules {
            if !versions.iter().any(|v| *v.name == *rule.version) {
                return Err(format!(
                    "a rule names the version `{}`, which there is not",
                    rule.version
                ));
            }
        }
        Ok(Self {
            header: fields.header,
            versions,
            total,
            rules: fields.rules,
            sticky: fields.sticky,
        })
    }
}

/// Which version a request gets.
#[derive(Debug, PartialEq)]
pub(crate) struct Choice<'c> {
    pub(crate) version: &'c str,
    /// The cookie by which the client stays with it, if it has none.
    pub(crate) set_cookie: Option<String>,
}

impl Config {
    /// Chooses; `chance` is asked only if nothing in the request decides.
    pub(crate) fn choose(
        &self,
        request: &impl Headers,
        chance: impl FnOnce() -> u64,
    ) -> Choice<'_> {
        let chosen = |version| Choice {
            version,
            set_cookie: None,
        };
        for rule in &self.rules {
            let found = rule.from.find(request);
            let fits = found.is_some_and(|f| rule.value.as_ref().is_none_or(|value| *value == f));
            if fits {
                return chosen(&rule.version);
            }
        }
        match &self.sticky {
            None => chosen(self.by_number(chance())),
            Some(Sticky::By(source)) => chosen(match source.find(request) {
                Some(who) => self.by_number(hash(&who)),
                None => self.by_number(chance()),
            }),
            Some(Sticky::Cookie(cookie)) => {
                let before = request.get("cookie");
                let before =
                    before.and_then(|h| cookie::get(&h, &cookie.name.0).map(str::to_owned));
                // one that has no weight any more is over
                let known = self.versions.iter().find(|version| {
                    version.weight > 0 && before.as_deref() == Some(&*version.name)
                });
                match known {
                    Some(version) => chosen(&version.name),
                    None => {
                        let version = self.by_number(chance());
                        let set_cookie = Some(cookie.set(version));
                        Choice {
                            version,
                            set_cookie,
                        }
                    }
                }
            }
        }
    }

    fn by_number(&self, number: u64) -> &str {
        let mut rest = number % self.total;
        for version in &self.versions {
            match rest.checked_sub(version.weight.into()) {
                None => return &version.name,
                Some(left) => rest = left,
            }
        }
        unreachable!("the number is below the sum of the weights")
    }
}

impl Cookie {
    fn day() -> u32 {
        24 * 60 * 60
    }

    /// The value of a `set-cookie`.
    fn set(&self, version: &str) -> String {
        let Self { name, max_age_s } = self;
        let name = &name.0;
        format!("{name}={version}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax")
    }
}

/// The same number for the same text on every worker and node (FNV-1a; bits mixed,
/// as only the remainder by a small number is looked at).
fn hash(text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn read(json: &str) -> Result<Config, String> {
        filter_config::parse(Some(json.as_bytes())).map_err(|error| error.to_string())
    }

    struct Map(BTreeMap<&'static str, &'static str>);

    impl Headers for Map {
        fn get(&self, name: &str) -> Option<String> {
            self.0.get(name).map(|&value| value.to_owned())
        }

        fn set(&self, _name: &str, _value: Option<&str>) {}
    }

    /// What a request with one header gets when chance says a number.
    fn choose(
        config: &Config,
        header: (&'static str, &'static str),
        number: u64,
    ) -> (String, String) {
        let choice = config.choose(&Map(BTreeMap::from([header])), || number);
        let version = choice.version.to_owned();
        (version, choice.set_cookie.unwrap_or_default())
    }

    const VERSIONS: &str = r#""versions": [{"name": "old", "weight": 90}, {"name": "new", "weight": 10}, {"name": "dev"}]"#;

    #[test]
    fn documents_agree_with_what_is_read() {
        filter_schema::check_documents(env!("CARGO_MANIFEST_DIR"), |json| {
            filter_config::parse::<Config>(Some(json)).map(drop)
        });
    }

    #[test]
    fn weights_are_shares_of_chance() {
        let config = read(&format!("{{{VERSIONS}}}")).unwrap();
        for (number, version) in [
            (0, "old"),
            (89, "old"),
            (90, "new"),
            (199, "new"),
            (200, "old"),
        ] {
            assert_eq!(choose(&config, ("x", ""), number).0, version, "{number}");
        }
    }

    #[test]
    fn rules_come_before_chance() {
        let rules = r#""rules": [{"from": {"header": "x-dev"}, "version": "dev"},
            {"from": {"cookie": "beta"}, "value": "1", "version": "new"}]"#;
        let config = read(&format!("{{{VERSIONS}, {rules}}}")).unwrap();
        assert_eq!(choose(&config, ("x-dev", "any"), 0).0, "dev");
        assert_eq!(choose(&config, ("cookie", "beta=1"), 0).0, "new");
        assert_eq!(choose(&config, ("cookie", "beta=0"), 0).0, "old");
    }

    #[test]
    fn a_cookie_keeps_a_client_with_its_version() {
        let sticky = r#""sticky": {"cookie": {"name": "v", "max_age_s": 60}}"#;
        let config = read(&format!("{{{VERSIONS}, {sticky}}}")).unwrap();
        let cookie = "v=new; Path=/; Max-Age=60; HttpOnly; SameSite=Lax".to_owned();
        assert_eq!(choose(&config, ("x", ""), 95), ("new".to_owned(), cookie));
        let stays = ("new".to_owned(), String::new());
        assert_eq!(choose(&config, ("cookie", "a=b; v=new"), 0), stays);
        for gone in ["v=dev", "v=none", "v="] {
            let (version, cookie) = choose(&config, ("cookie", gone), 0);
            assert_eq!(version, "old", "{gone}");
            assert!(cookie.starts_with("v=old; "), "{gone}");
        }
    }

    #[test]
    fn what_says_who_it_is_decides_evenly() {
        let sticky = r#""sticky": {"by": {"header": "x-user"}}"#;
        let config = read(&format!("{{{VERSIONS}, {sticky}}}")).unwrap();
        assert_eq!(
            choose(&config, ("x-user", "ada"), 0),
            choose(&config, ("x-user", "ada"), 99)
        );
        assert_eq!(choose(&config, ("x", ""), 99).0, "new");
        let new = (0..10_000).filter(|user| config.by_number(hash(&user.to_string())) == "new");
        let share = new.count();
        assert!((800..1200).contains(&share), "{share}");
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        for (json, words) in [
            ("{}", "missing field `versions`"),
            (r#"{"versions": []}"#, "no version has a `weight`"),
            (
                r#"{"versions": [{"name": "a"}]}"#,
                "no version has a `weight`",
            ),
            (
                r#"{"versions": [{"name": "a;b", "weight": 1}]}"#,
                "cannot be a version",
            ),
            (
                r#"{"versions": [{"name": "a", "weight": 1}, {"name": "a", "weight": 1}]}"#,
                "`a` is there twice",
            ),
            (
                r#"{"versions": [{"name": "a", "weight": 1}], "rules": [{"from": {"query": "q"}, "version": "b"}]}"#,
                "names the version `b`",
            ),
            (
                r#"{"versions": [{"name": "a", "weight": 1}], "sticky": {"cookie": {"name": "a b"}}}"#,
                "not a header name",
            ),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
