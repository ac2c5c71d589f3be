//! The configuration file of a group: one listener and one cluster a case, in
//! Envoy's own format, for both proxies.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::case::{Case, Filter, Group, Protocol};

/// What stands for [`PRELUDE`] in a module as text.
const PRELUDE_MARK: &str = "(;prelude;)";
/// A memory, an allocator, and functions that log.
const PRELUDE: &str = include_str!("prelude.wat");

const TYPES: &str = "type.googleapis.com/";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const WASM_LOGGER: &str =
    "type.googleapis.com/envoy.extensions.access_loggers.wasm.v3.WasmAccessLog";
const FILE_LOGGER: &str =
    "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
const NETWORK_WASM: &str = "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm";
const TCP_PROXY: &str =
    "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const CONNECTION_MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Where things are that a bootstrap names.
pub struct Places<'a> {
    /// The folder of built modules.
    pub modules: &'a Path,
    /// A folder for modules made of text.
    pub scratch: &'a Path,
    /// An address where nobody listens.
    pub nobody: SocketAddr,
    /// Clusters beside those of the cases.
    pub more: &'a [(String, SocketAddr)],
}

/// Name of a case's listener, cluster and VMs.
#[must_use]
pub fn unique_name(group: &Group, case: &Case) -> String {
    format!("{}.{}", group.name, case.name)
}

/// The file of a case's access log.
#[must_use]
pub fn access_log(scratch: &Path, case: &Case) -> PathBuf {
    scratch.join(format!("{}.access", case.name))
}

/// The whole file. `upstreams` are the addresses of the cases' upstreams.
///
/// # Errors
///
/// If a module cannot be made.
pub fn bootstrap(
    group: &Group,
    cases: &[&Case],
    upstreams: &[SocketAddr],
    places: &Places<'_>,
) -> Result<Value> {
    let mut listeners = Vec::new();
    let mut clusters = vec![cluster("dead", places.nobody, Protocol::H1)];
    let more = places.more.iter();
    clusters.extend(more.map(|(name, endpoint)| cluster(name, *endpoint, Protocol::H1)));
    for (case, upstream) in cases.iter().zip(upstreams) {
        let name = unique_name(group, case);
        let mut own = cluster(&name, *upstream, case.upstream_protocol);
        merge(&mut own, &case.cluster);
        clusters.push(own);
        listeners
            .push(listener(&name, case, places).with_context(|| format!("case {}", case.name))?);
    }
    Ok(json!({
        "node": {
            "id": "conformance",
            "cluster": "proxies",
            "metadata": { "key": "value", "number": 2.5, "list": ["a", "b"], "none": null },
            "locality": { "region": "here", "zone": "z1" },
        },
        "admin": { "address": address("127.0.0.1:0".parse()?) },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    }))
}

fn address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

fn cluster(name: &str, endpoint: SocketAddr, protocol: Protocol) -> Value {
    let explicit = match protocol {
        Protocol::H1 | Protocol::Tcp => {
            json!({ "http_protocol_options": { "enable_trailers": true } })
        }
        Protocol::H2 => json!({ "http2_protocol_options": {} }),
    };
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(endpoint) } }] }],
        },
        "typed_extension_protocol_options": {
            (PROTOCOL_OPTIONS): {
                "@type": format!("{TYPES}{PROTOCOL_OPTIONS}"),
                "explicit_http_config": explicit,
            },
        },
    })
}

fn listener(name: &str, case: &Case, places: &Places<'_>) -> Result<Value> {
    let filters = match case.downstream_protocol {
        Protocol::Tcp => tcp_chain(name, case, places)?,
        Protocol::H1 | Protocol::H2 => vec![connection_manager(name, case, places)?],
    };
    let mut listener = json!({
        "name": name,
        "address": address("127.0.0.1:0".parse()?),
        "filter_chains": [{ "filters": filters }],
    });
    merge(&mut listener, &case.listener);
    Ok(listener)
}

/// The filters in front of a TCP proxy, and it.
fn tcp_chain(name: &str, case: &Case, places: &Places<'_>) -> Result<Vec<Value>> {
    let mut filters = Vec::new();
    for filter in &case.filters {
        filters.push(match &filter.native {
            Some(native) => json!({ "name": filter.name, "typed_config": native }),
            None => json!({
                "name": "envoy.filters.network.wasm",
                "typed_config": { "@type": NETWORK_WASM, "config": plugin(name, filter, places)? },
            }),
        });
    }
    let mut proxy = json!({ "@type": TCP_PROXY, "stat_prefix": "edge", "cluster": name });
    merge(&mut proxy, &case.tcp_proxy);
    filters.push(json!({ "name": "envoy.filters.network.tcp_proxy", "typed_config": proxy }));
    Ok(filters)
}

fn connection_manager(name: &str, case: &Case, places: &Places<'_>) -> Result<Value> {
    let mut filters = Vec::new();
    for filter in &case.filters {
        let config = match &filter.native {
            Some(native) => native.clone(),
            None => json!({ "@type": WASM, "config": plugin(name, filter, places)? }),
        };
        filters.push(json!({ "name": filter.name, "typed_config": config }));
    }
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": ROUTER, "suppress_envoy_headers": true },
    }));
    let mut loggers = Vec::new();
    for logger in &case.loggers {
        loggers.push(json!({
            "name": "envoy.access_loggers.wasm",
            "typed_config": { "@type": WASM_LOGGER, "config": plugin(name, logger, places)? },
        }));
    }
    if let Some(format) = &case.access_log {
        loggers.push(json!({
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": FILE_LOGGER,
                "path": access_log(places.scratch, case),
                "log_format": { "text_format_source": { "inline_string": format } },
            },
        }));
    }
    let routes = match &case.routes {
        Some(routes) => substituted(routes, name),
        None => {
            json!([{ "name": "main", "match": { "prefix": "/" }, "route": { "cluster": name, "timeout": "0s" } }])
        }
    };
    let mut manager = json!({
        "@type": CONNECTION_MANAGER,
        "stat_prefix": "edge",
        "codec_type": "AUTO",
        "server_name": "reference",
        "generate_request_id": false,
        "http_protocol_options": { "enable_trailers": true },
        "route_config": { "name": "routes", "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] },
        "http_filters": filters,
        "access_log": loggers,
    });
    merge(&mut manager, &case.connection_manager);
    Ok(json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": manager,
    }))
}

/// A plugin's configuration; its name, root id and VM id say which it is, as
/// proxies put them before what a guest logs.
fn plugin(case: &str, filter: &Filter, places: &Places<'_>) -> Result<Value> {
    let name = format!("{case}/{}", filter.name.as_deref().unwrap_or_default());
    let vm_id = filter
        .vm_id
        .as_ref()
        .map_or_else(|| name.clone(), |vm| format!("{case}/{vm}"));
    let module = match (&filter.wat, &filter.module) {
        (Some(text), _) => {
            let path = places
                .scratch
                .join(format!("{}.wasm", name.replace('/', "-")));
            let text = text.replace(PRELUDE_MARK, PRELUDE);
            let code = wat::parse_str(text).with_context(|| format!("text of filter {name}"))?;
            fs::write(&path, code)?;
            path
        }
        (None, Some(module)) => places.modules.join(format!("{module}.wasm")),
        (None, None) => places.modules.join("probe.wasm"),
    };
    let mut plugin = json!({
        "name": name,
        "root_id": filter.root_id.as_deref().unwrap_or(&name),
        "vm_config": {
            "vm_id": vm_id,
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": module } },
        },
    });
    if let Some(script) = &filter.script {
        let script = script.replace("{cluster}", case);
        plugin["configuration"] =
            json!({ "@type": format!("{TYPES}google.protobuf.StringValue"), "value": script });
    }
    if let Some(configuration) = &filter.configuration {
        plugin["configuration"] = match configuration.get("@type") {
            Some(_) => substituted(configuration, case),
            None => {
                let json = substituted(configuration, case).to_string();
                json!({ "@type": format!("{TYPES}google.protobuf.StringValue"), "value": json })
            }
        };
    }
    if let Some(configuration) = &filter.vm_configuration {
        plugin["vm_config"]["configuration"] = substituted(configuration, case);
    }
    if let Some(environment) = &filter.environment {
        let environment = substituted(&json!(environment), case);
        plugin["vm_config"]["environment_variables"] = json!({ "key_values": environment });
    }
    if filter.allow_on_headers_stop_iteration {
        plugin["allow_on_headers_stop_iteration"] = json!(true);
    }
    if let Some(policy) = &filter.failure_policy {
        plugin["failure_policy"] = json!(policy);
    }
    merge(&mut plugin, &filter.plugin);
    Ok(plugin)
}

/// Puts the fields of `more` over those of `into`, deeply.
fn merge(into: &mut Value, more: &Map<String, Value>) {
    let Value::Object(fields) = into else {
        return;
    };
    for (name, value) in more {
        match (fields.get_mut(name), value) {
            (Some(old @ Value::Object(_)), Value::Object(new)) => merge(old, new),
            _ => drop(fields.insert(name.clone(), value.clone())),
        }
    }
}

/// `{cluster}` stands for the case's cluster.
fn substituted(value: &Value, cluster: &str) -> Value {
    replaced(value, "{cluster}", cluster)
}

/// A value in whose texts one word stands for another.
pub(super) fn replaced(value: &Value, word: &str, by: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(word, by)),
        Value::Array(items) => items.iter().map(|item| replaced(item, word, by)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (name.clone(), replaced(value, word, by)))
                .collect()
        }
        other => other.clone(),
    }
}
