//! What the host costs, without a socket: `cargo bench --workspace --bench micro`.
#![forbid(unsafe_code)]
// A bench that cannot be set up has nothing to measure.
#![allow(clippy::unwrap_used)]

mod callback;
mod hostcall;
mod native;
mod pairs;
mod start;
mod stream;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    hostcall::bench(&mut criterion);
    callback::bench(&mut criterion);
    stream::bench(&mut criterion);
    native::bench(&mut criterion);
    pairs::bench(&mut criterion);
    start::bench(&mut criterion);
    criterion.final_summary();
}
