//! A whole header filter: all that it costs a request, from the creation of its
//! context to the end.

use criterion::Criterion;
use weir_abi::{HeadersStatus, HttpMap, Module, Stream as _};

use crate::guest::{self, HELLO_CONFIGURATION};
use crate::rig::Rig;

/// What hello does, by hand: sets a header in each direction. It has the
/// callbacks that the Rust SDK has.
const HEADERS: &str = r#"
    (import "env" "proxy_replace_header_map_value"
      (func $replace (param i32 i32 i32 i32 i32) (result i32)))
    (data (i32.const 16) "x-hello")
    (data (i32.const 32) "from Weir")
    (func $set (param $map i32) (result i32)
      (call $replace (local.get $map)
        (i32.const 16) (i32.const 7) (i32.const 32) (i32.const 9)))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (call $set (i32.const 0)))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
      (call $set (i32.const 2)))
    (func (export "proxy_on_done") (param i32) (result i32) (i32.const 1))
    (func (export "proxy_on_log") (param i32))
    (func (export "proxy_on_delete") (param i32))"#;

pub(crate) fn bench(criterion: &mut Criterion) {
    let guests = [
        ("no_callbacks", Some(guest::module("")), 0),
        ("wat", Some(guest::module(HEADERS)), 1),
        ("hello", guest::hello(), 1),
    ];
    let mut group = criterion.benchmark_group("stream");
    for (name, module, sets) in guests {
        let Some(module) = module else { continue };
        let rig = working_rig(&module, sets);
        group.bench_function(name, |bencher| bencher.iter(|| serve(&rig)));
    }
}

/// A rig whose guest has been seen to set `x-hello`, `sets` times a map.
fn working_rig(module: &Module, sets: usize) -> Rig {
    let rig = Rig::start(module, HELLO_CONFIGURATION);
    serve(&rig);
    for map in [HttpMap::RequestHeaders, HttpMap::ResponseHeaders] {
        let headers = rig.stream.headers(map).unwrap();
        assert_eq!(headers.get_all(b"x-hello").count(), sets, "{map:?}");
    }
    rig
}

fn serve(rig: &Rig) {
    let vm = &rig.vm;
    let stream = rig.create_stream();
    let request = vm.on_request_headers(stream, true).unwrap();
    let response = vm.on_response_headers(stream, false).unwrap();
    assert_eq!([request, response], [HeadersStatus::Continue; 2]);
    vm.on_log(stream).unwrap();
    vm.delete_stream(stream).unwrap();
}
