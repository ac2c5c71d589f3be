//! The configuration.

use serde::Deserialize;

/// Every field has a default: `{}` is a complete configuration.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// 1 (fastest) to 9 (smallest).
    pub(crate) level: Level,
    /// Bytes that a response has at the least, if it says how many.
    pub(crate) min_bytes: u64,
    /// Media types in lower case.
    pub(crate) content_types: Vec<String>,
    /// Whether upstreams are asked not to compress by themselves.
    pub(crate) remove_accept_encoding: bool,
    /// Whether a response with a strong etag stays as it is.
    pub(crate) keep_etags: bool,
}

/// A level of gzip.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub(crate) struct Level(pub(crate) u32);

impl TryFrom<u32> for Level {
    type Error = &'static str;

    fn try_from(level: u32) -> Result<Self, Self::Error> {
        match level {
            1..=9 => Ok(Self(level)),
            _ => Err("a level is 1 (fastest) to 9 (smallest)"),
        }
    }
}

impl Default for Config {
    /// Sizes and types are those of Envoy.
    fn default() -> Self {
        let content_types = [
            "application/javascript",
            "application/json",
            "application/xhtml+xml",
            "image/svg+xml",
            "text/css",
            "text/html",
            "text/plain",
            "text/xml",
        ];
        Self {
            level: Level(6),
            min_bytes: 30,
            content_types: content_types.map(str::to_owned).to_vec(),
            remove_accept_encoding: false,
            keep_etags: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_agree_with_what_is_read() {
        filter_schema::check_documents(env!("CARGO_MANIFEST_DIR"), |json| {
            filter_config::parse::<Config>(Some(json)).map(drop)
        });
    }

    #[test]
    fn refusals_name_the_field() {
        for (json, words) in [
            (r#"{"level": 0}"#, "field `level`: a level is 1"),
            (r#"{"min_bytes": -1}"#, "field `min_bytes`"),
            (r#"{"types": []}"#, "unknown field `types`"),
        ] {
            let error = filter_config::parse::<Config>(Some(json.as_bytes())).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
