//! Who a sidecar is, as Istio's agent derives it from its environment (istio,
//! `pkg/bootstrap/config.go`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::bootstrap::MeshError;

/// Variables whose names go on behind it are metadata, each a text.
const META: &str = "ISTIO_META_";
/// The same, each an object of more metadata.
const META_JSON: &str = "ISTIO_METAJSON_";
/// Labels as an object, in a variable of that kind.
const LABELS_JSON: &str = "ISTIO_METAJSON_LABELS";

/// A label that differs between versions of a deployment and says nothing else.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// What is called so when nothing says otherwise.
const SERVICE: &str = "istio-proxy";

/// The environment, as far as it is text.
pub(super) struct Environment(BTreeMap<String, String>);

impl Environment {
    pub(super) fn new(all: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(all.into_iter().filter_map(text).collect())
    }

    /// What a variable says; an empty one says nothing.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A variable that is a JSON object.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn object(&self, name: &str) -> Result<Option<Map<String, Json>>, MeshError> {
        let object = self.get(name).map(serde_json::from_str).transpose();
        object.map_err(|source| MeshError::Variable {
            name: name.to_owned(),
            source,
        })
    }

    fn beginning<'e>(&'e self, prefix: &'e str) -> impl Iterator<Item = (&'e str, &'e str)> {
        let all = self.0.iter();
        all.filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// The addresses of this pod, the first of which it is known by.
    pub(super) fn addresses(&self) -> Result<Vec<IpAddr>, MeshError> {
        let text = self.get("INSTANCE_IPS").or_else(|| self.get("INSTANCE_IP"));
        let Some(text) = text else {
            return Ok(vec![own_address().unwrap_or(Ipv4Addr::LOCALHOST.into())]);
        };
        let texts = text.split(',').map(str::trim);
        let addresses = texts.map(|text| {
            text.parse()
                .map_err(|_| MeshError::Address(text.to_owned()))
        });
        addresses.collect()
    }
}

/// The address from which this machine would reach others. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let reach = |from: &str, to: &str| {
        let socket = UdpSocket::bind(from).ok()?;
        // Addresses for documentation (RFC 5737, RFC 3849).
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    reach("0.0.0.0:0", "192.0.2.1:9").or_else(|| reach("[::]:0", "[2001:db8::1]:9"))
}

/// What the environment does not say, or says otherwise.
pub(super) struct Given<'g> {
    pub(super) id: Option<&'g str>,
    pub(super) cluster: Option<&'g str>,
    pub(super) domain: &'g str,
    /// A file with the pod's labels, as Kubernetes writes it.
    pub(super) labels: &'g Path,
    pub(super) status_port: u16,
    pub(super) prometheus_port: u16,
}

/// The node, as a bootstrap has it.
///
/// # Errors
/// When a variable is not what it should be.
pub(super) fn node(environment: &Environment, given: &Given<'_>) -> Result<Json, MeshError> {
    let addresses = environment.addresses()?;
    let mut metadata = Map::new();
    for (name, value) in environment.beginning(META) {
        metadata.insert(name.to_owned(), value.into());
    }
    let names = environment.beginning(META_JSON).map(|(name, _)| name);
    for name in names.collect::<Vec<_>>() {
        let more = environment.object(&format!("{META_JSON}{name}"))?;
        metadata.extend(more.unwrap_or_default());
    }
    let name = environment.get("POD_NAME");
    let namespace = environment.get("POD_NAMESPACE");
    for (key, value) in [
        ("NAME", name),
        ("NAMESPACE", namespace),
        ("SERVICE_ACCOUNT", environment.get("SERVICE_ACCOUNT")),
    ] {
        if let Some(value) = value {
            metadata.insert(key.to_owned(), value.into());
        }
    }
    let texts: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    metadata.insert("INSTANCE_IPS".to_owned(), texts.join(",").into());
    metadata.insert("ENVOY_STATUS_PORT".to_owned(), given.status_port.into());
    metadata.insert(
        "ENVOY_PROMETHEUS_PORT".to_owned(),
        given.prometheus_port.into(),
    );
    if let Some(config) = environment.object("PROXY_CONFIG")? {
        metadata.insert("PROXY_CONFIG".to_owned(), config.into());
    }
    let labels = labels(environment, given.labels)?;
    let cluster = given
        .cluster
        .map_or_else(|| cluster(&labels, &metadata, namespace), str::to_owned);
    if !labels.is_empty() {
        metadata.insert("LABELS".to_owned(), labels.into());
    }
    let id = given.id.map_or_else(
        || {
            let ip = addresses.first().map(IpAddr::to_string).unwrap_or_default();
            let (name, namespace) = (name.unwrap_or_default(), namespace.unwrap_or_default());
            let domain = given.domain;
            format!("sidecar~{ip}~{name}.{namespace}~{namespace}.svc.{domain}")
        },
        str::to_owned,
    );
    Ok(json!({
        "id": id,
        "cluster": cluster,
        "locality": locality(&metadata),
        "metadata": metadata,
    }))
}

/// The pod's labels, of the environment and of the file over them.
fn labels(environment: &Environment, file: &Path) -> Result<Map<String, Json>, MeshError> {
    let mut labels = environment.object(LABELS_JSON)?.unwrap_or_default();
    // Not every pod has one.
    let Ok(text) = std::fs::read_to_string(file) else {
        return Ok(labels);
    };
    // `key="value"`, which is escaped as a string of JSON is.
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let value: Json = serde_json::from_str(value).map_err(|source| MeshError::Labels {
            path: file.to_owned(),
            source,
        })?;
        if name != TEMPLATE_HASH {
            labels.insert(name.to_owned(), value);
        }
    }
    Ok(labels)
}

/// The service that it belongs to.
fn cluster(
    labels: &Map<String, Json>,
    metadata: &Map<String, Json>,
    namespace: Option<&str>,
) -> String {
    let app = labels.get("app").and_then(Json::as_str);
    let workload = metadata.get("WORKLOAD_NAME").and_then(Json::as_str);
    match (app.or(workload), namespace) {
        (Some(name), namespace) => format!("{name}.{}", namespace.unwrap_or_default()),
        (None, Some(namespace)) => format!("{SERVICE}.{namespace}"),
        (None, None) => SERVICE.to_owned(),
    }
}

/// Where it runs: `region/zone/sub-zone`, in which labels have dots.
fn locality(metadata: &Map<String, Json>) -> Json {
    let label = |labels: &Json| labels.get("istio-locality")?.as_str().map(str::to_owned);
    let text = metadata.get("LABELS").and_then(label).unwrap_or_default();
    let text = if text.contains('/') {
        text
    } else {
        text.replace('.', "/")
    };
    let mut parts = text.split('/').filter(|part| !part.is_empty());
    let mut locality = Map::new();
    for name in ["region", "zone", "sub_zone"] {
        if let Some(part) = parts.next() {
            locality.insert(name.to_owned(), part.into());
        }
    }
    locality.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(
            variables
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        )
    }

    fn given(labels: &Path) -> Given<'_> {
        Given {
            id: None,
            cluster: None,
            domain: "cluster.local",
            labels,
            status_port: 15021,
            prometheus_port: 15090,
        }
    }

    #[test]
    fn a_node_is_what_its_environment_says() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels");
        let labels = "app=\"reviews\"\nnote=\"a \\\"b\\\"\"\npod-template-hash=\"7f\"\n\
                      istio-locality=\"eu.west.a\"\n";
        std::fs::write(&file, labels).unwrap();
        let environment = environment(&[
            ("POD_NAME", "reviews-1"),
            ("POD_NAMESPACE", "books"),
            ("SERVICE_ACCOUNT", "reader"),
            ("INSTANCE_IP", "10.1.2.3"),
            ("ISTIO_META_CLUSTER_ID", "Kubernetes"),
            ("ISTIO_META_MESH_ID", "cluster.local"),
            ("ISTIO_METAJSON_MORE", r#"{"APP_CONTAINERS": "reviews"}"#),
            ("PROXY_CONFIG", r#"{"discoveryAddress": "istiod:15010"}"#),
            ("HOME", "/root"),
        ]);
        let node = node(&environment, &given(&file)).unwrap();
        let expected = json!({
            "id": "sidecar~10.1.2.3~reviews-1.books~books.svc.cluster.local",
            "cluster": "reviews.books",
            "locality": { "region": "eu", "zone": "west", "sub_zone": "a" },
            "metadata": {
                "CLUSTER_ID": "Kubernetes",
                "MESH_ID": "cluster.local",
                "APP_CONTAINERS": "reviews",
                "NAME": "reviews-1",
                "NAMESPACE": "books",
                "SERVICE_ACCOUNT": "reader",
                "INSTANCE_IPS": "10.1.2.3",
                "ENVOY_STATUS_PORT": 15021,
                "ENVOY_PROMETHEUS_PORT": 15090,
                "PROXY_CONFIG": { "discoveryAddress": "istiod:15010" },
                "LABELS": { "app": "reviews", "note": "a \"b\"", "istio-locality": "eu.west.a" },
            },
        });
        assert_eq!(node, expected);
    }

    #[test]
    fn the_service_is_called_by_what_is_known() {
        let nowhere = Path::new("/nowhere");
        for (variables, expected) in [
            (&[][..], "istio-proxy"),
            (&[("POD_NAMESPACE", "books")], "istio-proxy.books"),
            (
                &[
                    ("POD_NAMESPACE", "books"),
                    ("ISTIO_META_WORKLOAD_NAME", "w"),
                ],
                "w.books",
            ),
            (
                &[
                    ("POD_NAMESPACE", "b"),
                    ("ISTIO_METAJSON_LABELS", r#"{"app": "a"}"#),
                ],
                "a.b",
            ),
        ] {
            let node = node(&environment(variables), &given(nowhere)).unwrap();
            assert_eq!(node["cluster"], expected);
        }
    }

    #[test]
    fn variables_that_are_wrong_are_named() {
        let nowhere = Path::new("/nowhere");
        for (name, value) in [
            ("PROXY_CONFIG", "{"),
            ("ISTIO_METAJSON_X", "1"),
            ("INSTANCE_IP", "x"),
        ] {
            let error = node(&environment(&[(name, value)]), &given(nowhere)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
