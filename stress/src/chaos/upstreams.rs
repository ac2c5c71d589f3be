//! One of three endpoints fails under load, and comes back.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use tempfile::TempDir;
use weir_conformance::server::{Failure, Server};
use weir_conformance::suite::proxy::{Kind, Proxy};
use weir_conformance::{Client, Over};
use weir_load::Plan as Load;

use crate::gateway::{Programs, median};

/// How long, and how often.
#[derive(Args)]
pub(crate) struct Plan {
    /// Rounds, in each of which each failure has its turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds before the endpoint fails, that it is away, and after it has come back.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

const FAILURES: [(Failure, &str); 3] = [
    (Failure::Killed, "killed"),
    (Failure::Stalled, "stalled"),
    (Failure::BlackHoled, "black-holed"),
];

/// Connections of clients, and the time between two requests of one: 800 a second.
const CONNECTIONS: usize = 16;
const PACE: Duration = Duration::from_millis(20);

/// Of one turn of the load.
const TURN: Duration = Duration::from_secs(1);

/// How often the admin is asked.
const LOOK: Duration = Duration::from_millis(5);

/// Within how long the endpoint must be out, and in again: what is configured makes
/// that a second and a half, and two seconds; the rest is for a busy machine.
const OUT_MAX: Duration = Duration::from_secs(6);
const BACK_MAX: Duration = Duration::from_secs(10);

/// What was seen of one failure.
#[derive(Default)]
struct Seen {
    requests: usize,
    failed: usize,
    out: Vec<f64>,
    back: Vec<f64>,
    slowest: Vec<f64>,
    retries: u64,
    ejections: u64,
}

pub(crate) fn run(programs: &Programs, plan: &Plan, envoy: Option<&Path>) -> Result<()> {
    let weir = Kind::Weir(programs.weir().to_owned());
    let envoy = envoy.map(|program| Kind::Envoy(PathBuf::from(program)));
    let proxies: Vec<_> = std::iter::once(weir).chain(envoy).collect();
    let mut seen: Vec<Vec<Seen>> = Vec::new();
    for _ in FAILURES {
        seen.push(proxies.iter().map(|_| Seen::default()).collect());
    }
    for _ in 0..plan.rounds {
        for ((failure, _), seen) in FAILURES.iter().zip(&mut seen) {
            for (proxy, seen) in proxies.iter().zip(seen) {
                turn(proxy, *failure, plan, seen)?;
            }
        }
    }
    println!(
        "{:<12} {:<6} requests  failed  out after s  back after s  slowest request s  retries  ejections",
        "endpoint", "proxy"
    );
    for ((_, what), seen) in FAILURES.iter().zip(seen) {
        for (proxy, seen) in proxies.iter().zip(seen) {
            println!(
                "{what:<12} {:<6} {:>8} {:>7} {:>12.2} {:>13.2} {:>18.2} {:>8} {:>10}",
                proxy.name(),
                seen.requests,
                seen.failed,
                median(seen.out),
                median(seen.back),
                median(seen.slowest),
                seen.retries,
                seen.ejections,
            );
            let is_weir = matches!(proxy, Kind::Weir(_));
            ensure!(!is_weir || seen.failed == 0, "{what}: requests have failed");
        }
    }
    println!("{} rounds; times are medians", plan.rounds);
    Ok(())
}

fn turn(kind: &Kind, failure: Failure, plan: &Plan, seen: &mut Seen) -> Result<()> {
    let mut servers = ["a", "b", "c"].map(Server::start);
    let folder = TempDir::new()?;
    let bootstrap = folder.path().join("bootstrap.yaml");
    std::fs::write(&bootstrap, configuration(&servers))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let proxy = runtime.block_on(kind.start(&bootstrap, folder.path()))?;
    let address = *proxy.listeners.get("edge").context("no listener")?;
    let pause = Duration::from_secs(plan.seconds);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let loading = scope.spawn(|| ask(address, &over));
        let ends = Over(&over);
        thread::sleep(pause);
        let [_, server, _] = &mut servers;
        let began = Instant::now();
        server.fail(failure);
        let out = wait(began, OUT_MAX, || Ok(!is_healthy(&proxy, server.address)?));
        seen.out.push(out.context("it stays in")?.as_secs_f64());
        thread::sleep(pause.saturating_sub(began.elapsed()));
        let served = server.requests();
        let began = Instant::now();
        server.recover();
        let back = wait(began, BACK_MAX, || Ok(server.requests() > served));
        seen.back.push(back.context("it stays out")?.as_secs_f64());
        thread::sleep(pause);
        drop(ends);
        let loaded = loading
            .join()
            .map_err(|_| anyhow!("the load has panicked"))?;
        let (requests, failed, slowest) = loaded?;
        seen.requests += requests;
        seen.failed += failed;
        seen.slowest.push(slowest.as_secs_f64());
        let stats = admin(&proxy, "/stats");
        let ejected = "outlier_detection.ejections_enforced_total";
        seen.retries += number(&stats, "cluster.web.upstream_rq_retry")?;
        seen.ejections += number(&stats, &format!("cluster.web.{ejected}"))?;
        Ok(())
    })
}

/// Asks until it is over: requests that were served, those that were not, and how long
/// one took at most.
fn ask(address: SocketAddr, over: &AtomicBool) -> Result<(usize, usize, Duration)> {
    let (mut requests, mut failed, mut slowest) = (0, 0, Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        let outcome = weir_load::run(&Load {
            address,
            connections: CONNECTIONS,
            duration: TURN,
            requests_max: usize::MAX,
            headers: "",
            pace: PACE,
        })?;
        requests += outcome.requests;
        failed += outcome.errors;
        slowest = slowest.max(outcome.latencies.percentile(100));
    }
    Ok((requests, failed, slowest))
}

/// How long it took until `is_so`.
fn wait(began: Instant, most: Duration, is_so: impl Fn() -> Result<bool>) -> Result<Duration> {
    while !is_so()? {
        ensure!(began.elapsed() < most, "not within {most:?}");
        thread::sleep(LOOK);
    }
    Ok(began.elapsed())
}

fn admin(proxy: &Proxy, path: &str) -> String {
    Client::connect_as(proxy.admin(), "localhost")
        .get(path)
        .text()
}

/// Whether the proxy takes an endpoint for healthy.
fn is_healthy(proxy: &Proxy, endpoint: SocketAddr) -> Result<bool> {
    let text = admin(proxy, "/clusters");
    let flags = format!("web::{endpoint}::health_flags::");
    let flags = text.lines().find_map(|line| line.strip_prefix(&flags));
    Ok(flags.context("no such endpoint")? == "healthy")
}

fn number(stats: &str, name: &str) -> Result<u64> {
    let value = stats
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Ok(value.with_context(|| format!("no {name}"))?.parse()?)
}

/// Envoy's, for both.
fn configuration(servers: &[Server]) -> String {
    let types = "type.googleapis.com/envoy.extensions";
    let endpoints = servers.iter().map(|server| {
        let (ip, port) = (server.address.ip(), server.address.port());
        format!(
            "\n        - endpoint: {{ address: {{ socket_address: \
             {{ address: {ip}, port_value: {port} }} }} }}"
        )
    });
    let endpoints: String = endpoints.collect();
    format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
  listeners:
  - name: edge
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": {types}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: edge
          http_filters:
          - name: router
            typed_config: {{ "@type": {types}.filters.http.router.v3.Router }}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: / }}
                route:
                  cluster: web
                  timeout: 5s
                  retry_policy:
                    retry_on: 5xx,reset,connect-failure,refused-stream
                    num_retries: 3
                    per_try_timeout: 0.5s
                    retry_host_predicate:
                    - name: envoy.retry_host_predicates.previous_hosts
                      typed_config: {{ "@type": {types}.retry.host.previous_hosts.v3.PreviousHostsPredicate }}
                    host_selection_retry_max_attempts: 5
  clusters:
  - name: web
    type: STATIC
    connect_timeout: 0.25s
    circuit_breakers: {{ thresholds: [{{ max_retries: 100 }}] }}
    health_checks:
    - timeout: 0.5s
      interval: 0.5s
      no_traffic_interval: 0.5s
      unhealthy_threshold: 2
      healthy_threshold: 2
      http_health_check: {{ path: /healthz }}
    outlier_detection:
      consecutive_5xx: 5
      interval: 0.5s
      base_ejection_time: 1s
      max_ejection_percent: 34
    load_assignment:
      cluster_name: web
      endpoints:
      - lb_endpoints:{endpoints}
"#
    )
}
