//! Which responses a rule is for, and what it tells caches of them.

use filter_config::{HeaderName, HeaderValue};
use filter_http::Headers;
use serde::Deserialize;

/// All that is set of the first fields has to hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Of the request's path.
    #[serde(default)]
    prefix: String,
    /// What the path ends with, one of them.
    #[serde(default)]
    suffixes: Vec<String>,
    /// Media types in lower case; `text/*` for all of a kind.
    #[serde(default)]
    content_types: Vec<String>,
    #[serde(default = "successes")]
    statuses: Vec<Status>,
    cache_control: Option<HeaderValue>,
    /// Whether what the upstream says is replaced.
    #[serde(default, rename = "override")]
    replace: bool,
    #[serde(default)]
    vary: Vec<HeaderName>,
    #[serde(default)]
    etag: Etag,
}

/// A status, or a class of them.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
enum Status {
    One(u16),
    Class(u16),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u16),
    Text(String),
}

/// What becomes of `etag`.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Etag {
    #[default]
    Keep,
    Weaken,
    Remove,
}

fn successes() -> Vec<Status> {
    vec![Status::Class(2), Status::One(304)]
}

impl TryFrom<Written> for Status {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Number(status @ 200..600) => Ok(Self::One(status)),
            Written::Text(text) => match text.as_bytes() {
                [class @ b'2'..=b'5', b'x', b'x'] => Ok(Self::Class(u16::from(class - b'0'))),
                _ => Err("expected a status such as 404, or a class such as 4xx"),
            },
            Written::Number(_) => Err("expected a status such as 404, or a class such as 4xx"),
        }
    }
}

impl Status {
    fn is(self, status: u16) -> bool {
        match self {
            Self::One(own) => own == status,
            Self::Class(class) => status / 100 == class,
        }
    }
}

impl Rule {
    /// Whether it is for this response to a request for a path, which has no query.
    pub(crate) fn is_for(&self, path: &str, response: &impl Headers) -> bool {
        let content_type = response.get("content-type").unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default();
        let media_type = media_type.trim().to_ascii_lowercase();
        let fits = |own: &String| match own.strip_suffix('*') {
            Some(kind) => media_type.starts_with(kind),
            None => media_type == *own,
        };
        let status = response.get(":status").and_then(|s| s.parse().ok());
        path.starts_with(&self.prefix)
            && (self.suffixes.is_empty() || self.suffixes.iter().any(|s| path.ends_with(s)))
            && (self.content_types.is_empty() || self.content_types.iter().any(fits))
            && status.is_some_and(|status| self.statuses.iter().any(|own| own.is(status)))
    }

    /// Changes the response's headers.
    pub(crate) fn apply(&self, response: &impl Headers) {
        let said = ["cache-control", "expires"].map(|name| response.get(name).is_some());
        if let Some(value) = &self.cache_control
            && (self.replace || said == [false, false])
        {
            response.set("cache-control", Some(value));
            for name in ["expires", "pragma"] {
                if response.get(name).is_some() {
                    response.set(name, None);
                }
            }
        }
        if let Some(vary) = self.vary(response.get("vary").as_deref()) {
            response.set("vary", Some(&vary));
        }
        match (self.etag, response.get("etag")) {
            (Etag::Weaken, Some(etag)) if !etag.starts_with("W/") => {
                response.set("etag", Some(&format!("W/{etag}")));
            }
            (Etag::Remove, Some(_)) => response.set("etag", None),
            _ => {}
        }
    }

    /// `vary` with the names of the rule in it, if it changes.
    fn vary(&self, before: Option<&str>) -> Option<String> {
        let before = before.map(str::trim).filter(|before| !before.is_empty());
        let has = |name: &str| {
            let mut names = before.iter().flat_map(|b| b.split(',')).map(str::trim);
            names.any(|n| n == "*" || n.eq_ignore_ascii_case(name))
        };
        let missing: Vec<&str> = self.vary.iter().map(|n| &**n).filter(|n| !has(n)).collect();
        if missing.is_empty() {
            return None;
        }
        let names: Vec<&str> = before.into_iter().chain(missing).collect();
        Some(names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    struct Map(RefCell<BTreeMap<String, String>>);

    impl Headers for Map {
        fn get(&self, name: &str) -> Option<String> {
            self.0.borrow().get(name).cloned()
        }

        fn set(&self, name: &str, value: Option<&str>) {
            let mut map = self.0.borrow_mut();
            match value {
                Some(value) => drop(map.insert(name.to_owned(), value.to_owned())),
                None => drop(map.remove(name)),
            }
        }
    }

    fn response(pairs: &[(&str, &str)]) -> Map {
        let pairs = pairs
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Map(RefCell::new(pairs.collect()))
    }

    fn rule(json: &str) -> Rule {
        filter_config::parse(Some(json.as_bytes())).unwrap()
    }

    #[test]
    fn a_rule_is_for_paths_types_and_statuses() {
        let json = r#"{"prefix": "/a", "suffixes": [".css", ".js"], "content_types": ["text/*"],
            "statuses": [404, "2xx"]}"#;
        let rule = rule(json);
        for (path, content_type, status, expected) in [
            ("/a/x.css", "Text/CSS; charset=utf-8", "200", true),
            ("/a/x.js", "text/javascript", "404", true),
            ("/b/x.css", "text/css", "200", false),
            ("/a/x.png", "text/css", "200", false),
            ("/a/x.css", "image/png", "200", false),
            ("/a/x.css", "text/css", "403", false),
        ] {
            let response = response(&[(":status", status), ("content-type", content_type)]);
            assert_eq!(rule.is_for(path, &response), expected, "{path} {status}");
        }
    }

    #[test]
    fn errors_are_not_meant_unless_a_rule_says_so() {
        let rule = rule("{}");
        for (status, expected) in [("204", true), ("304", true), ("301", false), ("500", false)] {
            assert_eq!(
                rule.is_for("/", &response(&[(":status", status)])),
                expected
            );
        }
    }

    #[test]
    fn what_the_upstream_says_stays_unless_it_is_replaced() {
        let fields = r#""cache_control": "public, max-age=60""#;
        for (said, replace, expected) in [
            (("x", ""), false, "public, max-age=60"),
            (("cache-control", "private"), false, "private"),
            (("cache-control", "private"), true, "public, max-age=60"),
        ] {
            let response = response(&[said]);
            rule(&format!(r#"{{{fields}, "override": {replace}}}"#)).apply(&response);
            assert_eq!(response.get("cache-control").as_deref(), Some(expected));
        }
        let expires = response(&[("expires", "0")]);
        rule(&format!("{{{fields}}}")).apply(&expires);
        assert_eq!(expires.get("cache-control"), None);
        rule(&format!(r#"{{{fields}, "override": true}}"#)).apply(&expires);
        assert_eq!(expires.get("expires"), None);
    }

    #[test]
    fn names_are_in_vary_once() {
        let rule = rule(r#"{"vary": ["accept", "origin"]}"#);
        for (before, after) in [
            ("", "accept, origin"),
            ("Origin", "Origin, accept"),
            ("accept, origin", "accept, origin"),
            ("*", "*"),
        ] {
            let response = response(&[("vary", before)]);
            rule.apply(&response);
            assert_eq!(response.get("vary").as_deref(), Some(after), "{before}");
        }
    }

    #[test]
    fn etags_are_weakened_or_removed() {
        for (etag, how, after) in [
            ("\"a\"", "weaken", Some("W/\"a\"")),
            ("W/\"a\"", "weaken", Some("W/\"a\"")),
            ("\"a\"", "remove", None),
            ("\"a\"", "keep", Some("\"a\"")),
        ] {
            let response = response(&[("etag", etag)]);
            rule(&format!(r#"{{"etag": "{how}"}}"#)).apply(&response);
            assert_eq!(response.get("etag").as_deref(), after, "{etag} {how}");
        }
    }
}
