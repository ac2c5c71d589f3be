//! What keeps requests out, or others from reading them. Without it everything
//! would work, and be open: not even the lenient reader passes it over.

use super::message::Message;
use super::{cors, elsewhere, rbac};
use crate::route::{Cors, FilterSetting, RouteFilter, RouteFilters};
use crate::source::Spanned;
use crate::yaml::Value;

/// Filters that turn requests or connections away, by the end of their name
/// or the last package of their type.
const FILTERS: [&str; 7] = [
    "rbac",
    "jwt_authn",
    "ext_authz",
    "basic_auth",
    "oauth2",
    "api_key_auth",
    "csrf",
];

const FILTER: &str = "`--lenient` does not pass it over: what it turns away would come in";

/// Switches a filter on for a route, or gives it another configuration.
const FILTER_CONFIG: &str = "envoy.config.route.v3.FilterConfig";

/// Notes a filter that Weir does not have.
pub(super) fn outside(filter: &Message<'_, '_>, what: &str, name: &str, kind: &str) {
    if guards(name, kind) {
        filter.reader.never(filter.at(), what, FILTER);
    } else {
        filter.reader.outside(filter.at(), what, None);
    }
}

/// Whether a filter turns anything away, by its name or its type, such as
/// `envoy.extensions.filters.http.rbac.v3.RBAC`.
fn guards(name: &str, kind: &str) -> bool {
    let parts = name.split('.').chain(kind.split('.'));
    parts.into_iter().any(|part| FILTERS.contains(&part))
}

/// What Weir has of `typed_per_filter_config`.
#[derive(Default)]
pub(super) struct PerRoute {
    pub(super) cors: Option<Cors>,
    /// Those that are switched off, by the names that they have in Envoy.
    pub(super) filters: RouteFilters,
}

impl PerRoute {
    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.cors.is_none() && self.filters.0.is_empty()
    }
}

/// What a route has of a filter for CORS.
const CORS_POLICY: &str = "envoy.extensions.filters.http.cors.v3.CorsPolicy";

/// `typed_per_filter_config`, which may hold what a filter turns away, or
/// switch on one that is disabled; gives what Weir has of it.
pub(super) fn per_route(message: &Message<'_, '_>) -> PerRoute {
    const FIELD: &str = "typed_per_filter_config";
    let mut found = PerRoute::default();
    let Some(node) = message.node(FIELD) else {
        return found;
    };
    let Value::Mapping(entries) = &node.value else {
        message.mismatch(node, &message.path_of(FIELD), "a mapping");
        return found;
    };
    let path = message.path_of(FIELD);
    for entry in entries {
        let name = entry.key.text.as_str();
        let at = entry.key.span;
        let kind = match &entry.value.value {
            Value::Mapping(fields) => fields.iter().find(|field| field.key.text == "@type"),
            _ => None,
        };
        let kind = kind.and_then(|kind| kind.value.text()).unwrap_or_default();
        let what = format!("{path}.{name}");
        if kind.rsplit('/').next() == Some(CORS_POLICY) {
            let settings = Message::open(message.reader, &entry.value, what);
            settings.inert("@type");
            found.cors = Some(cors::policy(&settings));
            continue;
        }
        if kind.rsplit('/').next() == Some(rbac::PER_ROUTE) {
            let settings = Message::open(message.reader, &entry.value, what);
            settings.inert("@type");
            found.filters.0.push(RouteFilter {
                name: Spanned::new(name.to_owned(), at),
                setting: FilterSetting::Rbac(Box::new(rbac::per_route(settings))),
            });
            continue;
        }
        // Of those that there are, they say nothing but what is done.
        let is_known = name.split('.').any(|part| part == "rbac");
        if kind.ends_with(FILTER_CONFIG) && (is_known || !guards(name, kind)) {
            let settings = Message::open(message.reader, &entry.value, what.clone());
            settings.inert("@type");
            settings.inert("is_optional");
            let disabled = settings.flag("disabled").unwrap_or(false);
            let alone = !settings.has_unknown();
            settings.close();
            if disabled && alone {
                found.filters.0.push(RouteFilter {
                    name: Spanned::new(name.to_owned(), at),
                    setting: FilterSetting::Disabled,
                });
                continue;
            }
        }
        let given = kind.rsplit('/').next().unwrap_or_default();
        if let Some(why) = elsewhere::of_route(given) {
            message.reader.never(at, &what, why);
        } else if guards(name, kind) || kind.ends_with(FILTER_CONFIG) {
            message.reader.never(at, &what, FILTER);
        } else {
            message.reader.outside(at, &what, None);
        }
    }
    found
}

/// `require_tls`, which must not ask for any.
pub(super) fn require_tls(message: &Message<'_, '_>) {
    let Some(wanted) = message.text("require_tls") else {
        return;
    };
    if !matches!(wanted.as_str(), "NONE" | "0") {
        let what = format!("{}: {}", message.path_of("require_tls"), wanted.value);
        let why = "requests in plain text would be served; write routes that redirect them";
        message.reader.never(wanted.span, &what, why);
    }
}

/// The older way to ask for TLS than `transport_socket`.
pub(super) fn old_tls(message: &Message<'_, '_>) {
    const FIELD: &str = "tls_context";
    if message.node(FIELD).is_some() {
        let why = "the connections would be in plain text";
        let path = message.path_of(FIELD);
        message.reader.never(message.span_of(FIELD), &path, why);
    }
}
