//! How soon a VM serves: instantiation, start functions and configuration of a
//! module that is compiled.

use std::time::{Duration, Instant};

use criterion::Criterion;

use crate::guest::{self, HELLO_CONFIGURATION};
use crate::rig::Rig;

pub(crate) fn bench(criterion: &mut Criterion) {
    let guests = [
        ("smallest", Some(guest::module(""))),
        ("hello", guest::hello()),
    ];
    let mut group = criterion.benchmark_group("start");
    for (name, module) in guests {
        let Some(module) = module else { continue };
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let mut elapsed = Duration::ZERO;
                for _ in 0..times {
                    let started = Instant::now();
                    let rig = Rig::start(&module, HELLO_CONFIGURATION);
                    elapsed += started.elapsed();
                    // Its end is not what is waited for.
                    drop(rig);
                }
                elapsed
            });
        });
    }
}
