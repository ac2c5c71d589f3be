//! Names that filters look up.

use std::time::Duration;

use weir_abi::DnsAddress;
use weir_config::DnsLookupFamily;

use crate::cluster::chosen;
use crate::limits::DNS_TTL;

/// The addresses of a name, as the system knows them; none when it does not.
pub(super) async fn look_up(name: &str) -> Vec<DnsAddress> {
    // An address holds for ever, which Envoy says by a 0.
    let ttl = match name.parse::<std::net::IpAddr>() {
        Ok(_) => Duration::ZERO,
        Err(_) => DNS_TTL,
    };
    match tokio::net::lookup_host((name, 0)).await {
        Ok(addresses) => {
            let addresses: Vec<_> = addresses.collect();
            let addresses = chosen(DnsLookupFamily::Auto, &addresses).into_iter();
            addresses
                .map(|address| DnsAddress { address, ttl })
                .collect()
        }
        Err(error) => {
            tracing::debug!("cannot resolve {name}: {error}");
            Vec::new()
        }
    }
}
