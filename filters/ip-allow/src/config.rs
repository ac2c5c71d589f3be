//! The configuration.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use crate::network::Network;

/// Who is let in: whoever no network of `deny` contains, and, unless `allow` is
/// empty, some network of it does.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    allow: Vec<Network>,
    deny: Vec<Network>,
}

impl Config {
    /// Whether a connection from `address`, which is the property
    /// `source.address`, is let in. One that cannot be read is not.
    pub(crate) fn lets_in(&self, address: &[u8]) -> bool {
        let Some(address) = parse(address) else {
            return false;
        };
        let within = |networks: &[Network]| networks.iter().any(|n| n.contains(address));
        !within(&self.deny) && (self.allow.is_empty() || within(&self.allow))
    }
}

/// `192.0.2.1:443`, `[2001:db8::1]:443`, or without the port.
fn parse(address: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(address).ok()?;
    match text.parse::<SocketAddr>() {
        Ok(address) => Some(address.ip()),
        Err(_) => text.parse().ok(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn config(json: &str) -> Config {
        filter_config::parse(Some(json.as_bytes())).unwrap()
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
    fn an_error_names_the_network() {
        let json = br#"{"allow": ["10.0.0.0/8", "10.0.0.0/40"]}"#;
        let error = filter_config::parse::<Config>(Some(json)).unwrap_err();
        assert!(error.to_string().starts_with("field `allow[1]`"), "{error}");
    }
}
