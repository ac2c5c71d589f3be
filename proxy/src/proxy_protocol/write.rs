//! Writes headers, as Envoy does (`proxy_protocol_header.cc`).

use std::net::{IpAddr, SocketAddr};

use weir_config::{Address, ProxyProtocolVersion};

use super::{Ends, Originator, V1_PREFIX, V2_LOCAL, V2_PREFIX, V2_PROXY, V2_TCP4, V2_TCP6};

/// The header of a connection that goes from `local` to `remote`.
pub(crate) fn header(
    version: ProxyProtocolVersion,
    originator: &Originator,
    local: Option<&Address>,
    remote: &Address,
) -> Vec<u8> {
    match (version, originator) {
        (ProxyProtocolVersion::V1, Originator::Client(ends)) => v1(Some(ends)),
        (ProxyProtocolVersion::V1, Originator::Unknown) => v1(None),
        (ProxyProtocolVersion::V1, Originator::Proxy) => {
            let local = local.and_then(Address::inet);
            let own = local.zip(remote.inet()).map(|(client, destination)| Ends {
                client,
                destination,
            });
            v1(own.as_ref())
        }
        (ProxyProtocolVersion::V2, Originator::Client(ends)) => v2(ends),
        (ProxyProtocolVersion::V2, Originator::Unknown | Originator::Proxy) => {
            [V2_PREFIX, &[V2_LOCAL, 0, 0, 0]].concat()
        }
    }
}

fn v1(ends: Option<&Ends>) -> Vec<u8> {
    let mut header = V1_PREFIX.to_vec();
    let rest = match ends {
        Some(ends) => {
            let (client, destination) = alike(ends);
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            format!(
                "{family} {} {} {} {}\r\n",
                client.ip(),
                destination.ip(),
                client.port(),
                destination.port()
            )
        }
        None => "UNKNOWN\r\n".to_owned(),
    };
    header.extend_from_slice(rest.as_bytes());
    header
}

fn v2(ends: &Ends) -> Vec<u8> {
    let (client, destination) = alike(ends);
    let mut addresses = Vec::with_capacity(36);
    for end in [client, destination] {
        match end.ip() {
            IpAddr::V4(ip) => addresses.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => addresses.extend_from_slice(&ip.octets()),
        }
    }
    for end in [client, destination] {
        addresses.extend_from_slice(&end.port().to_be_bytes());
    }
    let (family, length) = match client {
        SocketAddr::V4(_) => (V2_TCP4, 12),
        SocketAddr::V6(_) => (V2_TCP6, 36),
    };
    [V2_PREFIX, &[V2_PROXY, family, 0, length], &addresses].concat()
}

/// Both ends in one family: as IPv4 if they are that, whatever the socket has made of
/// them.
fn alike(ends: &Ends) -> (SocketAddr, SocketAddr) {
    let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let (client, destination) = (canonical(ends.client), canonical(ends.destination));
    if client.is_ipv4() == destination.is_ipv4() {
        return (client, destination);
    }
    let mapped = |end: SocketAddr| match end.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    };
    (mapped(client), mapped(destination))
}

#[cfg(test)]
mod tests {
    use weir_config::ProxyProtocolVersion::{V1, V2};

    use super::super::read::parse;
    use super::*;

    fn ends(client: &str, destination: &str) -> Ends {
        Ends {
            client: client.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    fn written(version: ProxyProtocolVersion, originator: Originator) -> Vec<u8> {
        let local = Address::of_written("192.0.2.9:5000");
        let remote = Address::of_written("192.0.2.8:80").unwrap();
        header(version, &originator, local.as_ref(), &remote)
    }

    #[test]
    fn what_is_written_is_read_again() {
        for ends in [
            ends("192.0.2.1:1025", "192.0.2.2:80"),
            ends("[2001:db8::1]:1025", "[2001:db8::2]:80"),
        ] {
            for version in [V1, V2] {
                let header = written(version, Originator::Client(ends));
                assert_eq!(parse(&header).unwrap(), Some(ends));
            }
        }
    }

    #[test]
    fn addresses_are_of_one_family() {
        let mixed = ends("[::ffff:192.0.2.1]:1", "[2001:db8::2]:80");
        let line = b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 80\r\n";
        assert_eq!(written(V1, Originator::Client(mixed)), line);
        let mapped = ends("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:80");
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n";
        assert_eq!(written(V1, Originator::Client(mapped)), line);
        assert_eq!(written(V2, Originator::Client(mapped))[13], V2_TCP4);
    }

    #[test]
    fn connections_of_the_proxy_itself_are_marked() {
        let line = b"PROXY TCP4 192.0.2.9 192.0.2.8 5000 80\r\n";
        assert_eq!(written(V1, Originator::Proxy), line);
        assert_eq!(written(V1, Originator::Unknown), b"PROXY UNKNOWN\r\n");
        for originator in [Originator::Proxy, Originator::Unknown] {
            assert_eq!(parse(&written(V2, originator)).unwrap(), None);
        }
    }
}
