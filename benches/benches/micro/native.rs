//! One filter, ten header reads and two writes, as a guest and as code of the host: what
//! lies between is the price of the sandbox.

use criterion::Criterion;
use weir_abi::{HttpMap, Stream as _};
use weir_benches::guest;
use weir_benches::memory::MemoryStream;
use weir_benches::rig::Rig;

/// As the guest has it.
#[path = "../../guest/src/read.rs"]
mod read;

use read::READ;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ten_reads_two_writes");
    if let Some(module) = guest::built("bench").unwrap() {
        let rig = Rig::start(&module, "headers").unwrap();
        group.bench_function("guest", |bencher| bencher.iter(|| rig.serve().unwrap()));
        assert_eq!(written(&rig.stream), native(&MemoryStream::default()));
    }
    let stream = MemoryStream::default();
    group.bench_function("native", |bencher| bencher.iter(|| native(&stream)));
}

/// Does what the guest does, and gives what it writes.
fn native(stream: &MemoryStream) -> [Option<Vec<u8>>; 2] {
    let mut request = stream.headers(HttpMap::RequestHeaders).unwrap();
    let read = READ.map(|name| request.get(name.as_bytes()).cloned());
    let bytes: usize = read.iter().flatten().map(bytes::Bytes::len).sum();
    request.replace("x-read", bytes.to_string());
    drop(request);
    let mut response = stream.headers(HttpMap::ResponseHeaders).unwrap();
    response.replace("x-written", "by the filter");
    drop(response);
    written(stream)
}

fn written(stream: &MemoryStream) -> [Option<Vec<u8>>; 2] {
    let maps = [
        (HttpMap::RequestHeaders, "x-read"),
        (HttpMap::ResponseHeaders, "x-written"),
    ];
    maps.map(|(map, name)| {
        let headers = stream.headers(map).unwrap();
        headers.get(name.as_bytes()).map(|value| value.to_vec())
    })
}
