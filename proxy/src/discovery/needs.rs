//! What a resource refers to by name, and how that takes the name's place.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use weir_xds::ResourceType;

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Origin {
    /// From where everything comes from.
    Ads,
    /// From the service for secrets that is in this static cluster.
    Cluster(Arc<str>),
}

/// One resource that another one refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Need {
    pub(super) kind: ResourceType,
    pub(super) origin: Origin,
    pub(super) name: Arc<str>,
}

impl Need {
    fn ads(kind: ResourceType, name: &str) -> Self {
        Self {
            kind,
            origin: Origin::Ads,
            name: name.into(),
        }
    }
}

/// Fields that refer to secrets: a list, and one.
const CERTIFICATES: &str = "tls_certificate_sds_secret_configs";
const AUTHORITIES: &str = "validation_context_sds_secret_config";

/// What a listener or a cluster refers to; endpoints are not among it.
///
/// # Errors
/// Something is to come from where nothing comes from.
pub(super) fn needs(json: &Json) -> Result<BTreeSet<Need>, String> {
    let mut found = BTreeSet::new();
    gather(json, &mut found)?;
    Ok(found)
}

fn gather(json: &Json, found: &mut BTreeSet<Need>) -> Result<(), String> {
    match json {
        Json::Array(items) => items.iter().try_for_each(|item| gather(item, found)),
        Json::Object(fields) => {
            if let Some(rds) = fields.get("rds") {
                only_ads(rds.get("config_source"), "rds")?;
                let name = text(rds.get("route_config_name"));
                found.insert(Need::ads(ResourceType::Routes, name));
            }
            if let Some(discovery) = fields.get("config_discovery") {
                only_ads(discovery.get("config_source"), "config_discovery")?;
                let name = text(fields.get("name"));
                found.insert(Need::ads(ResourceType::Extension, name));
            }
            if let Some(secrets) = fields.get(CERTIFICATES).and_then(Json::as_array) {
                for secret in secrets {
                    found.insert(secret_need(secret)?);
                }
            }
            if let Some(secret) = fields.get(AUTHORITIES) {
                found.insert(secret_need(secret)?);
            }
            fields.values().try_for_each(|value| gather(value, found))
        }
        _ => Ok(()),
    }
}

fn text(json: Option<&Json>) -> &str {
    json.and_then(Json::as_str).unwrap_or_default()
}

fn only_ads(source: Option<&Json>, of: &str) -> Result<(), String> {
    match source.and_then(|source| source.get("ads")) {
        Some(_) => Ok(()),
        None => Err(format!("{of}: `config_source` is to be `ads: {{}}`")),
    }
}

/// `SdsSecretConfig`.
fn secret_need(secret: &Json) -> Result<Need, String> {
    let name = text(secret.get("name"));
    let need = |origin| Need {
        kind: ResourceType::Secret,
        origin,
        name: name.into(),
    };
    let source = secret.get("sds_config").unwrap_or(&Json::Null);
    if source.get("ads").is_some() {
        return Ok(need(Origin::Ads));
    }
    let cluster = source.pointer("/api_config_source/grpc_services/0/envoy_grpc/cluster_name");
    match cluster.and_then(Json::as_str) {
        Some(cluster) => Ok(need(Origin::Cluster(cluster.into()))),
        None => Err(format!(
            "the secret `{name}`: `sds_config` is to be `ads: {{}}`, or an `api_config_source` \
             with an `envoy_grpc`"
        )),
    }
}

/// Puts routes and filters that `find` gives into the place of what refers to them. It
/// gives `None` for what is not there; then a listener has no routes, and a filter its
/// default. Secrets are found by their names when the resource is read.
///
/// # Errors
/// Something cannot do without what is not there, or is of another type.
pub(super) fn inline(
    json: &mut Json,
    find: &dyn Fn(&Need) -> Result<Option<Json>, String>,
) -> Result<(), String> {
    match json {
        Json::Array(items) => items.iter_mut().try_for_each(|item| inline(item, find)),
        Json::Object(fields) => {
            routes(fields, find)?;
            extension(fields, find)?;
            fields
                .values_mut()
                .try_for_each(|value| inline(value, find))
        }
        _ => Ok(()),
    }
}

type Fields = Map<String, Json>;
type Find<'f> = &'f dyn Fn(&Need) -> Result<Option<Json>, String>;

fn routes(fields: &mut Fields, find: Find<'_>) -> Result<(), String> {
    let Some(rds) = fields.remove("rds") else {
        return Ok(());
    };
    let name = text(rds.get("route_config_name"));
    let found = find(&Need::ads(ResourceType::Routes, name))?;
    // As in Envoy, no route matches until there are some.
    let routes = found.unwrap_or_else(|| json!({ "name": name }));
    fields.insert("route_config".to_owned(), routes);
    Ok(())
}

fn extension(fields: &mut Fields, find: Find<'_>) -> Result<(), String> {
    let Some(discovery) = fields.remove("config_discovery") else {
        return Ok(());
    };
    let name = text(fields.get("name")).to_owned();
    let found = find(&Need::ads(ResourceType::Extension, &name))?;
    let config = match found {
        Some(mut extension) => extension["typed_config"].take(),
        None => match discovery.get("default_config") {
            Some(default) => default.clone(),
            None => return Err(format!("there is no extension `{name}`, and no default")),
        },
    };
    let kind = text(config.get("@type"));
    let types = discovery.get("type_urls").and_then(Json::as_array);
    let is_wanted = |types: &Vec<Json>| {
        types
            .iter()
            .any(|wanted| type_of(text(Some(wanted))) == type_of(kind))
    };
    if types.is_some_and(|types| !is_wanted(types)) {
        return Err(format!(
            "the extension `{name}` is a `{kind}`, which `type_urls` has not"
        ));
    }
    fields.insert("typed_config".to_owned(), config);
    Ok(())
}

/// The name of a type, without where it is described.
fn type_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// Something that stands for what is not there yet, to see what else is wrong.
pub(super) fn placeholder(need: &Need, wanted: &Json) -> Option<Json> {
    match need.kind {
        ResourceType::Extension => {
            let kind = wanted_type(wanted, &need.name)?;
            let code = json!({ "local": { "inline_string": "-" } });
            Some(json!({ "typed_config": {
                "@type": kind,
                "config": { "vm_config": { "runtime": "envoy.wasm.runtime.v8", "code": code } },
            } }))
        }
        _ => None,
    }
}

/// The first type that the filter of that name may have.
fn wanted_type<'j>(json: &'j Json, name: &str) -> Option<&'j str> {
    match json {
        Json::Array(items) => items.iter().find_map(|item| wanted_type(item, name)),
        Json::Object(fields) => match fields.get("config_discovery") {
            Some(discovery) if text(fields.get("name")) == name => {
                discovery.pointer("/type_urls/0").and_then(Json::as_str)
            }
            _ => fields.values().find_map(|value| wanted_type(value, name)),
        },
        _ => None,
    }
}

/// What a listener or cluster refers to, its endpoints too.
pub(super) fn all_needs(json: &Json) -> BTreeSet<Need> {
    // Who has been accepted has no wrong ones.
    let mut all = needs(json).unwrap_or_default();
    if json.get("type").and_then(Json::as_str) == Some("EDS") {
        let name = json
            .pointer("/eds_cluster_config/service_name")
            .and_then(Json::as_str);
        let name = name.filter(|name| !name.is_empty());
        let name = name.or_else(|| json.get("name").and_then(Json::as_str));
        all.insert(Need {
            kind: ResourceType::Endpoints,
            origin: Origin::Ads,
            name: name.unwrap_or_default().into(),
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ads() -> Json {
        json!({ "ads": {}, "resource_api_version": "V3" })
    }

    #[test]
    fn what_a_listener_refers_to_is_found_and_replaced() {
        let sds = json!({ "api_config_source": { "grpc_services": [
            { "envoy_grpc": { "cluster_name": "sds-grpc" } },
        ] } });
        let mut listener = json!({ "filter_chains": [{
            "filters": [{ "typed_config": {
                "rds": { "route_config_name": "r", "config_source": ads() },
                "http_filters": [{
                    "name": "w",
                    "config_discovery": { "config_source": ads(), "type_urls": ["a/W"] },
                }],
            } }],
            "transport_socket": { "typed_config": { "common_tls_context": {
                CERTIFICATES: [{ "name": "default", "sds_config": sds }],
                "combined_validation_context": {
                    AUTHORITIES: { "name": "ROOTCA", "sds_config": sds },
                },
            } } },
        }] });
        let found: Vec<_> = needs(&listener).unwrap().into_iter().collect();
        let shown: Vec<_> = found.iter().map(|n| (n.kind, &*n.name)).collect();
        let expected = [
            (ResourceType::Routes, "r"),
            (ResourceType::Secret, "ROOTCA"),
            (ResourceType::Secret, "default"),
            (ResourceType::Extension, "w"),
        ];
        assert_eq!(shown, expected);
        inline(&mut listener, &|need| {
            Ok(Some(match &*need.name {
                "r" => json!({ "name": "r", "virtual_hosts": [] }),
                _ => json!({ "name": "w", "typed_config": { "@type": "b/W" } }),
            }))
        })
        .unwrap();
        let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
        let expected = json!({
            "http_filters": [{ "name": "w", "typed_config": { "@type": "b/W" } }],
            "route_config": { "name": "r", "virtual_hosts": [] },
        });
        assert_eq!(*manager, expected);
    }

    #[test]
    fn what_is_not_there_is_told_or_done_without() {
        let filter = |default: Json| {
            let mut json = json!({
                "name": "w",
                "config_discovery": { "config_source": ads(), "default_config": default },
            });
            inline(&mut json, &|_| Ok(None)).map(|()| json)
        };
        let default = json!({ "@type": "t" });
        let expected = json!({ "name": "w", "typed_config": default });
        assert_eq!(filter(default), Ok(expected));
        let mut json = json!({
            "name": "w",
            "config_discovery": { "config_source": ads() },
        });
        let error = inline(&mut json, &|_| Ok(None)).unwrap_err();
        assert_eq!(error, "there is no extension `w`, and no default");
        let elsewhere = json!({ "rds": { "route_config_name": "r", "config_source": {} } });
        let error = needs(&elsewhere).unwrap_err();
        assert_eq!(error, "rds: `config_source` is to be `ads: {}`");
    }
}
