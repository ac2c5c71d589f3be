//! A whole header filter: all that it costs a request, from the creation of its
//! context to the end.

use criterion::Criterion;
use weir_abi::{HttpMap, Module, Stream as _};
use weir_benches::guest;
use weir_benches::inputs::{HEADERS, HELLO_CONFIGURATION};
use weir_benches::rig::Rig;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stream");
    let rig = Rig::start(&guest::module("").unwrap(), "").unwrap();
    group.bench_function("create_and_delete", |bencher| {
        bencher.iter(|| {
            let stream = rig.create_stream().unwrap();
            rig.vm.delete_stream(stream).unwrap();
        });
    });
    let guests = [
        ("no_callbacks", Some(guest::module("").unwrap()), 0),
        ("wat", Some(guest::module(HEADERS).unwrap()), 1),
        ("hello", guest::built("hello").unwrap(), 1),
    ];
    for (name, module, sets) in guests {
        let Some(module) = module else { continue };
        let rig = working_rig(&module, sets);
        group.bench_function(name, |bencher| bencher.iter(|| rig.serve().unwrap()));
    }
}

/// A rig whose guest has been seen to set `x-hello`, `sets` times a map.
fn working_rig(module: &Module, sets: usize) -> Rig {
    let rig = Rig::start(module, HELLO_CONFIGURATION).unwrap();
    rig.serve().unwrap();
    for map in [HttpMap::RequestHeaders, HttpMap::ResponseHeaders] {
        let headers = rig.stream.headers(map).unwrap();
        assert_eq!(headers.get_all(b"x-hello").count(), sets, "{map:?}");
    }
    rig
}
