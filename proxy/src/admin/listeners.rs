//! `/listeners`: names and addresses.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};
use weir_config::Address;

use super::AdminState;
use super::answer::Answer;
use super::request::Request;

/// `/listeners`
pub(super) fn listeners(state: &AdminState, request: &Request) -> Answer {
    let served = state.served.load_full();
    let listeners = served
        .iter()
        .flat_map(|served| served.generation.addresses());
    match request.parameter("format") {
        None | Some("text" | "") => {
            let mut list = String::new();
            for (name, address) in listeners {
                // Writing to a string does not fail.
                let _ = writeln!(list, "{name}::{address}");
            }
            Answer::text(list)
        }
        Some("json") => {
            let statuses = listeners.map(
                |(name, address)| json!({ "name": name, "local_address": json_address(address) }),
            );
            let statuses: Vec<_> = statuses.collect();
            Answer::json(&json!({ "listener_statuses": statuses }))
        }
        Some(_) => Answer::code(400, "usage: /listeners?format=text|json\n"),
    }
}

/// As Envoy writes one.
pub(super) fn json_address(address: &Address) -> Json {
    match address {
        Address::Ip(address) => json!({ "socket_address": {
            "address": address.ip().to_string(),
            "port_value": address.port(),
        } }),
        Address::Unix(name) => json!({ "pipe": { "path": name.as_str() } }),
    }
}
