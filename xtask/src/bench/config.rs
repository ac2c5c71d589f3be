//! The configurations: Envoy's, which Weir reads too, and nginx's.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::scenario::{Filters, Scenario};
use crate::layout;

const TYPES: &str = "type.googleapis.com/envoy.extensions.filters";

/// What Envoy reads its listener from, if that is to change.
pub(super) const LISTENERS: &str = "listeners.json";

/// A filter of a chain.
struct Filter {
    module: PathBuf,
    configuration: String,
}

/// The filters of a scenario in its `revision`, with their modules in place.
fn filters(scenario: &Scenario, revision: usize) -> Result<Vec<Filter>> {
    let module = |name: &str| layout::modules().join(name).with_extension("wasm");
    let greeting = match revision {
        0 => "from Weir".to_owned(),
        revision => format!("from Weir, revision {revision}"),
    };
    let hello = |module| Filter {
        module,
        configuration: json!({ "request": greeting, "response": greeting }).to_string(),
    };
    Ok(match scenario.filters {
        Filters::Hello(count) => (0..count).map(|_| hello(module("hello"))).collect(),
        Filters::Bench(name) => vec![Filter {
            module: module("bench"),
            configuration: name.to_owned(),
        }],
        Filters::Module(name, configuration) => vec![Filter {
            module: module(name),
            configuration: configuration.to_owned(),
        }],
        Filters::Distinct(count) => {
            let modules = variants(&module("hello"), count)?;
            modules.into_iter().map(hello).collect()
        }
    })
}

/// So many copies of a module, each with a section behind it that makes it another one.
fn variants(module: &Path, count: usize) -> Result<Vec<PathBuf>> {
    let code = fs::read(module).with_context(|| format!("no {}", module.display()))?;
    let folder = layout::root().join("target/bench/modules");
    fs::create_dir_all(&folder)?;
    let variant = |number: usize| {
        let path = folder.join(format!("{number}.wasm"));
        // A custom section of three bytes: the length of its name, the name, a number.
        let section = [0, 3, 1, b'n', u8::try_from(number)?];
        fs::write(&path, [&code[..], &section].concat())?;
        Ok(path)
    };
    (0..count).map(variant).collect()
}

fn address(of: SocketAddr) -> Value {
    json!({ "socket_address": { "address": of.ip().to_string(), "port_value": of.port() } })
}

/// A listener on any port of the loopback address.
fn listener(scenario: &Scenario, revision: usize) -> Result<Value> {
    let filters = filters(scenario, revision)?.into_iter().enumerate();
    let mut chain: Vec<_> = filters
        .map(|(number, filter)| {
            let name = format!("filter-{number}");
            let mut config = json!({
                "name": name,
                "root_id": name,
                "vm_config": {
                    "vm_id": name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": filter.module } },
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": filter.configuration,
                },
            });
            if let Some(policy) = scenario.failure_policy {
                config["failure_policy"] = json!(policy);
            }
            let of = format!("{TYPES}.http.wasm.v3.Wasm");
            json!({ "name": name, "typed_config": { "@type": of, "config": config } })
        })
        .collect();
    chain.push(json!({
        "name": "router",
        "typed_config": { "@type": format!("{TYPES}.http.router.v3.Router") },
    }));
    let route =
        |prefix: String| json!({ "match": { "prefix": prefix }, "route": { "cluster": "web" } });
    let mut routes: Vec<_> = (1..=scenario.routes)
        .map(|number| route(prefix(number)))
        .collect();
    routes.push(route("/".to_owned()));
    let connections = json!({
        "@type": format!("{TYPES}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "edge",
        "http_filters": chain,
        "route_config": {
            "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }],
        },
    });
    Ok(json!({
        "name": "edge",
        "address": address(SocketAddr::from(([127, 0, 0, 1], 0))),
        "filter_chains": [
            { "filters": [{ "name": "http", "typed_config": connections }] },
        ],
    }))
}

fn prefix(number: usize) -> String {
    format!("/route-{number}/")
}

/// A bootstrap of Envoy's without what is in its listeners.
fn bootstrap(upstream: SocketAddr) -> Value {
    let cluster = |name: &str| {
        json!({
            "name": name,
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [
                    { "lb_endpoints": [{ "endpoint": { "address": address(upstream) } }] },
                ],
            },
        })
    };
    json!({
        "node": { "id": "bench", "cluster": "bench" },
        "admin": { "address": address(SocketAddr::from(([127, 0, 0, 1], 0))) },
        "static_resources": { "clusters": [cluster("web"), cluster("callout")] },
    })
}

/// Weir's configuration, or that of an Envoy that is not reloaded.
pub(super) fn whole(scenario: &Scenario, revision: usize, upstream: SocketAddr) -> Result<String> {
    let mut whole = bootstrap(upstream);
    whole["static_resources"]["listeners"] = json!([listener(scenario, revision)?]);
    Ok(whole.to_string())
}

/// That of a Weir without filters that does itself what one of [`Filters::Hello`] does.
pub(super) fn native(scenario: &Scenario, upstream: SocketAddr) -> Result<String> {
    ensure!(
        matches!(scenario.filters, Filters::Hello(1)),
        "`{}` is not what Weir can do itself",
        scenario.name
    );
    let without_filters = Scenario {
        filters: Filters::Hello(0),
        ..*scenario
    };
    let mut whole = bootstrap(upstream);
    let mut listener = listener(&without_filters, 0)?;
    let routes = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"];
    let set = json!([{
        "header": { "key": "x-hello", "value": "from Weir" },
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }]);
    routes["request_headers_to_add"] = set.clone();
    routes["response_headers_to_add"] = set;
    whole["static_resources"]["listeners"] = json!([listener]);
    Ok(whole.to_string())
}

/// That of an Envoy that reads its listeners from [`LISTENERS`] in `folder`.
pub(super) fn dynamic(folder: &Path, upstream: SocketAddr) -> String {
    let mut dynamic = bootstrap(upstream);
    let path = json!({ "path": folder.join(LISTENERS) });
    dynamic["dynamic_resources"] = json!({
        "lds_config": { "resource_api_version": "V3", "path_config_source": path },
    });
    dynamic.to_string()
}

/// What is in [`LISTENERS`].
pub(super) fn listeners(scenario: &Scenario, revision: usize) -> Result<String> {
    let mut listener = listener(scenario, revision)?;
    listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    Ok(json!({ "version_info": revision.to_string(), "resources": [listener] }).to_string())
}

/// nginx's, which does without filters. Connections are kept for longer than any
/// measurement, as the others do.
pub(super) fn nginx(scenario: &Scenario, listen: SocketAddr, upstream: SocketAddr) -> String {
    let pass = "proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection '';";
    let http2 = if scenario.http2 { " http2" } else { "" };
    let mut routes = String::new();
    for number in 1..=scenario.routes {
        // Writing to a string does not fail.
        let _ = writeln!(routes, "    location {} {{ {pass} }}", prefix(number));
    }
    format!(
        "\
daemon off;
master_process off;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u;
  scgi_temp_path s;
  upstream web {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen {listen}{http2};
{routes}    location / {{ {pass} }}
  }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::super::scenario::SCENARIOS;
    use super::*;

    const UPSTREAM: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

    fn scenario(name: &str) -> &'static Scenario {
        SCENARIOS.iter().find(|s| s.name == name).unwrap()
    }

    #[test]
    fn each_filter_has_a_vm() {
        let five = whole(scenario("hello-5"), 0, UPSTREAM).unwrap();
        for number in 0..5 {
            assert!(five.contains(&format!(r#""vm_id":"filter-{number}""#)));
        }
        assert!(!five.contains("filter-5"));
    }

    #[test]
    fn without_a_filter_the_same_headers_are_set() {
        let native = native(scenario("hello"), UPSTREAM).unwrap();
        assert_eq!(native.matches("from Weir").count(), 2);
        assert!(!native.contains("wasm"));
        assert!(super::native(scenario("traps"), UPSTREAM).is_err());
    }

    #[test]
    fn a_policy_stands_where_there_is_one() {
        let of = |name| whole(scenario(name), 0, UPSTREAM).unwrap();
        assert!(of("traps").contains("FAIL_RELOAD"));
        assert!(!of("traps-default").contains("failure_policy"));
    }

    #[test]
    fn a_reload_changes_what_the_filter_says() {
        let scenario = scenario("reload");
        let [first, second] = [1, 2].map(|revision| listeners(scenario, revision).unwrap());
        assert!(first.contains("from Weir, revision 1"));
        assert!(second.contains("from Weir, revision 2"));
    }

    #[test]
    fn nginx_has_as_many_routes() {
        let config = nginx(scenario("routes"), UPSTREAM, UPSTREAM);
        assert_eq!(config.matches("location ").count(), 1001);
    }
}
