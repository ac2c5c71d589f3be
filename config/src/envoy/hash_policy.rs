//! Envoy's `config.route.v3.RouteAction.HashPolicy`.

use super::message::Message;
use crate::route::{CookieHash, HashPolicy, HashSource, check_cookie};
use crate::source::Spanned;

const SOURCES: [&str; 4] = [
    "header",
    "cookie",
    "connection_properties",
    "query_parameter",
];

/// The `hash_policy` of a route's action.
pub(super) fn read(action: &Message<'_, '_>) -> Vec<HashPolicy> {
    let policies = action.messages("hash_policy");
    policies.iter().filter_map(policy).collect()
}

fn policy(message: &Message<'_, '_>) -> Option<HashPolicy> {
    let terminal = message.flag("terminal").unwrap_or(false);
    let Some(chosen) = message.one_of(&SOURCES) else {
        if !message.has_unknown() {
            message.missing("header");
        }
        return None;
    };
    let of = message.message(chosen)?;
    let source = match chosen {
        "header" => HashSource::Header(of.required_text("header_name").value),
        "cookie" => HashSource::Cookie(cookie(&of)),
        "connection_properties" => {
            // Without it, Envoy makes no hash of it.
            of.flag("source_ip").filter(|is_wanted| *is_wanted)?;
            HashSource::SourceIp
        }
        _ => HashSource::QueryParameter(of.required_text("name").value),
    };
    Some(HashPolicy { source, terminal })
}

fn cookie(message: &Message<'_, '_>) -> CookieHash {
    let check = |name: &'static str, text: &Spanned<String>| {
        let path = message.path_of(name);
        message
            .reader
            .native(&path, |problems| check_cookie(text, problems));
    };
    let name = message.required_text("name");
    check("name", &name);
    let path = message.text("path");
    if let Some(path) = &path {
        check("path", path);
    }
    CookieHash {
        name: name.value,
        ttl: message.duration("ttl").map(|ttl| ttl.value),
        path: path.map(|path| path.value).unwrap_or_default(),
    }
}
