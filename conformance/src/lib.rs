//! The black-box harness: Weir as a process, with upstreams and clients on real
//! sockets. What it finds out it finds out as any user would, through sockets,
//! files and signals.
//!
//! A helper that cannot do what a test asked panics: that fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Nobody but the tests next door uses it.
#![allow(missing_docs)]

mod client;
mod control_plane;
mod dns;
mod exposition;
pub mod frames;
pub mod guests;
pub mod h2;
mod lan;
mod loopback;
mod namespace;
mod peer;
mod program;
pub mod registry;
pub mod server;
mod setup;
pub mod suite;
pub mod tls;
mod tunnel;
pub mod unix;
mod upstream;
mod weir;

pub use self::client::{Client, Response};
pub use self::control_plane::{ControlPlane, xds_bootstrap};
pub use self::dns::{DnsAnswer, DnsQuestion, DnsServer};
pub use self::exposition::Exposition;
pub use self::lan::{Host, Lan};
pub use self::loopback::{nobody, own_ip};
pub use self::namespace::{Namespace, configure, in_own_network};
pub use self::peer::{Peer, read_head};
pub use self::program::{built, program, run_program};
pub use self::setup::{Setup, direct};
pub use self::tunnel::{Agreed, Tunnel};
pub use self::upstream::{Answer, Held, Request, Upstream};
pub use self::weir::{SIDECAR, Weir, check, check_env, command, run};

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Says that it is over when it goes, for whatever reason.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The `weir` binary of the build that this test belongs to.
///
/// Panics when it has not been built.
pub fn weir_binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // <target>/<profile>/deps/<test>
    let folder = test.parent().and_then(std::path::Path::parent).unwrap();
    let binary = folder.join("weir");
    assert!(
        binary.exists(),
        "{} is missing; `cargo test --workspace` builds it",
        binary.display()
    );
    binary
}
