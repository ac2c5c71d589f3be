//! What a connection costs in memory, of each kind by itself.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::task::LocalSet;
use tokio::time::sleep;
use weir_conformance::suite::proxy;
use weir_conformance::tls::Authority;
use weir_stress::resident_memory;

use super::client::{Clients, HOST, Kind, Waiting};
use super::crowd::open_all;
use crate::gateway::Programs;

/// Connections that come and go before anything is measured.
const WARM: usize = 50;

/// Until what is freed, or written behind, has settled.
const CALM: Duration = Duration::from_millis(500);

/// Bytes that a connection to Weir may cost at most, on average.
fn bytes_max(kind: Kind) -> u64 {
    match kind {
        Kind::Http1 | Kind::SlowHead => 6 << 10,
        Kind::Http2 => 28 << 10,
        Kind::Tls => 16 << 10,
        Kind::TlsHttp2 => 36 << 10,
        Kind::Handshake => 14 << 10,
    }
}

/// Opens `count` connections of each kind, each time to a process of its own.
pub(super) fn run(programs: &Programs, count: usize, envoy: Option<&Path>) -> Result<()> {
    let weir = proxy::Kind::Weir(programs.weir().to_owned());
    let envoy = envoy.map(|program| proxy::Kind::Envoy(PathBuf::from(program)));
    println!("bytes a connection, {count} of each kind; one worker");
    for kind in Kind::ALL {
        let ours = measure(programs, &weir, kind, count)?;
        print!("{:<24} Weir {ours:>6}", kind.name());
        if let Some(envoy) = &envoy {
            let theirs = measure(programs, envoy, kind, count)?;
            let ratio = ours as f64 / theirs as f64;
            print!("   Envoy {theirs:>6}   ratio {ratio:.2}");
        }
        println!();
        ensure!(ours <= bytes_max(kind), "{}: too much", kind.name());
    }
    Ok(())
}

fn measure(programs: &Programs, proxy: &proxy::Kind, kind: Kind, count: usize) -> Result<u64> {
    let folder = TempDir::new()?;
    let authority = Authority::new("chaos");
    authority.issue(&[HOST]).write(folder.path(), "edge");
    let bootstrap = folder.path().join("bootstrap.yaml");
    std::fs::write(&bootstrap, configuration(folder.path(), programs))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let measured = async {
        let running = proxy.start(&bootstrap, folder.path()).await?;
        let listener = |name: &str| running.listeners.get(name).copied().context("a listener");
        let clients = Clients::new(listener("plain")?, listener("tls")?, &authority);
        let clients = Rc::new(clients);
        drop(open_all(&clients, &[kind], WARM).await?);
        sleep(CALM).await;
        let before = resident_memory(running.id())?;
        let open = open_all(&clients, &[kind], count).await?;
        sleep(CALM).await;
        let after = resident_memory(running.id())?;
        ensure!(open.iter().all(Waiting::is_open), "closed");
        Ok(after.saturating_sub(before) / u64::try_from(count)?)
    };
    LocalSet::new().block_on(&runtime, measured)
}

/// Envoy's, for both.
fn configuration(folder: &Path, programs: &Programs) -> String {
    let upstream = programs.upstream();
    let types = "type.googleapis.com/envoy.extensions";
    let listener = |name: &str, tls: &str| {
        format!(
            r#"
  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": {types}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          http_filters:
          - name: router
            typed_config: {{ "@type": {types}.filters.http.router.v3.Router }}
          route_config:
            virtual_hosts:
            - {{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: web }} }}] }}{tls}"#
        )
    };
    let folder = folder.display();
    let tls = format!(
        r#"
      transport_socket_connect_timeout: 300s
      transport_socket:
        name: tls
        typed_config:
          "@type": {types}.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - {{ certificate_chain: {{ filename: {folder}/edge.pem }}, private_key: {{ filename: {folder}/edge.key }} }}"#
    );
    format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
  listeners:{}{}
  clusters:
  - name: web
    type: STATIC
    load_assignment:
      cluster_name: web
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }}
"#,
        listener("plain", ""),
        listener("tls", &tls),
        upstream.ip(),
        upstream.port(),
    )
}
