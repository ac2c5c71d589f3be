//! A network of a test's own.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::resume_unwind;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::program::program;

/// Makes names of namespaces differ.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// A network namespace. It has no name, and is there as long as this, or anybody who is
/// in it: nothing of it is left when a test has ended, however it has.
pub struct Namespace(File);

impl Namespace {
    /// One in which only the loopback device is.
    ///
    /// Panics when this user may not make one, which takes root: a test that cannot run
    /// must say so.
    #[must_use]
    pub fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-test-{}-{number}", process::id());
        configure(&format!("ip netns add {name}"));
        let file = File::open(format!("/run/netns/{name}")).unwrap();
        configure(&format!("ip netns delete {name}"));
        let namespace = Self(file);
        namespace.run(|| configure("ip link set lo up"));
        namespace
    }

    /// Runs `work`, and what it starts, in the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let run = || {
            let network = ThreadNameSpaceType::NETWORK;
            move_into_thread_name_spaces(self.0.as_fd(), network).unwrap();
            work()
        };
        let ended = thread::scope(|scope| scope.spawn(run).join());
        ended.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// What other programs find it by.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd())
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs `test` in a network namespace of its own, in which only the loopback device is:
/// it may have addresses, routes and rules that nobody else sees, and so does all that it
/// starts.
///
/// Panics as [`Namespace::new`] does.
pub fn in_own_network(test: impl FnOnce() + Send) {
    Namespace::new().run(test);
}

/// Runs a command such as `ip addr add 192.0.2.1/32 dev lo`, which takes root; panics when
/// it fails.
pub fn configure(command: &str) {
    let mut words = command.split_whitespace();
    let output = program(words.next().unwrap()).args(words).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let help = "networks of a test's own take root";
    assert!(output.status.success(), "{command}: {errors}{help}");
}
