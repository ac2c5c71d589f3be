//! Requests that filters make themselves, on real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

mod tonic_server;

use std::net::SocketAddr;
use std::sync::{Arc, Barrier};

use tonic::{Code, Status};
use tonic_server::GrpcServer;
use weir_conformance::h2::{H2Upstream, send_all};
use weir_conformance::tls::Authority;
use weir_conformance::{
    Answer, Client, Request, Tunnel, Upstream, Weir, eventually, filter, nobody,
};

/// A Weir in front of `web`, with one filter.
struct Setup {
    workers: usize,
    web: SocketAddr,
    module: &'static str,
    /// As YAML.
    configuration: String,
    /// Name, and the keys of the cluster.
    clusters: Vec<(&'static str, String)>,
    /// Of the plugin and of the whole, a line each.
    plugin: &'static str,
    top: &'static str,
}

impl Setup {
    fn new(web: SocketAddr, module: &'static str, configuration: impl Into<String>) -> Self {
        Self {
            workers: 1,
            web,
            module,
            configuration: configuration.into(),
            clusters: Vec::new(),
            plugin: "",
            top: "",
        }
    }

    /// A guest that does what `script` says.
    fn probe(web: SocketAddr, script: &str) -> Self {
        let quoted = script.replace('\n', "\\n").replace('"', "\\\"");
        Self::new(web, "probe", format!("\"{quoted}\""))
    }

    fn cluster(mut self, name: &'static str, address: SocketAddr) -> Self {
        self.clusters
            .push((name, format!("endpoints: [\"{address}\"]")));
        self
    }

    fn http2_cluster(mut self, name: &'static str, address: SocketAddr) -> Self {
        let keys = format!("protocol: http2, endpoints: [\"{address}\"]");
        self.clusters.push((name, keys));
        self
    }

    fn start(&self) -> Weir {
        let clusters: String = self
            .clusters
            .iter()
            .map(|(name, keys)| format!("- {{ name: {name}, {keys} }}\n"))
            .collect();
        Weir::start(&format!(
            "workers: {}\nadmin: {{ address: 127.0.0.1:0 }}\n{}\nlisteners:\n- name: edge\n  \
             address: 127.0.0.1:0\n  http_filters:\n  - name: calls\n    wasm:\n      \
             vm_config: {{ vm_id: calls, code: {{ local: {{ filename: {} }} }} }}\n      \
             {}\n      configuration: {}\n  \
             routes: [{{ match: {{ prefix: / }}, cluster: web }}]\n\
             clusters:\n- {{ name: web, endpoints: [\"{}\"] }}\n{clusters}",
            self.workers,
            self.top,
            filter(self.module).display(),
            self.plugin,
            self.configuration,
            self.web,
        ))
    }
}

fn status(code: u16, body: &str) -> Answer {
    let length = body.len();
    Answer::Raw(format!("HTTP/1.1 {code} X\r\ncontent-length: {length}\r\n\r\n{body}").into())
}

/// Lets a request pass that says who it comes from.
fn judge(request: &Request) -> Answer {
    match request.header("authorization") {
        Some(user) => Answer::with_headers(&format!("x-user: {user}\r\n"), "welcome"),
        None => status(401, "who are you?"),
    }
}

const ONE_SERVICE: &str = "{ services: [{ cluster: auth, path: /check }], take: [x-user] }";

#[test]
fn a_service_decides_by_an_http_call() {
    let (web, auth) = (Upstream::echo(), Upstream::start(judge));
    let weir = Setup::new(web.address, "ext-auth", ONE_SERVICE)
        .cluster("auth", auth.address)
        .start();
    let mut client = weir.connect();
    let forged = [("authorization", "ann"), ("x-user", "root")];
    let allowed = client.get_with("/orders", &forged);
    assert_eq!(allowed.status, 200);
    assert!(allowed.text().contains("x-user: ann"), "{}", allowed.text());
    assert!(!allowed.text().contains("root"));

    let denied = client.get("/orders");
    assert_eq!((denied.status, &*denied.text()), (401, "who are you?"));
    assert_eq!(web.requests().len(), 1);

    let asked = &auth.requests()[0];
    assert_eq!((&*asked.method, &*asked.path), ("GET", "/check"));
    assert_eq!(asked.header("x-original-path"), Some("/orders"));
    assert_eq!(asked.header("host"), Some("auth"));
}

#[test]
fn a_service_is_asked_over_tls() {
    let (web, auth) = (Upstream::echo(), Upstream::start(judge));
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let identity = authority.issue(&["127.0.0.1"]);
    let tunnel = Tunnel::decrypt(auth.address, authority.server(&identity, false));
    for (believed, status) in [(&authority, 200), (&other, 503)] {
        let mut setup = Setup::new(web.address, "ext-auth", ONE_SERVICE);
        let (address, ca) = (tunnel.address, believed.pem());
        let keys = format!("endpoints: [\"{address}\"], tls: {{ ca: {ca:?} }}");
        setup.clusters.push(("auth", keys));
        let weir = setup.start();
        let mut client = weir.connect();
        for _ in 0..2 {
            let response = client.get_with("/orders", &[("authorization", "ann")]);
            assert_eq!(response.status, status);
        }
    }
    assert_eq!(auth.requests().len(), 2);
    assert_eq!(auth.connections(), 1);
}

#[test]
fn a_service_that_fails_is_503_or_is_passed_by() {
    let web = Upstream::echo();
    let silent = Upstream::start(|_| Answer::Silence);
    let cut = Upstream::start(|_| {
        Answer::RawThenClose("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab".into())
    });
    for address in [nobody(), silent.address, cut.address] {
        for (open, expected) in [("false", 503), ("true", 200)] {
            let configuration = format!(
                "{{ services: [{{ cluster: auth, timeout_ms: 200 }}], fail_open: {open} }}"
            );
            let weir = Setup::new(web.address, "ext-auth", configuration)
                .cluster("auth", address)
                .start();
            assert_eq!(weir.connect().get("/").status, expected);
            assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 0);
        }
    }
}

#[test]
fn a_cluster_without_endpoints_is_a_failure_like_any_other() {
    let web = Upstream::echo();
    let mut setup = Setup::new(web.address, "ext-auth", ONE_SERVICE);
    let keys = "type: strict_dns, endpoints: [none.invalid:80]";
    setup.clusters.push(("auth", keys.into()));
    assert_eq!(setup.start().connect().get("/").status, 503);
}

#[test]
fn several_services_are_asked_at_once_and_all_have_to_agree() {
    let web = Upstream::echo();
    // Each answers when both have been asked.
    let both = Arc::new(Barrier::new(2));
    let service = |both: &Arc<Barrier>, path: &'static str| {
        let both = Arc::clone(both);
        Upstream::start(move |request| {
            both.wait();
            match request.header("x-original-path") == Some(path) {
                true => status(403, path),
                false => Answer::ok("fine"),
            }
        })
    };
    let (one, two) = (service(&both, "/not-one"), service(&both, "/not-two"));
    let configuration = "{ services: [{ cluster: one, timeout_ms: 9000 }, \
                                      { cluster: two, timeout_ms: 9000 }] }";
    let weir = Setup::new(web.address, "ext-auth", configuration)
        .cluster("one", one.address)
        .cluster("two", two.address)
        .start();
    let mut client = weir.connect();
    for (path, expected) in [("/", 200), ("/not-one", 403), ("/not-two", 403)] {
        assert_eq!(client.get(path).status, expected, "{path}");
    }
}

#[test]
fn a_token_is_fetched_before_the_service_is_asked() {
    let web = Upstream::echo();
    let tokens = Upstream::start(|_| Answer::ok("sesame\n"));
    let auth = Upstream::start(|request| match request.header("x-service-authorization") {
        Some("Bearer sesame") => Answer::ok(""),
        _ => status(403, "no token"),
    });
    let configuration = "{ services: [{ cluster: auth }], token: { cluster: tokens } }";
    let weir = Setup::new(web.address, "ext-auth", configuration)
        .cluster("auth", auth.address)
        .cluster("tokens", tokens.address)
        .start();
    assert_eq!(weir.connect().get("/").status, 200);
}

#[test]
fn a_service_may_speak_http2() {
    let web = Upstream::echo();
    let auth = H2Upstream::start(|_, mut respond| async move {
        let response = http::Response::builder().header("x-user", "eve");
        let stream = respond.send_response(response.body(()).unwrap(), false);
        let _ = send_all(&mut stream.unwrap(), "ok".into(), true).await;
    });
    let weir = Setup::new(web.address, "ext-auth", ONE_SERVICE)
        .http2_cluster("auth", auth.address)
        .start();
    let mut client = weir.connect();
    for _ in 0..3 {
        assert!(client.get("/").text().contains("x-user: eve"));
    }
    assert_eq!((auth.connections(), auth.requests()), (1, 3));
}

#[test]
fn callouts_and_normal_traffic_share_connections() {
    let web = Upstream::start(|request| match &*request.path {
        "/check" => judge(request),
        _ => Answer::ok("the page"),
    });
    let configuration = "{ services: [{ cluster: web, path: /check }] }";
    let weir = Setup::new(web.address, "ext-auth", configuration).start();
    let mut client = weir.connect();
    for _ in 0..10 {
        assert_eq!(
            client.get_with("/", &[("authorization", "ann")]).status,
            200
        );
    }
    assert_eq!((web.requests().len(), web.connections()), (20, 1));
}

#[test]
fn two_workers_with_many_clients_get_their_own_answers() {
    const CLIENTS: usize = 16;
    const EACH: usize = 25;
    let (web, auth) = (Upstream::echo(), Upstream::start(judge));
    let mut setup = Setup::new(web.address, "ext-auth", ONE_SERVICE);
    setup.workers = 2;
    let weir = setup.cluster("auth", auth.address).start();
    let address = weir.listener("edge");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                for i in 0..EACH {
                    let user = format!("user-{n}-{i}");
                    let response = client.get_with("/", &[("authorization", &user)]);
                    assert!(response.text().contains(&format!("x-user: {user}\n")));
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|c| c.join().unwrap());
    assert_eq!(auth.requests().len(), CLIENTS * EACH);
}

#[test]
fn an_answer_above_the_limit_is_cut() {
    let web = Upstream::start(|request| match &*request.path {
        "/small" => Answer::ok("x".repeat(1000)),
        "/large" => Answer::ok("x".repeat(1025)),
        _ => Answer::ok(""),
    });
    let script = "request_headers path=/s: http_call web 5000 \
                  :method=GET;:path=/small;:authority=a - - ; pause\n\
                  request_headers path=/l: http_call web 5000 \
                  :method=GET;:path=/large;:authority=a - - ; pause\n\
                  http_call_response: call_status ; effective oldest ; resume request";
    let mut setup = Setup::probe(web.address, script);
    setup.top = "callouts: { response_limit: 1KiB }";
    let weir = setup.start();
    let mut client = weir.connect();
    assert_eq!(client.get("/s").status, 200);
    assert!(!weir.log().contains("callouts.response_limit"));
    assert_eq!(client.get("/l").status, 200);
    let log = weir.log();
    assert!(
        log.contains("larger than `callouts.response_limit`"),
        "{log}"
    );
    assert!(log.contains("reset"), "{log}");
}

#[test]
fn a_root_context_calls_when_it_is_configured_and_when_it_ticks() {
    let web = Upstream::echo();
    let script = "configure: tick_period 10 ; http_call web 5000 \
                  :method=GET;:path=/configured;:authority=a - -\n\
                  request_headers: pause\n\
                  tick x1: http_call web 5000 :method=GET;:path=/ticked;:authority=a - -\n\
                  http_call_response after=request_headers: effective oldest ; resume request";
    let weir = Setup::probe(web.address, script).start();
    eventually("a call from on_configure", || {
        let requests = web.requests();
        requests
            .iter()
            .any(|r| r.path == "/configured")
            .then_some(())
    });
    eventually("its answer", || {
        weir.log().contains("http_call_response").then_some(())
    });
    assert_eq!(weir.connect().get("/x").status, 200);
    // The spare is configured too, whenever that is.
    let mut paths: Vec<_> = web.requests().iter().map(|r| r.path.clone()).collect();
    paths.retain(|path| path != "/configured");
    assert_eq!(paths, ["/ticked", "/x"]);
}

#[test]
fn a_call_outlives_its_stream() {
    let asked = Arc::new(Barrier::new(2));
    let barrier = Arc::clone(&asked);
    let web = Upstream::start(move |request| {
        if request.path == "/auth" {
            barrier.wait();
            barrier.wait();
        }
        Answer::ok("")
    });
    let script = "request_headers path=/a: http_call web 9000 \
                  :method=GET;:path=/auth;:authority=a - - ; pause\n\
                  http_call_response: get call :status";
    let weir = Setup::probe(web.address, script).start();
    let mut client = weir.connect();
    client.send("GET /a HTTP/1.1\r\nhost: h\r\n\r\n");
    asked.wait();
    drop(client);
    eventually("the stream ends", || {
        weir.log().contains(" delete").then_some(())
    });
    assert!(!weir.log().contains("http_call_response"));
    asked.wait();
    eventually("the answer", || {
        weir.log().contains("http_call_response").then_some(())
    });
    assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 0);
    assert_eq!(weir.connect().get("/b").status, 200);
}

#[test]
fn a_guest_that_fails_in_an_answer_costs_its_stream_and_follows_its_policy() {
    let web = Upstream::echo();
    let script = "request_headers path=/trap: http_call web 5000 \
                  :method=GET;:path=/auth;:authority=a - - ; pause\n\
                  http_call_response: trap";
    for (policy, next) in [
        ("", 200),
        ("failure_policy: FAIL_CLOSED", 503),
        ("failure_policy: FAIL_OPEN", 200),
        ("failure_policy: FAIL_RELOAD", 503),
    ] {
        let mut setup = Setup::probe(web.address, script);
        setup.plugin = policy;
        let weir = setup.start();
        let mut client = weir.connect();
        assert_eq!(client.get("/trap").status, 503, "{policy}");
        assert_eq!(client.get("/").status, next, "{policy}");
        assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 1);
        let log = weir.log();
        assert!(
            log.contains("proxy_on_http_call_response failed (trap)"),
            "{log}"
        );
        if policy.ends_with("RELOAD") {
            eventually("a new VM", || (client.get("/").status == 200).then_some(()));
        }
    }
}

/// A field of a message: its number and its bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    [&[number << 3 | 2, length], bytes].concat()
}

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const REPORT: &str = "/weir.audit.v1.Audit/Report";

/// Lets pass, refuses and fails as the path in the message says.
fn check(message: &bytes::Bytes) -> tonic_server::Answer {
    let asks = |path: &str| message.windows(path.len()).any(|w| w == path.as_bytes());
    if asks("/denied") {
        let status = field(1, &[0x08, 7]);
        let response = [field(1, &[0x08, 0x93, 3]), field(3, b"not you")].concat();
        Ok([status, field(2, &response)].concat())
    } else if asks("/broken") {
        Err(Status::new(Code::Internal, "out of order"))
    } else {
        let header = [field(1, b"x-user"), field(2, b"ann")].concat();
        Ok(field(3, &field(2, &field(1, &header))))
    }
}

#[test]
fn a_grpc_service_decides() {
    let (web, auth) = (
        Upstream::echo(),
        GrpcServer::start("127.0.0.1:0", REPORT, check),
    );
    let weir = Setup::new(web.address, "grpc-auth", "{ cluster: auth }")
        .http2_cluster("auth", auth.upstream.address)
        .start();
    let mut client = weir.connect();
    let allowed = client.get("/orders");
    assert!(allowed.text().contains("x-user: ann"), "{}", allowed.text());
    let denied = client.get("/denied");
    assert_eq!((denied.status, &*denied.text()), (403, "not you"));
    assert_eq!(client.get("/broken").status, 503);
    assert_eq!(auth.count(CHECK), 3);
    assert_eq!(auth.upstream.connections(), 1);
    assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 0);
}

#[test]
fn a_grpc_service_that_is_not_there_is_503_or_is_passed_by() {
    let web = Upstream::echo();
    for (open, expected) in [("false", 503), ("true", 200)] {
        let configuration = format!("{{ cluster: auth, fail_open: {open} }}");
        let weir = Setup::new(web.address, "grpc-auth", configuration)
            .http2_cluster("auth", nobody())
            .start();
        assert_eq!(weir.connect().get("/").status, expected);
    }
}

#[test]
fn each_worker_reports_over_one_stream() {
    const CLIENTS: usize = 16;
    const EACH: usize = 50;
    let (web, auth) = (
        Upstream::echo(),
        GrpcServer::start("127.0.0.1:0", REPORT, check),
    );
    let configuration = "{ cluster: auth, audit: auth, timeout_ms: 9000 }";
    let mut setup = Setup::new(web.address, "grpc-auth", configuration);
    setup.workers = 2;
    let weir = setup.http2_cluster("auth", auth.upstream.address).start();
    for _ in 0..CLIENTS {
        let mut client = weir.connect();
        for _ in 0..EACH {
            assert_eq!(client.get("/orders").status, 200);
        }
    }
    eventually("all requests are reported", || {
        (auth.count(REPORT) == CLIENTS * EACH).then_some(())
    });
    let streams = auth.upstream.requests() - auth.count(CHECK);
    assert!(streams <= 2, "{streams} streams");
    let reports = auth.messages.lock().unwrap();
    let report = reports.iter().find(|(path, _)| path == REPORT).unwrap();
    let entry = [field(1, b"GET"), field(2, b"/orders"), vec![0x18, 0xc8, 1]].concat();
    assert_eq!(report.1, entry);
}

#[test]
fn a_stream_that_has_sent_much_without_an_answer_costs_no_memory() {
    let (web, sink) = (
        Upstream::echo(),
        GrpcServer::start("127.0.0.1:0", "/s/m", check),
    );
    // 4 KiB a message, 200 in each request.
    let send = format!("grpc_send 6 {} 0 ; ", "x".repeat(4096)).repeat(200);
    let script = format!(
        "configure: grpc_stream sink s m -\nrequest_headers: {}",
        send.trim_end_matches(" ; ")
    );
    let weir = Setup::probe(web.address, &script)
        .http2_cluster("sink", sink.upstream.address)
        .start();
    let mut client = weir.connect();
    let mut sent = 0;
    let mut load = |requests: usize| {
        for _ in 0..requests {
            assert_eq!(client.get("/").status, 200);
            sent += 200;
            eventually("the sink has it", || {
                (sink.count("/s/m") == sent).then_some(())
            });
        }
        weir.memory().0
    };
    let warm = load(10);
    let after = load(60);
    // 48 MiB more have been sent.
    assert!(after < warm + (16 << 20), "{warm} -> {after}");
}
