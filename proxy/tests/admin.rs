//! The admin's endpoints, through real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

#[path = "admin/page.rs"]
mod page;
#[path = "admin/process.rs"]
mod process;

use serde_json::Value as Json;
use weir_conformance::{Client, Response, Upstream, Weir, eventually, filter};

/// A Weir with a filter `scribe` that does what `script` says, and keys `more`.
fn start(upstream: &Upstream, script: &str, more: &str) -> Weir {
    Weir::start(&config(upstream, script, more))
}

fn config(upstream: &Upstream, script: &str, more: &str) -> String {
    format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0, allowed_hosts: [weir.internal] }}
{more}
listeners:
- name: edge
  address: 127.0.0.1:0
  direction: inbound
  http_filters:
  - name: scribe
    wasm:
      root_id: r
      vm_config:
        vm_id: v
        code: {{ local: {{ filename: {} }} }}
        environment_variables: {{ key_values: {{ REGION: the-secret-region }} }}
      configuration: \"{}\"
  routes: [{{ match: {{ prefix: / }}, cluster: web }}]
- {{ name: other, address: 127.0.0.1:0, tcp: {{ cluster: web }} }}
clusters:
- {{ name: web, endpoints: [\"{}\"] }}
",
        filter("probe").display(),
        script.replace('\n', "\\n"),
        upstream.address
    )
}

fn json(response: &Response) -> Json {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    serde_json::from_slice(&response.body).unwrap()
}

const READ: [&str; 15] = [
    "/config_dump",
    "/dashboard.json",
    "/filters",
    "/generations",
    "/help",
    "/hot_restart_version",
    "/listeners",
    "/live",
    "/logging",
    "/memory",
    "/metrics",
    "/ready",
    "/server_info",
    "/stats",
    "/stats/prometheus",
];

const CHANGE: [&str; 5] = [
    "/drain_listeners",
    "/healthcheck/fail",
    "/healthcheck/ok",
    "/quitquitquit",
    "/reload",
];

#[test]
fn every_endpoint_is_in_the_help_and_is_asked_for_in_its_way() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "", "");
    let help = weir.admin_get("/help").text();
    assert_eq!(weir.admin_get("/").text(), help);
    let mut admin = weir.connect_admin();
    for path in READ {
        assert!(help.contains(&format!("  {path} ")), "{path}");
        let get = admin.get(path);
        assert_eq!(get.status, 200, "{path}");
        assert!(!get.body.is_empty(), "{path}");
        let kind = get.header("content-type").unwrap().to_owned();
        assert_eq!(get.header("x-content-type-options"), Some("nosniff"));
        let head = admin.request("HEAD", path, &[], b"");
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("content-type"), Some(&*kind), "{path}");
        assert!(head.header("content-length").is_some(), "{path}");
        if path != "/logging" {
            let post = admin.request("POST", path, &[], b"");
            assert_eq!(post.status, 405, "{path}");
            assert_eq!(post.header("allow"), Some("GET, HEAD"), "{path}");
        }
    }
    for path in CHANGE {
        assert!(help.contains(&format!("  POST {path} ")), "{path}");
        for method in ["GET", "HEAD", "DELETE"] {
            let refused = admin.request(method, path, &[], b"");
            assert_eq!(refused.status, 405, "{method} {path}");
            assert_eq!(refused.header("allow"), Some("POST"), "{method} {path}");
        }
    }
    assert_eq!(admin.get("/logging?level=trace").status, 405);
    let unknown = admin.get("/nothing");
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("/server_info"));
    assert_eq!(weir.admin_get("/ready").text(), "LIVE\n");
}

#[test]
fn the_server_tells_who_it_is_in_the_shape_of_envoy() {
    let upstream = Upstream::echo();
    let more = "node: { id: edge-1, cluster: shop, locality: { zone: z } }";
    let weir = start(&upstream, "", more);
    let info = json(&weir.admin_get("/server_info"));
    assert_eq!(info["state"], "LIVE");
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["hot_restart_version"], "disabled");
    assert_eq!(info["command_line_options"]["concurrency"], 1);
    let line = info["command_line_options"]["command_line"].to_string();
    assert!(line.contains("weir.yaml"), "{line}");
    assert_eq!(info["node"]["id"], "edge-1");
    assert_eq!(info["node"]["locality"]["zone"], "z");
    for uptime in ["uptime_current_epoch", "uptime_all_epochs"] {
        let uptime = info[uptime].as_str().unwrap();
        assert!(uptime.strip_suffix('s').unwrap().parse::<u64>().unwrap() < 60);
    }
    let upgradable = Weir::start_upgradable(&config(&upstream, "", ""));
    let info = json(&upgradable.admin_get("/server_info"));
    assert_eq!(info["hot_restart_version"], "weir.1");
}

#[test]
fn listeners_are_told_as_text_and_as_json() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "", "");
    let list = json(&weir.admin_get("/listeners?format=json"));
    let first = &list["listener_statuses"][0];
    assert_eq!(first["name"], "edge");
    let address = &first["local_address"]["socket_address"];
    assert_eq!(address["address"], "127.0.0.1");
    assert_eq!(address["port_value"], weir.listener("edge").port());
    let text = weir.admin_get("/listeners").text();
    assert!(text.starts_with(&format!("edge::{}\n", weir.listener("edge"))));
    assert_eq!(weir.admin_get("/listeners?format=xml").status, 400);
}

#[test]
fn numbers_have_the_names_of_envoy_and_can_be_selected() {
    let upstream = Upstream::echo();
    let script = "request_headers: metric counter shop.hits ; metric_add last 2";
    let weir = start(&upstream, script, "");
    let mut client = weir.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/").status, 200);
    }
    let stats = || weir.admin_get("/stats").text();
    let has = |line: &str| stats().lines().any(|l| l == line);
    eventually("the responses are counted", || {
        has("http.edge.downstream_rq_2xx: 3").then_some(())
    });
    for line in [
        "server.live: 1",
        "server.state: 0",
        "server.concurrency: 1",
        "cluster.web.upstream_rq_total: 3",
        "http.edge.downstream_rq_total: 3",
        "http.edge.downstream_rq_http1_total: 3",
        "cluster.web.upstream_rq_200: 3",
        "server.total_connections: 1",
        "listener_manager.workers_started: 1",
        "listener_manager.total_listeners_active: 2",
        "cluster_manager.active_clusters: 1",
        "wasm.remote_load_fetch_failures: 0",
        "wasmcustom.shop.hits: 6",
    ] {
        assert!(has(line), "{line} in {}", stats());
    }
    let listener = weir.listener("edge").to_string().replace(':', "_");
    assert!(has(&format!("listener.{listener}.downstream_cx_total: 1")));
    let time = stats();
    let time = time
        .lines()
        .find(|l| l.starts_with("http.edge.downstream_rq_time: "));
    assert!(time.unwrap().contains("P50(nan,"), "{time:?}");

    let agent = weir.admin_get("/stats?usedonly&filter=%5E(server%5C.state%7Cserver%5C.live)$");
    assert_eq!(agent.text(), "server.live: 1\nserver.state: 0\n");
    let used = weir.admin_get("/stats?usedonly").text();
    assert!(!used.contains("downstream_rq_5xx"), "{used}");
    assert!(
        weir.admin_get("/stats?filter=downstream_rq_5xx")
            .text()
            .contains(": 0")
    );
    let counters = weir.admin_get("/stats?type=Counters").text();
    assert!(!counters.contains("server.live") && counters.contains("upstream_rq_total"));
    let buckets = weir.admin_get("/stats?filter=upstream_rq_time&histogram_buckets=cumulative");
    assert!(
        buckets.text().contains("B3600000(3,3)"),
        "{}",
        buckets.text()
    );

    let found = json(&weir.admin_get("/stats?format=json&filter=upstream_rq"));
    let all = found["stats"].as_array().unwrap();
    let total = all
        .iter()
        .find(|s| s["name"] == "cluster.web.upstream_rq_total");
    assert_eq!(total.unwrap()["value"], 3);
    let histograms = &all.last().unwrap()["histograms"];
    assert_eq!(histograms["supported_quantiles"][2], 50.0);
    assert_eq!(
        histograms["computed_quantiles"][0]["name"],
        "cluster.web.upstream_rq_time"
    );

    let prometheus = weir
        .admin_get("/stats?format=prometheus&filter=wasmcustom")
        .text();
    assert_eq!(prometheus.lines().last(), Some("shop_hits 6"));
    assert_eq!(
        weir.admin_get("/stats/prometheus?filter=server%5C.live")
            .text()
            .lines()
            .count(),
        3
    );
    for wrong in ["filter=(", "format=html", "type=x", "histogram_buckets=x"] {
        assert_eq!(
            weir.admin_get(&format!("/stats?{wrong}")).status,
            400,
            "{wrong}"
        );
    }
}

#[test]
fn the_configuration_is_shown_without_its_secrets() {
    let upstream = Upstream::echo();
    let more = "tracing: { otlp: { endpoint: 'http://127.0.0.1:9', headers: { x-key: the-secret-key } }, sampling: 0% }";
    let weir = start(&upstream, "", more);
    let dump = weir.admin_get("/config_dump");
    let shown = json(&dump);
    let text = dump.text();
    assert!(!text.contains("the-secret"), "{text}");
    assert_eq!(shown["generation"], 1);
    let configuration = &shown["configuration"];
    let vm = &configuration["listeners"][0]["http_filters"][0]["wasm"]["vm_config"];
    let region = &vm["environment_variables"]["key_values"]["REGION"];
    assert_eq!(region, "[redacted]");
    assert_eq!(configuration["clusters"][0]["name"], "web");
    let module = &shown["modules"][0];
    assert_eq!(module["vm_id"], "v");
    assert_eq!(module["plugins"][0], "scribe");
    let code = std::fs::read(filter("probe")).unwrap();
    assert_eq!(module["sha256"], weir_conformance::registry::sha256(&code));
    let yaml = weir.admin_get("/config_dump?format=yaml");
    assert_eq!(
        yaml.header("content-type"),
        Some("application/yaml; charset=utf-8")
    );
    assert!(
        yaml.text().starts_with("generation: 1\n"),
        "{}",
        yaml.text()
    );
    assert!(!yaml.text().contains("the-secret"));
    weir.reload_with(&config(&upstream, "", more).replace("prefix: /", "prefix: /new"));
    let shown = json(&weir.admin_get("/config_dump"));
    assert_eq!(shown["generation"], 2);
    assert!(shown.to_string().contains("/new"));
}

#[test]
fn filters_are_shown_with_what_they_cost_and_how_they_failed() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "request_headers path=/trap: trap", "");
    let mut client = weir.connect();
    assert_eq!(client.get("/").status, 200);
    let id = "request-<b>1</b>";
    let trapped = client.get_with("/trap", &[("x-request-id", id)]);
    assert_eq!(trapped.status, 503);
    let shown = json(&weir.admin_get("/filters?format=json"));
    assert_eq!(shown["listeners"][0]["name"], "edge");
    assert_eq!(shown["listeners"][1]["filters"], serde_json::json!([]));
    let scribe = &shown["listeners"][0]["filters"][0];
    for (key, expected) in [
        ("name", "scribe"),
        ("role", "http_filter"),
        ("root_id", "r"),
        ("vm_id", "v"),
        ("isolation", "worker"),
    ] {
        assert_eq!(scribe[key], expected, "{key}");
    }
    assert_eq!(scribe["failures"]["trap"], 1);
    assert_eq!(scribe["callbacks"]["proxy_on_request_headers"]["count"], 2);
    let failure = &scribe["last_failure"];
    assert_eq!(failure["request_id"], id);
    assert_eq!(failure["reason"], "trap");
    assert_eq!(failure["worker"], 0);
    assert_eq!(failure["callback"], "proxy_on_request_headers");
    assert!(!failure["backtrace"].as_array().unwrap().is_empty());
    let text = weir.admin_get("/filters").text();
    for part in [
        "  scribe (http_filter) root_id=r vm_id=v sha256=",
        "failures=1",
        "proxy_on_request_headers failed (trap)",
        "request request-<b>1</b>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Where they are all together.
    let all = json(&weir.admin_get("/dashboard.json"));
    assert_eq!(all["failures"].as_array().unwrap().len(), 1);
    assert_eq!(all["failures"][0], *failure);
}

#[test]
fn the_failures_that_are_kept_have_an_end() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "request_headers path=/trap: trap", "");
    let mut client = weir.connect();
    for number in 0..20 {
        let id = number.to_string();
        client.get_with("/trap", &[("x-request-id", &id)]);
        client.get("/");
    }
    let all = json(&weir.admin_get("/dashboard.json"));
    let kept = all["failures"].as_array().unwrap();
    assert_eq!(kept.len(), 8);
    let times: Vec<_> = kept.iter().map(|f| f["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
}

#[test]
fn the_level_of_one_filter_is_changed_while_it_runs() {
    let upstream = Upstream::echo();
    let weir = start(
        &upstream,
        "request_headers: log 0 whispered ; log 2 said",
        "",
    );
    let whispered = || weir.log().contains("TRACE guest: whispered");
    let count = || weir.log().matches("INFO guest: said").count();
    let mut client = weir.connect();
    client.get("/");
    assert_eq!((count(), whispered()), (1, false));
    let levels = weir.admin_post("/logging?plugin=scribe&level=trace");
    assert_eq!(levels.status, 200, "{}", levels.text());
    assert!(levels.text().contains("scribe: trace"), "{}", levels.text());
    client.get("/");
    assert!(whispered());
    assert_eq!(
        json(&weir.admin_get("/dashboard.json"))["logging"]["plugins"]["scribe"],
        "trace"
    );

    weir.admin_post("/logging?plugin=scribe&level=off");
    let before = count();
    client.get("/");
    assert_eq!(count(), before);
    weir.admin_post("/logging?reset");
    client.get("/");
    assert_eq!(count(), before + 1);

    assert!(!weir.log().contains("DEBUG weir"));
    weir.admin_post("/logging?weir=debug&guest=error");
    client.get("/");
    assert_eq!(count(), before + 1);
    let text = weir.admin_post("/logging?level=warning").text();
    assert_eq!(text, "active levels:\n  default: warn\n");
    assert_eq!(weir.admin_get("/logging").text(), text);
    for (wrong, words) in [
        ("level=loud", "`loud` is not a level"),
        (
            "plugin=none&level=info",
            "no filter is called `none`; there are: scribe",
        ),
        ("plugin=scribe", "usage"),
        ("", "usage"),
        ("a%20b=info", "is not a target"),
    ] {
        let refused = weir.admin_post(&format!("/logging?{wrong}"));
        assert_eq!(refused.status, 400, "{wrong}");
        assert!(refused.text().contains(words), "{}", refused.text());
    }
}

#[test]
fn pages_of_other_sites_and_names_that_are_not_its_own_are_refused() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "", "");
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "weir.internal.evil",
    ] {
        let refused = Client::connect_as(weir.admin(), host).get("/config_dump");
        assert_eq!(refused.status, 403, "{host}");
        assert!(
            refused.text().contains("allowed_hosts"),
            "{}",
            refused.text()
        );
    }
    for host in [
        "weir.internal:80",
        "localhost",
        "[::1]:9901",
        "10.1.2.3:9901",
    ] {
        let mut named = Client::connect_as(weir.admin(), host);
        assert_eq!(named.get("/ready").status, 200, "{host}");
    }
    let mut admin = weir.connect_admin();
    for header in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
    ] {
        let refused = admin.request("POST", "/reload", &[header], b"");
        assert_eq!(refused.status, 403, "{header:?}");
    }
    assert_eq!(weir.metric("weir_config_reloads_total"), 0);
    let own = format!("http://{}", weir.admin());
    let same = [("sec-fetch-site", "same-origin"), ("origin", own.as_str())];
    assert_eq!(admin.request("POST", "/reload", &same, b"").status, 200);
    weir.reload_with(&config(&upstream, "", "").replace("weir.internal", "new.internal"));
    assert_eq!(
        Client::connect_as(weir.admin(), "new.internal")
            .get("/live")
            .status,
        200
    );
    assert_eq!(
        Client::connect_as(weir.admin(), "weir.internal")
            .get("/live")
            .status,
        403
    );
}

#[test]
fn memory_is_told_of_the_process_and_of_filters() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "", "");
    eventually("the memory of the filter", || {
        let memory = json(&weir.admin_get("/memory"));
        let number = |key: &str| memory[key].as_str().unwrap().parse::<u64>().unwrap();
        assert!(number("allocated") > 1 << 20);
        assert!(number("heap_size") >= number("allocated"));
        assert!(number("total_physical_bytes") > 1 << 20);
        let guest = &memory["guests"][0];
        assert_eq!(guest["vm_id"], "v");
        assert_eq!(guest["plugins"], "scribe");
        (guest["bytes"].as_u64() > Some(65_536)).then_some(())
    });
}
