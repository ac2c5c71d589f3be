//! Envoy's `RBAC`, of requests and of connections.

use super::message::Message;
use super::{filter_chain, route_match};
use crate::rbac::{
    FilterStateMatch, MetadataMatch, MetadataSource, Rbac, RbacAction, RbacCondition, RbacPolicy,
    RbacRules, ValueMatch, check_ports,
};
use crate::route::StringMatch;
use crate::source::Spanned;
use crate::yaml::Value;

pub(super) const HTTP: &str = "envoy.extensions.filters.http.rbac.v3.RBAC";
pub(super) const PER_ROUTE: &str = "envoy.extensions.filters.http.rbac.v3.RBACPerRoute";
pub(super) const NETWORK: &str = "envoy.extensions.filters.network.rbac.v3.RBAC";

/// Why nothing in it is passed over.
const GUARD: &str = "`--lenient` does not pass it over: what it turns away would come in";

const ACTIONS: [(&str, i64, RbacAction); 3] = [
    ("ALLOW", 0, RbacAction::Allow),
    ("DENY", 1, RbacAction::Deny),
    ("LOG", 2, RbacAction::Log),
];

const SOURCES: [(&str, i64, MetadataSource); 2] = [
    ("DYNAMIC", 0, MetadataSource::Dynamic),
    ("ROUTE", 1, MetadataSource::Route),
];

/// How keys of filter state begin that are set by Istio's own filters.
const OF_MESH: &str = "io.istio.";

/// What both permissions and principals can be.
const COMMON: [&str; 4] = ["any", "header", "url_path", "metadata"];

const PERMISSIONS: [&str; 8] = [
    "and_rules",
    "or_rules",
    "not_rule",
    "destination_ip",
    "destination_port",
    "destination_port_range",
    "requested_server_name",
    "sourced_metadata",
];

const PRINCIPALS: [&str; 9] = [
    "and_ids",
    "or_ids",
    "not_id",
    "authenticated",
    "source_ip",
    "direct_remote_ip",
    "remote_ip",
    "filter_state",
    "sourced_metadata",
];

const VALUES: [&str; 6] = [
    "null_match",
    "string_match",
    "bool_match",
    "present_match",
    "list_match",
    "or_match",
];

/// The HTTP filter.
pub(super) fn http(message: Message<'_, '_>) -> Rbac {
    message.reader.guarded(GUARD, move || {
        let mut rbac = rbac(&message);
        let prefix = |name| message.nonempty(name).unwrap_or_default();
        rbac.rules_stat_prefix = prefix("rules_stat_prefix");
        message.only("track_per_rule_stats", false);
        rbac
    })
}

/// `RBACPerRoute`: without an `rbac`, everything goes through.
pub(super) fn per_route(message: Message<'_, '_>) -> Rbac {
    message.reader.guarded(GUARD, move || {
        message.message("rbac").map(http).unwrap_or_default()
    })
}

/// The network filter.
pub(super) fn network(message: Message<'_, '_>) -> Rbac {
    message.reader.guarded(GUARD, move || {
        let mut rbac = rbac(&message);
        let prefix = message.required_text("stat_prefix");
        // A point belongs to what stands in front of it.
        let text = prefix.trim_end_matches('.').to_owned();
        rbac.stat_prefix = Some(Spanned::new(text, prefix.span));
        message.word("enforcement_type", &[("ONE_TIME_ON_FIRST_BYTE", 0, ())]);
        // Connections are looked at when they have come.
        message.inert("enforce_on_transport_ready");
        rbac
    })
}

fn rbac(message: &Message<'_, '_>) -> Rbac {
    for matcher in ["matcher", "shadow_matcher"] {
        message.refuse(matcher, "write `rules` or `shadow_rules` with `policies`");
    }
    Rbac {
        rules: message.message("rules").map(|rules| self::rules(&rules)),
        shadow_rules: message.message("shadow_rules").map(|r| rules(&r)),
        shadow_rules_stat_prefix: message
            .nonempty("shadow_rules_stat_prefix")
            .unwrap_or_default(),
        ..Rbac::default()
    }
}

fn rules(message: &Message<'_, '_>) -> RbacRules {
    let action = message.word("action", &ACTIONS).unwrap_or_default();
    let mut policies = Vec::new();
    if let Some(node) = message.node("policies") {
        let path = message.path_of("policies");
        match &node.value {
            Value::Mapping(entries) => {
                for entry in entries {
                    let name = entry.key.text.clone();
                    let path = format!("{path}.{name}");
                    let message = Message::open(message.reader, &entry.value, path);
                    policies.push(policy(name, &message));
                }
            }
            _ => message.mismatch(node, &path, "a mapping of names to policies"),
        }
    }
    RbacRules::new(action, policies)
}

fn policy(name: String, message: &Message<'_, '_>) -> RbacPolicy {
    for condition in ["condition", "checked_condition"] {
        let help = "CEL is not supported: say it in `permissions` and `principals`";
        message.refuse(condition, help);
    }
    let conditions = |field, read: fn(Message<'_, '_>) -> RbacCondition| {
        let all = message.messages(field);
        if all.is_empty() {
            message.missing(field);
        }
        all.into_iter().map(read).collect()
    };
    RbacPolicy {
        name,
        permissions: conditions("permissions", permission),
        principals: conditions("principals", principal),
    }
}

#[allow(clippy::needless_pass_by_value)] // It ends here, and says what it has not been asked for.
fn permission(message: Message<'_, '_>) -> RbacCondition {
    use RbacCondition as C;
    let Some(chosen) = chosen(&message, &PERMISSIONS, "any") else {
        return C::Any;
    };
    let found = match chosen {
        "and_rules" => set(&message, chosen, "rules", permission).map(C::And),
        "or_rules" => set(&message, chosen, "rules", permission).map(C::Or),
        "not_rule" => message.message(chosen).map(permission).map(not),
        "destination_ip" => range(&message, chosen).map(C::DestinationIp),
        "destination_port" => {
            let port = message.number(chosen);
            port.map(|port| C::DestinationPort(port.value))
        }
        "destination_port_range" => message.message(chosen).map(|range| {
            let end = |name| range.number::<i64>(name).map_or(0, |n| n.value);
            let (start, end) = (end("start"), end("end"));
            let (start, end) = range.reader.native(range.path(), |problems| {
                check_ports(start, end, range.at(), problems)
            });
            C::DestinationPortRange { start, end }
        }),
        "requested_server_name" => text(&message, chosen).map(C::RequestedServerName),
        other => common(&message, other),
    };
    found.unwrap_or(C::Any)
}

#[allow(clippy::needless_pass_by_value)] // It ends here, and says what it has not been asked for.
fn principal(message: Message<'_, '_>) -> RbacCondition {
    use RbacCondition as C;
    let Some(chosen) = chosen(&message, &PRINCIPALS, "any") else {
        return C::Any;
    };
    let found = match chosen {
        "and_ids" => set(&message, chosen, "ids", principal).map(C::And),
        "or_ids" => set(&message, chosen, "ids", principal).map(C::Or),
        "not_id" => message.message(chosen).map(principal).map(not),
        "authenticated" => message
            .message(chosen)
            .map(|who| C::Authenticated(text(&who, "principal_name"))),
        "source_ip" => range(&message, chosen).map(C::SourceIp),
        "direct_remote_ip" => range(&message, chosen).map(C::DirectRemoteIp),
        "remote_ip" => range(&message, chosen).map(C::RemoteIp),
        "filter_state" => message.message(chosen).and_then(|m| filter_state(&m)),
        other => common(&message, other),
    };
    found.unwrap_or(C::Any)
}

/// Which of the fields is there; notes a problem if there is none.
fn chosen(
    message: &Message<'_, '_>,
    own: &[&'static str],
    usual: &'static str,
) -> Option<&'static str> {
    let all: Vec<_> = own.iter().chain(&COMMON).copied().collect();
    let chosen = message.one_of(&all);
    if chosen.is_none() && !message.has_unknown() {
        message.missing(usual);
    }
    chosen
}

/// What permissions and principals have in common.
fn common(message: &Message<'_, '_>, chosen: &'static str) -> Option<RbacCondition> {
    use RbacCondition as C;
    match chosen {
        "any" => {
            message.only("any", true);
            Some(C::Any)
        }
        "header" => {
            let header = message.message(chosen)?;
            route_match::header(&header).map(C::Header)
        }
        "url_path" => text(&message.message(chosen)?, "path").map(C::UrlPath),
        "sourced_metadata" => {
            let sourced = message.message(chosen)?;
            let source = sourced.word("metadata_source", &SOURCES);
            let matcher = sourced.message("metadata_matcher");
            if matcher.is_none() {
                sourced.missing("metadata_matcher");
            }
            metadata(&matcher?, source.unwrap_or_default())
        }
        _ => metadata(&message.message(chosen)?, MetadataSource::Dynamic),
    }
}

fn not(condition: RbacCondition) -> RbacCondition {
    RbacCondition::Not(Box::new(condition))
}

/// `Permission.Set`, `Principal.Set`.
fn set(
    message: &Message<'_, '_>,
    field: &'static str,
    items: &'static str,
    read: fn(Message<'_, '_>) -> RbacCondition,
) -> Option<Vec<RbacCondition>> {
    let set = message.message(field)?;
    let all = set.messages(items);
    if all.is_empty() {
        set.missing(items);
    }
    Some(all.into_iter().map(read).collect())
}

fn text(message: &Message<'_, '_>, field: &'static str) -> Option<StringMatch> {
    route_match::string_match(&message.message(field)?)
}

fn range(message: &Message<'_, '_>, field: &'static str) -> Option<crate::cidr::Cidr> {
    filter_chain::range(&message.message(field)?)
}

fn filter_state(message: &Message<'_, '_>) -> Option<RbacCondition> {
    let key = message.required_text("key");
    if key.starts_with(OF_MESH) {
        let what = format!("{}: `{}`", message.path_of("key"), *key);
        let why = "no filter sets it: name the principal in `authenticated`";
        message.reader.never(key.span, &what, why);
    }
    let key = key.value;
    let wanted = match message.one_of(&["string_match", "address_match"]) {
        Some("address_match") => FilterStateMatch::Address {
            key,
            ranges: filter_chain::ranges(&message.message("address_match")?, "ranges"),
        },
        Some(_) => FilterStateMatch::Text {
            key,
            text: text(message, "string_match")?,
        },
        None => {
            if !message.has_unknown() {
                message.missing("string_match");
            }
            return None;
        }
    };
    Some(RbacCondition::FilterState(wanted))
}

/// `MetadataMatcher`.
fn metadata(message: &Message<'_, '_>, source: MetadataSource) -> Option<RbacCondition> {
    let filter = message.required_text("filter").value;
    let segments = message.messages("path");
    if segments.is_empty() {
        message.missing("path");
    }
    let path = segments.iter().map(|segment| segment.required_text("key"));
    let path = path.map(|key| key.value).collect();
    let invert = message.flag("invert").unwrap_or(false);
    let wanted = message.message("value");
    if wanted.is_none() {
        message.missing("value");
    }
    Some(RbacCondition::Metadata(Box::new(MetadataMatch {
        source,
        filter,
        path,
        value: value(&wanted?)?,
        invert,
    })))
}

/// `ValueMatcher`.
fn value(message: &Message<'_, '_>) -> Option<ValueMatch> {
    let Some(chosen) = message.one_of(&VALUES) else {
        if !message.has_unknown() {
            message.missing("string_match");
        }
        return None;
    };
    Some(match chosen {
        "null_match" => {
            message.message(chosen)?;
            ValueMatch::Null
        }
        "string_match" => ValueMatch::Text(text(message, chosen)?),
        "bool_match" => ValueMatch::Bool(message.flag(chosen)?),
        "present_match" => ValueMatch::Present(message.flag(chosen)?),
        "list_match" => {
            let list = message.message(chosen)?;
            let Some(item) = list.message("one_of") else {
                list.missing("one_of");
                return None;
            };
            ValueMatch::List(Box::new(value(&item)?))
        }
        _ => {
            let or = message.message(chosen)?;
            let matchers = or.messages("value_matchers");
            ValueMatch::Or(matchers.iter().map(value).collect::<Option<_>>()?)
        }
    })
}
