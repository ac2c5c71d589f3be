//! From where connections to endpoints are made.

use std::net::{IpAddr, SocketAddr};

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`bind`",
    keys: &[
        ("addresses", "[127.0.0.6]"),
        ("freebind", "true"),
        ("mark", "1337"),
    ],
    not_yet: &[],
    hints: &[],
};

/// `bind`: from where connections to endpoints are made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bind {
    /// `addresses`: IP addresses, or one with a port as well; for an endpoint, the first
    /// of its family, or else the first. Default: as the system chooses.
    pub addresses: Vec<SocketAddr>,
    /// `freebind`: whether they need not be this machine's. Default: false.
    pub freebind: bool,
    /// `mark`: the mark of packets, for routes and rules of the system; 0 is none; needs
    /// `CAP_NET_ADMIN`. Default: 0.
    pub mark: u32,
}

impl Bind {
    /// From where to connect to `address`, if that is said.
    pub fn address_for(&self, address: SocketAddr) -> Option<SocketAddr> {
        let fits = |own: &&SocketAddr| own.is_ipv4() == address.is_ipv4();
        let all = &self.addresses;
        all.iter().find(fits).or(all.first()).copied()
    }
}

impl FromYaml for Bind {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let texts: Vec<Spanned<String>> = fields.optional("addresses").unwrap_or_default();
        let mut addresses = Vec::new();
        for text in &texts {
            let ip = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
            match ip.or_else(|_| text.parse()) {
                Ok(address) => addresses.push(address),
                Err(_) => {
                    let message = format!("`{}` is not an IP address", text.value);
                    let problem = Problem::new(text.span, message);
                    fields
                        .problems
                        .push(problem.help("for example `127.0.0.6`"));
                }
            }
        }
        Self {
            addresses,
            freebind: fields.optional("freebind").unwrap_or(false),
            mark: fields.optional("mark").unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_family_goes_first() {
        let [v4, v6]: [SocketAddr; 2] =
            ["127.0.0.6:0", "[::6]:0"].map(|text| text.parse().unwrap());
        let endpoint = "[fd00::1]:80".parse().unwrap();
        let bind = |addresses: &[SocketAddr]| Bind {
            addresses: addresses.to_vec(),
            ..Bind::default()
        };
        assert_eq!(bind(&[v4, v6]).address_for(endpoint), Some(v6));
        assert_eq!(bind(&[v4]).address_for(endpoint), Some(v4));
        assert_eq!(bind(&[]).address_for(endpoint), None);
    }
}
