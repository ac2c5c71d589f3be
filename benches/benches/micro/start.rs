//! How soon a VM serves, of a module that is compiled: instantiation with the start
//! functions, configuration, both, and what a spare costs that takes the place of a VM
//! with a stream's memory in it: the instance is made what it was when it was kept.

use std::time::{Duration, Instant};

use criterion::Criterion;
use weir_benches::guest;
use weir_benches::inputs::HELLO_CONFIGURATION;
use weir_benches::rig::Rig;

pub(crate) fn bench(criterion: &mut Criterion) {
    let guests = [
        ("smallest", Some(guest::module("").unwrap())),
        ("hello", guest::built("hello").unwrap()),
    ];
    let mut group = criterion.benchmark_group("start");
    for (name, module) in guests {
        let Some(module) = module else { continue };
        // Ends are not what is waited for.
        group.bench_function(format!("instantiate/{name}"), |bencher| {
            bencher.iter_with_large_drop(|| Rig::instantiate(&module).unwrap());
        });
        group.bench_function(format!("configure/{name}"), |bencher| {
            bencher.iter_custom(|times| {
                let mut elapsed = Duration::ZERO;
                for _ in 0..times {
                    let vm = Rig::instantiate(&module).unwrap();
                    let started = Instant::now();
                    Rig::configure(&vm, HELLO_CONFIGURATION).unwrap();
                    elapsed += started.elapsed();
                }
                elapsed
            });
        });
        group.bench_function(format!("both/{name}"), |bencher| {
            bencher.iter_with_large_drop(|| Rig::start(&module, HELLO_CONFIGURATION).unwrap());
        });
        let rig = Rig::start(&module, HELLO_CONFIGURATION).unwrap();
        assert!(rig.vm.keep(), "{name} cannot be kept");
        group.bench_function(format!("spare_swap/{name}"), |bencher| {
            bencher.iter_custom(|times| {
                let mut elapsed = Duration::ZERO;
                for _ in 0..times {
                    rig.serve().unwrap();
                    let started = Instant::now();
                    assert!(rig.vm.restore());
                    elapsed += started.elapsed();
                }
                elapsed
            });
        });
    }
}
