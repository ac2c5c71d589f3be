//! Copies of modules that stay on disk, and processes that share or leave them.

use std::path::Path;
use std::thread;

use weir_conformance::guests::request_marker as marker;
use weir_conformance::registry::{Layout, Registry, Reply};
use weir_conformance::{Client, Upstream, Weir, check, eventually};

use super::{config, paths, uri, versions};

/// A Weir with its copies in `cache`.
fn start_with_cache(upstream: &Upstream, remote: &str, cache: &Path) -> Weir {
    let text = config(&upstream.address.to_string(), &[remote]);
    let cache = format!("cache: \"{}\"", cache.display());
    Weir::start(&text.replace("cache: cache", &cache))
}

fn blobs(cache: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(cache.join("modules/blobs")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_copy_does_without_the_registry() {
    let (registry, upstream) = (Registry::start(), Upstream::echo());
    let cache = tempfile::tempdir().unwrap();
    registry.push("a", "1", Layout::Oci, &marker("1"));
    let remote = uri(&registry.oci("a:1"));
    let weir = start_with_cache(&upstream, &remote, cache.path());
    assert_eq!(versions(&weir), "1");
    registry.push("a", "1", Layout::Oci, &marker("2"));
    registry.seen();
    // At a reload, and at another start; even with a registry that is away.
    assert_eq!(weir.reload().status, 200);
    registry.down(true);
    assert_eq!(weir.reload().status, 200);
    let other = start_with_cache(&upstream, &remote, cache.path());
    assert_eq!(
        (versions(&weir), versions(&other)),
        ("1".to_owned(), "1".to_owned())
    );
    assert!(registry.seen().is_empty());
    let hits = other.admin_get("/metrics").text();
    assert!(
        hits.contains("weir_module_cache_total{result=\"hit\"} 1"),
        "{hits}"
    );
    registry.down(false);
    // What is damaged is fetched again.
    drop(other);
    let blob = &blobs(cache.path())[0];
    let mut bytes = std::fs::read(blob).unwrap();
    bytes[20] ^= 1;
    std::fs::write(blob, bytes).unwrap();
    let other = start_with_cache(&upstream, &remote, cache.path());
    assert_eq!(versions(&other), "2");
    assert!(!registry.seen().is_empty());
}

#[test]
fn always_takes_over_what_the_registry_has_now() {
    let (registry, upstream) = (Registry::start(), Upstream::echo());
    let cache = tempfile::tempdir().unwrap();
    registry.push("a", "latest", Layout::Oci, &marker("1"));
    let weir = start_with_cache(&upstream, &uri(&registry.oci("a")), cache.path());
    assert_eq!(versions(&weir), "1");
    registry.seen();
    assert_eq!(weir.reload().status, 200);
    // The same is not fetched again.
    assert_eq!(paths(&registry.seen()), ["/v2/a/manifests/latest"]);
    registry.push("a", "latest", Layout::Oci, &marker("2"));
    assert_eq!(weir.reload().status, 200);
    assert_eq!(versions(&weir), "2");
    // Without the registry nobody knows; what is served stays.
    registry.down(true);
    let answer = weir.reload();
    assert_eq!(answer.status, 400);
    let text = answer.text();
    assert!(text.contains("cannot fetch the module oci://"), "{text}");
    assert_eq!(weir.metric("weir_config_last_reload_successful"), 0);
    assert_eq!(versions(&weir), "2");
}

#[test]
fn without_a_folder_copies_are_in_memory() {
    let (registry, upstream) = (Registry::start(), Upstream::echo());
    registry.push("a", "1", Layout::Oci, &marker("1"));
    let text = config(&upstream.address.to_string(), &[&uri(&registry.oci("a:1"))]);
    let text = text.replace("cache: cache, ", "");
    let nowhere = [("CACHE_DIRECTORY", "/dev/null/weir")];
    let weir = Weir::start_env(&text, &nowhere, |_| {});
    assert!(weir.log().contains("modules are not kept on disk"));
    registry.down(true);
    assert_eq!(weir.reload().status, 200);
    assert_eq!(versions(&weir), "1");
    // One that is named has to be there.
    let named = config("127.0.0.1:1", &[&uri(&registry.oci("a:1"))]);
    let (passed, text) = check(&named, |folder| {
        std::fs::write(folder.join("cache"), "a file").unwrap();
    });
    assert!(
        !passed && text.contains("weir.yaml:3:19: cannot keep modules in"),
        "{text}"
    );
}

#[test]
fn traffic_goes_on_while_a_registry_keeps_a_reload_waiting() {
    let (registry, upstream) = (Registry::start(), Upstream::echo());
    registry.push("a", "1", Layout::Oci, &marker("1"));
    let address = upstream.address.to_string();
    let weir = Weir::start(&config(&address, &[&uri(&registry.oci("a:1"))]));
    registry.set("/slow", Reply::Slow(vec![0; 1000]));
    let slow = format!("uri: \"{}\", timeout: 1s", registry.http("/slow"));
    weir.configure(&config(&address, &[&slow]));
    let mut client = weir.connect();
    registry.seen();
    let answer = thread::scope(|scope| {
        let reload = scope.spawn(|| weir.reload());
        eventually("the fetch has begun", || {
            let seen = registry.seen();
            paths(&seen).contains(&"/slow").then_some(())
        });
        let mut served = 0;
        while !reload.is_finished() {
            assert!(client.get("/").text().contains("x-version: 1\n"));
            served += 1;
        }
        assert!(served > 10, "{served}");
        reload.join().unwrap()
    });
    assert_eq!(answer.status, 400);
    let text = answer.text();
    assert!(text.contains("it did not arrive in time"), "{text}");
    assert!(client.get("/").text().contains("x-version: 1\n"));
}

#[test]
fn processes_may_share_their_copies() {
    let (registry, upstream) = (Registry::start(), Upstream::echo());
    let cache = tempfile::tempdir().unwrap();
    for tag in ["1", "2"] {
        registry.push("a", tag, Layout::Oci, &marker(tag));
    }
    let remotes = ["1", "2"].map(|tag| uri(&registry.oci(&format!("a:{tag}"))));
    thread::scope(|scope| {
        for remote in remotes.iter().chain(&remotes) {
            let (upstream, cache) = (&upstream, cache.path());
            scope.spawn(move || {
                let weir = start_with_cache(upstream, remote, cache);
                let expected = if remote.contains("a:1") { "1" } else { "2" };
                assert_eq!(versions(&weir), expected);
            });
        }
    });
    assert_eq!(blobs(cache.path()).len(), 2);
    let left = std::fs::read_dir(cache.path().join("modules/tmp")).unwrap();
    assert_eq!(left.count(), 0);
    registry.down(true);
    for remote in &remotes {
        start_with_cache(&upstream, remote, cache.path());
    }
}

#[test]
fn a_process_that_is_killed_while_it_fetches_leaves_nothing_behind() {
    let (registry, upstream) = (Registry::start(), Upstream::echo());
    let cache = tempfile::tempdir().unwrap();
    registry.push("a", "1", Layout::Oci, &marker("1"));
    let good = uri(&registry.oci("a:1"));
    let weir = start_with_cache(&upstream, &good, cache.path());
    registry.set("/slow", Reply::Slow(vec![0; 10_000]));
    let slow = format!("uri: \"{}\", timeout: 600s", registry.http("/slow"));
    let address = upstream.address.to_string();
    let kept = format!("cache: \"{}\"", cache.path().display());
    weir.configure(&config(&address, &[&good, &slow]).replace("cache: cache", &kept));
    registry.seen();
    let mut admin = Client::connect_as(weir.admin(), "localhost");
    admin.send("POST /reload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n");
    eventually("the fetch has begun", || {
        paths(&registry.seen()).contains(&"/slow").then_some(())
    });
    // By SIGKILL.
    drop(weir);
    registry.down(true);
    let weir = start_with_cache(&upstream, &good, cache.path());
    assert_eq!(versions(&weir), "1");
    assert_eq!(blobs(cache.path()).len(), 1);
    let left = std::fs::read_dir(cache.path().join("modules/tmp")).unwrap();
    assert_eq!(left.count(), 0);
}
