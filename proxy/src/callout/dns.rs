//! Names that filters look up.

use std::net::SocketAddr;

use weir_abi::DnsAddress;
use weir_config::DnsLookupFamily;

use crate::dns::Resolver;

/// The addresses of a name, as the system's name servers know them; none when they do
/// not.
pub(super) async fn look_up(name: &str) -> Vec<DnsAddress> {
    let resolver = Resolver::default();
    match resolver.look_up(name, DnsLookupFamily::Auto).await {
        Ok(answer) => {
            let ttl = answer.ttl;
            let addresses = answer.addresses.into_iter();
            addresses
                .map(|ip| DnsAddress {
                    address: SocketAddr::new(ip, 0),
                    ttl,
                })
                .collect()
        }
        Err(error) => {
            tracing::debug!("cannot resolve {name}: {error}");
            Vec::new()
        }
    }
}
