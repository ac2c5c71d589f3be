//! The admin's page in a browser. Chromium is not everywhere: these tests run with
//! `cargo test -p weir --test dashboard -- --ignored`, where it is installed
//! (`apt-get install chromium`).
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::process::Command;

use weir_conformance::{Upstream, Weir, filter};

/// What the page has become after a few seconds.
fn rendered(weir: &Weir, arguments: &[&str]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
        ])
        .args(["--virtual-time-budget=6000", "--timeout=30000"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .arg(format!("http://{}/", weir.admin()))
        .output()
        .expect("chromium is installed");
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs Chromium"]
fn a_browser_shows_filters_and_failures_and_runs_nothing_that_they_say() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: \"<i>edge</i>\"
  address: 127.0.0.1:0
  http_filters:
  - name: \"<img src=x onerror=document.title='hacked'>\"
    wasm:
      vm_config: {{ code: {{ local: {{ filename: {} }} }} }}
      configuration: \"request_headers path=/trap: trap\"
  routes: [{{ match: {{ prefix: / }}, cluster: web }}]
clusters:
- {{ name: web, endpoints: [\"{}\"] }}
",
        filter("probe").display(),
        upstream.address
    ));
    let mut client = weir_conformance::Client::connect(weir.listener("<i>edge</i>"));
    client.get("/");
    let id = [("x-request-id", "<script>document.title='hacked'</script>")];
    assert_eq!(client.get_with("/trap", &id).status, 503);
    let page = rendered(&weir, &[]);
    for part in [
        "<title>Weir</title>",
        ">LIVE<",
        "&lt;i&gt;edge&lt;/i&gt;",
        "&lt;img src=x onerror=document.title='hacked'&gt;",
        "&lt;script&gt;document.title='hacked'&lt;/script&gt;",
        "proxy_on_request_headers",
        "<td>web</td>",
        "serving",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert_eq!(page.matches("<img").count(), 0);
    assert_eq!(page.matches("<script").count(), 1);
}
