//! The commands of `weir filter`, as those who write filters see them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod projects;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value as Json;

/// What a command has come to.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn weir_filter() -> Command {
    Command::new(env!("CARGO_BIN_EXE_weir-filter"))
}

fn run(arguments: &[&str]) -> Ran {
    let output = weir_filter().args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

impl Ran {
    #[track_caller]
    fn passed(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    #[track_caller]
    fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.err);
        self.out + &self.err
    }
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}

/// The module of one of Weir's own filters.
fn module(name: &str) -> String {
    let folder = std::env::var_os("WEIR_FILTERS_DIR").expect("WEIR_FILTERS_DIR");
    let path = Path::new(&folder).join(name).with_extension("wasm");
    path.display().to_string()
}

/// A folder with the suites of these tests and the module that they are for.
struct Suites(tempfile::TempDir);

impl Suites {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suites");
        for file in fs::read_dir(from).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap();
            fs::copy(&path, folder.path().join(name)).unwrap();
        }
        let wasm = wat::parse_file(folder.path().join("tester.wat")).unwrap();
        fs::write(folder.path().join("tester.wasm"), wasm).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

/// The suites of Weir's filters, by the names of these.
fn suites_of_filters() -> Vec<(String, String)> {
    let filters = Path::new(env!("CARGO_MANIFEST_DIR")).join("../filters");
    let folders = fs::read_dir(filters).unwrap();
    let folders = folders.map(|folder| folder.unwrap());
    let suites = folders.map(|folder| {
        let name = folder.file_name().into_string().unwrap();
        (name, folder.path().join("tests.yaml"))
    });
    let suites = suites.filter(|(_, suite)| suite.is_file());
    let suites = suites.map(|(name, suite)| (name, suite.display().to_string()));
    let suites: Vec<_> = suites.collect();
    assert!(suites.len() >= 19, "{suites:?}");
    suites
}

#[test]
fn the_suites_of_all_filters_pass() {
    for (name, suite) in suites_of_filters() {
        let out = run(&["test", &suite, "--plugin", &module(&name)]).passed();
        has(&out, &["... ok", "test bench ", "test result: ok."]);
    }
}

#[test]
fn the_benches_of_all_filters_reach_what_costs() {
    // Besides the callbacks of headers: those that no bench of a module alone reaches.
    let reached = |name: &str| -> &[&str] {
        match name {
            "jwt-auth" => &["http_call_response", "tick", "request_body"],
            "ext-auth" => &["http_call_response"],
            "grpc-auth" => &["grpc_receive", "grpc_close", "tick", "log"],
            "audit" => &["queue_ready", "log"],
            "ip-allow" => &["new_connection", "downstream_data"],
            "compress" | "redact" => &["response_body"],
            "validate" => &["request_body"],
            "ai-gateway" => &["request_body", "response_body", "log"],
            _ => &["request_headers"],
        }
    };
    for (name, suite) in suites_of_filters() {
        let plugin = module(&name);
        let arguments = ["bench", &suite, "--plugin", &plugin, "--quick"];
        let arguments: Vec<_> = arguments.into_iter().chain(["--format", "json"]).collect();
        let json: Json = serde_json::from_str(&run(&arguments).passed()).unwrap();
        let benches = json["benches"].as_array().unwrap();
        let prices: Vec<_> = benches
            .iter()
            .flat_map(|bench| bench["prices"].as_array().unwrap())
            .collect();
        let reached = reached(&name)
            .iter()
            .map(|callback| format!("callback proxy_on_{callback}"));
        for what in reached.chain(["stream".to_owned(), "instantiate".to_owned()]) {
            let price = prices.iter().find(|price| price["what"] == *what);
            let price = price.unwrap_or_else(|| panic!("{name}: no {what}"));
            assert!(price["amount"].as_u64().unwrap() > 0, "{name}: {what}");
        }
    }
}

#[test]
fn a_failure_tells_what_was_expected_what_came_and_where() {
    let suites = Suites::new();
    let text = "configuration: { request: a, response: b }\n\
        tests:\n\
        \x20 - name: right\n\
        \x20   steps: [{ request: GET / }]\n\
        \x20 - name: wrong\n\
        \x20   steps:\n\
        \x20     - request: GET /\n\
        \x20       expect:\n\
        \x20         request: { headers: { x-hello: { contains: c } } }\n\
        \x20         held: request\n\
        \x20         log: [{ matches: never }]\n";
    let path = suites.write("suite.yaml", text);
    let out = run(&["test", &path, "--plugin", &module("hello")]).failed();
    has(
        &out,
        &[
            "test right ... ok\ntest wrong ... FAILED\n",
            "suite.yaml:9:33: `x-hello` of the request\n  expected: what contains `c`\n    actual: `a`\n",
            "suite.yaml:10:17: held by the filter\n  expected: request\n    actual: nothing\n",
            "suite.yaml:11:19: the log\n  expected: a line: what matches `never`\n    \
             actual: nothing was logged\n",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored;",
        ],
    );
    let only = [
        "test",
        &path,
        "--plugin",
        &module("hello"),
        "--only",
        "right",
    ];
    has(&run(&only).passed(), &["1 passed; 0 failed"]);
}

#[test]
fn a_suite_that_is_not_valid_is_refused_with_its_place() {
    let suites = Suites::new();
    for (text, place, message) in [
        ("tests: []\nplugn: x\n", "2:1", "did you mean `plugin`?"),
        (
            "tests: [{ name: a, steps: [{ request: / }] }]\n",
            "1:39",
            "expected a method and a path",
        ),
        (
            "tests: [{ name: a, steps: [{ end: true, body: x }] }]\n",
            "1:41",
            "`body` means nothing beside `end`",
        ),
        (
            "tests: [{ name: a, steps: [{ expect: { log: [{ matches: '(' }] } }] }]\n",
            "1:57",
            "this is not a regular expression",
        ),
        ("plugin: none.wasm\ntests: []\n", "1:1", "cannot read"),
        ("tests: []\n", "1:1", "the suite names no `plugin`"),
    ] {
        let path = suites.write("suite.yaml", text);
        let err = run(&["test", &path]).failed();
        has(&err, &[&format!("suite.yaml:{place}: "), message]);
    }
}

#[test]
fn a_suite_with_every_field_of_the_plugin_tester_runs_as_it_says() {
    let suites = Suites::new();
    let out = run(&["test", "--proto", &suites.path("tester.textproto")]).passed();
    has(
        &out,
        &[
            "test all phases ... ok\n",
            "bench all phases/plugin_lifecycle ... ",
            "bench all phases/stream_lifecycle ... ",
            "bench all phases/request_body ... ",
            "test an answer ends it ... ok\n",
            "2 passed; 0 failed",
        ],
    );
    let log = fs::read_to_string(suites.path("plugin.log")).unwrap();
    has(
        &log,
        &["--- Starting test: all phases ---\nconfigured\ncreated\nend\nrefused\n"],
    );
    let quiet = [
        "test",
        "--proto",
        &suites.path("tester.textproto"),
        "--bench=false",
    ];
    let out = run(&quiet).passed();
    assert!(!out.contains("bench "), "{out}");
    let no_tests = [
        "test",
        "--proto",
        &suites.path("tester.textproto"),
        "--test=false",
    ];
    has(
        &run(&no_tests).passed(),
        &["test all phases ... ignored\nbench "],
    );
}

#[test]
fn the_plugin_testers_form_in_yaml_means_the_same() {
    let suites = Suites::new();
    let out = run(&["test", "--yaml", &suites.path("tester.yaml")]).passed();
    has(&out, &["test all phases ... ok\n"]);
    let text =
        "env: { wasm_path: tester.wasm }\ntest:\n  - name: a\n    plugin_init: { lgo: [] }\n";
    let err = run(&["test", "--yaml", &suites.write("bad.yaml", text)]).failed();
    has(
        &err,
        &["bad.yaml:4:20: ", "no field `lgo`", "did you mean `log`?"],
    );
}

#[test]
fn failures_in_the_plugin_testers_form_have_their_place() {
    let suites = Suites::new();
    let log = suites.path("own.log");
    let arguments = [
        "test",
        "--proto",
        &suites.path("wrong.textproto"),
        "--logfile",
        &log,
        "--loglevel",
        "INFO",
    ];
    let out = run(&arguments).failed();
    has(
        &out,
        &[
            "wrong.textproto:4:17: [plugin_init] a line of the log\n  \
             expected: one that is `never said`\n    actual: `configured`\n",
            "wrong.textproto:8:7: [request_headers] header `x-twice`\n  expected: `3`\n    actual: `2`\n",
            "wrong.textproto:9:7: [request_headers] header `:path`\n  expected: nothing\n    actual: `/`\n",
            "wrong.textproto:10:7: [request_headers] a header\n  expected: one that matches `x-.*: 9`\n",
            "wrong.textproto:11:7: [request_headers] an immediate response\n  expected: one\n    \
             actual: the callback goes on\n",
            "wrong.textproto:14:50: [request_body] the body\n  expected: one that is `b`\n    actual: `a|`\n",
            "wrong.textproto:18:3: [request_headers] an immediate response\n  expected: nothing\n    \
             actual: status 403\n",
            "wrong.textproto:24:26: [request_headers] the status of the immediate response\n  \
             expected: 401\n    actual: 403\n",
            "the gRPC status of the immediate response\n  expected: 16\n    actual: 7\n",
            "the details of the immediate response\n  expected: `because`\n    actual: `denied`\n",
            "wrong.textproto:31:3: `num_chunks` and `chunk_size` go with one body only\n",
            "wrong.textproto:33:1: the filter has failed: proxy_on_request_headers failed (trap)",
            "0 passed; 5 failed",
        ],
    );
    has(&fs::read_to_string(log).unwrap(), &["configured\n"]);
    let err = run(&[
        "test",
        "--proto",
        &suites.write("bad.textproto", "test { nam: 1 }"),
    ])
    .failed();
    has(&err, &["bad.textproto:1:8: field 'nam' not found"]);
}

#[test]
fn a_trace_has_every_call_in_words() {
    let suites = Suites::new();
    let proto = suites.path("tester.textproto");
    let out = run(&["test", "--proto", &proto, "--bench=false", "--trace"]).passed();
    has(
        &out,
        &[
            "-> proxy_on_context_create(parent: 1) of context 2",
            "proxy_log(info, message: \"configured\") = Ok",
            "<- proxy_on_configure = true",
            "proxy_get_property(path: a.b) = Ok \"from the test\"",
            "proxy_get_property(path: plugin_name) = NotFound",
            "proxy_add_header_map_value(RequestHeaders, name: \"x-twice\", value: \"2\") = Ok",
            "proxy_set_buffer_bytes(HttpRequestBody, start: 1000000, length: 0, value: \"|\") = Ok",
            "proxy_send_local_response(status: 403, details: \"denied\", body: \"no\", \
             headers: {x-why: policy}, grpc_status: 7) = Ok",
            "grpc_status: -1) = BadArgument",
            "<- proxy_on_request_headers = StopIteration",
        ],
    );
}

#[test]
fn a_report_for_ci_systems_tells_of_every_test() {
    let suites = Suites::new();
    let junit = suites.path("report.xml");
    run(&[
        "test",
        "--proto",
        &suites.path("wrong.textproto"),
        "--junit",
        &junit,
    ])
    .failed();
    let xml = fs::read_to_string(junit).unwrap();
    has(
        &xml,
        &[
            "tests=\"5\" failures=\"5\"",
            "name=\"a trap\"",
            "<failure message=\"[request_headers] header `x-twice`\">",
            "</testsuites>",
        ],
    );
}

#[test]
fn tests_run_again_when_a_file_has_changed() {
    let suites = Suites::new();
    let text = |path: &str| {
        format!(
            "tests:\n  - name: one\n    steps: [{{ request: GET {path}, expect: {{ reply: null }} }}]\n"
        )
    };
    let path = suites.write("suite.yaml", &text("/"));
    let mut child = weir_filter()
        .args([
            "test",
            &path,
            "--plugin",
            &suites.path("tester.wasm"),
            "--watch",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut wait_for = |wanted: &str| {
        let found = lines.by_ref().any(|line| line.unwrap().contains(wanted));
        assert!(found, "no `{wanted}`");
    };
    wait_for("test one ... ok");
    wait_for("waiting for a change");
    suites.write(
        "suite.yaml",
        "tests: [{ name: other, expect: { refused: true } }]\n",
    );
    wait_for("test other ... FAILED");
    wait_for("waiting for a change");
    suites.write("suite.yaml", &text("/again"));
    wait_for("test one ... ok");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn inspection_tells_what_is_in_a_module() {
    let out = run(&["inspect", &module("hello")]).passed();
    has(
        &out,
        &[
            "ABI version  0.2.1",
            "language     Rust",
            "SDK          proxy-wasm-rust-sdk",
            "signature    none",
            "Weir                               loads",
            "Envoy 1.40, Istio, Envoy Gateway   loads",
            "env.proxy_replace_header_map_value           sets a header",
            "proxy_on_configure                           the plugin is configured",
            "custom `producers`",
        ],
    );
    let json = run(&["inspect", &module("hello"), "--format", "json"]).passed();
    let json: Json = serde_json::from_str(&json).unwrap();
    assert_eq!(json["abi_version"], "0.2.1");
    assert_eq!(
        json["language"].as_str().unwrap().split(' ').next(),
        Some("Rust")
    );
    let bytes = fs::metadata(module("hello")).unwrap().len();
    assert_eq!(json["bytes"], bytes);
    assert!(json["memories"][0]["initial_bytes"].as_u64().unwrap() >= 65_536);
    let sections = json["sections"].as_array().unwrap();
    assert!(sections.iter().any(|section| section["name"] == "code"));
}

#[test]
fn inspection_says_of_each_host_why_it_cannot_load_a_module() {
    let suites = Suites::new();
    let text = r#"(module
      (import "env" "proxy_redis_init" (func (param i32 i32) (result i32)))
      (import "env" "proxy_get_log_level" (func (param i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_sync" (func (param i32) (result i32)))
      (memory (export "memory") 1 4)
      (func (export "proxy_abi_version_0_2_0"))
      (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#;
    let path = suites.path("redis.wasm");
    fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
    fs::write(format!("{path}.sig"), "signature").unwrap();
    let json = run(&["inspect", &path, "--format", "json"]).passed();
    let json: Json = serde_json::from_str(&json).unwrap();
    let why = |host: &str| {
        let hosts = json["hosts"].as_array().unwrap();
        let named = |h: &&Json| h["name"].as_str().unwrap().starts_with(host);
        hosts.iter().find(named).unwrap()["why_not"].to_string()
    };
    has(&why("Weir"), &["proxy_redis_init"]);
    has(
        &why("Envoy"),
        &[
            "it has no `env.proxy_redis_init`",
            "`proxy_get_log_level` for ABI 0.2.1 only; this is 0.2.0",
        ],
    );
    assert!(!why("Higress").contains("redis"), "{}", why("Higress"));
    has(
        &why("Kong"),
        &["it has no `wasi_snapshot_preview1.fd_sync`"],
    );
    has(&why("APISIX"), &["it has no `env.proxy_get_log_level`"]);
    assert_eq!(json["signature"]["beside"], format!("{path}.sig"));
    assert_eq!(json["memories"][0]["maximum_bytes"], 4 * 65_536);
    let err = run(&["inspect", &suites.path("tester.wat")]).failed();
    has(&err, &["tester.wat: this is not a WebAssembly binary"]);
}

#[test]
fn a_price_list_has_every_callback_and_hostcall_and_compares() {
    let suites = Suites::new();
    let config = suites.write("config.json", "{\"request\":\"a\",\"response\":\"b\"}");
    let hello = module("hello");
    let arguments = [
        "bench",
        &hello,
        "--config",
        &config,
        "--baseline",
        &hello,
        "--format",
        "json",
    ];
    let json: Json = serde_json::from_str(&run(&arguments).passed()).unwrap();
    for list in [&json, &json["baseline"]] {
        let prices = list["prices"].as_array().unwrap();
        let price = |what: &str| prices.iter().find(|price| price["what"] == what).unwrap();
        for what in [
            "compile",
            "instantiate",
            "start and configure",
            "stream",
            "callback proxy_on_configure",
            "callback proxy_on_request_headers",
            "hostcall proxy_replace_header_map_value",
            "memory of a VM",
        ] {
            assert!(price(what)["amount"].as_u64().unwrap() > 0, "{what}");
        }
        assert_eq!(
            price("callback proxy_on_request_headers")["per_stream"],
            1.0
        );
        assert_eq!(
            price("hostcall proxy_replace_header_map_value")["per_stream"],
            2.0
        );
        price("memory of a stream");
        price("allocations");
    }
    let table = run(&["bench", &hello, "--config", &config, "--baseline", &hello]).passed();
    has(
        &table,
        &["baseline", "change", "callback proxy_on_log", " %"],
    );
    let refused = run(&["bench", &hello]).failed();
    has(
        &refused,
        &[
            "hello.wasm: ",
            "proxy_on_configure refused the configuration",
        ],
    );
}

#[test]
fn a_bench_of_a_suite_prices_what_its_steps_bring_about() {
    let suites = Suites::new();
    let text = "configuration: { request: a, response: b }\n\
        benches:\n\
        \x20 - name: both ways\n\
        \x20   before: [{ request: GET /first }]\n\
        \x20   steps:\n\
        \x20     - request: GET /\n\
        \x20       expect: { request: { headers: { x-hello: a } } }\n\
        \x20     - response: 200\n\
        \x20     - request: GET /\n\
        \x20       stream: another\n\
        \x20 - name: the request alone\n\
        \x20   steps: [{ request: GET / }]\n";
    let path = suites.write("suite.yaml", text);
    let hello = module("hello");
    let bench = ["bench", &path, "--plugin", &hello, "--quick"];
    let with = |more: &[&str]| run(&[&bench[..], more].concat());
    let json: Json = serde_json::from_str(&with(&["--format", "json"]).passed()).unwrap();
    let benches = json["benches"].as_array().unwrap();
    let price = |bench: &Json, what: &str| {
        let prices = bench["prices"].as_array().unwrap();
        prices.iter().find(|price| price["what"] == what).cloned()
    };
    let [both, alone] = &benches[..] else {
        panic!("{benches:?}");
    };
    assert_eq!(both["bench"], "both ways");
    for (what, per_stream) in [
        ("request_headers", 1.0),
        ("response_headers", 0.5),
        ("done", 1.0),
    ] {
        let price = price(both, &format!("callback proxy_on_{what}")).unwrap();
        assert_eq!(price["per_stream"], per_stream, "{what}");
    }
    assert!(price(alone, "callback proxy_on_response_headers").is_none());
    let out = with(&["--only", "alone", "--baseline", &hello]).passed();
    has(&out, &["bench the request alone\n", "baseline", " %"]);
    assert!(!out.contains("both ways"), "{out}");

    // What is wrong is told with its place.
    for (from, to, words) in [
        ("x-hello: a", "x-hello: c", "wrong.yaml:7:"),
        ("request: a,", "reqest: a,", "refused the configuration"),
        (
            "[{ request: GET / }]",
            "[]",
            "a bench without `steps` measures nothing",
        ),
        ("benches:", "tests:", "unknown key `before` in a test"),
    ] {
        let path = suites.write("wrong.yaml", &text.replace(from, to));
        let bench = ["bench", &path, "--plugin", &hello, "--quick"];
        has(&run(&bench).failed(), &[words]);
    }
    let none = suites.write("none.yaml", "tests: []\n");
    has(
        &run(&["bench", &none]).failed(),
        &["the suite has no `benches`"],
    );
    let none = with(&["--only", "alnoe"]).failed();
    has(&none, &["no bench has `alnoe` in its name"]);
    let body = with(&["--body", "7"]).failed();
    has(&body, &["`--body` is for modules"]);
    has(
        &run(&["bench", &hello, "--only", "x"]).failed(),
        &["`--only` is for suites"],
    );
    // The tests of a suite play its benches, too.
    let out = run(&["test", &path, "--plugin", &hello]).passed();
    has(&out, &["test bench both ways ... ok", "2 passed"]);
}
