//! What Weir's micro benches do, with the crate `proxy-wasm-host`, under the same names.
// A bench that cannot be set up has nothing to measure.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use proxy_wasm_host::abi::v0_2_1::types::{Action, LogLevel, MapType, Status};
use proxy_wasm_host::abi::v0_2_1::{
    Access, ContextId, Guest, GuestError, Host, Invocation, LogContext, LogSink, PluginConfig,
    Started, StreamKind, StreamState, VmServices,
};
use proxy_wasm_host::{Engine, HeaderMap, Limits, Module, VecHeaderMap};

/// As Weir's benches have it.
#[path = "../../src/inputs.rs"]
mod inputs;

use inputs::{HEADERS, HELLO_CONFIGURATION, REQUEST, RESPONSE, module_text};

struct Nowhere;

impl LogSink for Nowhere {
    fn log(&self, _: LogContext<'_>, _: LogLevel, _: &[u8]) {}
}

struct Stream {
    request: VecHeaderMap,
    response: VecHeaderMap,
}

impl Stream {
    fn new() -> Self {
        let map = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
                .collect()
        };
        Self {
            request: map(&REQUEST),
            response: map(&RESPONSE),
        }
    }
}

impl StreamState for Stream {
    fn header_map(
        &mut self,
        _: Invocation,
        _: Access,
        map: MapType,
    ) -> Result<&mut dyn HeaderMap, Status> {
        match map {
            MapType::HttpRequestHeaders => Ok(&mut self.request),
            MapType::HttpResponseHeaders => Ok(&mut self.response),
            _ => Err(Status::NotFound),
        }
    }
}

struct Rig {
    guest: Guest,
    root: ContextId,
    stream: Option<Stream>,
}

impl Rig {
    fn start(host: &Host, module: &Module, configuration: &str) -> Self {
        let services = VmServices::new(Arc::new(Nowhere));
        let mut guest = Guest::new(host, module, services, &Limits::default()).unwrap();
        let plugin = PluginConfig::new().with_name("bench");
        let plugin = plugin.with_configuration(configuration);
        let Started::Serving(root) = guest.start(plugin).unwrap() else {
            panic!("the plugin refuses its configuration");
        };
        Self {
            guest,
            root,
            stream: Some(Stream::new()),
        }
    }

    /// From the creation of a stream's context to the end.
    fn serve(&mut self, callbacks: bool) {
        let root = self.root;
        let stream = self.stream.take().unwrap();
        let (served, stream) = self.guest.with(stream, |scope| {
            let stream = scope.on_context_create(Some(root))?;
            if callbacks {
                scope.expect_stream_kind(stream, StreamKind::Http)?;
                let request = scope.on_request_headers(stream, REQUEST.len() as u32, true)?;
                let response = scope.on_response_headers(stream, RESPONSE.len() as u32, false)?;
                assert_eq!([request, response], [Action::Continue; 2]);
            }
            scope.on_done(stream)?;
            scope.on_log(stream)?;
            scope.on_delete(stream)?;
            Ok::<_, GuestError>(())
        });
        served.unwrap();
        self.stream = Some(stream);
    }
}

fn text(engine: &Engine, items: &str) -> Module {
    Module::new(engine, &wat::parse_str(module_text(items)).unwrap()).unwrap()
}

fn built(engine: &Engine, name: &str) -> Module {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/filters");
    let path = folder.join(name).with_extension("wasm");
    Module::new(engine, &std::fs::read(path).unwrap()).unwrap()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let engine = Engine::new().unwrap();
    let host = Host::new(&engine).unwrap();
    let (smallest, hello) = (text(&engine, ""), built(&engine, "hello"));

    let mut group = criterion.benchmark_group("stream");
    let mut rig = Rig::start(&host, &smallest, "");
    group.bench_function("create_and_delete", |b| b.iter(|| rig.serve(false)));
    for (name, module) in [
        ("no_callbacks", &smallest),
        ("wat", &text(&engine, HEADERS)),
        ("hello", &hello),
    ] {
        let mut rig = Rig::start(&host, module, HELLO_CONFIGURATION);
        group.bench_function(name, |b| b.iter(|| rig.serve(true)));
    }
    group.finish();

    let mut group = criterion.benchmark_group("ten_reads_two_writes");
    let mut rig = Rig::start(&host, &built(&engine, "bench"), "headers");
    group.bench_function("guest", |b| b.iter(|| rig.serve(true)));
    group.finish();

    let mut group = criterion.benchmark_group("start");
    for (name, module) in [("smallest", &smallest), ("hello", &hello)] {
        group.bench_function(format!("both/{name}"), |bencher| {
            bencher.iter_custom(|times| {
                let mut elapsed = Duration::ZERO;
                for _ in 0..times {
                    let started = Instant::now();
                    let rig = Rig::start(&host, module, HELLO_CONFIGURATION);
                    elapsed += started.elapsed();
                    drop(rig);
                }
                elapsed
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
