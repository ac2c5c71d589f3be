//! The configuration.

use serde::Deserialize;

/// Only `role` has no default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) role: Role,
    /// `vm_id` of the receiver.
    #[serde(default = "audit")]
    pub(crate) receiver: String,
    /// Name of the queue between them.
    #[serde(default = "audit")]
    pub(crate) queue: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Makes a record of each request.
    Send,
    /// Takes the records of all senders.
    Receive,
}

fn audit() -> String {
    "audit".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Config, String> {
        filter_config::parse(Some(json.as_bytes())).map_err(|error| error.to_string())
    }

    #[test]
    fn documents_agree_with_what_is_read() {
        filter_schema::check_documents(env!("CARGO_MANIFEST_DIR"), |json| {
            filter_config::parse::<Config>(Some(json)).map(drop)
        });
    }

    #[test]
    fn a_role_is_all_that_is_needed() {
        let config = read(r#"{"role": "send"}"#).unwrap();
        assert_eq!(config.role, Role::Send);
        assert_eq!((&*config.receiver, &*config.queue), ("audit", "audit"));
        let config = read(r#"{"role": "receive", "queue": "q"}"#).unwrap();
        assert_eq!((config.role, &*config.queue), (Role::Receive, "q"));
    }

    #[test]
    fn refusals_name_the_field() {
        for (json, words) in [
            ("{}", "missing field `role`"),
            (r#"{"role": "watch"}"#, "unknown variant `watch`"),
            (r#"{"role": "send", "vm": "x"}"#, "unknown field `vm`"),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
