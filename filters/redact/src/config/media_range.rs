//! Which media types a configuration speaks of.

use serde::Deserialize;

/// A media type, or several by one asterisk.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum MediaRange {
    Exactly(String),
    Between { prefix: String, suffix: String },
}

impl MediaRange {
    /// A body without a media type is included in `*` alone.
    pub(super) fn includes(&self, media_type: Option<&str>) -> bool {
        let media_type = media_type.unwrap_or_default();
        match self {
            Self::Exactly(wanted) => media_type == wanted,
            Self::Between { prefix, suffix } => media_type
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.ends_with(suffix.as_str())),
        }
    }
}

impl TryFrom<String> for MediaRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let range = text.to_ascii_lowercase();
        if range.contains(';') || (!range.contains('/') && range != "*") {
            return Err(format!(
                "`{text}` is not a media type such as `text/*` or `*`"
            ));
        }
        match range.split_once('*') {
            None => Ok(Self::Exactly(range)),
            Some((_, suffix)) if suffix.contains('*') => {
                Err(format!("`{text}` has more than one asterisk"))
            }
            Some((prefix, suffix)) => Ok(Self::Between {
                prefix: prefix.to_owned(),
                suffix: suffix.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(range: &str, media_type: Option<&str>) -> bool {
        MediaRange::try_from(range.to_owned())
            .unwrap()
            .includes(media_type)
    }

    #[test]
    fn asterisk_stands_for_anything() {
        assert!(includes("text/*", Some("text/plain")));
        assert!(includes(
            "application/*+json",
            Some("application/problem+json")
        ));
        assert!(includes("*", Some("image/png")));
        assert!(includes("*", None));
        assert!(!includes("text/*", Some("application/text")));
        assert!(!includes("application/*+json", Some("application/json")));
    }

    #[test]
    fn other_ranges_include_one_type() {
        assert!(includes("Application/JSON", Some("application/json")));
        assert!(!includes("application/json", Some("application/json5")));
        assert!(!includes("application/json", None));
    }

    #[test]
    fn asterisk_does_not_use_a_letter_twice() {
        assert!(!includes("a/b*b", Some("a/b")));
    }

    #[test]
    fn other_texts_are_refused() {
        for (text, words) in [
            ("json", "`json` is not a media type"),
            ("text/html; charset=utf-8", "is not a media type"),
            ("*/*", "more than one asterisk"),
        ] {
            let refusal = MediaRange::try_from(text.to_owned()).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}
