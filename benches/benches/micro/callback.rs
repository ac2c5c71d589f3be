//! One callback that does nothing, and one that the module does not export.

use criterion::Criterion;

use crate::guest;
use crate::rig::Rig;

const CONTINUE: &str =
    r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("callback");
    for (name, items) in [("not_exported", ""), ("empty", CONTINUE)] {
        let rig = Rig::start(&guest::module(items), "");
        let stream = rig.create_stream();
        group.bench_function(name, |bencher| {
            bencher.iter(|| rig.vm.on_request_headers(stream, false).unwrap());
        });
    }
}
