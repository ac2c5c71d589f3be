//! Addresses of the loopback network that no other test gets, also none that asks for
//! a port that is free.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

static ADDRESSES: AtomicU8 = AtomicU8::new(1);

/// An address that nobody else has been given, with all of its ports.
pub fn own_ip() -> Ipv4Addr {
    let number = ADDRESSES.fetch_add(1, Ordering::SeqCst);
    assert_ne!(number, 0, "more than 255 addresses in a process");
    // Other test processes may run at the same time.
    let [low, high, ..] = std::process::id().to_le_bytes();
    Ipv4Addr::new(127, 1 + low % 200, high, number)
}

/// Where connections are refused.
pub fn nobody() -> SocketAddr {
    SocketAddr::from((own_ip(), 9))
}
