//! Networks: an address and how many of its bits count.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error};

/// `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Bits behind the prefix are 0.
    base: Bits,
    prefix: u32,
}

/// An address as a number, of 32 or 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bits {
    V4(u32),
    V6(u128),
}

/// Why a text is no network.
#[derive(Debug, PartialEq, Eq)]
pub struct NotANetwork;

/// The address in a property such as `source.address`: `192.0.2.1:443`,
/// `[2001:db8::1]:443`, or without the port.
#[must_use]
pub fn address(property: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(property).ok()?;
    match text.parse::<SocketAddr>() {
        Ok(address) => Some(address.ip()),
        Err(_) => text.parse().ok(),
    }
}

impl fmt::Display for NotANetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an IP address or a network such as 192.0.2.0/24")
    }
}

impl From<IpAddr> for Bits {
    /// An IPv4 address in IPv6's form is the IPv4 address.
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6(address.to_bits()),
        }
    }
}

impl Bits {
    fn len(self) -> u32 {
        match self {
            Self::V4(_) => u32::BITS,
            Self::V6(_) => u128::BITS,
        }
    }

    /// The first `prefix` bits, and zeros.
    fn masked(self, prefix: u32) -> Self {
        match self {
            Self::V4(bits) => Self::V4(bits & !u32::MAX.checked_shr(prefix).unwrap_or(0)),
            Self::V6(bits) => Self::V6(bits & !u128::MAX.checked_shr(prefix).unwrap_or(0)),
        }
    }
}

impl Network {
    /// The lowest address that lies in it.
    #[must_use]
    pub fn first(self) -> IpAddr {
        match self.base {
            Bits::V4(bits) => IpAddr::V4(Ipv4Addr::from_bits(bits)),
            Bits::V6(bits) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        }
    }

    /// The highest one.
    #[must_use]
    pub fn last(self) -> IpAddr {
        match self.base {
            Bits::V4(bits) => {
                let rest = u32::MAX.checked_shr(self.prefix).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(bits | rest))
            }
            Bits::V6(bits) => {
                let rest = u128::MAX.checked_shr(self.prefix).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(bits | rest))
            }
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address = Bits::from(address.parse::<IpAddr>().map_err(|_| NotANetwork)?);
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| NotANetwork)?,
            None => address.len(),
        };
        if prefix > address.len() {
            return Err(NotANetwork);
        }
        let base = address.masked(prefix);
        Ok(Self { base, prefix })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        let network: Network = network.parse().unwrap();
        let address: IpAddr = address.parse().unwrap();
        (network.first()..=network.last()).contains(&address)
    }

    #[test]
    fn prefix_says_how_many_bits_count() {
        assert!(contains("192.0.2.0/24", "192.0.2.255"));
        assert!(!contains("192.0.2.0/24", "192.0.3.0"));
        assert!(contains("192.0.2.130/25", "192.0.2.128"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!contains("2001:db8::/32", "2001:db9::"));
    }

    #[test]
    fn a_network_has_a_first_and_a_last_address() {
        for (text, first, last) in [
            ("192.0.2.9/24", "192.0.2.0", "192.0.2.255"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
            ("2001:db8::/126", "2001:db8::", "2001:db8::3"),
            ("::1", "::1", "::1"),
        ] {
            let network: Network = text.parse().unwrap();
            let [first, last] = [first, last].map(|address| address.parse().unwrap());
            assert_eq!((network.first(), network.last()), (first, last), "{text}");
        }
    }

    #[test]
    fn without_a_prefix_it_is_one_address() {
        assert!(contains("192.0.2.1", "192.0.2.1"));
        assert!(!contains("192.0.2.1", "192.0.2.2"));
        assert!(contains("::1", "::1"));
    }

    #[test]
    fn prefix_zero_is_every_address_of_its_kind() {
        assert!(contains("0.0.0.0/0", "203.0.113.9"));
        assert!(contains("::/0", "2001:db8::1"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(!contains("::/0", "203.0.113.9"));
    }

    #[test]
    fn the_port_of_an_address_does_not_matter() {
        for text in ["192.0.2.1:443", "192.0.2.1"] {
            assert_eq!(address(text.as_bytes()), "192.0.2.1".parse().ok());
        }
        assert_eq!(address(b"[2001:db8::1]:443"), "2001:db8::1".parse().ok());
        assert_eq!(address(b"/run/socket"), None);
        assert_eq!(address(b"\xff"), None);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "x",
            "192.0.2.0/33",
            "::/129",
            "192.0.2.0/",
            "192.0.2.0/-1",
            "1.2.3",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork), "{text}");
        }
    }
}
