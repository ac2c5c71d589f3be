//! How the filters in this workspace read their JSON configuration: the error
//! names the offending field, and header names and values are checked as they are
//! read, so that no request has to find out.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use std::fmt;

use serde::de::DeserializeOwned;

mod header;

pub use header::{HeaderName, HeaderValue};

/// Reads a plugin configuration. An absent or blank one stands for `{}`.
///
/// # Errors
///
/// Names the field and says what is wrong with it.
pub fn parse<T: DeserializeOwned>(configuration: Option<&[u8]>) -> Result<T, ConfigError> {
    let json = match configuration {
        Some(bytes) if !bytes.trim_ascii().is_empty() => bytes,
        _ => b"{}",
    };
    let mut reader = serde_json::Deserializer::from_slice(json);
    let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|error| ConfigError {
        field: Some(error.path().to_string()).filter(|path| path != "."),
        reason: error.into_inner(),
    })?;
    reader.end().map_err(|reason| ConfigError {
        field: None,
        reason,
    })?;
    Ok(parsed)
}

/// Why a configuration was refused, as the operator reads it in the log.
#[derive(Debug)]
pub struct ConfigError {
    /// Path of the field, such as `rules[2].regex`; none when the whole text is
    /// at fault.
    field: Option<String>,
    reason: serde_json::Error,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "field `{field}`: {}", self.reason),
            None => write!(f, "{}", self.reason),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        limits: Limits,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Limits {
        sizes: Vec<u8>,
    }

    fn refusal(json: &str) -> String {
        match parse::<Sample>(Some(json.as_bytes())) {
            Ok(sample) => panic!("accepted: {sample:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn absent_and_blank_configurations_are_the_defaults() {
        for configuration in [None, Some(&b""[..]), Some(b" \n")] {
            assert_eq!(parse::<Sample>(configuration).unwrap(), Sample::default());
        }
    }

    #[test]
    fn error_names_the_path_of_the_field() {
        let message = refusal(r#"{"limits": {"sizes": [1, "two"]}}"#);
        assert!(
            message.starts_with("field `limits.sizes[1]`: invalid type"),
            "{message}"
        );
    }

    #[test]
    fn error_names_an_unknown_field() {
        let message = refusal(r#"{"limits": {"size": []}}"#);
        assert!(
            message.contains("unknown field `size`, expected `sizes`"),
            "{message}"
        );
    }

    #[test]
    fn text_after_the_configuration_is_refused() {
        let message = refusal("{} {}");
        assert!(message.starts_with("trailing characters"), "{message}");
    }

    #[test]
    fn broken_json_is_refused_with_its_place() {
        let message = refusal("{\n  limits");
        assert!(message.contains("line 2 column"), "{message}");
    }
}
