//! `rbac`.

use serde_json::Value as Json;

use super::{Object, routes};
use crate::rbac::{
    FilterStateMatch, MetadataMatch, MetadataSource, Rbac, RbacAction, RbacCondition, RbacPolicy,
    RbacRules, ValueMatch,
};
use crate::route::StringMatch;

pub(super) fn rbac(rbac: &Rbac) -> Object {
    let mut block = Object::default();
    for (key, of) in [("rules", &rbac.rules), ("shadow_rules", &rbac.shadow_rules)] {
        if let Some(of) = of {
            // Even empty ones say something.
            block.0.insert(key.to_owned(), rules(of).into());
        }
    }
    let prefix = rbac.stat_prefix.as_ref();
    block.text("stat_prefix", prefix.map_or("", |prefix| &prefix.value));
    block.text("rules_stat_prefix", &rbac.rules_stat_prefix);
    block.text("shadow_rules_stat_prefix", &rbac.shadow_rules_stat_prefix);
    block
}

fn rules(rules: &RbacRules) -> Object {
    let mut block = Object::default();
    block.word("action", rules.action, RbacAction::default());
    let policies = rules.policies.iter();
    let policies = policies.map(|one| (one.name.clone(), policy(one)));
    block.set("policies", Json::Object(policies.collect()));
    block
}

fn policy(policy: &RbacPolicy) -> Json {
    let mut block = Object::default();
    block.list("permissions", policy.permissions.iter().map(condition));
    block.list("principals", policy.principals.iter().map(condition));
    block.into()
}

fn condition(one: &RbacCondition) -> Json {
    use RbacCondition as C;
    let all = |conditions: &[C]| Json::Array(conditions.iter().map(condition).collect());
    let (key, value) = match one {
        C::Any => ("any", true.into()),
        C::And(conditions) => ("and", all(conditions)),
        C::Or(conditions) => ("or", all(conditions)),
        C::Not(one) => ("not", condition(one)),
        C::Header(header) => ("header", routes::header(header)),
        C::UrlPath(path) => ("url_path", text(path)),
        C::DestinationIp(range) => ("destination_ip", range.to_string().into()),
        C::DestinationPort(port) => ("destination_port", (*port).into()),
        C::DestinationPortRange { start, end } => {
            let mut range = Object::default();
            range.set("start", *start);
            range.set("end", *end);
            ("destination_port_range", range.into())
        }
        C::RequestedServerName(name) => ("requested_server_name", text(name)),
        C::Authenticated(name) => {
            let mut block = Object::default();
            if let Some(name) = name {
                block.set("principal_name", text(name));
            }
            ("authenticated", block.into())
        }
        C::SourceIp(range) => ("source_ip", range.to_string().into()),
        C::DirectRemoteIp(range) => ("direct_remote_ip", range.to_string().into()),
        C::RemoteIp(range) => ("remote_ip", range.to_string().into()),
        C::Metadata(wanted) => ("metadata", metadata(wanted)),
        C::FilterState(wanted) => ("filter_state", filter_state(wanted)),
    };
    let mut block = Object::default();
    // Even an empty one says something.
    block.0.insert(key.to_owned(), value);
    block.into()
}

fn text(text: &StringMatch) -> Json {
    let mut block = Object::default();
    routes::text_match(&mut block, text);
    block.into()
}

fn metadata(wanted: &MetadataMatch) -> Json {
    let mut block = Object::default();
    block.word("source", wanted.source, MetadataSource::default());
    block.set("filter", wanted.filter.as_str());
    block.set("path", wanted.path.clone());
    block.set("value", value(&wanted.value));
    block.flag("invert", wanted.invert, false);
    block.into()
}

fn value(wanted: &ValueMatch) -> Json {
    let (key, what) = match wanted {
        ValueMatch::Null => ("null", true.into()),
        ValueMatch::Text(wanted) => ("string", text(wanted)),
        ValueMatch::Bool(truth) => ("bool", (*truth).into()),
        ValueMatch::Present(present) => ("present", (*present).into()),
        ValueMatch::List(item) => ("list", value(item)),
        ValueMatch::Or(all) => ("or", Json::Array(all.iter().map(value).collect())),
    };
    let mut block = Object::default();
    block.0.insert(key.to_owned(), what);
    block.into()
}

fn filter_state(wanted: &FilterStateMatch) -> Json {
    let mut block = Object::default();
    match wanted {
        FilterStateMatch::Text { key, text: wanted } => {
            block.set("key", key.as_str());
            block.set("string", text(wanted));
        }
        FilterStateMatch::Address { key, ranges } => {
            block.set("key", key.as_str());
            block.list("address", ranges.iter().map(|range| range.to_string()));
        }
    }
    block.into()
}
