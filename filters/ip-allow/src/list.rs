//! [`List`]: networks that are looked through fast, however many there are.

use std::collections::BTreeMap;
use std::net::IpAddr;

use filter_http::Network;

/// The addresses of some networks, as ranges: sorted, and none overlaps another.
#[derive(Debug, Default)]
pub(crate) struct List {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl List {
    /// Of networks, and of the `sets` that names among them stand for.
    ///
    /// # Errors
    ///
    /// Says what is neither, and where in the list.
    pub(crate) fn new(
        items: &[String],
        sets: &BTreeMap<String, Vec<Network>>,
    ) -> Result<Self, String> {
        let mut networks = Vec::new();
        for (place, item) in items.iter().enumerate() {
            match (item.parse(), sets.get(item)) {
                (Ok(network), _) => networks.push(network),
                (Err(_), Some(set)) => networks.extend_from_slice(set),
                (Err(reason), None) => {
                    let message = format!("[{place}]: `{item}`: {reason}, or the name of a set");
                    return Err(message);
                }
            }
        }
        Ok(networks.into_iter().collect())
    }

    /// Whether some network contains the address. One of IPv4 in IPv6's form is the one of
    /// IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => within(&self.v4, address.to_bits()),
            IpAddr::V6(address) => within(&self.v6, address.to_bits()),
        }
    }
}

fn within<N: Ord + Copy>(ranges: &[(N, N)], address: N) -> bool {
    let above = ranges.partition_point(|(first, _)| *first <= address);
    above > 0 && address <= ranges[above - 1].1
}

impl FromIterator<Network> for List {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let mut list = Self::default();
        for network in networks {
            match (network.first(), network.last()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => {
                    list.v4.push((first.to_bits(), last.to_bits()));
                }
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    list.v6.push((first.to_bits(), last.to_bits()));
                }
                _ => {}
            }
        }
        merge(&mut list.v4);
        merge(&mut list.v6);
        list
    }
}

/// Sorts ranges and puts those together that overlap.
fn merge<N: Ord + Copy>(ranges: &mut Vec<(N, N)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, own| {
        let overlaps = next.0 <= own.1;
        if overlaps {
            own.1 = own.1.max(next.1);
        }
        overlaps
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Result<List, String> {
        let set = ["192.0.2.0/25", "192.0.2.64/26"].map(|n| n.parse().unwrap());
        let sets = BTreeMap::from([("docs".to_owned(), set.to_vec())]);
        let items: Vec<_> = items.iter().map(|&item| item.to_owned()).collect();
        List::new(&items, &sets)
    }

    #[test]
    fn an_address_is_in_one_of_the_networks_or_in_none() {
        let list = list(&[
            "10.0.0.0/8",
            "docs",
            "10.1.0.0/16",
            "2001:db8::/32",
            "0.0.0.0/32",
        ]);
        let list = list.unwrap();
        assert_eq!(list.v4.len(), 3);
        for (address, expected) in [
            ("10.0.0.0", true),
            ("10.1.2.3", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("192.0.2.127", true),
            ("192.0.2.128", false),
            ("::ffff:10.0.0.1", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("0.0.0.0", true),
            ("255.255.255.255", false),
            ("::ffff:192.0.2.200", false),
        ] {
            assert_eq!(
                list.contains(address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
        assert!(!List::default().contains("::1".parse().unwrap()));
    }

    #[test]
    fn what_is_neither_a_network_nor_a_set_is_refused() {
        let message = list(&["docs", "dosc"]).unwrap_err();
        assert!(
            message.starts_with("[1]: `dosc`: expected an IP address"),
            "{message}"
        );
    }
}
