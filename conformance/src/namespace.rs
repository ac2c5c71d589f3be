//! A network of a test's own.

use std::fs::File;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::program::program;

/// Makes names of namespaces differ.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// Runs `test` in a network namespace of its own, in which only the loopback device is:
/// it may have addresses, routes and rules that nobody else sees, and so does all that it
/// starts. The namespace goes with the last of that.
///
/// Panics when this user may not make one, which takes root: a test that cannot run must
/// say so.
pub fn in_own_network(test: impl FnOnce() + Send) {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("weir-test-{}-{number}", process::id());
    configure(&format!("ip netns add {name}"));
    let namespace = File::open(format!("/run/netns/{name}")).unwrap();
    // It is there as long as somebody is in it.
    configure(&format!("ip netns delete {name}"));
    let run = || {
        let network = ThreadNameSpaceType::NETWORK;
        move_into_thread_name_spaces(namespace.as_fd(), network).unwrap();
        configure("ip link set lo up");
        test();
    };
    thread::scope(|scope| {
        if let Err(panic) = scope.spawn(run).join() {
            resume_unwind(panic);
        }
    });
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
