//! `10.0.0.0/8`, `fd00::/8`.

use std::fmt;
use std::net::IpAddr;

use serde_json::json;

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{FromYaml, mismatch};
use crate::schema::Shape;
use crate::yaml::Node;

/// The addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// Zero behind the prefix.
    address: IpAddr,
    bits: u8,
}

impl Cidr {
    /// The addresses that share the first `bits` with `address`; `None` if it has not
    /// so many.
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        (bits <= width(address)).then(|| Self {
            address: masked(address, bits),
            bits,
        })
    }

    /// How many bits they share.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether they are of IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.address.is_ipv6()
    }

    /// Whether `address` is among them.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.bits) == self.address
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    let behind = u32::from(width(address) - bits);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(behind).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(behind).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl FromYaml for Cidr {
    const EXPECTED: &'static str = "a range of addresses such as `10.0.0.0/8`";

    fn placeholder() -> Self {
        Self {
            address: IpAddr::from([0, 0, 0, 0]),
            bits: 0,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some(text) = node.text().filter(|text| !text.is_empty()) else {
            return mismatch(node, problems);
        };
        let range = match text.split_once('/') {
            Some((address, bits)) => address.parse().ok().zip(bits.parse().ok()),
            None => text.parse().ok().map(|address| (address, width(address))),
        };
        let range = range.and_then(|(address, bits)| Self::new(address, bits));
        range.unwrap_or_else(|| {
            let problem = Problem::new(node.span, format!("`{text}` is not a range of addresses"));
            problems.push(problem.help("for example `10.0.0.0/8` or `fd00::/8`"));
            Self::placeholder()
        })
    }

    fn shape() -> Shape {
        Shape::Is(json!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]+)?$" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_range_share_its_bits() {
        let range = |text: &str, bits| Cidr::new(text.parse().unwrap(), bits).unwrap();
        let has = |range: Cidr, text: &str| range.contains(text.parse().unwrap());
        assert_eq!(range("10.1.2.3", 8).to_string(), "10.0.0.0/8");
        assert_eq!(range("10.1.2.3", 8), range("10.0.0.0", 8));
        assert!(has(range("10.0.0.0", 8), "10.255.0.1"));
        assert!(!has(range("10.0.0.0", 8), "11.0.0.1"));
        assert!(has(range("0.0.0.0", 0), "192.0.2.1"));
        assert!(!has(range("0.0.0.0", 0), "::1"));
        assert!(has(range("::", 0), "::1"));
        assert!(has(range("192.0.2.1", 32), "192.0.2.1"));
        assert!(!has(range("2001:db8::", 32), "2001:db9::1"));
        assert!(Cidr::new("10.0.0.0".parse().unwrap(), 33).is_none());
    }
}
