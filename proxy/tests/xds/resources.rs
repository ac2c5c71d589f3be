//! Resources as a management server sends them.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value as Json, json};

const HCM: &str = "type.googleapis.com/envoy.extensions.filters.network.\
                       http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

pub(crate) fn ads() -> Json {
    json!({ "ads": {}, "resource_api_version": "V3" })
}

fn at(address: SocketAddr) -> Json {
    json!({ "socket_address": {
        "address": address.ip().to_string(),
        "port_value": address.port(),
    } })
}

/// A cluster whose endpoints come by themselves.
pub(crate) fn cluster(name: &str) -> Json {
    json!({
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": { "eds_config": ads() },
    })
}

pub(crate) fn endpoints(cluster: &str, addresses: &[SocketAddr]) -> Json {
    let endpoint = |address: &SocketAddr| json!({ "endpoint": { "address": at(*address) } });
    let endpoints: Vec<_> = addresses.iter().map(endpoint).collect();
    json!({ "cluster_name": cluster, "endpoints": [{ "lb_endpoints": endpoints }] })
}

/// Routes all to a cluster.
pub(crate) fn routes(name: &str, cluster: &str) -> Json {
    let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": cluster } });
    let host = json!({ "name": "all", "domains": ["*"], "routes": [route] });
    json!({ "name": name, "virtual_hosts": [host], "validate_clusters": false })
}

/// A listener at a free port, with these filters, whose routes come by themselves.
pub(crate) fn listener(name: &str, routes: &str, filters: &[Json]) -> Json {
    let mut filters = filters.to_vec();
    let router = json!({ "@type": ROUTER });
    filters.push(json!({ "name": "envoy.filters.http.router", "typed_config": router }));
    let manager = json!({
        "@type": HCM,
        "stat_prefix": name,
        "rds": { "route_config_name": routes, "config_source": ads() },
        "http_filters": filters,
    });
    json!({
        "name": name,
        "address": at(([127, 0, 0, 1], 0).into()),
        "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
    })
}

/// A filter whose configuration comes by itself.
pub(crate) fn discovered(name: &str) -> Json {
    json!({
        "name": name,
        "config_discovery": { "config_source": ads(), "type_urls": [WASM] },
    })
}

/// What such a filter is.
pub(crate) fn extension(name: &str, module: &Path) -> Json {
    let code = json!({ "local": { "filename": module.to_str().unwrap() } });
    let vm = json!({ "runtime": "envoy.wasm.runtime.v8", "code": code });
    let config = json!({ "name": name, "vm_config": vm });
    json!({ "name": name, "typed_config": { "@type": WASM, "config": config } })
}

/// A gateway `edge` to `address`.
pub(crate) fn gateway(address: SocketAddr, filters: &[Json]) -> Json {
    json!({
        "clusters": [cluster("web")],
        "endpoints": [endpoints("web", &[address])],
        "listeners": [listener("edge", "routes", filters)],
        "routes": [routes("routes", "web")],
    })
}
