//! The same filter in every language, on real sockets: what it does is the same.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::net::SocketAddr;
use std::thread;

use weir_conformance::{Answer, Client, Request, Upstream, Weir, check_env, eventually, filter};

/// Limits that a busy machine does not come to.
const PATIENT: &str = "callback: 20s, root_callback: 20s";

/// Each module is compiled once.
const CACHE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/languages");

/// What the filter is told: a greeting, what is replaced in bodies, who is asked.
const SETTINGS: &str =
    "greeting =\\thello\\t \\n\\t\\nfind = cat\\nreplace = tiger\\ncluster = auth\\n";

/// A configuration with the filter in `language`, once for each of `settings`.
fn config(language: &str, settings: &[&str], web: SocketAddr, auth: SocketAddr) -> String {
    let module = filter(&format!("tour-{language}"));
    let module = module.display();
    let chain: String = settings
        .iter()
        .enumerate()
        .map(|(n, settings)| {
            // Filters share a VM, but for the SDK that knows one root context alone.
            let vm = if language == "assemblyscript" { n } else { 0 };
            format!(
                "  - name: tour-{n}\n    wasm:\n      configuration: \"{settings}\"\n      \
                 limits: {{ {PATIENT} }}\n      vm_config: {{ vm_id: vm-{vm}, code: {{ local: {{ filename: {module} }} }} }}\n"
            )
        })
        .collect();
    format!(
        "workers: 1\n\
         compile_cache: {{ path: {CACHE} }}\n\
         admin: {{ address: 127.0.0.1:0 }}\n\
         listeners:\n\
         - name: edge\n  \
           address: 127.0.0.1:0\n  \
           http_filters:\n{chain}  \
           routes: [{{ match: {{ prefix: / }}, cluster: web }}]\n\
         clusters:\n\
         - {{ name: web, endpoints: [\"{web}\"] }}\n\
         - {{ name: auth, endpoints: [\"{auth}\"] }}\n"
    )
}

/// What is not UTF-8, and nothing to replace.
const BINARY: &[u8] = b"\x00\xff\xfe cow \x80";

fn web(request: &Request) -> Answer {
    match (&*request.method, &*request.path) {
        ("HEAD", _) => Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n".to_vec()),
        (_, "/cats") => Answer::ok("a cat, a ca and a catcat"),
        (_, "/pieces") => {
            let pieces = "4\r\na ca\r\n3\r\nt, \r\n3\r\ncat\r\n0\r\n\r\n";
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            Answer::Raw([head, pieces].concat().into_bytes())
        }
        (_, "/large") => Answer::ok("a cat ".repeat(5_000)),
        (_, "/binary") => Answer::ok(BINARY),
        _ => Answer::ok(&request.body),
    }
}

/// Knows who asks by the path that they ask for.
fn auth(request: &Request) -> Answer {
    assert_eq!((&*request.method, &*request.path), ("GET", "/check"));
    let raw = |text: &str| Answer::Raw(text.as_bytes().to_vec());
    match request.header("x-path").unwrap() {
        "/private/anonymous" => Answer::ok("who knows"),
        "/private/refused" => raw("HTTP/1.1 401 X\r\ncontent-length: 7\r\n\r\nnot you"),
        "/private/silent" => raw("HTTP/1.1 403 X\r\ncontent-length: 0\r\n\r\n"),
        "/private/broken" => raw("HTTP/1.1 500 X\r\ncontent-length: 3\r\n\r\nbug"),
        "/private/cut" => {
            Answer::RawThenClose(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab".to_vec())
        }
        path => {
            let user = path.strip_prefix("/private/users/").unwrap();
            Answer::with_headers(&format!("x-user: {user}\r\n"), "it is")
        }
    }
}

fn values<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let named = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
    let mut values: Vec<_> = named.map(|(_, value)| value.as_str()).collect();
    values.sort_unstable();
    values
}

/// Everything that the filter does, in one language.
fn does_what_it_says(language: &str) {
    let (web, auth) = (Upstream::start(web), Upstream::start(auth));
    let settings = [SETTINGS, "greeting = again"];
    let mut weir = Weir::start(&config(language, &settings, web.address, auth.address));
    let mut client = weir.connect();
    let last = |of: &Upstream| of.requests().pop().unwrap();

    // A header each way, from the configuration of each of two filters of a module.
    let response = client.request("POST", "/echo", &[("x-greeting", "own")], b"the body");
    assert_eq!((response.status, &*response.text()), (200, "the body"));
    assert_eq!(values(&response.headers, "x-greeting"), ["again", "hello"]);
    let request = last(&web);
    assert_eq!(request.body, b"the body");
    assert_eq!(
        values(&request.headers, "x-greeting"),
        ["again", "hello", "own"]
    );

    // A body that is rewritten, and the length that goes with it.
    for (path, body) in [
        ("/cats", "a tiger, a ca and a tigertiger".to_owned()),
        ("/pieces", "a tiger, tiger".to_owned()),
        ("/large", "a tiger ".repeat(5_000)),
    ] {
        let response = client.get(path);
        assert_eq!(response.text(), body, "{path}");
        let length = response.header("content-length");
        assert!(length.is_none_or(|length| length == body.len().to_string()));
    }
    assert_eq!(client.get("/binary").body, BINARY);
    let head = client.request("HEAD", "/cats", &[], b"");
    assert_eq!(head.header("content-length"), Some("5"));

    // An answer of its own.
    let before = web.requests().len();
    let response = client.get("/greeting");
    assert_eq!((response.status, &*response.text()), (200, "hello"));
    assert_eq!(response.header("x-language"), Some(language));
    assert_eq!(response.header("content-type"), Some("text/plain"));
    assert_eq!(web.requests().len(), before);

    // An answer that depends on that of a service.
    let forged = [("x-user", "forged")];
    for (path, users) in [
        ("/private/users/ada", vec!["ada"]),
        ("/private/anonymous", vec![]),
    ] {
        assert_eq!(client.get_with(path, &forged).status, 200, "{path}");
        assert_eq!(values(&last(&web).headers, "x-user"), users, "{path}");
    }
    let asked = last(&auth);
    assert_eq!(asked.header("host"), Some("auth"));
    let before = web.requests().len();
    for (path, status, body) in [
        ("/private/refused", 403, "not you"),
        ("/private/silent", 403, ""),
        ("/private/broken", 503, "no answer\n"),
        ("/private/cut", 503, "no answer\n"),
    ] {
        let response = client.get_with(path, &forged);
        assert_eq!(
            (response.status, &*response.text()),
            (status, body),
            "{path}"
        );
        assert_eq!(response.header("x-language"), Some(language), "{path}");
    }
    assert_eq!(web.requests().len(), before);

    many_at_once(weir.listener("edge"));
    assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 0);
    drop(client);
    weir.terminate();
    assert!(weir.wait().success());
    let log = weir.log();
    assert!(!log.contains("filter failed"), "{log}");
}

/// Everyone gets an own answer.
fn many_at_once(address: SocketAddr) {
    const CLIENTS: usize = 8;
    const EACH: usize = 20;
    thread::scope(|scope| {
        for n in 0..CLIENTS {
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for i in 0..EACH {
                    let body = format!("cat {n} {i}");
                    let path = format!("/private/users/{n}-{i}");
                    let response = client.request("POST", &path, &[], body.as_bytes());
                    assert_eq!(response.text(), format!("tiger {n} {i}"));
                }
            });
        }
    });
}

/// A configuration is checked, and what is wrong with it is said.
fn refuses(language: &str) {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    for (settings, reason) in [
        ("find = cat", "there is no greeting"),
        ("", "there is no greeting"),
        ("greeting = a\\nfnd = cat", "no such setting: fnd"),
        ("greeting", "there is no greeting"),
    ] {
        let config = config(language, &[settings], nobody, nobody);
        let (passed, said) = check_env(&config, &[("WEIR_LOG", "info")], |_| {});
        assert!(!passed && said.contains(reason), "{settings}: {said}");
    }
}

/// A service that is not there.
fn misses_a_service(language: &str) {
    let web = Upstream::start(web);
    let settings = ["greeting = a\\ncluster = none"];
    let weir = Weir::start(&config(language, &settings, web.address, web.address));
    let response = weir.connect().get("/private/users/ada");
    assert_eq!((response.status, &*response.text()), (503, "no answer\n"));
    assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 0);
}

macro_rules! languages {
    ($($language:ident)*) => { $(
        mod $language {
            #[test]
            fn does_what_it_says() {
                super::does_what_it_says(stringify!($language));
            }

            #[test]
            fn refuses_a_configuration_that_is_wrong() {
                super::refuses(stringify!($language));
            }

            #[test]
            fn answers_itself_where_a_service_is_not_there() {
                super::misses_a_service(stringify!($language));
            }
        }
    )* };
}

languages! { rust c zig go assemblyscript javascript }

/// A Weir with the filter in JavaScript that goes wrong, and with these `limits`.
fn javascript_guest(web: &Upstream, limits: &str) -> Weir {
    let module = std::fs::read(filter("guest-javascript")).unwrap();
    Weir::start_module(web, &format!("limits: {{ {limits} }}"), &module)
}

#[test]
fn an_exception_in_javascript_costs_its_request() {
    let web = Upstream::echo();
    let weir = javascript_guest(&web, PATIENT);
    let mut client = weir.connect();
    for (path, message, place) in [
        (
            "/throw",
            "TypeError: cannot read property 'nothing' of null",
            "guest.js:4",
        ),
        ("/reject", "RangeError: out of reach", "guest.js:7"),
    ] {
        assert_eq!(client.get(path).status, 500, "{path}");
        let log = weir.log();
        assert!(log.contains(message) && log.contains(place), "{log}");
    }
    // It is the same VM that goes on.
    assert!(client.get("/").text().contains("x-state: 3\n"));
    assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 0);
}

/// A request for `path` ends its VM for this `reason`, and another VM begins anew.
fn ends_the_vm(limits: &str, path: &str, reason: &str) {
    let web = Upstream::echo();
    let weir = javascript_guest(&web, limits);
    let mut client = weir.connect();
    assert!(client.get("/").text().contains("x-state: 1\n"));
    assert_eq!(client.get(path).status, 503);
    let label = format!("reason=\"{reason}\"");
    let failed = weir.metric_of("weir_wasm_vm_failures_total", &label);
    assert_eq!(failed, 1, "{}", weir.log());
    assert!(client.get("/").text().contains("x-state: 1\n"));
}

#[test]
fn javascript_that_does_not_end_is_ended() {
    ends_the_vm("callback: 1s", "/loop", "deadline");
}

#[test]
fn javascript_that_recurses_without_end_is_ended() {
    ends_the_vm(PATIENT, "/recurse", "stack");
}

#[test]
fn javascript_that_takes_all_memory_gets_an_exception() {
    let web = Upstream::echo();
    let weir = javascript_guest(&web, &format!("memory: 16MiB, {PATIENT}"));
    let mut client = weir.connect();
    assert_eq!(client.get("/exhaust").status, 500);
    assert!(weir.log().contains("out of memory"), "{}", weir.log());
    assert!(client.get("/").text().contains("x-state: 2\n"));
}

#[test]
fn javascript_waits_for_answers_in_bodies_and_logs() {
    let web = Upstream::start(|request| match &*request.path {
        "/answer" => Answer::ok(request.body.to_ascii_uppercase()),
        _ => Answer::ok(&request.body),
    });
    let weir = javascript_guest(&web, PATIENT);
    let mut client = weir.connect();
    let response = client.request("POST", "/log", &[("x-two", "2")], b"a cat");
    assert_eq!(
        (response.status, &*response.text()),
        (200, "a cat and A CAT")
    );
    let log = weir.log();
    assert!(log.contains("text {\"n\":1} POST"), "{log}");
    eventually("the end", || {
        weir.log().contains("ends with 200").then_some(())
    });
}
