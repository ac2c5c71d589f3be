//! Text with places that are filled in: `/v2/{1}?user={cookie.user|nobody}`.

use filter_config::HeaderName;
use filter_http::query;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;

use crate::host::{Captures, Values};

/// What cannot stand in a path as it is, or would change what it means there.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A template.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(try_from = "String")]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Place(Place, Option<String>),
}

#[derive(Debug, Clone, PartialEq)]
enum Place {
    /// The path without its query.
    Path,
    /// The query without its question mark.
    Query,
    Method,
    Authority,
    Scheme,
    Capture(String),
    Header(HeaderName),
    Parameter(String),
    Cookie(String),
    Property(Vec<String>),
    /// A header of the response.
    Response(HeaderName),
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            literal += &rest[..at];
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal += brace;
                rest = after;
                continue;
            }
            let Some((place, after)) = rest.split_once('}').filter(|_| brace == "{") else {
                return Err(format!(
                    "`{text}`: a brace without its other; `{{{{` and `}}}}` stand for braces"
                ));
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            let (name, default) = match place.split_once('|') {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (place, None),
            };
            let place = Place::named(name).map_err(|why| format!("`{text}`: {why}"))?;
            parts.push(Part::Place(place, default));
            rest = after;
        }
        literal += rest;
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }
}

impl Place {
    fn named(name: &str) -> Result<Self, String> {
        Ok(match name.split_once('.') {
            None => match name {
                "path" => Self::Path,
                "query" => Self::Query,
                "method" => Self::Method,
                "authority" => Self::Authority,
                "scheme" => Self::Scheme,
                name if !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()) => {
                    Self::Capture(name.to_owned())
                }
                name => return Err(format!("`{{{name}}}` stands for nothing")),
            },
            Some(("capture", name)) => Self::Capture(name.to_owned()),
            Some(("header", name)) => Self::Header(name.to_owned().try_into()?),
            Some(("query", name)) => Self::Parameter(name.to_owned()),
            Some(("cookie", name)) => Self::Cookie(name.to_owned()),
            Some(("property", path)) => {
                Self::Property(path.split('.').map(str::to_owned).collect())
            }
            Some(("response", name)) => Self::Response(name.to_owned().try_into()?),
            Some(_) => return Err(format!("`{{{name}}}` stands for nothing")),
        })
    }

    /// Its value, and whether that is written as in a path already.
    fn value(&self, values: &impl Values, captures: &Captures) -> (Option<String>, bool) {
        let path = || values.path();
        match self {
            Self::Path => (Some(query::path(&path()).to_owned()), true),
            Self::Query => (
                path().split_once('?').map(|(_, query)| query.to_owned()),
                true,
            ),
            Self::Capture(name) => (captures.get(name).cloned(), true),
            Self::Method => (values.header(":method"), false),
            Self::Authority => (values.header(":authority"), false),
            Self::Scheme => (values.header(":scheme"), false),
            Self::Header(name) => (values.header(name), false),
            Self::Parameter(name) => (values.parameter(name), false),
            Self::Cookie(name) => (values.cookie(name), false),
            Self::Property(path) => {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                (values.property(&path), false)
            }
            Self::Response(_) => (None, false),
        }
    }
}

impl Template {
    /// Whether there are captures in it that a pattern does not have.
    pub(crate) fn unknown_capture(&self, known: impl Fn(&str) -> bool) -> Option<&str> {
        self.places().find_map(|place| match place {
            Place::Capture(name) if !known(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether it can only be filled in when there is a response.
    pub(crate) fn is_of_response(&self) -> bool {
        self.places()
            .any(|place| matches!(place, Place::Response(_)))
    }

    /// Whether it has a query of its own.
    pub(crate) fn has_query(&self) -> bool {
        let mut texts = self.0.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text),
            Part::Place(..) => None,
        });
        texts.any(|text| text.contains('?'))
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.0.iter().filter_map(|part| match part {
            Part::Place(place, _) => Some(place),
            Part::Text(_) => None,
        })
    }

    /// The text for a header.
    pub(crate) fn fill(&self, values: &impl Values, captures: &Captures) -> String {
        self.filled(|place| place.value(values, captures).0)
    }

    /// The text for a path: values that came from elsewhere are encoded.
    pub(crate) fn fill_path(&self, values: &impl Values, captures: &Captures) -> String {
        self.filled(|place| match place.value(values, captures) {
            (Some(value), false) => Some(utf8_percent_encode(&value, ENCODED).to_string()),
            (value, _) => value,
        })
    }

    /// Fills in what the request says; what the response will say stays.
    pub(crate) fn bind(&self, values: &impl Values, captures: &Captures) -> Self {
        let bound = |part: &Part| match part {
            Part::Place(place, default) if !matches!(place, Place::Response(_)) => {
                let value = place.value(values, captures).0.filter(|v| !v.is_empty());
                Part::Text(value.or_else(|| default.clone()).unwrap_or_default())
            }
            part => part.clone(),
        };
        Self(self.0.iter().map(bound).collect())
    }

    /// Fills in what the response says, when all else is bound.
    pub(crate) fn fill_response(&self, header: impl Fn(&str) -> Option<String>) -> String {
        self.filled(|place| match place {
            Place::Response(name) => header(name),
            _ => None,
        })
    }

    fn filled(&self, value: impl Fn(&Place) -> Option<String>) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text += literal,
                Part::Place(place, default) => {
                    let value = value(place).filter(|value| !value.is_empty());
                    text += value.as_deref().or(default.as_deref()).unwrap_or_default();
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Asked;

    impl Values for Asked {
        fn header(&self, name: &str) -> Option<String> {
            let value = match name {
                ":path" => "/a/b?q=x%20y&e=",
                ":method" => "GET",
                ":authority" => "h:80",
                "cookie" => "user=ada/1; b=2",
                "x-a" => "v w",
                _ => return None,
            };
            Some(value.to_owned())
        }

        fn property(&self, path: &[&str]) -> Option<String> {
            (path == ["source", "address"]).then(|| "10.0.0.1:5".to_owned())
        }
    }

    fn template(text: &str) -> Template {
        Template::try_from(text.to_owned()).unwrap()
    }

    fn captures() -> Captures {
        Captures::from([("1".to_owned(), "x%2Fy".to_owned())])
    }

    #[test]
    fn places_are_filled_in() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("{{1}}", "{1}"),
            ("{path}!{query}", "/a/b!q=x%20y&e="),
            ("{method} {authority}", "GET h:80"),
            ("{header.X-A}|{header.x-b}", "v w|"),
            ("{header.x-b|none}{header.x-a|none}", "nonev w"),
            ("{query.q}", "x y"),
            ("{query.e|empty}", "empty"),
            ("{cookie.user}", "ada/1"),
            ("{property.source.address}", "10.0.0.1:5"),
            ("<{1}{capture.2|no}>", "<x%2Fyno>"),
        ] {
            assert_eq!(template(text).fill(&Asked, &captures()), expected, "{text}");
        }
    }

    #[test]
    fn what_came_from_elsewhere_is_encoded_in_a_path() {
        let text = "{path}/{1}/{cookie.user}?q={query.q}&{query}";
        let path = template(text).fill_path(&Asked, &captures());
        assert_eq!(path, "/a/b/x%2Fy/ada%2F1?q=x%20y&q=x%20y&e=");
    }

    #[test]
    fn what_a_response_says_is_filled_in_later() {
        let template = template("{method} {response.x-a|none}{response.x-b|none}");
        assert!(template.is_of_response());
        let bound = template.bind(&Asked, &captures());
        let header = |name: &str| (name == "x-a").then(|| "a".to_owned());
        assert_eq!(bound.fill_response(header), "GET anone");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (text, words) in [
            ("{path", "a brace without its other"),
            ("path}", "a brace without its other"),
            ("{}", "stands for nothing"),
            ("{paths}", "`{paths}` stands for nothing"),
            ("{env.HOME}", "`{env.HOME}` stands for nothing"),
            ("{header.a b}", "not a header name"),
        ] {
            let message = Template::try_from(text.to_owned()).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
