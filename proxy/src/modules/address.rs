//! Which addresses a fetch may connect to.
//!
//! Whoever answers for a registry can send Weir elsewhere, with a redirect or with
//! the realm of its tokens. That must not open ways into a network that it could not
//! reach itself. So addresses are looked at where they are dialled, on every hop, and
//! not names before they are looked up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use weir_config::Endpoint;

/// From where an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// This machine only.
    Loopback,
    /// A network of one's own.
    Private,
    Public,
}

/// Services of clouds that hand out credentials to whoever asks, outside of the
/// link-local range that most of them are in: Alibaba, Azure, Oracle.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The same: AWS twice, Google, Oracle.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

/// `None` for what no module is fetched from, whoever asks for it.
fn reach(address: IpAddr) -> Option<Reach> {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(address) => reach_v4(address),
            None => reach_v6(address),
        },
    }
}

fn reach_v4(address: Ipv4Addr) -> Option<Reach> {
    let [first, second, ..] = address.octets();
    let never = first == 0
        || first >= 224 // Multicast, reserved, broadcast.
        || address.is_link_local()
        || METADATA_V4.contains(&address);
    let shared = first == 100 && (64..128).contains(&second); // RFC 6598
    let benchmark = first == 198 && matches!(second, 18 | 19); // RFC 2544
    if never {
        None
    } else if address.is_loopback() {
        Some(Reach::Loopback)
    } else if address.is_private() || shared || benchmark {
        Some(Reach::Private)
    } else {
        Some(Reach::Public)
    }
}

fn reach_v6(address: Ipv6Addr) -> Option<Reach> {
    let site_local = address.segments()[0] & 0xffc0 == 0xfec0; // RFC 3879
    if address.is_unspecified()
        || address.is_multicast()
        || address.is_unicast_link_local()
        || METADATA_V6.contains(&address)
    {
        None
    } else if address.is_loopback() {
        Some(Reach::Loopback)
    } else if address.is_unique_local() || site_local {
        Some(Reach::Private)
    } else {
        Some(Reach::Public)
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64
/// (RFC 6052, RFC 8215) or 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, high, low] = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) | (0x64, 0xff9b, 1, ..) => {
            Some(v4(high, low))
        }
        (0, 0, 0, 0, 0, 0) if high != 0 => Some(v4(high, low)),
        (0x2002, ..) => Some(v4(b, c)),
        _ => None,
    }
}

/// Looks names up, and leaves out the addresses that must not be dialled.
///
/// What the configuration names may be anywhere but where nothing is fetched from.
/// What the server there names may be no nearer than that server is.
#[derive(Debug)]
pub(super) struct Guard {
    /// Host and port of what the configuration names.
    origin: (String, u16),
    /// What is dialled in its place.
    via: Option<Vec<Endpoint>>,
    /// How far the origin is, once it has been looked up: of several addresses, the
    /// farthest, as any of them may answer.
    origin_reach: Mutex<Option<Reach>>,
}

/// What is not dialled.
#[derive(Debug, thiserror::Error)]
#[error("{host} is at {address}, where no module is fetched from{because}")]
pub(super) struct Forbidden {
    host: String,
    address: IpAddr,
    because: &'static str,
}

impl Guard {
    pub(super) fn new(origin: (String, u16), via: Option<Vec<Endpoint>>) -> Self {
        Self {
            origin,
            via,
            origin_reach: Mutex::new(None),
        }
    }

    /// Of the addresses of a host, those that may be dialled.
    fn permitted(
        &self,
        host: &str,
        port: u16,
        addresses: &[SocketAddr],
    ) -> Result<Vec<SocketAddr>, Forbidden> {
        let mut origin_reach = self
            .origin_reach
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_origin = self.origin.0.eq_ignore_ascii_case(host) && self.origin.1 == port;
        let least = if is_origin {
            Reach::Loopback
        } else {
            origin_reach.unwrap_or(Reach::Public)
        };
        let may = |address: &&SocketAddr| reach(address.ip()).is_some_and(|reach| reach >= least);
        let permitted: Vec<_> = addresses.iter().filter(may).copied().collect();
        if is_origin {
            *origin_reach = permitted.iter().filter_map(|a| reach(a.ip())).max();
        }
        match addresses.first() {
            Some(address) if permitted.is_empty() => Err(Forbidden {
                host: host.to_owned(),
                address: address.ip(),
                because: match reach(address.ip()) {
                    Some(_) => ": a server may not point to what is nearer to Weir than itself",
                    None => "",
                },
            }),
            _ => Ok(permitted),
        }
    }

    fn names(&self, host: &str, port: u16) -> Vec<(String, u16)> {
        let is_origin = self.origin.0.eq_ignore_ascii_case(host) && self.origin.1 == port;
        match &self.via {
            Some(endpoints) if is_origin => endpoints
                .iter()
                .filter_map(|endpoint| match endpoint {
                    Endpoint::Address(address) => {
                        let address = address.inet()?;
                        Some((address.ip().to_string(), address.port()))
                    }
                    Endpoint::Name { host, port } => Some((host.clone(), *port)),
                })
                .collect(),
            _ => vec![(host.to_owned(), port)],
        }
    }
}

/// Host and port of a URI; `None` if it is not one of HTTP.
pub(super) fn host_and_port(uri: &Uri) -> Option<(&str, u16)> {
    let default = match uri.scheme_str() {
        Some("https") => 443,
        Some("http") => 80,
        _ => return None,
    };
    let host = uri.host()?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    Some((host, uri.port_u16().unwrap_or(default)))
}

impl Resolver for Guard {
    fn resolve(
        &self,
        uri: &Uri,
        _: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let (host, port) = host_and_port(uri).ok_or(ureq::Error::HostNotFound)?;
        let names = self.names(host, port);
        let (found, result) = mpsc::sync_channel(1);
        // The system's resolver takes no time limit.
        thread::spawn(move || {
            let mut addresses = Vec::new();
            let mut last = None;
            for (host, port) in names {
                match (host.as_str(), port).to_socket_addrs() {
                    Ok(more) => addresses.extend(more),
                    Err(error) => last = Some(error),
                }
            }
            let result = match last {
                Some(error) if addresses.is_empty() => Err(error),
                _ => Ok(addresses),
            };
            // Who has asked may have given up.
            let _ = found.send(result);
        });
        let addresses = result
            .recv_timeout(*timeout.after)
            .map_err(|_| ureq::Error::Timeout(timeout.reason))??;
        let permitted = self
            .permitted(host, port, &addresses)
            .map_err(|forbidden| ureq::Error::Other(Box::new(forbidden)))?;
        let mut resolved = self.empty();
        // As many as there is room for.
        for address in permitted.into_iter().take(16) {
            resolved.push(address);
        }
        if resolved.is_empty() {
            return Err(ureq::Error::HostNotFound);
        }
        Ok(resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Option<Reach> {
        reach(address.parse().unwrap())
    }

    #[test]
    fn nothing_is_fetched_from_where_clouds_keep_credentials() {
        for never in [
            "169.254.169.254",
            "169.254.170.2",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "64:ff9b:1::169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "::169.254.169.254",
        ] {
            assert_eq!(at(never), None, "{never}");
        }
    }

    #[test]
    fn addresses_are_told_apart_by_who_can_reach_them() {
        for loopback in [
            "127.0.0.1",
            "127.1.2.3",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
        ] {
            assert_eq!(at(loopback), Some(Reach::Loopback), "{loopback}");
        }
        for private in [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "198.18.0.1",
            "fc00::1",
            "fd12::1",
            "fec0::1",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(at(private), Some(Reach::Private), "{private}");
        }
        for public in [
            "8.8.8.8",
            "172.32.0.1",
            "2606:4700::1111",
            "64:ff9b::808:808",
        ] {
            assert_eq!(at(public), Some(Reach::Public), "{public}");
        }
    }

    #[test]
    fn a_server_points_to_nothing_nearer_than_itself() {
        let all = [
            "127.0.0.1:1",
            "10.0.0.1:1",
            "8.8.8.8:1",
            "169.254.169.254:1",
        ];
        let all = all.map(|address| address.parse::<SocketAddr>().unwrap());
        for (origin, others) in [(0, 3), (1, 2), (2, 1)] {
            let guard = Guard::new(("r.io".to_owned(), 443), None);
            // Before the origin is known, only what anybody can reach.
            assert_eq!(guard.permitted("cdn.io", 443, &all).unwrap().len(), 1);
            assert_eq!(
                guard
                    .permitted("R.io", 443, &all[origin..=origin])
                    .unwrap()
                    .len(),
                1
            );
            assert_eq!(guard.permitted("cdn.io", 443, &all).unwrap().len(), others);
            // Another port is another server.
            assert_eq!(guard.permitted("r.io", 22, &all).unwrap().len(), others);
            assert!(guard.permitted("cdn.io", 443, &all[3..]).is_err());
        }
        // One that has a near address too leads no nearer.
        let guard = Guard::new(("r.io".to_owned(), 443), None);
        assert_eq!(guard.permitted("r.io", 443, &all).unwrap().len(), 3);
        assert_eq!(guard.permitted("cdn.io", 443, &all).unwrap().len(), 1);
        let guard = Guard::new(("r.io".to_owned(), 443), None);
        assert!(guard.permitted("r.io", 443, &all[3..]).is_err());
    }
}
