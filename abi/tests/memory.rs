//! What the process gets back from a failed VM. Alone in its binary: the memory
//! of other tests would be counted too.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports
)]

#[path = "guests/guest.rs"]
mod guest;
#[path = "guests/signatures.rs"]
mod signatures;
#[path = "guests/world/mod.rs"]
mod world;

use guest::Guest;
use world::Rig;

const MIB: usize = 1 << 20;

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

#[test]
fn the_memory_of_a_failed_vm_goes_back_at_once() {
    let guest = Guest::new()
        .memory(r#"(memory (export "memory") 4)"#)
        .on(
            "proxy_on_request_headers",
            "(drop (memory.grow (i32.const 1024)))
             (memory.fill (i32.const 131072) (i32.const 1) (i32.const 0x4000000))",
        )
        .on("proxy_on_response_headers", "trap");
    let rig = Rig::new(&guest);
    let before = resident();
    rig.request_headers();
    assert_eq!(rig.vm.memory_size(), 64 * MIB + 4 * 65_536);
    assert!(resident() > before + 60 * MIB);
    assert!(rig.vm.on_response_headers(rig.context, false).is_err());
    assert!(resident() < before + 8 * MIB);
}
