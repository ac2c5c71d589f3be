//! What the black-box tests stand on: Weir as a process, upstreams and clients
//! on real sockets.
#![allow(dead_code, unreachable_pub)] // Each test binary uses a part of it.

pub mod client;
pub mod upstream;
pub mod weir;

use std::path::PathBuf;
use std::time::Duration;

/// How long a test waits for an event before it fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The module of a filter that `cargo xtask filters` or `guests` builds.
///
/// Panics when it has not been built: a test that cannot run must say so.
pub fn filter(name: &str) -> PathBuf {
    let folder = std::env::var_os("WEIR_FILTERS_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/filters"),
        PathBuf::from,
    );
    let path = folder.join(format!("{name}.wasm"));
    assert!(
        path.exists(),
        "{} is missing; `cargo xtask test` builds it, or `cargo xtask filters` and \
         `cargo xtask guests`",
        path.display()
    );
    path
}

/// Waits until `probe` gives something, looking often; panics after
/// [`PATIENCE`].
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(std::time::Instant::now() < deadline, "{what}: never");
        // For states of another process that give no event.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
