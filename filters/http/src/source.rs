//! Where credentials are looked for in a request.

use filter_config::HeaderName;
use serde::Deserialize;

use crate::{Headers, cookie, query};

/// One place: `{"header": "authorization", "prefix": "Bearer "}`,
/// `{"query": "access_token"}`, or `{"cookie": "session"}`.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(try_from = "Fields")]
pub enum Source {
    /// What follows the prefix in a header.
    Header(HeaderName, String),
    /// A parameter of the query.
    Query(String),
    /// A cookie.
    Cookie(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    header: Option<HeaderName>,
    prefix: Option<String>,
    query: Option<String>,
    cookie: Option<String>,
}

impl TryFrom<Fields> for Source {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        match (fields.header, fields.query, fields.cookie) {
            (Some(name), None, None) => Ok(Self::Header(name, fields.prefix.unwrap_or_default())),
            (None, ..) if fields.prefix.is_some() => Err("`prefix` belongs to a `header`"),
            (None, Some(name), None) if !name.is_empty() => Ok(Self::Query(name)),
            (None, None, Some(name)) if !name.is_empty() => Ok(Self::Cookie(name)),
            _ => Err("expected one of `header`, `query`, `cookie`, and a name"),
        }
    }
}

impl Source {
    /// `authorization: Bearer …`
    #[must_use]
    pub fn bearer() -> Self {
        let name = HeaderName::from_static("authorization");
        Self::Header(name, "Bearer ".to_owned())
    }

    /// What is there, unless it is empty.
    pub fn find(&self, request: &impl Headers) -> Option<String> {
        let found = match self {
            Self::Header(name, prefix) => {
                let value = request.get(name)?;
                value.strip_prefix(prefix.as_str())?.trim().to_owned()
            }
            Self::Query(name) => query::get(&request.get(":path")?, name)?,
            Self::Cookie(name) => cookie::get(&request.get("cookie")?, name)?.to_owned(),
        };
        (!found.is_empty()).then_some(found)
    }

    /// All that is there, not only the first, of a header that is repeated.
    pub fn find_all(&self, request: &impl Headers) -> Vec<String> {
        let Self::Header(name, prefix) = self else {
            return self.find(request).into_iter().collect();
        };
        let values = request.get_all(name).into_iter();
        let values =
            values.filter_map(|value| Some(value.strip_prefix(prefix.as_str())?.trim().to_owned()));
        values.filter(|value| !value.is_empty()).collect()
    }

    /// Takes away what [`Source::find`] would find, and all else under that name.
    pub fn strip(&self, request: &impl Headers) {
        match self {
            Self::Header(name, _) => request.set(name, None),
            Self::Query(name) => {
                if let Some(target) = request.get(":path") {
                    request.set(":path", Some(&query::without(&target, name)));
                }
            }
            Self::Cookie(name) => {
                if let Some(header) = request.get("cookie") {
                    request.set("cookie", cookie::without(&header, name).as_deref());
                }
            }
        }
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

    fn request() -> Map {
        let pairs = [
            (":path", "/x?a=1&key=q"),
            ("authorization", "Bearer  t "),
            ("cookie", "a=b; key=c"),
            ("x-empty", ""),
        ];
        let pairs = pairs.map(|(n, v)| (n.to_owned(), v.to_owned()));
        Map(RefCell::new(pairs.into()))
    }

    fn source(json: &str) -> Source {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn credentials_are_found_and_taken_away() {
        for (json, found, header, left) in [
            (
                r#"{"header": "Authorization", "prefix": "Bearer "}"#,
                "t",
                "authorization",
                None,
            ),
            (r#"{"query": "key"}"#, "q", ":path", Some("/x?a=1")),
            (r#"{"cookie": "key"}"#, "c", "cookie", Some("a=b")),
        ] {
            let (request, source) = (request(), source(json));
            assert_eq!(source.find(&request).as_deref(), Some(found), "{json}");
            source.strip(&request);
            assert_eq!(source.find(&request), None, "{json}");
            assert_eq!(request.get(header).as_deref(), left, "{json}");
        }
    }

    #[test]
    fn an_empty_credential_and_another_prefix_are_none() {
        for json in [
            r#"{"header": "x-empty"}"#,
            r#"{"header": "authorization", "prefix": "Basic "}"#,
            r#"{"header": "x-none"}"#,
        ] {
            assert_eq!(source(json).find(&request()), None, "{json}");
        }
    }

    #[test]
    fn a_source_is_one_place() {
        for json in [
            "{}",
            r#"{"header": "a", "query": "b"}"#,
            r#"{"query": "b", "prefix": "c"}"#,
            r#"{"query": ""}"#,
            r#"{"param": "b"}"#,
        ] {
            assert!(serde_json::from_str::<Source>(json).is_err(), "{json}");
        }
    }
}
