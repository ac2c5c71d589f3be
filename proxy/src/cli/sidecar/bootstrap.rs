//! The bootstrap of a sidecar that no agent starts, in Envoy's form.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};

use super::node::{self, Environment, Given};
use super::ports;

/// Extensions, by their types.
const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// Which mesh a sidecar belongs to, and as what.
#[derive(Debug, Args)]
pub(super) struct Mesh {
    /// The management server: `HOST:PORT`, or `unix:/PATH`. Default: `discoveryAddress` in
    /// the environment's `PROXY_CONFIG`.
    #[arg(long, value_name = "ADDRESS")]
    discovery_address: Option<String>,
    /// Certificates of authorities, in PEM, one of which has signed the server's; without
    /// it, the connection is not encrypted.
    #[arg(long, value_name = "FILE")]
    discovery_ca: Option<PathBuf>,
    /// The name that the server's certificate is for. Default: the host in its address.
    #[arg(long, value_name = "NAME", requires = "discovery_ca")]
    discovery_san: Option<String>,
    /// The certificate that is shown to the server, in PEM.
    #[arg(long, value_name = "FILE", requires_all = ["discovery_ca", "discovery_key"])]
    discovery_cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", requires = "discovery_cert")]
    discovery_key: Option<PathBuf>,
    /// Which variant of the protocol is spoken with the server.
    #[arg(long, value_enum, default_value_t)]
    xds: Variant,
    /// Where secrets come from: a Unix socket.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "./var/run/secrets/workload-spiffe-uds/socket"
    )]
    sds_socket: String,
    /// The node's id. Default: `sidecar~IP~POD.NAMESPACE~NAMESPACE.svc.DOMAIN`, by the
    /// environment's `INSTANCE_IP`, `POD_NAME` and `POD_NAMESPACE`.
    #[arg(long, value_name = "ID")]
    service_node: Option<String>,
    /// The node's cluster. Default: the label `app`, or else the workload, with the
    /// namespace.
    #[arg(long, value_name = "NAME")]
    service_cluster: Option<String>,
    /// The domain of the cluster's names.
    #[arg(long, value_name = "NAME", default_value = "cluster.local")]
    domain: String,
    /// The pod's labels, as Kubernetes' downward API writes them, if there is such a file.
    #[arg(long, value_name = "FILE", default_value = "/etc/istio/pod/labels")]
    labels: PathBuf,
    /// Where the admin is, on this machine alone.
    #[arg(long, value_name = "PORT", default_value_t = ports::ADMIN)]
    admin_port: u16,
    /// Where `/healthz/ready` says whether the sidecar is ready.
    #[arg(long, value_name = "PORT", default_value_t = ports::STATUS)]
    status_port: u16,
    /// Where `/stats/prometheus` is.
    #[arg(long, value_name = "PORT", default_value_t = ports::PROMETHEUS)]
    prometheus_port: u16,
}

/// `--xds`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Variant {
    /// Only what has changed.
    #[default]
    Delta,
    /// All that there is, each time.
    Sotw,
}

impl Variant {
    /// As `ApiConfigSource` has it.
    fn name(self) -> &'static str {
        match self {
            Self::Delta => "DELTA_GRPC",
            Self::Sotw => "GRPC",
        }
    }
}

/// Why there is no bootstrap.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum MeshError {
    #[error(
        "no management server is known: give --discovery-address, or `discoveryAddress` in the \
         variable PROXY_CONFIG"
    )]
    NoServer,
    #[error("`{0}` is not the address of a management server: write HOST:PORT or unix:/PATH")]
    Server(String),
    #[error("INSTANCE_IP: `{0}` is not an IP address")]
    Address(String),
    #[error("{name} is not a JSON object: {source}")]
    Variable {
        name: String,
        source: serde_json::Error,
    },
    #[error("{}: a label is not a quoted text: {source}", path.display())]
    Labels {
        path: PathBuf,
        source: serde_json::Error,
    },
}

impl Mesh {
    /// The bootstrap, in an environment of these variables.
    ///
    /// # Errors
    /// When a variable or an option is not what it should be.
    pub(super) fn bootstrap(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Json, MeshError> {
        let environment = Environment::new(environment);
        let given = Given {
            id: self.service_node.as_deref(),
            cluster: self.service_cluster.as_deref(),
            domain: &self.domain,
            labels: &self.labels,
            status_port: self.status_port,
            prometheus_port: self.prometheus_port,
        };
        let node = node::node(&environment, &given)?;
        let addresses = environment.addresses()?;
        let is_ipv6 = addresses.iter().all(std::net::IpAddr::is_ipv6);
        let (own, any) = if is_ipv6 {
            ("::1", "::")
        } else {
            ("127.0.0.1", "0.0.0.0")
        };
        let admin = socket_address(own, self.admin_port);
        let ads = json!({
            "api_type": self.xds.name(),
            "transport_api_version": "V3",
            "set_node_on_first_message_only": true,
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds-grpc" } }],
        });
        let by_ads = json!({
            "ads": {},
            "initial_fetch_timeout": "0s",
            "resource_api_version": "V3",
        });
        Ok(json!({
            "node": node,
            "admin": { "address": admin },
            "dynamic_resources": {
                "ads_config": ads,
                "lds_config": by_ads,
                "cds_config": by_ads,
            },
            "static_resources": {
                "listeners": [
                    listener(any, self.prometheus_port, "stats", "/stats/prometheus", "/stats/prometheus"),
                    listener(any, self.status_port, "status", "/healthz/ready", "/ready"),
                ],
                "clusters": [
                    cluster("admin", "STATIC", &admin),
                    http2(cluster("sds-grpc", "STATIC", &pipe(&self.sds_socket))),
                    self.server(&environment)?,
                ],
            },
        }))
    }

    /// The cluster of the management server.
    fn server(&self, environment: &Environment) -> Result<Json, MeshError> {
        let config = environment.object("PROXY_CONFIG")?.unwrap_or_default();
        let named = config.get("discoveryAddress").and_then(Json::as_str);
        let text = self.discovery_address.as_deref().or(named);
        let text = text.ok_or(MeshError::NoServer)?;
        let wrong = || MeshError::Server(text.to_owned());
        let (kind, address, host) = match text.strip_prefix("unix:") {
            Some(path) => ("STATIC", pipe(path), ""),
            None => {
                let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let port = port.parse().map_err(|_| wrong())?;
                let is_address = host.parse::<std::net::IpAddr>().is_ok();
                let kind = if is_address { "STATIC" } else { "STRICT_DNS" };
                (kind, socket_address(host, port), host)
            }
        };
        let mut cluster = http2(cluster("xds-grpc", kind, &address));
        cluster["upstream_connection_options"] =
            json!({ "tcp_keepalive": { "keepalive_time": 300 } });
        if let Some(authorities) = &self.discovery_ca {
            let name = self.discovery_san.as_deref().unwrap_or(host);
            let mut tls = json!({
                "alpn_protocols": ["h2"],
                "validation_context": {
                    "trusted_ca": { "filename": authorities },
                    "match_typed_subject_alt_names": [
                        { "san_type": "DNS", "matcher": { "exact": name } },
                    ],
                },
            });
            if let (Some(certificate), Some(key)) = (&self.discovery_cert, &self.discovery_key) {
                tls["tls_certificates"] = json!([{
                    "certificate_chain": { "filename": certificate },
                    "private_key": { "filename": key },
                }]);
            }
            cluster["transport_socket"] = json!({
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": format!("{TYPES}.transport_sockets.tls.v3.UpstreamTlsContext"),
                    "sni": name,
                    "common_tls_context": tls,
                },
            });
        }
        Ok(cluster)
    }
}

fn socket_address(host: &str, port: u16) -> Json {
    json!({ "socket_address": { "address": host, "port_value": port } })
}

fn pipe(path: &str) -> Json {
    json!({ "pipe": { "path": path } })
}

fn cluster(name: &str, kind: &str, address: &Json) -> Json {
    json!({
        "name": name,
        "type": kind,
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
        },
    })
}

/// The same with endpoints that speak HTTP/2.
fn http2(mut cluster: Json) -> Json {
    let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    cluster["typed_extension_protocol_options"] = json!({
        name: {
            "@type": format!("type.googleapis.com/{name}"),
            "explicit_http_config": { "http2_protocol_options": {} },
        },
    });
    cluster
}

/// Has the admin answer requests to one path at a port of its own.
fn listener(host: &str, port: u16, name: &str, path: &str, asked: &str) -> Json {
    let manager =
        format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager");
    json!({
        "name": name,
        "address": socket_address(host, port),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": manager,
                "stat_prefix": name,
                "route_config": { "virtual_hosts": [{
                    "name": name,
                    "domains": ["*"],
                    "routes": [{
                        "match": { "path": path },
                        "route": {
                            "cluster": "admin",
                            "prefix_rewrite": asked,
                            // The admin is not asked by names that others could have given it.
                            "host_rewrite_literal": "localhost",
                        },
                    }],
                }] },
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": { "@type": format!("{TYPES}.filters.http.router.v3.Router") },
                }],
            },
        }] }],
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use weir_config::envoy::{self, Leniency};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        mesh: Mesh,
    }

    fn bootstrap(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Json, MeshError> {
        let line = Line::parse_from(["sidecar"].iter().chain(arguments));
        let variables = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        line.mesh.bootstrap(variables)
    }

    #[test]
    fn nothing_of_it_is_refused_but_what_a_server_is_asked_for() {
        let arguments = ["--discovery-address", "istiod.istio-system.svc:15012"];
        let ca = [
            "--discovery-ca",
            "ca.pem",
            "--discovery-cert",
            "c.pem",
            "--discovery-key",
            "k.pem",
        ];
        let bootstrap = bootstrap(
            &[&arguments[..], &ca].concat(),
            &[("INSTANCE_IP", "fd00::7")],
        );
        let mut bootstrap = bootstrap.unwrap();
        assert_eq!(
            bootstrap["static_resources"]["listeners"][0]["address"]["socket_address"]["address"],
            "::"
        );
        bootstrap
            .as_object_mut()
            .unwrap()
            .remove("dynamic_resources");
        let (config, _) = envoy::parse("it", &bootstrap.to_string(), Leniency::Strict);
        let config = config.unwrap();
        assert_eq!(config.listeners.len(), 2);
        assert_eq!(config.clusters.len(), 3);
    }

    #[test]
    fn the_server_is_the_one_that_is_named() {
        let config = [("PROXY_CONFIG", r#"{"discoveryAddress": "istiod:15010"}"#)];
        let server = |arguments: &[&str], variables: &[(&str, &str)]| {
            let bootstrap = bootstrap(arguments, variables)?;
            let cluster = &bootstrap["static_resources"]["clusters"][2];
            let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0];
            let address = endpoint["endpoint"]["address"].clone();
            Ok::<_, MeshError>((cluster["type"].clone(), address))
        };
        let at = |host: &str| socket_address(host, 15010);
        assert_eq!(
            server(&[], &config).unwrap(),
            ("STRICT_DNS".into(), at("istiod"))
        );
        for (text, kind, address) in [
            ("10.0.0.1:15010", "STATIC", at("10.0.0.1")),
            ("[fd00::1]:15010", "STATIC", at("fd00::1")),
            (
                "unix:/etc/istio/proxy/XDS",
                "STATIC",
                pipe("/etc/istio/proxy/XDS"),
            ),
        ] {
            let found = server(&["--discovery-address", text], &config).unwrap();
            assert_eq!(found, (kind.into(), address), "{text}");
        }
        assert!(matches!(server(&[], &[]), Err(MeshError::NoServer)));
        for wrong in ["istiod", "istiod:x"] {
            let found = server(&["--discovery-address", wrong], &[]);
            assert!(matches!(found, Err(MeshError::Server(_))), "{wrong}");
        }
    }
}
