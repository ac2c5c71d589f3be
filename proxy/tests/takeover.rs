//! Another process takes over from the one that serves.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use weir_conformance::{Client, Over, Upstream, Weir, direct, eventually, h2};

fn config(listener: &str, more: &str, workers: usize) -> String {
    format!(
        "workers: {workers}\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n\
         - {{ name: edge, address: 127.0.0.1:0, {listener} }}\n{more}"
    )
}

#[test]
fn the_new_process_serves_where_the_old_one_did() {
    let mut weir = Weir::start_upgradable(&config(&direct("old"), "", 2));
    let (edge, admin) = (weir.listener("edge"), weir.admin());
    assert_eq!(weir.connect().get("/").text(), "old");
    weir.configure(&config(&direct("new"), "", 2));
    // The old one may have read that too; it ends all the same.
    assert!(weir.upgrade(&[]).unwrap().success());
    assert_eq!((weir.listener("edge"), weir.admin()), (edge, admin));
    assert_eq!(weir.connect().get("/").text(), "new");
    assert_eq!(weir.admin_get("/ready").text(), "LIVE\n");
    // What has been taken over can be taken over.
    assert!(weir.upgrade(&[]).unwrap().success());
    assert_eq!(weir.listener("edge"), edge);
    assert_eq!(weir.connect().get("/").text(), "new");
    weir.terminate();
    assert!(weir.wait().success());
    assert!(TcpStream::connect(edge).is_err());
}

#[test]
fn no_request_fails_and_no_connection_is_refused() {
    const UPGRADES: usize = 5;
    let upstream = Upstream::echo();
    let route = "routes: [{ match: { prefix: / }, cluster: web }]";
    let clusters = format!(
        "clusters: [{{ name: web, endpoints: [\"{}\"] }}]\n",
        upstream.address
    );
    let mut weir = Weir::start_upgradable(&config(route, &clusters, 2));
    let edge = weir.listener("edge");
    let over = AtomicBool::new(false);
    let (kept, fresh, streams) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let running = || !over.load(Ordering::Relaxed);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = Client::connect(edge);
                while running() {
                    let response = client.get("/");
                    assert_eq!(response.status, 200);
                    if response.header("connection") == Some("close") {
                        client = Client::connect(edge);
                    }
                    kept.fetch_add(1, Ordering::Relaxed);
                }
            });
            scope.spawn(|| {
                while running() {
                    assert_eq!(Client::connect(edge).get("/").status, 200);
                    fresh.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            h2::run(async {
                let mut client = h2::connect(edge).await;
                while running() {
                    // Told to go, it may not begin a stream any more.
                    match h2::get(&mut client, "/", &[]).await {
                        Ok(response) => assert_eq!(response.status, 200),
                        Err(error) => {
                            assert!(error.is_go_away(), "{error}");
                            client = h2::connect(edge).await;
                        }
                    }
                    streams.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
        let all = [&kept, &fresh, &streams];
        let counts = || all.map(|count| count.load(Ordering::Relaxed));
        let _over = Over(&over);
        // Another number of workers each time, so that sockets come and go.
        for workers in ["3", "1", "2", "4", "2"].into_iter().take(UPGRADES) {
            let before = counts();
            eventually("clients of every kind have been served", || {
                let mut now = before.iter().zip(counts());
                now.all(|(before, now)| now >= before + 20).then_some(())
            });
            let ended = weir.upgrade(&["--concurrency", workers]);
            assert!(ended.unwrap().success());
        }
    });
    for count in [kept, fresh, streams] {
        assert!(count.into_inner() > UPGRADES);
    }
    assert_eq!(
        weir.log().matches("another process has taken over").count(),
        UPGRADES
    );
}

#[test]
fn a_request_under_way_is_ended_by_the_process_that_took_it() {
    let (upstream, held) = Upstream::slow();
    let clusters = format!(
        "clusters: [{{ name: web, endpoints: [\"{}\"] }}]\n",
        upstream.address
    );
    let route = "routes: [{ match: { prefix: / }, cluster: web }]";
    let mut weir = Weir::start_upgradable(&config(route, &clusters, 1));
    let mut client = weir.connect();
    client.send(b"GET /slow HTTP/1.1\r\nhost: test\r\n\r\n");
    held.arrived();
    let log = weir.path("log");
    thread::scope(|scope| {
        scope.spawn(|| {
            assert!(weir.upgrade(&[]).unwrap().success());
        });
        scope.spawn(move || {
            eventually("the process before drains", || {
                let log = std::fs::read_to_string(&log).unwrap();
                let told = ["another process has taken over", "draining"];
                told.iter().all(|words| log.contains(words)).then_some(())
            });
            held.release();
            let response = client.response();
            assert_eq!((response.status, response.text().as_str()), (200, "none"));
            assert_eq!(response.header("connection"), Some("close"));
        });
    });
}

#[test]
fn a_process_that_does_not_start_leaves_the_old_one_serving() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let good = config(&direct("old"), "", 2);
    let mut weir = Weir::start_upgradable(&good);
    let mut client = weir.connect();
    let more = format!(
        "- {{ name: more, address: \"{}\", {} }}\n",
        taken.local_addr().unwrap(),
        direct("more")
    );
    for wrong in ["listeners: [".to_owned(), config(&direct("new"), &more, 2)] {
        weir.configure(&wrong);
        assert_eq!(weir.upgrade(&[]).unwrap_err().code(), Some(1));
        assert_eq!(client.get("/").text(), "old");
        assert_eq!(weir.connect().get("/").text(), "old");
    }
    assert!(weir.log().contains("cannot bind"), "{}", weir.log());
    // The next one may.
    weir.configure(&config(&direct("new"), "", 2));
    assert!(weir.upgrade(&[]).unwrap().success());
    assert_eq!(weir.connect().get("/").text(), "new");
}

#[test]
fn a_listener_that_is_no_more_is_closed() {
    let more = format!(
        "- {{ name: more, address: 127.0.0.1:0, {} }}\n",
        direct("more")
    );
    let mut weir = Weir::start_upgradable(&config(&direct("old"), &more, 2));
    let more = weir.listener("more");
    assert_eq!(Client::connect(more).get("/").text(), "more");
    weir.configure(&config(&direct("new"), "", 2));
    assert!(weir.upgrade(&[]).unwrap().success());
    assert!(TcpStream::connect(more).is_err());
    assert_eq!(weir.connect().get("/").text(), "new");
}

#[test]
fn whoever_speaks_otherwise_gets_nothing() {
    use std::io::{Read, Write};
    let weir = Weir::start_upgradable(&config(&direct("old"), "", 1));
    let path = weir.path("takeover");
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty());
    eventually("it is told", || {
        weir.log()
            .contains("another process has not taken over")
            .then_some(())
    });
    assert_eq!(weir.connect().get("/").text(), "old");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn unix_sockets_go_to_the_new_process_with_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("{}/{name}.sock", folder.path().display());
    let (edge, admin, gone) = (path("edge"), path("admin"), path("gone"));
    let abstract_name = format!("@weir-takeover-{}", std::process::id());
    let with = |workers: usize, text: &str, more: &str| {
        let listener = |name: &str, address: &str| {
            format!(
                "- {{ name: {name}, address: 'unix:{address}', {} }}\n",
                direct(text)
            )
        };
        format!(
            "workers: {workers}\nadmin: {{ address: 'unix:{admin}', mode: 0600 }}\nlisteners:\n{}{}{more}",
            listener("edge", &edge),
            listener("abstract", &abstract_name)
        )
    };
    let inode = |path: &str| std::fs::metadata(path).unwrap().ino();
    let more = format!(
        "- {{ name: gone, address: 'unix:{gone}', {} }}\n",
        direct("gone")
    );
    let mut weir = Weir::start_upgradable(&with(2, "old", &more));
    let (before, before_admin) = (inode(&edge), inode(&admin));
    let (reached, reached_abstract) = (weir.listener("edge"), weir.listener("abstract"));
    assert_eq!(Client::connect(reached).get("/").text(), "old");
    assert!(UnixStream::connect(&gone).is_ok());

    // One that fails takes nothing with it.
    weir.configure("listeners: [{ name: edge }]");
    assert!(weir.upgrade(&[]).is_err());
    let bad = format!(
        "- {{ name: bad, address: 'unix:{}', {} }}\n",
        path("none/bad"),
        direct("b")
    );
    weir.configure(&with(2, "new", &bad));
    assert!(weir.upgrade(&[]).is_err());
    assert_eq!(Client::connect(reached).get("/").text(), "old");

    for workers in [3, 1] {
        weir.configure(&with(workers, "new", ""));
        assert!(weir.upgrade(&[]).unwrap().success());
        assert_eq!((inode(&edge), inode(&admin)), (before, before_admin));
        for reached in [reached, reached_abstract] {
            assert_eq!(Client::connect(reached).get("/").text(), "new");
        }
        assert_eq!(weir.admin_get("/ready").text(), "LIVE\n");
        // The new one has no such listener.
        assert!(!std::path::Path::new(&gone).exists());
    }
    weir.terminate();
    assert!(weir.wait().success());
    for path in [edge, admin] {
        assert!(!std::path::Path::new(&path).exists());
    }
}
