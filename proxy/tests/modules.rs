//! Filter code from servers, registries and the environment.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

#[path = "modules/kept.rs"]
mod kept;

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use weir_conformance::guests::request_marker as marker;
use weir_conformance::registry::{Layout, Login, Registry, Reply, Seen, digest, gzip, sha256, tar};
use weir_conformance::{Upstream, Weir, check, check_env};

/// A configuration with a filter for each `code.remote`, which keeps copies beside
/// itself and does not wait between attempts.
fn config(upstream: &str, remotes: &[&str]) -> String {
    let filter = |(place, remote): (usize, &&str)| {
        let remote = if remote.contains("retry_policy") {
            (*remote).to_owned()
        } else {
            format!("{remote}, retry_policy: {{ num_retries: 0 }}")
        };
        format!(
            "  - name: f{place}\n    wasm:\n      vm_config:\n        code:\n          remote: \
             {{ {remote} }}\n"
        )
    };
    let filters: String = remotes.iter().enumerate().map(filter).collect();
    format!(
        "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\n\
         modules: {{ cache: cache, module_size: 64KiB }}\n\
         listeners:\n- name: edge\n  address: 127.0.0.1:0\n  \
         routes: [{{ match: {{ prefix: / }}, cluster: web }}]\n  http_filters:\n{filters}\
         clusters: [{{ name: web, endpoints: [\"{upstream}\"] }}]\n"
    )
}

fn uri(uri: &str) -> String {
    format!("uri: \"{uri}\", timeout: 5s")
}

/// What `weir check` says of one `code.remote`.
fn checked(remote: &str) -> (bool, String) {
    check(&config("127.0.0.1:1", &[remote]), |_| {})
}

fn refused(remote: &str) -> String {
    let (passed, text) = checked(remote);
    assert!(!passed, "{text}");
    // Each error tells where it comes from.
    assert!(text.starts_with("error: weir.yaml:"), "{text}");
    text
}

fn accepted(remote: &str) {
    let (passed, text) = checked(remote);
    assert!(passed, "{text}");
}

fn paths(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.path.as_str()).collect()
}

fn versions(weir: &Weir) -> String {
    let text = weir.connect().get("/").text();
    let lines = text.lines().filter_map(|l| l.strip_prefix("x-version: "));
    lines.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_layout_is_served() {
    let registry = Registry::start();
    let upstream = Upstream::echo();
    for (tag, layout) in [
        ("1", Layout::Docker),
        ("2", Layout::Oci),
        ("3", Layout::Artifact),
        ("4", Layout::Cncf),
    ] {
        registry.push("acme/mark", tag, layout, &marker(tag));
    }
    let archive = gzip(&tar("some/filter.wasm", &marker("7")));
    for (path, file) in [
        ("/5", marker("5")),
        ("/6", gzip(&marker("6"))),
        ("/7", archive),
        ("/8", tar("filter.wasm", &marker("8"))),
    ] {
        registry.set(path, Reply::bytes(file));
    }
    let image = |tag: u8| uri(&registry.oci(&format!("acme/mark:{tag}")));
    let file = |path: u8| uri(&registry.http(&format!("/{path}")));
    let remotes = [1, 2, 3, 4]
        .map(image)
        .into_iter()
        .chain([5, 6, 7, 8].map(file));
    let remotes: Vec<_> = remotes.collect();
    let remotes: Vec<_> = remotes.iter().map(String::as_str).collect();
    let weir = Weir::start(&config(&upstream.address.to_string(), &remotes));
    assert_eq!(versions(&weir), "1 2 3 4 5 6 7 8");
    assert_eq!(weir.metric("weir_module_fetches_total"), 8);
}

#[test]
fn an_image_is_found_by_digest_and_in_an_index() {
    let registry = Registry::start();
    let image = registry.push("a", "1", Layout::Oci, &marker("1"));
    accepted(&uri(&registry.oci(&format!("a@{image}"))));
    let seen = registry.seen();
    assert_eq!(seen[0].path, format!("/v2/a/manifests/{image}"));
    let other = registry.push("a", "2", Layout::Oci, b"no module");
    let entry = |digest: &str, architecture: &str| {
        format!(
            r#"{{"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,
            "digest": "{digest}", "platform": {{"os": "any", "architecture": "{architecture}"}}}}"#
        )
    };
    let index = format!(
        r#"{{"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{}, {}]}}"#,
        entry(&other, "arm64"),
        entry(&image, "wasm"),
    );
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let digest = registry.push_manifest("a", "all", &index);
    accepted(&uri(&registry.oci("a:all")));
    accepted(&format!(
        "{}, sha256: {}",
        uri(&registry.oci("a:all")),
        &digest[7..]
    ));
    let text = refused(&format!(
        "{}, sha256: {}",
        uri(&registry.oci("a:all")),
        &image[7..]
    ));
    assert!(text.contains("and not the one given here"), "{text}");
}

#[test]
fn a_module_in_the_environment_is_taken() {
    let config = "listeners:\n- name: edge\n  address: 127.0.0.1:0\n  http_filters:\n  - name: f\n    \
                  wasm: { vm_config: { code: { local: { environment_variable: WEIR_TEST_CODE } } } }\n";
    let encoded = |bytes: &[u8]| STANDARD.encode(bytes);
    for module in [marker("1"), gzip(&marker("1"))] {
        let text = format!("{}\n", encoded(&module));
        let (passed, text) = check_env(config, &[("WEIR_TEST_CODE", &text)], |_| {});
        assert!(passed, "{text}");
    }
    for (text, why) in [
        ("(module)", "is not a module in base64"),
        (&encoded(b"text"), "has no module in it"),
    ] {
        let (passed, text) = check_env(config, &[("WEIR_TEST_CODE", text)], |_| {});
        assert!(!passed && text.contains(why), "{text}");
        assert!(text.contains("weir.yaml:6:"), "{text}");
    }
    let (passed, text) = check(config, |_| {});
    assert!(!passed, "{text}");
    let expected = "the environment variable `WEIR_TEST_CODE` is not set";
    assert!(text.contains(expected), "{text}");
}

/// Fills a folder with a Docker `config.json`.
fn secret(text: &str) -> impl FnOnce(&Path) {
    move |folder| std::fs::write(folder.join("secret.json"), text).unwrap()
}

fn auths(registry: &Registry, auth: &str) -> String {
    format!(r#"{{"auths": {{"{}": {auth}}}}}"#, registry.address)
}

#[test]
fn tokens_are_got_with_the_pull_secret() {
    let registry = Registry::start();
    registry.push("a", "1", Layout::Oci, &marker("1"));
    let user = || Some(("user".to_owned(), "right".to_owned()));
    registry.login(Login::Token(user(), None));
    let remote = format!("{}, pull_secret: secret.json", uri(&registry.oci("a:1")));
    let with = |auth: &str| {
        let text = config("127.0.0.1:1", &[&remote]);
        check(&text, secret(&auths(&registry, auth)))
    };
    let (passed, text) = with(r#"{"username": "user", "password": "right"}"#);
    assert!(passed, "{text}");
    // The password is for who hands out tokens, and for nobody else.
    for seen in registry.seen() {
        let shown = seen.authorization.unwrap_or_default();
        let to_token = seen.path.starts_with("/token");
        assert_eq!(shown.starts_with("Basic "), to_token, "{}", seen.path);
        if to_token {
            assert!(
                seen.path.contains("scope=repository%3Aa%3Apull"),
                "{}",
                seen.path
            );
        }
    }
    let (passed, text) = with(r#"{"auth": "dXNlcjpyaWdodA=="}"#);
    assert!(passed, "{text}");
    let (passed, text) = with(r#"{"identitytoken": "refresh-me"}"#);
    assert!(passed, "{text}");
    let (passed, text) = with(r#"{"registrytoken": "dG9rZW4"}"#);
    assert!(passed, "{text}");
    let (passed, text) = with(r#"{"username": "user", "password": "wrong"}"#);
    assert!(!passed && text.contains("answers 401"), "{text}");
    assert!(!text.contains("wrong"), "{text}");
    let text = refused(&uri(&registry.oci("a:1")));
    assert!(
        text.contains("`pull_secret` names a file with credentials"),
        "{text}"
    );
    let (passed, text) = with("[");
    assert!(
        !passed && text.contains("cannot read the credentials in"),
        "{text}"
    );
    let text = refused(&remote);
    assert!(text.contains("secret.json: No such file"), "{text}");
    // Anybody gets one.
    registry.login(Login::Token(None, None));
    accepted(&uri(&registry.oci("a:1")));
    registry.login(Login::Basic("user".to_owned(), "right".to_owned()));
    let (passed, text) = with(r#"{"username": "user", "password": "right"}"#);
    assert!(passed, "{text}");
}

#[test]
fn credentials_are_for_their_own_registry() {
    let (registry, other) = (Registry::start(), Registry::start());
    other.push("a", "1", Layout::Oci, &marker("1"));
    other.login(Login::Basic("user".to_owned(), "right".to_owned()));
    let remote = format!("{}, pull_secret: secret.json", uri(&other.oci("a:1")));
    let auths = auths(&registry, r#"{"username": "user", "password": "right"}"#);
    let (passed, text) = check(&config("127.0.0.1:1", &[&remote]), secret(&auths));
    assert!(!passed && text.contains("answers 401"), "{text}");
    assert!(other.seen().iter().all(|seen| seen.authorization.is_none()));
}

#[test]
fn redirects_to_storage_are_followed_without_credentials() {
    let (registry, storage) = (Registry::start(), Registry::start());
    registry.push("a", "1", Layout::Cncf, &marker("1"));
    registry.login(Login::Token(None, None));
    let blob = format!("/v2/a/blobs/{}", digest(&marker("1")));
    registry.set(&blob, Reply::Redirect(storage.http("/stored?sig=1")));
    storage.set("/stored", Reply::Redirect("/moved".to_owned()));
    storage.set("/moved", Reply::bytes(marker("1")));
    accepted(&uri(&registry.oci("a:1")));
    let seen = storage.seen();
    assert_eq!(paths(&seen), ["/stored?sig=1", "/moved"]);
    assert!(seen.iter().all(|seen| seen.authorization.is_none()));
}

#[test]
fn redirects_to_elsewhere_are_not_followed() {
    let registry = Registry::start();
    let remote = uri(&registry.http("/a"));
    for (to, why) in [
        ("http://169.254.169.254/latest/meta-data", "has no TLS"),
        (
            "https://169.254.169.254/latest/meta-data",
            "where no module is fetched from",
        ),
        (
            "https://[::ffff:169.254.169.254]/",
            "where no module is fetched from",
        ),
        (
            "https://[fd00:ec2::254]/",
            "where no module is fetched from",
        ),
        ("https://0.0.0.0/", "where no module is fetched from"),
        ("http://10.0.0.1/a", "has no TLS"),
        ("file:///etc/passwd", "that is not a URI"),
        ("gopher://127.0.0.1/", "modules come by"),
        ("//127.0.0.1/a", "only full URIs and paths are followed"),
        ("https://user:password@127.0.0.1/", "credentials"),
        ("/a", "redirects more than 5 times"),
    ] {
        registry.set("/a", Reply::Redirect(to.to_owned()));
        let text = refused(&remote);
        assert!(text.contains(why), "{to}: {text}");
    }
}

#[test]
fn realms_of_tokens_are_not_anywhere() {
    let registry = Registry::start();
    registry.push("a", "1", Layout::Oci, &marker("1"));
    for (realm, why) in [
        ("http://169.254.169.254/token", "has no TLS"),
        (
            "https://169.254.169.254/token",
            "where no module is fetched from",
        ),
        (
            "https://[64:ff9b::a9fe:a9fe]/",
            "where no module is fetched from",
        ),
        ("file:///etc/passwd", "that is not a URI"),
        ("/token", "modules come by"),
        ("", "that is not a URI"),
    ] {
        registry.login(Login::Token(None, Some(realm.to_owned())));
        let text = refused(&uri(&registry.oci("a:1")));
        assert!(text.contains(why), "{realm}: {text}");
    }
    // Nor does it lead on.
    let realm = registry.http("/elsewhere");
    registry.set("/elsewhere", Reply::Redirect(registry.http("/token")));
    registry.login(Login::Token(None, Some(realm)));
    let text = refused(&uri(&registry.oci("a:1")));
    assert!(text.contains("answers 307"), "{text}");
}

#[test]
fn what_has_another_digest_is_refused() {
    let registry = Registry::start();
    let image = registry.push("a", "1", Layout::Cncf, &marker("1"));
    let blob = format!("/v2/a/blobs/{}", digest(&marker("1")));
    registry.set(&blob, Reply::bytes(marker("2")));
    let text = refused(&uri(&registry.oci("a:1")));
    assert!(text.contains("the layer has the digest sha256:"), "{text}");
    assert!(
        text.contains("oci://"),
        "the message names the module: {text}"
    );
    // A manifest under the digest of another.
    registry.push("a", "2", Layout::Cncf, &marker("2"));
    let other = Reply::bytes("{}");
    registry.set(&format!("/v2/a/manifests/{image}"), other);
    let text = refused(&uri(&registry.oci(&format!("a@{image}"))));
    assert!(
        text.contains("the manifest has the digest sha256:"),
        "{text}"
    );
    // A registry that contradicts itself.
    let lines = format!("docker-content-digest: {image}\r\n");
    registry.set("/v2/a/manifests/3", Reply::Bytes(lines, b"{}".to_vec()));
    let text = refused(&uri(&registry.oci("a:3")));
    assert!(
        text.contains("the manifest has the digest sha256:"),
        "{text}"
    );
    // A file.
    registry.set("/a", Reply::bytes(gzip(&marker("1"))));
    let of = |bytes: &[u8]| format!("{}, sha256: {}", uri(&registry.http("/a")), sha256(bytes));
    accepted(&of(&gzip(&marker("1"))));
    let text = refused(&of(&marker("1")));
    assert!(text.contains("the file has the digest sha256:"), "{text}");
    let column = text.split(' ').nth(1).unwrap().split(':').nth(2).unwrap();
    assert!(column.parse::<usize>().unwrap() > 60, "at `sha256`: {text}");
}

const OCI: (&str, &str, &str) = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
);

#[test]
fn what_is_too_large_is_refused_before_it_is_here() {
    let registry = Registry::start();
    // 64 KiB is what these configurations allow.
    let mut large = marker("1");
    large.resize(64 * 1024 + 1, 0);
    registry.push("a", "large", Layout::Cncf, &large);
    let text = refused(&uri(&registry.oci("a:large")));
    assert!(
        text.contains("the layer is larger than 65536 bytes"),
        "{text}"
    );
    assert!(
        paths(&registry.seen())
            .iter()
            .all(|path| !path.contains("blobs"))
    );
    // Bombs: in a layer, and in a file.
    let bomb = gzip(&tar("plugin.wasm", &vec![0; 256 << 20]));
    registry.push_layer("a", "bomb", OCI, &bomb);
    let text = refused(&uri(&registry.oci("a:bomb")));
    assert!(
        text.contains("what the archive unpacks to is larger than"),
        "{text}"
    );
    registry.set("/bomb", Reply::bytes(gzip(&vec![0; 256 << 20])));
    let text = refused(&uri(&registry.http("/bomb")));
    assert!(
        text.contains("what the archive unpacks to is larger than"),
        "{text}"
    );
    // Without end, whatever was said of the size.
    registry.push("a", "1", Layout::Cncf, &marker("1"));
    registry.set(
        &format!("/v2/a/blobs/{}", digest(&marker("1"))),
        Reply::Endless,
    );
    let text = refused(&uri(&registry.oci("a:1")));
    assert!(text.contains("the layer is larger than"), "{text}");
    registry.set("/v2/a/manifests/2", Reply::Endless);
    let text = refused(&uri(&registry.oci("a:2")));
    assert!(text.contains("the manifest is larger than"), "{text}");
    registry.set("/endless", Reply::Endless);
    let text = refused(&uri(&registry.http("/endless")));
    assert!(text.contains("the file is larger than"), "{text}");
}

#[test]
fn what_is_no_module_is_told_as_such() {
    let registry = Registry::start();
    registry.set("/page", Reply::bytes("<html>Sign in</html>"));
    let text = refused(&uri(&registry.http("/page")));
    assert!(
        text.contains("what arrived is not a WebAssembly module"),
        "{text}"
    );
    registry.push_layer("a", "other", OCI, &gzip(&tar("filter.wasm", &marker("1"))));
    let text = refused(&uri(&registry.oci("a:other")));
    assert!(text.contains("has no file `plugin.wasm`"), "{text}");
    let helm = (
        OCI.0,
        OCI.1,
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
    );
    registry.push_layer("a", "helm", helm, b"x");
    let text = refused(&uri(&registry.oci("a:helm")));
    assert!(text.contains("helm.chart"), "{text}");
    let text = refused(&uri(&registry.oci("a:none")));
    assert!(text.contains("answers 404 Not Found"), "{text}");
    registry.down(true);
    let text = refused(&uri(&registry.oci("a:other")));
    assert!(text.contains("cannot fetch the module oci://"), "{text}");
}

#[test]
fn an_attempt_has_its_time_and_no_more() {
    let registry = Registry::start();
    registry.set("/slow", Reply::Slow(vec![0; 1000]));
    registry.set(
        "/loop",
        Reply::InTurn(vec![Reply::Redirect("/slow".to_owned())]),
    );
    for path in ["/slow", "/loop"] {
        let began = Instant::now();
        let text = refused(&format!("uri: \"{}\", timeout: 300ms", registry.http(path)));
        assert!(text.contains("it did not arrive in time"), "{text}");
        // The body would have taken 50 s.
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn what_may_go_better_is_tried_again() {
    let registry = Registry::start();
    let with = |retries: u32| {
        let backoff = "retry_back_off: { base_interval: 1ms }";
        let policy = format!("retry_policy: {{ num_retries: {retries}, {backoff} }}");
        format!("{}, {policy}", uri(&registry.http("/a")))
    };
    let replies = || {
        let busy = [503, 429].map(Reply::Status);
        let replies = busy.into_iter().chain([Reply::bytes(marker("1"))]);
        Reply::InTurn(replies.collect())
    };
    registry.set("/a", replies());
    accepted(&with(2));
    assert_eq!(registry.seen().len(), 3);
    registry.set("/a", replies());
    let text = refused(&with(1));
    assert!(text.contains("answers 429"), "{text}");
    // Nobody finds it by looking again.
    registry.set("/a", Reply::Status(404));
    registry.seen();
    refused(&with(5));
    assert_eq!(registry.seen().len(), 1);
}

#[test]
fn tls_is_with_an_authority_that_is_trusted() {
    let (registry, authority) = Registry::start_tls();
    let port = registry.address.port();
    registry.push("a", "1", Layout::Oci, &marker("1"));
    registry.set("/a.wasm", Reply::bytes(marker("1")));
    let with = |remote: &str| {
        let text = config("127.0.0.1:1", &[remote]);
        check(&text, |folder| {
            std::fs::write(folder.join("ca.pem"), &authority).unwrap();
            std::fs::write(folder.join("none.pem"), "none").unwrap();
        })
    };
    let image = uri(&format!("oci://localhost:{port}/a:1"));
    let file = uri(&format!("https://localhost:{port}/a.wasm"));
    for remote in [&image, &file] {
        let (passed, text) = with(&format!("{remote}, ca_file: ca.pem"));
        assert!(passed, "{text}");
    }
    let (passed, text) = with(&file);
    assert!(!passed && text.contains("UnknownIssuer"), "{text}");
    // The certificate is of `localhost`.
    let other = uri(&format!("https://127.0.0.1:{port}/a.wasm"));
    let (passed, text) = with(&format!("{other}, ca_file: ca.pem"));
    assert!(!passed && text.contains("not valid for name"), "{text}");
    let (passed, text) = with(&format!("{file}, ca_file: none.pem"));
    assert!(
        !passed && text.contains("none.pem: there is none in it"),
        "{text}"
    );
    // What began with TLS.
    let plain = Registry::start();
    plain.set("/a.wasm", Reply::bytes(marker("1")));
    registry.set("/a.wasm", Reply::Redirect(plain.http("/a.wasm")));
    let (passed, text) = with(&format!("{file}, ca_file: ca.pem"));
    assert!(!passed && text.contains("goes on with TLS"), "{text}");
    registry.login(Login::Token(None, Some(plain.http("/token"))));
    let (passed, text) = with(&format!("{image}, ca_file: ca.pem"));
    assert!(!passed && text.contains("goes on with TLS"), "{text}");
    assert!(plain.seen().is_empty());
}

#[test]
fn the_endpoints_of_a_cluster_are_asked_in_place_of_the_host() {
    let registry = Registry::start();
    registry.set("/a.wasm", Reply::bytes(marker("1")));
    let http_uri = "{ uri: \"http://code.invalid/a.wasm\", cluster: web, timeout: 5s }";
    let remote = format!("http_uri: {http_uri}, sha256: {}", sha256(&marker("1")));
    let text = config(&registry.address.to_string(), &[&remote]);
    let (passed, text) = check(&text, |_| {});
    assert!(passed, "{text}");
    assert_eq!(paths(&registry.seen()), ["/a.wasm"]);
}

#[test]
fn copies_of_two_clusters_are_told_apart() {
    let (blue, green) = (Registry::start(), Registry::start());
    blue.set("/a.wasm", Reply::bytes(marker("blue")));
    green.set("/a.wasm", Reply::bytes(marker("green")));
    let remote = |cluster: &str| {
        format!(
            "http_uri: {{ uri: \"http://modules.test/a.wasm\", cluster: {cluster}, timeout: 5s }}, \
             insecure: true"
        )
    };
    let upstream = Upstream::echo();
    let (one, other) = (remote("blue"), remote("green"));
    let text = config(&upstream.address.to_string(), &[&one, &other]);
    let cluster = |name: &str, registry: &Registry| {
        format!(
            "{{ name: {name}, endpoints: [\"{}\"] }}, ",
            registry.address
        )
    };
    let clusters = cluster("blue", &blue) + &cluster("green", &green);
    let weir = Weir::start(&text.replace("clusters: [", &format!("clusters: [{clusters}")));
    assert_eq!(versions(&weir), "blue green");
    // From the disk, too.
    blue.down(true);
    green.down(true);
    assert_eq!(weir.reload().status, 200);
    assert_eq!(versions(&weir), "blue green");
}

#[test]
fn a_cluster_is_not_taken_for_this_machine() {
    let remote = "http_uri: { uri: \"http://localhost/a.wasm\", cluster: web, timeout: 5s }";
    let text = refused(remote);
    let words = "nobody vouches for a module that comes by `http`";
    assert!(text.contains(words), "{text}");
}

#[test]
fn a_module_may_be_as_large_as_it_likes() {
    let registry = Registry::start();
    registry.set("/a.wasm", Reply::bytes(gzip(&marker("1"))));
    let text = config("127.0.0.1:1", &[&uri(&registry.http("/a.wasm"))]);
    let text = text.replace("64KiB", &u64::MAX.to_string());
    let (passed, text) = check(&text, |_| {});
    assert!(passed, "{text}");
}

#[test]
fn a_pull_secret_that_changes_is_noticed() {
    let (registry, upstream) = (Registry::start(), Upstream::echo());
    registry.push("a", "1", Layout::Oci, &marker("1"));
    let remote = format!("{}, pull_secret: secret.json", uri(&registry.oci("a:1")));
    let weir = Weir::start_with(
        &config(&upstream.address.to_string(), &[&remote]),
        secret(&auths(&registry, "{}")),
    );
    assert_eq!(weir.metric("weir_generation"), 1);
    weir.replace(
        "secret.json",
        auths(&registry, r#"{"auth": ""}"#).as_bytes(),
    );
    weir.eventually_metric("weir_generation", 2);
}
