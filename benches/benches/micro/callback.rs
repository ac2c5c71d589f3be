//! Each callback of a stream that does nothing, and one that the module does not export.

use criterion::Criterion;
use weir_abi::{ContextId, Direction};
use weir_benches::guest;
use weir_benches::rig::Rig;

/// Callbacks that do nothing. What a result says: go on, or that all is done.
const CALLBACKS: &str = r#"
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_tick") (param i32))
    (func (export "proxy_on_queue_ready") (param i32 i32))
    (func (export "proxy_on_done") (param i32) (result i32) (i32.const 1))
    (func (export "proxy_on_log") (param i32))
    (func (export "proxy_on_delete") (param i32))"#;

type Call = fn(&Rig, ContextId);

const CALLS: [(&str, Call); 8] = [
    ("context_create_and_done_and_delete", |rig, _| {
        let stream = rig.create_stream().unwrap();
        rig.vm.delete_stream(stream).unwrap();
    }),
    ("request_headers", |rig, stream| {
        rig.vm.on_request_headers(stream, false).unwrap();
    }),
    ("request_body", |rig, stream| {
        rig.vm
            .on_body(stream, Direction::Request, 0, false)
            .unwrap();
    }),
    ("response_headers", |rig, stream| {
        rig.vm.on_response_headers(stream, false).unwrap();
    }),
    ("response_body", |rig, stream| {
        rig.vm
            .on_body(stream, Direction::Response, 0, false)
            .unwrap();
    }),
    ("log", |rig, stream| rig.vm.on_log(stream).unwrap()),
    ("tick", |rig, _| rig.vm.on_tick(rig.root).unwrap()),
    ("queue_ready", |rig, _| {
        rig.vm.on_queue_ready(rig.root, 1).unwrap();
    }),
];

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("callback");
    let [with, without] = [CALLBACKS, ""].map(|items| {
        let rig = Rig::start(&guest::module(items).unwrap(), "").unwrap();
        let stream = rig.create_stream().unwrap();
        (rig, stream)
    });
    for (name, call) in CALLS {
        let (rig, stream) = &with;
        group.bench_function(name, |bencher| bencher.iter(|| call(rig, *stream)));
    }
    let (rig, stream) = &without;
    group.bench_function("not_exported", |bencher| {
        bencher.iter(|| rig.vm.on_request_headers(*stream, false).unwrap());
    });
}
