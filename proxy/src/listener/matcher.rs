//! [`ChainMatcher`]: which filter chain a connection is for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_config::{Address, Cidr, FilterChainMatch, Listener, SourceType, TransportProtocol};

use super::Inspected;

/// Finds the filter chain of a connection as Envoy does (`filter_chain_manager_impl.cc`):
/// by one condition after the other, each of which leaves the chains that say the most
/// specific thing that fits. What one has excluded does not come back.
#[derive(Debug, Default)]
pub(crate) struct ChainMatcher {
    matches: Vec<FilterChainMatch>,
    /// The place of the chain for all that none of the others is for.
    default: Option<usize>,
}

/// What is known of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) destination: &'a Address,
    pub(crate) source: &'a Address,
    /// The peer, whatever a proxy in front says.
    pub(crate) direct_source: &'a Address,
    pub(crate) inspected: &'a Inspected,
}

/// How specific what a chain says is, if it fits; 0 if it says nothing. Chains of one
/// rank say the same.
type Rank = Option<usize>;

impl ChainMatcher {
    pub(crate) fn of(listener: &Listener) -> Self {
        let chains = &listener.filter_chains;
        Self {
            matches: chains.iter().map(|chain| chain.matches.clone()).collect(),
            default: listener.default_chain().map(|_| chains.len()),
        }
    }

    /// The chain that takes every connection, if there is no other.
    pub(crate) fn only(&self) -> Option<usize> {
        match self.matches.as_slice() {
            [] => self.default,
            [only] if *only == FilterChainMatch::default() => Some(0),
            _ => None,
        }
    }

    /// The place of the chain for a connection.
    pub(crate) fn find(&self, asked: &Asked<'_>) -> Option<usize> {
        self.only()
            .or_else(|| self.specific(asked))
            .or(self.default)
    }

    fn specific(&self, asked: &Asked<'_>) -> Option<usize> {
        let (destination, source) = (asked.destination, asked.source);
        let ip = |address: &Address| address.ip().map(|ip| ip.to_canonical());
        let (destination_ip, source_ip) = (ip(destination), ip(source));
        let direct = ip(asked.direct_source);
        // Other addresses of the loopback device are none of Envoy's.
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        // A Unix socket is as near.
        let is_loopback = source_ip.is_none_or(|ip| loopback.contains(&ip));
        let is_local = is_loopback || source_ip == destination_ip;
        let inspected = asked.inspected;
        let mut left: Vec<_> = self.matches.iter().enumerate().collect();
        let mut narrow = |rank: &dyn Fn(&FilterChainMatch) -> Rank| {
            let best = left.iter().filter_map(|(_, chain)| rank(chain)).max();
            left.retain(|(_, chain)| best.is_some() && rank(chain) == best);
        };
        narrow(&|chain| {
            exact(chain.destination_port, |port| {
                destination.port() == Some(port)
            })
        });
        narrow(&|chain| longest_prefix(&chain.prefix_ranges, destination_ip));
        narrow(&|chain| server_name(&chain.server_names, &inspected.server_name));
        narrow(&|chain| {
            exact(chain.transport_protocol, |protocol| {
                (protocol == TransportProtocol::Tls) == inspected.is_tls
            })
        });
        narrow(&|chain| protocol(&chain.application_protocols, &inspected.protocols));
        narrow(&|chain| longest_prefix(&chain.direct_source_prefix_ranges, direct));
        narrow(&|chain| match chain.source_type {
            SourceType::Any => Some(0),
            SourceType::SameIpOrLoopback => is_local.then_some(1),
            SourceType::External => (!is_local).then_some(1),
        });
        narrow(&|chain| longest_prefix(&chain.source_prefix_ranges, source_ip));
        narrow(&|chain| match chain.source_ports.as_slice() {
            [] => Some(0),
            ports => ports.contains(&source.port()?).then_some(1),
        });
        left.first().map(|(place, _)| *place)
    }
}

fn exact<T>(wanted: Option<T>, is: impl Fn(T) -> bool) -> Rank {
    match wanted {
        Some(wanted) => is(wanted).then_some(1),
        None => Some(0),
    }
}

/// A prefix of no bits is more than nothing.
fn longest_prefix(ranges: &[Cidr], address: Option<IpAddr>) -> Rank {
    if ranges.is_empty() {
        return Some(0);
    }
    let address = address?;
    let fitting = ranges.iter().filter(|range| range.contains(address));
    fitting.map(|range| usize::from(range.bits()) + 1).max()
}

fn server_name(names: &[String], asked: &str) -> Rank {
    if names.is_empty() {
        return Some(0);
    }
    let rank = |name: &String| match name.strip_prefix('*') {
        Some(suffix) => {
            (asked.len() > suffix.len() && asked.ends_with(suffix)).then_some(suffix.len())
        }
        None => (name == asked).then_some(usize::MAX),
    };
    names.iter().filter_map(rank).max()
}

/// The client's first protocol that any chain wants decides.
fn protocol(names: &[String], offered: &[String]) -> Rank {
    if names.is_empty() {
        return Some(0);
    }
    let first = offered.iter().position(|name| names.contains(name));
    first.map(|place| offered.len() - place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGE: &str = "\
listeners:
- name: edge
  address: 127.0.0.1:0
  filter_chains:
";

    fn matcher(chains: &[&str]) -> ChainMatcher {
        let chains = chains
            .iter()
            .map(|chain| format!("  - {{ match: {{ {chain} }} }}\n"));
        let text = EDGE.to_owned() + &chains.collect::<String>();
        let config = weir_config::parse("weir.yaml", &text).unwrap();
        ChainMatcher::of(&config.listeners[0])
    }

    /// What [`Asked`] refers to: destination, source, and who has connected.
    fn ends(texts: [&str; 3]) -> [Address; 3] {
        texts.map(|text| Address::of_written(text).unwrap())
    }

    fn from_afar() -> [Address; 3] {
        ends(["10.1.2.3:443", "192.0.2.7:5000", "198.51.100.1:1"])
    }

    fn asked<'a>(
        [destination, source, direct_source]: &'a [Address; 3],
        inspected: &'a Inspected,
    ) -> Asked<'a> {
        Asked {
            destination,
            source,
            direct_source,
            inspected,
        }
    }

    fn tls(server_name: &str, protocols: &[&str]) -> Inspected {
        Inspected {
            is_tls: true,
            server_name: server_name.to_owned(),
            protocols: protocols.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn each_condition_decides_before_the_next() {
        let hello = tls("a.shop.example", &["h2", "http/1.1"]);
        let ends = from_afar();
        let asked = asked(&ends, &hello);
        for chains in [
            ["destination_port: 443", "prefix_ranges: [10.1.2.3]"],
            [
                "prefix_ranges: [0.0.0.0/0]",
                "server_names: [a.shop.example]",
            ],
            ["server_names: [\"*.example\"]", "transport_protocol: tls"],
            ["transport_protocol: tls", "application_protocols: [h2]"],
            [
                "application_protocols: [http/1.1]",
                "direct_source_prefix_ranges: [198.51.100.1]",
            ],
            [
                "direct_source_prefix_ranges: [0.0.0.0/0]",
                "source_type: external",
            ],
            ["source_type: external", "source_prefix_ranges: [192.0.2.7]"],
            ["source_prefix_ranges: [0.0.0.0/0]", "source_ports: [5000]"],
        ] {
            assert_eq!(matcher(&chains).find(&asked), Some(0), "{chains:?}");
            let [first, second] = chains;
            let reversed = matcher(&[second, first]);
            assert_eq!(reversed.find(&asked), Some(1), "{chains:?}");
        }
    }

    #[test]
    fn what_says_the_most_goes_first() {
        let hello = tls("a.shop.example", &["h2", "http/1.1"]);
        let ends = from_afar();
        let asked = asked(&ends, &hello);
        for (general, special) in [
            (
                "prefix_ranges: [10.0.0.0/8]",
                "prefix_ranges: [10.1.0.0/16]",
            ),
            (
                "server_names: [\"*.example\"]",
                "server_names: [\"*.shop.example\"]",
            ),
            (
                "server_names: [\"*.shop.example\"]",
                "server_names: [A.shop.example]",
            ),
            (
                "application_protocols: [http/1.1]",
                "application_protocols: [h2]",
            ),
            (
                "source_prefix_ranges: [\"0.0.0.0/0\"]",
                "source_prefix_ranges: [192.0.2.0/24]",
            ),
        ] {
            assert_eq!(matcher(&[general, special, ""]).find(&asked), Some(1));
            assert_eq!(matcher(&[special, general, ""]).find(&asked), Some(0));
            assert_eq!(matcher(&[general, ""]).find(&asked), Some(0));
        }
    }

    #[test]
    fn what_is_excluded_does_not_come_back() {
        let hello = tls("other.example", &[]);
        let chains = ["destination_port: 443, server_names: [shop.example]", ""];
        assert_eq!(matcher(&chains).find(&asked(&from_afar(), &hello)), None);
    }

    #[test]
    fn a_suffix_is_not_for_the_name_behind_it() {
        let only = matcher(&["server_names: [\"*.shop.example\"]"]);
        for (name, found) in [
            ("a.shop.example", Some(0)),
            ("a.b.shop.example", Some(0)),
            ("shop.example", None),
            ("workshop.example", None),
            ("", None),
        ] {
            assert_eq!(
                only.find(&asked(&from_afar(), &tls(name, &[]))),
                found,
                "{name}"
            );
        }
    }

    #[test]
    fn a_unix_socket_is_near_and_has_no_address_or_port() {
        let socket = ends(["unix:/run/edge.sock"; 3]);
        let nothing = Inspected::default();
        for condition in [
            "destination_port: 443",
            "prefix_ranges: [0.0.0.0/0]",
            "direct_source_prefix_ranges: [\"::/0\"]",
            "source_type: external",
            "source_prefix_ranges: [0.0.0.0/0]",
            "source_ports: [5000]",
        ] {
            let matcher = matcher(&[condition, "source_type: same_ip_or_loopback"]);
            assert_eq!(
                matcher.find(&asked(&socket, &nothing)),
                Some(1),
                "{condition}"
            );
        }
    }
}
