//! Another configuration takes the place of the one that is served.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use weir_conformance::guests::request_marker as marker;
use weir_conformance::{Client, Over, Upstream, Weir, direct, eventually, h2};

const FILTER: &str = "http_filters: [{ name: mark, wasm: { vm_config: \
    { code: { local: { filename: mark.wasm } } } } }]";

/// A gateway of two workers whose listener `edge` has these further lines.
fn config(upstream: &Upstream, edge: &str) -> String {
    config_with(upstream, edge, "")
}

fn config_with(upstream: &Upstream, edge: &str, top: &str) -> String {
    format!(
        "workers: 2\nadmin: {{ address: 127.0.0.1:0 }}\n{top}\nlisteners:\n\
         - {{ name: edge, address: 127.0.0.1:0, {edge} }}\n\
         clusters: [{{ name: web, endpoints: [\"{}\"] }}]\n",
        upstream.address
    )
}

const ROUTE: &str = "routes: [{ match: { prefix: / }, cluster: web }]";

#[test]
fn a_connection_that_is_open_gets_the_new_routes() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream, &direct("old")));
    let mut client = weir.connect();
    assert_eq!(client.get("/").text(), "old");
    let report = weir.reload_with(&config(&upstream, &direct("new")));
    let mut report = report.lines();
    let summary = "generation 2, 1 listeners, 0 VMs kept, 0 new";
    assert_eq!(report.next(), Some(summary));
    assert_eq!(report.next(), Some("~ route edge/default/prefix /: action"));
    assert_eq!(client.get("/").text(), "new");
    assert_eq!(weir.metric("weir_generation"), 2);
    weir.reload_with(&config(&upstream, ROUTE));
    assert!(client.get("/x").text().starts_with("GET /x\n"));
}

#[test]
fn what_is_wrong_is_told_and_changes_nothing() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream, &direct("old")));
    let mut client = weir.connect();
    for (wrong, words) in [
        (
            config(
                &upstream,
                "routes: [{ match: { prefix: / }, cluster: wep }]",
            ),
            "there is no cluster `wep`",
        ),
        (
            config(&upstream, &format!("{FILTER}, {ROUTE}")),
            "cannot read the module",
        ),
        (
            config(&upstream, ROUTE).replace("workers: 2", "workers: 3"),
            "`workers` can only be changed by a restart",
        ),
        ("listeners: [".to_owned(), "weir.yaml"),
    ] {
        weir.configure(&wrong);
        let answer = weir.reload();
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(words), "{}", answer.text());
        assert_eq!(weir.metric("weir_config_last_reload_successful"), 0);
        assert_eq!(client.get("/").text(), "old");
    }
    assert!(weir.log().contains("the configuration stays as it was"));
    assert_eq!(weir.metric("weir_generation"), 1);
    weir.reload_with(&config(&upstream, &direct("new")));
    assert_eq!(weir.metric("weir_config_last_reload_successful"), 1);
    assert_eq!(client.get("/").text(), "new");
    assert_eq!(weir.admin_get("/reload").status, 405);
}

#[test]
fn what_a_refused_configuration_lacks_may_come_later() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream, &direct("old")));
    weir.configure(&config(&upstream, &format!("{FILTER}, {ROUTE}")));
    assert_eq!(weir.reload().status, 400);
    std::fs::write(weir.path("mark.wasm"), marker("1")).unwrap();
    let mut client = weir.connect();
    eventually("the filter", || {
        let marked = client.get("/").text().contains("x-version: 1\n");
        marked.then_some(())
    });
}

#[test]
fn a_port_that_is_taken_changes_nothing() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream, &direct("old")));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!(
        "{}\n",
        config(&upstream, &direct("new")).replace(
            "listeners:\n",
            &format!(
                "listeners:\n- {{ name: more, address: \"{}\", {ROUTE} }}\n",
                taken.local_addr().unwrap()
            )
        )
    );
    weir.configure(&more);
    let answer = weir.reload();
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("listener `more` cannot bind"),
        "{}",
        answer.text()
    );
    assert_eq!(weir.connect().get("/").text(), "old");
}

#[test]
fn sighup_and_changes_of_files_reload() {
    let upstream = Upstream::echo();
    let with_filter = config(&upstream, &format!("{FILTER}, {ROUTE}"));
    let weir = Weir::start_with(&with_filter, |folder| {
        std::fs::write(folder.join("mark.wasm"), marker("1")).unwrap();
    });
    let mut client = weir.connect();
    let marked = |client: &mut Client, version: &str| {
        client
            .get("/")
            .text()
            .contains(&format!("x-version: {version}\n"))
    };
    assert!(marked(&mut client, "1"));
    // The module, put in its place.
    weir.replace("mark.wasm", &marker("2"));
    eventually("version 2", || marked(&mut client, "2").then_some(()));
    // The module, written in place.
    std::fs::write(weir.path("mark.wasm"), marker("3")).unwrap();
    eventually("version 3", || marked(&mut client, "3").then_some(()));
    // The configuration.
    weir.configure(&config(&upstream, &direct("plain")));
    eventually("the new routes", || {
        (client.get("/").text() == "plain").then_some(())
    });
    weir.signal("HUP");
    eventually("the reload for the signal", || {
        let log = weir.log();
        let told = |line: &str| line.contains("reloaded: ") && line.contains("cause=\"SIGHUP\"");
        log.lines().any(told).then_some(())
    });
    // What is broken for a while is taken over when it is whole.
    weir.replace("weir.yaml", &with_filter.as_bytes()[..40]);
    weir.eventually_metric("weir_config_last_reload_successful", 0);
    assert_eq!(client.get("/").text(), "plain");
    weir.configure(&with_filter);
    eventually("version 3 again", || marked(&mut client, "3").then_some(()));
}

#[test]
fn vms_that_are_as_before_are_kept() {
    let upstream = Upstream::echo();
    let two = |route: &str, limit: &str| {
        let filter = |name: &str, limits: &str| {
            format!(
                "{{ name: {name}, wasm: {{ {limits} vm_config: {{ vm_id: {name}, \
                 code: {{ local: {{ filename: mark.wasm }} }} }} }} }}"
            )
        };
        let filters = format!("{}, {}", filter("a", ""), filter("b", limit));
        config(&upstream, &format!("http_filters: [{filters}], {route}"))
    };
    let weir = Weir::start_with(&two(ROUTE, ""), |folder| {
        std::fs::write(folder.join("mark.wasm"), marker("1")).unwrap();
    });
    // On each worker, one that serves and a spare, of each.
    weir.eventually_metric("weir_wasm_vm_starts_total", 8);
    let report = weir.reload_with(&two(&direct("x"), ""));
    assert!(report.contains("2 VMs kept, 0 new"), "{report}");
    let report = weir.reload_with(&two(ROUTE, "limits: { callback: 5s },"));
    assert!(report.contains("1 VMs kept, 1 new"), "{report}");
    weir.eventually_metric("weir_wasm_vm_starts_total", 12);
    // The old ones go.
    weir.eventually_metric("weir_wasm_vms_active", 8);
    weir.eventually_metric("weir_generations", 1);
    let text = weir.connect().get("/").text();
    assert_eq!(text.matches("x-version: 1\n").count(), 2, "{text}");
}

#[test]
fn a_stream_ends_in_the_generation_in_which_it_began() {
    let (upstream, held) = Upstream::slow();
    let filtered = config(&upstream, &format!("{FILTER}, {ROUTE}"));
    let weir = Weir::start_with(&filtered, |folder| {
        std::fs::write(folder.join("mark.wasm"), marker("1")).unwrap();
    });
    let mut slow = weir.connect();
    slow.send(b"GET /slow HTTP/1.1\r\nhost: test\r\n\r\n");
    held.arrived();
    weir.replace("mark.wasm", &marker("2"));
    assert_eq!(weir.reload().status, 200);
    assert_eq!(weir.connect().get("/").text(), "2");
    let table = weir.admin_get("/generations").text();
    assert!(
        table.contains("draining") && table.contains("serving"),
        "{table}"
    );
    held.release();
    let response = slow.response();
    assert_eq!((response.status, response.text().as_str()), (200, "1"));
    // The connection goes on, in the new one.
    assert_eq!(slow.get("/").text(), "2");
    weir.eventually_metric("weir_generations", 1);
}

#[test]
fn streams_of_an_old_generation_are_cut_when_they_have_had_long_enough() {
    let (upstream, held) = Upstream::slow();
    let short = |edge: &str| config_with(&upstream, edge, "drain_timeout: 1s");
    let weir = Weir::start(&short(&format!("access_log: {{ path: stdout }}, {ROUTE}")));
    let mut slow = weir.connect();
    slow.send(b"GET /slow HTTP/1.1\r\nhost: test\r\n\r\n");
    held.arrived();
    weir.reload_with(&short(&direct("new")));
    assert!(slow.is_closed());
    weir.eventually_metric("weir_generations", 1);
    assert_eq!(weir.connect().get("/").text(), "new");
    eventually("the stream in the access log", || {
        weir.stdout().contains("/slow").then_some(())
    });
}

#[test]
fn a_stop_takes_as_long_as_what_is_served_says() {
    let (upstream, held) = Upstream::slow();
    let with = |timeout: &str| config_with(&upstream, ROUTE, &format!("drain_timeout: {timeout}"));
    let mut weir = Weir::start(&with("600s"));
    weir.reload_with(&with("1s"));
    let mut slow = weir.connect();
    slow.send(b"GET /slow HTTP/1.1\r\nhost: test\r\n\r\n");
    held.arrived();
    weir.terminate();
    weir.wait();
    assert!(weir.log().contains("the drain timeout is over"));
}

#[test]
fn what_a_connection_has_begun_to_say_is_served_by_what_it_began_with() {
    let (upstream, _held) = Upstream::slow();
    let filtered = config(&upstream, &format!("{FILTER}, {ROUTE}"));
    let weir = Weir::start_with(&filtered, |folder| {
        std::fs::write(folder.join("mark.wasm"), marker("1")).unwrap();
    });
    let mut client = weir.connect();
    client.send(b"GET / HTTP/1.1\r\n");
    let other = format!("http: {{ max_headers_count: 5 }}, {}", direct("new"));
    weir.reload_with(&config(&upstream, &other));
    // Several looks at what may go.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(weir.metric("weir_generations"), 2);
    client.send(b"host: test\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "1"));
    assert!(client.is_closed());
    weir.eventually_metric("weir_generations", 1);
    assert_eq!(weir.metric("weir_wasm_vm_starts_total"), 4);
    assert_eq!(weir.metric("weir_wasm_vm_memory_bytes"), 0);
}

#[test]
fn listeners_come_and_go() {
    let upstream = Upstream::echo();
    let with = |more: &str| {
        let config = config(&upstream, &direct("edge"));
        config.replace("listeners:\n", &format!("listeners:\n{more}"))
    };
    let more = |body: &str| {
        format!(
            "- {{ name: more, address: 127.0.0.1:0, {} }}\n",
            direct(body)
        )
    };
    let weir = Weir::start(&with(""));
    assert_eq!(weir.current_listener("more"), None);
    weir.reload_with(&with(&more("a")));
    let address = weir.current_listener("more").unwrap();
    let mut client = Client::connect(address);
    assert_eq!(client.get("/").text(), "a");
    // It stays where it is.
    weir.reload_with(&with(&more("b")));
    assert_eq!(weir.current_listener("more"), Some(address));
    assert_eq!(client.get("/").text(), "b");
    // When it is gone, a connection that is open says one thing more, at most.
    weir.reload_with(&with(""));
    assert_eq!(weir.current_listener("more"), None);
    let last = client.get("/");
    assert_eq!(
        (last.status, last.header("connection")),
        (200, Some("close"))
    );
    eventually("nobody listens there", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
    assert_eq!(weir.connect().get("/").text(), "edge");
}

#[test]
fn connections_whose_listener_speaks_otherwise_now_end() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream, &direct("old")));
    let mut client = weir.connect();
    assert_eq!(client.get("/").text(), "old");
    let new = format!("http: {{ max_headers_count: 5 }}, {}", direct("new"));
    weir.reload_with(&config(&upstream, &new));
    let last = client.get("/");
    assert_eq!(last.header("connection"), Some("close"));
    let many: Vec<_> = (0..10).map(|n| (format!("x-{n}"), "1")).collect();
    let many: Vec<_> = many.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    assert_eq!(weir.connect().get_with("/", &many).status, 431);
}

#[test]
fn an_http2_connection_goes_on_in_the_new_generation() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream, &direct("old")));
    let address = weir.listener("edge");
    h2::run(async {
        let mut client = h2::connect(address).await;
        assert_eq!(h2::get(&mut client, "/", &[]).await.unwrap().text(), "old");
        weir.reload_with(&config(&upstream, &direct("new")));
        assert_eq!(h2::get(&mut client, "/", &[]).await.unwrap().text(), "new");
    });
}

#[test]
fn no_request_fails_while_filters_are_swapped() {
    const RELOADS: usize = 30;
    let upstream = Upstream::echo();
    let filtered = config(&upstream, &format!("{FILTER}, {ROUTE}"));
    let weir = Weir::start_with(&filtered, |folder| {
        std::fs::write(folder.join("mark.wasm"), marker("0")).unwrap();
    });
    weir.eventually_metric("weir_wasm_vms_active", 4);
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = weir.connect();
                let mut last = 0;
                while !over.load(Ordering::Relaxed) {
                    let response = client.get("/");
                    assert_eq!(response.status, 200);
                    let text = response.text();
                    let version = text.lines().find_map(|l| l.strip_prefix("x-version: "));
                    let version: usize = version.unwrap().parse().unwrap();
                    // One generation, and never an older one again.
                    assert!(version >= last, "{version} after {last}");
                    last = version;
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _over = Over(&over);
        for number in 1..=RELOADS {
            weir.replace("mark.wasm", &marker(&number.to_string()));
            let answer = weir.reload();
            assert_eq!(answer.status, 200, "{}", answer.text());
            if number % 10 == 0 {
                weir.replace("mark.wasm", b"broken");
                assert_eq!(weir.reload().status, 400);
            }
        }
    });
    assert!(served.into_inner() > RELOADS);
    weir.eventually_metric("weir_generations", 1);
    weir.eventually_metric("weir_wasm_vms_active", 4);
    assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 0);
}

/// A filter that marks requests with `x-found` once another has left a note in
/// shared data.
const NOTES: &str = r#"(module
  (import "env" "proxy_get_shared_data" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value"
    (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "x-found")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (call $get (i32.const 16) (i32.const 7) (i32.const 0) (i32.const 4) (i32.const 8))
      (then (drop (call $set (i32.const 16) (i32.const 7) (i32.const 16) (i32.const 1)
                             (i32.const 0))))
      (else (drop (call $add (i32.const 0) (i32.const 16) (i32.const 7)
                             (i32.const 16) (i32.const 1)))))
    (i32.const 0)))"#;

#[test]
fn shared_data_stays_as_long_as_a_filter_has_its_vm_id() {
    let upstream = Upstream::echo();
    let with = |vm_id: &str, settings: &str| {
        let filter = format!(
            "http_filters: [{{ name: notes, wasm: {{ configuration: {settings}, vm_config: \
             {{ vm_id: {vm_id}, code: {{ local: {{ filename: notes.wasm }} }} }} }} }}]"
        );
        config(&upstream, &format!("{filter}, {ROUTE}"))
    };
    let weir = Weir::start_with(&with("notes", "a"), |folder| {
        std::fs::write(folder.join("notes.wasm"), wat::parse_str(NOTES).unwrap()).unwrap();
    });
    let mut client = weir.connect();
    let found = |client: &mut Client| client.get("/").text().contains("x-found: x\n");
    assert!(!found(&mut client));
    assert!(found(&mut client));
    let report = weir.reload_with(&with("notes", "b"));
    assert!(report.contains("0 VMs kept, 1 new"), "{report}");
    assert!(found(&mut client));
    // Nobody has it any more.
    weir.reload_with(&with("others", "b"));
    weir.eventually_metric("weir_generations", 1);
    assert!(!found(&mut client));
    weir.reload_with(&with("notes", "b"));
    assert!(!found(&mut client));
}

#[test]
fn a_callout_ends_though_its_cluster_is_removed() {
    let (auth, held) = Upstream::slow();
    let upstream = Upstream::echo();
    let plain = config(&upstream, ROUTE);
    let filter = "http_filters: [{ name: auth, wasm: { configuration: \
         { services: [{ cluster: auth, path: /slow, timeout_ms: 20000 }] }, vm_config: \
         { code: { local: { filename: auth.wasm } } } } }]";
    let asking = config(&upstream, &format!("{filter}, {ROUTE}")).replace(
        "clusters: [",
        &format!(
            "clusters: [{{ name: auth, endpoints: [\"{}\"] }}, ",
            auth.address
        ),
    );
    let weir = Weir::start_with(&asking, |folder| {
        std::fs::copy(
            weir_conformance::filter("ext-auth"),
            folder.join("auth.wasm"),
        )
        .unwrap();
    });
    let mut client = weir.connect();
    client.send(b"GET /asked HTTP/1.1\r\nhost: test\r\n\r\n");
    held.arrived();
    weir.reload_with(&plain);
    held.release();
    let response = client.response();
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.text().starts_with("GET /asked\n"));
    weir.eventually_metric("weir_generations", 1);
}
