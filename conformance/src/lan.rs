//! [`Lan`]: machines of a test's own that reach each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::namespace::{Namespace, configure};

/// The network: what its addresses begin with.
const IPV4: [u8; 3] = [10, 77, 0];
const IPV6: u16 = 0xfd77;

/// A network to which machines are connected by a switch. Nothing else reaches it.
pub struct Lan {
    switch: Namespace,
    hosts: AtomicU8,
}

/// A machine: a network namespace with the device `eth0`, to which everything goes that
/// is not its own.
#[derive(Clone)]
pub struct Host {
    namespace: Arc<Namespace>,
    pub ipv4: Ipv4Addr,
    pub ipv6: Ipv6Addr,
}

impl Lan {
    /// Panics as [`Namespace::new`] does.
    #[must_use]
    pub fn new() -> Self {
        let switch = Namespace::new();
        switch.run(|| {
            configure("ip link add switch type bridge");
            configure("ip link set switch up");
        });
        Self {
            switch,
            hosts: AtomicU8::new(0),
        }
    }

    /// One more machine.
    pub fn host(&self) -> Host {
        // The first address is nobody's.
        let number = self.hosts.fetch_add(1, Ordering::Relaxed) + 2;
        let [a, b, c] = IPV4;
        let host = Host {
            namespace: Arc::new(Namespace::new()),
            ipv4: Ipv4Addr::new(a, b, c, number),
            ipv6: Ipv6Addr::new(IPV6, 0, 0, 0, 0, 0, 0, number.into()),
        };
        let (port, there) = (format!("port{number}"), host.namespace.path());
        self.switch.run(|| {
            configure(&format!(
                "ip link add {port} type veth peer name eth0 netns {there}"
            ));
            configure(&format!("ip link set {port} master switch up"));
        });
        for command in [
            "ip link set eth0 up".to_owned(),
            format!("ip addr add {}/24 dev eth0", host.ipv4),
            format!("ip addr add {}/64 dev eth0 nodad", host.ipv6),
            "ip -4 route add default dev eth0".to_owned(),
            "ip -6 route add default dev eth0".to_owned(),
        ] {
            host.configure(&command);
        }
        host
    }
}

impl Default for Lan {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// Runs `work`, and what it starts, on the machine.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.run(work)
    }

    /// [`configure`], on the machine.
    pub fn configure(&self, command: &str) {
        self.run(|| configure(command));
    }

    /// Its address of the family of `other`.
    pub fn ip_like(&self, other: IpAddr) -> IpAddr {
        match other {
            IpAddr::V4(_) => self.ipv4.into(),
            IpAddr::V6(_) => self.ipv6.into(),
        }
    }
}
