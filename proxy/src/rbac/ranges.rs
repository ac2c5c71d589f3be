//! [`Ranges`]: addresses of many ranges at once.

use std::collections::HashSet;
use std::net::IpAddr;

use weir_config::{Address, Cidr};

/// Ranges of addresses. However many they are, an address is looked for once for each
/// length of a prefix that there is.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    all: HashSet<Cidr>,
    /// Lengths of prefixes, of IPv4 and of IPv6.
    lengths: [Vec<u8>; 2],
}

impl Ranges {
    pub(super) fn contain(&self, address: &Address) -> bool {
        address.ip().is_some_and(|address| self.contain_ip(address))
    }

    pub(super) fn contain_ip(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let lengths = &self.lengths[usize::from(address.is_ipv6())];
        lengths
            .iter()
            .filter_map(|bits| Cidr::new(address, *bits))
            .any(|range| self.all.contains(&range))
    }

    /// Adds those of others.
    pub(super) fn extend(&mut self, others: Self) {
        others.all.into_iter().for_each(|range| self.add(range));
    }

    fn add(&mut self, range: Cidr) {
        let lengths = &mut self.lengths[usize::from(range.is_ipv6())];
        if !lengths.contains(&range.bits()) {
            lengths.push(range.bits());
        }
        self.all.insert(range);
    }
}

impl FromIterator<Cidr> for Ranges {
    fn from_iter<I: IntoIterator<Item = Cidr>>(ranges: I) -> Self {
        let mut all = Self::default();
        ranges.into_iter().for_each(|range| all.add(range));
        all
    }
}
