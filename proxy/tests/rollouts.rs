//! Another version of a filter beside the one that serves.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::path::Path;
use std::thread;
use std::time::Duration;

use weir_conformance::guests::{self, request_marker as marker};
use weir_conformance::{Answer, Upstream, Weir, eventually, filter};

/// What a filter and its other version are: what stands in `wasm` beside the code.
struct Versions<'a> {
    old: (&'a [u8], &'a str),
    new: (&'a [u8], &'a str),
    rollout: &'a str,
    clusters: String,
}

impl<'a> Versions<'a> {
    fn new(old: &'a [u8], new: &'a [u8], rollout: &'a str) -> Self {
        Self {
            old: (old, ""),
            new: (new, ""),
            rollout,
            clusters: String::new(),
        }
    }

    /// A filter whose shadow is the same filter.
    fn shadowed(module: &'a [u8], configuration: &'a str) -> Self {
        Self {
            old: (module, configuration),
            new: (module, configuration),
            rollout: "shadow: true",
            clusters: String::new(),
        }
    }

    fn config(&self, upstream: &Upstream) -> String {
        config(
            upstream,
            self.old.1,
            self.new.1,
            self.rollout,
            &self.clusters,
        )
    }

    fn start(&self, upstream: &Upstream) -> Weir {
        Weir::start_with(&self.config(upstream), |folder| {
            std::fs::write(folder.join("old.wasm"), self.old.0).unwrap();
            std::fs::write(folder.join("new.wasm"), self.new.0).unwrap();
        })
    }
}

fn config(upstream: &Upstream, old: &str, new: &str, rollout: &str, clusters: &str) -> String {
    let wasm = |file: &str, more: &str| {
        let code =
            format!("vm_config: {{ vm_id: mark, code: {{ local: {{ filename: {file} }} }} }}");
        format!("{{ {code}, {more} }}")
    };
    let rollout = match rollout {
        "" => String::new(),
        rollout => format!(
            ", rollout: {{ wasm: {}, {rollout} }}",
            wasm("new.wasm", new)
        ),
    };
    format!(
        "workers: 2\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n\
         - name: edge\n  address: 127.0.0.1:0\n  http_filters:\n  \
         - {{ name: mark, wasm: {}{rollout} }}\n  \
         routes: [{{ match: {{ prefix: / }}, cluster: web }}]\n\
         clusters:\n- {{ name: web, endpoints: [\"{}\"] }}\n{clusters}",
        wasm("old.wasm", old),
        upstream.address
    )
}

fn cluster_of_accounts(accounts: &Upstream) -> String {
    format!(
        "- {{ name: accounts, endpoints: [\"{}\"] }}\n",
        accounts.address
    )
}

/// The version that has marked a request, as the upstream got it.
fn version(weir: &Weir, headers: &[(&str, &str)]) -> String {
    let answer = weir.connect().get_with("/", headers);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("x-version: "));
    line.unwrap_or_default().to_owned()
}

fn streams(weir: &Weir, version: &str) -> u64 {
    weir.metric_of(
        "weir_rollout_streams_total",
        &format!("version=\"{version}\""),
    )
}

fn shadowed(weir: &Weir, outcome: &str) -> u64 {
    weir.metric_of(
        "weir_shadow_streams_total",
        &format!("outcome=\"{outcome}\""),
    )
}

/// Waits until so many streams have ended like this for a shadow.
fn eventually_shadowed(weir: &Weir, outcome: &str, count: u64) {
    eventually(&format!("{count} streams that are `{outcome}`"), || {
        (shadowed(weir, outcome) == count).then_some(())
    });
}

fn divergences(weir: &Weir, what: &str) -> u64 {
    weir.metric_of("weir_shadow_divergences_total", &format!("what=\"{what}\""))
}

/// Traps in every request.
const TRAPS: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))"#;

/// Answers every request with 403.
const REFUSES: &str = r#"(module
  (import "env" "proxy_send_local_response"
    (func $answer (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $answer (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                        (i32.const 0) (i32.const 0) (i32.const -1)))
    (i32.const 1)))"#;

fn module(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn a_canary_gets_its_share_and_who_has_it_keeps_it() {
    let upstream = Upstream::echo();
    let (old, new) = (marker("old"), marker("new"));
    for sticky_by in ["{ header: X-User }", "{ cookie: user }"] {
        let rollout = format!("canary: {{ weight: 50%, sticky_by: {sticky_by} }}");
        let weir = Versions::new(&old, &new, &rollout).start(&upstream);
        let mut canaries = 0;
        for n in 0..60 {
            let (user, cookie) = (format!("u{n}"), format!("a=b; user=u{n}"));
            let headers = [("x-user", user.as_str()), ("cookie", cookie.as_str())];
            let first = version(&weir, &headers);
            for _ in 0..3 {
                assert_eq!(version(&weir, &headers), first);
            }
            canaries += u64::from(first == "new");
        }
        // Names decide, which are the same each time.
        assert!((15..45).contains(&canaries), "{canaries}");
        assert_eq!(streams(&weir, "canary"), 4 * canaries);
        assert_eq!(streams(&weir, "stable"), 4 * (60 - canaries));
        let calls = |label| weir.metric_of("weir_wasm_contexts_active", label);
        assert_eq!(
            calls("version=\"canary\",kind=\"root\""),
            4,
            "two and two spares"
        );
        let metrics = weir.admin_get("/metrics").text();
        let stable = "weir_wasm_vms_active{vm_id=\"mark\",plugins=\"mark\"} 4";
        assert!(metrics.contains(stable), "{metrics}");
    }
}

#[test]
fn one_client_has_one_version() {
    let upstream = Upstream::echo();
    let (old, new) = (marker("old"), marker("new"));
    let rollout = "canary: { weight: 50%, sticky_by: { source: true } }";
    let weir = Versions::new(&old, &new, rollout).start(&upstream);
    let first = version(&weir, &[]);
    for _ in 0..20 {
        assert_eq!(version(&weir, &[]), first);
    }
}

#[test]
fn a_rollout_goes_from_nothing_to_all_without_new_vms() {
    let upstream = Upstream::echo();
    let (old, new) = (marker("old"), marker("new"));
    let rollout = |rollout| Versions::new(&old, &new, rollout).config(&upstream);
    let weir = Versions::new(&old, &new, "").start(&upstream);
    assert_eq!(version(&weir, &[]), "old");
    let report = weir.reload_with(&rollout("canary: { weight: 0% }"));
    assert!(report.contains("1 VMs kept, 1 new"), "{report}");
    assert!(report.contains("rollout of mark begins"), "{report}");
    for _ in 0..20 {
        assert_eq!(version(&weir, &[]), "old");
    }
    let report = weir.reload_with(&rollout("canary: { weight: 100% }"));
    assert!(report.contains("2 VMs kept, 0 new"), "{report}");
    assert!(report.contains("rollout of mark begins anew"), "{report}");
    for _ in 0..20 {
        assert_eq!(version(&weir, &[]), "new");
    }
    let report = weir.reload_with(&rollout(""));
    assert!(report.contains("1 VMs kept, 0 new"), "{report}");
    assert!(report.contains("rollout of mark ends"), "{report}");
    assert_eq!(version(&weir, &[]), "old");
    eventually("the end of the canary's VMs", || {
        let active = weir.metric_of("weir_wasm_vms_active", "version=\"canary\"");
        (active == 0).then_some(())
    });
}

#[test]
fn what_a_route_configures_otherwise_takes_no_part() {
    let upstream = Upstream::echo();
    let (old, new) = (marker("old"), marker("new"));
    let versions = Versions::new(&old, &new, "canary: { weight: 100% }");
    let route = "{ match: { prefix: / }, cluster: web }";
    let own = "{ match: { path: /own }, cluster: web, filters: { mark: { configuration: x } } }";
    let off = "{ match: { path: /off }, cluster: web, filters: { mark: { disabled: true } } }";
    let routes = format!("{own}, {off}, {route}");
    let config = versions.config(&upstream).replace(route, &routes);
    let weir = Weir::start_with(&config, |folder| {
        std::fs::write(folder.join("old.wasm"), &old).unwrap();
        std::fs::write(folder.join("new.wasm"), &new).unwrap();
    });
    let marked = |path: &str| {
        let text = weir.connect().get(path).text();
        let mut marks = text.lines().filter_map(|l| l.strip_prefix("x-version: "));
        marks.next().map(str::to_owned)
    };
    assert_eq!(marked("/own").as_deref(), Some("old"));
    assert_eq!(marked("/off"), None);
    assert_eq!((streams(&weir, "canary"), streams(&weir, "stable")), (0, 0));
    assert_eq!(marked("/").as_deref(), Some("new"));
    assert_eq!((streams(&weir, "canary"), streams(&weir, "stable")), (1, 0));
}

#[test]
fn a_canary_that_traps_is_rolled_back() {
    let upstream = Upstream::echo();
    let (old, new) = (marker("old"), module(TRAPS));
    let rollout = "canary: { weight: 100% }, rollback_on: { trap_rate: 2% }";
    let versions = Versions::new(&old, &new, rollout);
    let weir = versions.start(&upstream);
    let rolled_back = || weir.metric_of("weir_rollout_rolled_back", "reason=\"trap_rate\"");
    let mut statuses = Vec::new();
    eventually("the rollback", || {
        statuses.push(weir.connect().get("/").status);
        (rolled_back() == 1).then_some(())
    });
    let failed = statuses.iter().filter(|status| **status == 503).count();
    // Three are more than 2 % of the 100 that are the least. In a crash loop, the
    // filter itself steps in.
    assert!(failed >= 3, "{statuses:?}");
    assert!(
        statuses.iter().all(|status| [200, 503].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(version(&weir, &[]), "old");
    assert_eq!(
        weir.metric_of("weir_rollout_rolled_back", "reason=\"latency\""),
        0
    );
    let failures = weir.metric_of("weir_wasm_vm_failures_total", "version=\"canary\"");
    assert!(failures >= 3, "{failures}");
    assert!(weir.admin_get("/rollouts").text().contains("rolled back: "));
    assert!(weir.log().contains("gets no streams any more: "));
    // What has nothing to do with it, does not start it again.
    let other = versions
        .config(&upstream)
        .replace("routes:", "buffer_limit: 2MiB\n  routes:");
    weir.reload_with(&other);
    assert_eq!(rolled_back(), 1);
    assert_eq!(version(&weir, &[]), "old");
    // A better version does.
    weir.replace("new.wasm", &marker("new"));
    eventually("the better version", || {
        (version(&weir, &[]) == "new").then_some(())
    });
    assert_eq!(rolled_back(), 0);
}

#[test]
fn a_canary_that_is_slow_is_rolled_back() {
    let upstream = Upstream::start(|request| {
        let version = request.header("x-version").unwrap_or_default().to_owned();
        if version == "new" {
            thread::sleep(Duration::from_millis(60));
        }
        Answer::ok(format!("x-version: {version}\n"))
    });
    let (old, new) = (marker("old"), marker("new"));
    let rollout = "canary: { weight: 100% }, rollback_on: { latency: 50ms, min_streams: 200 }";
    let weir = Versions::new(&old, &new, rollout).start(&upstream);
    let mut slow = 0;
    eventually("the rollback", || {
        let version = version(&weir, &[]);
        slow += u64::from(version == "new");
        (version == "old").then_some(())
    });
    // Three are more than one in a hundred of 200.
    assert!(slow >= 3, "{slow}");
    assert_eq!(
        weir.metric_of("weir_rollout_rolled_back", "reason=\"latency\""),
        1
    );
}

#[test]
fn a_shadow_is_compared_and_has_no_say() {
    let upstream = Upstream::echo();
    let old = marker("old");
    for (new, what) in [
        (marker("old"), ""),
        (marker("new"), "headers"),
        (module(&guests::body_replacer(Some("other"), None)), "body"),
        (module(REFUSES), "local_response"),
        (module(&guests::body_pauser()), "action"),
        (module(TRAPS), "action"),
    ] {
        let weir = Versions::new(&old, &new, "shadow: true").start(&upstream);
        let mut client = weir.connect();
        for _ in 0..5 {
            let answer = client.request("POST", "/", &[], b"body");
            assert_eq!(answer.status, 200, "{what}");
            let text = answer.text();
            assert!(text.contains("x-version: old\n"), "{what}: {text}");
            assert!(text.ends_with("\nbody"), "{what}: {text}");
            assert_eq!(text.matches("x-version").count(), 1, "{what}: {text}");
        }
        eventually_shadowed(&weir, if what.is_empty() { "same" } else { "diverged" }, 5);
        for kind in ["action", "headers", "body", "trailers", "local_response"] {
            // The one that only changes bodies has not marked the request either.
            let expected = kind == what || (what == "body" && kind == "headers");
            let expected =
                expected || (kind == "headers" && what == "action" && new != module(TRAPS));
            let expected = if expected { 5 } else { 0 };
            assert_eq!(divergences(&weir, kind), expected, "{what}: {kind}");
        }
        assert_eq!(streams(&weir, "canary"), 0);
        if !what.is_empty() {
            let words = format!("the shadow of a filter diverges in `{what}`: ");
            assert!(weir.log().contains(&words), "{}", weir.log());
        }
        eventually("the end of all streams", || {
            let active = weir.metric_of("weir_wasm_contexts_active", "kind=\"stream\"");
            (active == 0).then_some(())
        });
    }
}

#[test]
fn a_shadow_that_traps_is_rolled_back() {
    let upstream = Upstream::echo();
    let (old, new) = (marker("old"), module(TRAPS));
    let rollout = "shadow: true, rollback_on: { trap_rate: 0% }";
    let weir = Versions::new(&old, &new, rollout).start(&upstream);
    eventually("the rollback", || {
        assert_eq!(version(&weir, &[]), "old");
        let rolled_back = weir.metric("weir_rollout_rolled_back");
        (rolled_back == 1).then_some(())
    });
    let seen = shadowed(&weir, "diverged") + shadowed(&weir, "absent");
    assert_eq!(version(&weir, &[]), "old");
    assert_eq!(
        shadowed(&weir, "diverged") + shadowed(&weir, "absent"),
        seen
    );
}

#[test]
fn what_a_shadow_calls_is_called_once() {
    let upstream = Upstream::echo();
    let accounts = Upstream::start(|_| Answer::with_headers("x-user: me\r\n", ""));
    let auth = std::fs::read(filter("ext-auth")).unwrap();
    let configuration = "configuration: { services: [{ cluster: accounts }], take: [x-user] }";
    let mut versions = Versions::shadowed(&auth, configuration);
    versions.clusters = cluster_of_accounts(&accounts);
    let weir = versions.start(&upstream);
    let mut client = weir.connect();
    for _ in 0..10 {
        let answer = client.request("POST", "/", &[], b"body");
        assert!(answer.text().contains("x-user: me\n"), "{}", answer.text());
    }
    assert_eq!(accounts.requests().len(), 10);
    // It waits for an answer that only the filter gets.
    eventually_shadowed(&weir, "incomplete", 10);
    assert_eq!(weir.metric("weir_shadow_divergences_total"), 0);
    assert_eq!(weir.metric("weir_wasm_callouts_active"), 0);
}

#[test]
fn a_shadow_that_has_not_decided_does_not_agree() {
    let upstream = Upstream::echo();
    let denies = b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n";
    let accounts = Upstream::start(|_| Answer::Raw(denies.to_vec()));
    let auth = std::fs::read(filter("ext-auth")).unwrap();
    let configuration = "configuration: { services: [{ cluster: accounts }] }";
    let mut versions = Versions::shadowed(&auth, configuration);
    versions.clusters = cluster_of_accounts(&accounts);
    let weir = versions.start(&upstream);
    let mut client = weir.connect();
    for _ in 0..5 {
        assert_eq!(client.get("/").status, 403);
    }
    eventually_shadowed(&weir, "incomplete", 5);
}

#[test]
fn a_shadow_has_shared_data_of_its_own() {
    let upstream = Upstream::echo();
    let limit = std::fs::read(filter("rate-limit")).unwrap();
    let configuration = "configuration: { limit: 10, window_ms: 3600000, by: all }";
    let weir = Versions::shadowed(&limit, configuration).start(&upstream);
    let mut client = weir.connect();
    let statuses: Vec<_> = (0..12).map(|_| client.get("/").status).collect();
    assert_eq!(statuses, [[200; 10].as_slice(), &[429; 2]].concat());
    eventually_shadowed(&weir, "same", 12);
}

#[test]
fn a_version_that_does_not_start_is_no_generation() {
    let upstream = Upstream::echo();
    let (old, new) = (marker("old"), marker("new"));
    let rollout = "canary: { weight: 5% }";
    let weir = Versions::new(&old, &new, "").start(&upstream);
    weir.replace("new.wasm", b"no module");
    weir.configure(&Versions::new(&old, &new, rollout).config(&upstream));
    let answer = weir.reload();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("weir.yaml:"), "{}", answer.text());
    assert_eq!(version(&weir, &[]), "old");
    assert!(Path::new(&weir.path("new.wasm")).exists());
}
