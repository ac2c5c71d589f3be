//! Header maps in the form in which guests get and give them.

use std::hint::black_box;

use criterion::Criterion;
use weir_abi::{HeaderMap, wire};
use weir_benches::inputs::REQUEST;

pub(crate) fn bench(criterion: &mut Criterion) {
    let headers: HeaderMap = REQUEST.into_iter().collect();
    let mut wire_form = vec![0; wire::pairs_size(headers.iter())];
    assert!(wire::encode_pairs(headers.iter(), &mut wire_form));

    let mut group = criterion.benchmark_group("pairs");
    group.bench_function("encode", |bencher| {
        let mut out = vec![0; wire_form.len()];
        bencher.iter(|| {
            let headers = black_box(&headers);
            let size = wire::pairs_size(headers.iter());
            wire::encode_pairs(headers.iter(), black_box(&mut out[..size]))
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| wire::decode_pairs(black_box(&wire_form)).unwrap());
    });
}
