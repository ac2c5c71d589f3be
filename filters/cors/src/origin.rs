//! Origins that are allowed.

use regex_lite::Regex;
use serde::Deserialize;

/// One origin as it is sent, `*` for any, or a pattern of whole origins.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) enum Origin {
    Any,
    Exact(String),
    Pattern(Regex),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Pattern(Pattern),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pattern {
    regex: String,
}

impl TryFrom<Written> for Origin {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Text(text) if text == "*" => Ok(Self::Any),
            Written::Text(text) if text == "null" || is_origin(&text) => Ok(Self::Exact(text)),
            Written::Text(text) => Err(format!(
                "`{text}` is no origin: expected one such as https://app.example.com, without a path"
            )),
            Written::Pattern(Pattern { regex }) => {
                let whole = Regex::new(&format!("^(?:{regex})$"));
                whole
                    .map(Self::Pattern)
                    .map_err(|error| format!("`{regex}` is no pattern: {error}"))
            }
        }
    }
}

impl Origin {
    pub(crate) fn is(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(own) => own == origin,
            Self::Pattern(pattern) => pattern.is_match(origin),
        }
    }
}

/// `scheme://host` or `scheme://host:port` (RFC 6454, section 6.2).
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '?', '#', ' ', '@'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Result<Origin, String> {
        Origin::try_from(Written::Text(text.to_owned()))
    }

    fn pattern(regex: &str) -> Result<Origin, String> {
        let regex = regex.to_owned();
        Origin::try_from(Written::Pattern(Pattern { regex }))
    }

    #[test]
    fn origins_are_compared_as_a_whole() {
        let exact = text("https://a.test").unwrap();
        assert!(exact.is("https://a.test"));
        assert!(!exact.is("https://a.test.evil"));
        assert!(text("*").unwrap().is("null"));
        let pattern = pattern(r"https://\w+\.b\.test|http://c").unwrap();
        assert!(pattern.is("https://x.b.test"));
        assert!(pattern.is("http://c"));
        for origin in [
            "https://x.b.test.evil",
            "evil.https://x.b.test",
            "http://cc",
        ] {
            assert!(!pattern.is(origin), "{origin}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for wrong in ["", "a.test", "https://a.test/", "https://", "://a"] {
            assert!(text(wrong).unwrap_err().contains("no origin"), "{wrong}");
        }
        assert!(pattern("(").unwrap_err().contains("no pattern"));
    }
}
