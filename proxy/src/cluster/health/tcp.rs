//! Health checks by a connection, and bytes on it.

use std::io;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_config::{Address, TcpHealthCheck};

use super::Verdict;
use crate::cluster::Account;
use crate::cluster::spec::ClusterSpec;
use crate::limits::HEALTH_CHECK_BODY_BYTES;

/// Asks an endpoint by TCP.
pub(super) async fn check(
    check: &TcpHealthCheck,
    cluster: &ClusterSpec,
    address: &Address,
) -> Verdict {
    match talk(check, cluster, address).await {
        Ok(verdict) => verdict,
        Err(error) => Verdict::Network(error.to_string()),
    }
}

async fn talk(
    check: &TcpHealthCheck,
    cluster: &ClusterSpec,
    address: &Address,
) -> io::Result<Verdict> {
    let mut connection = cluster.connect(address, &Account::OWN).await?;
    connection.write_all(&check.send).await?;
    if check.receive.is_empty() {
        return Ok(Verdict::Healthy);
    }
    let mut received = Vec::new();
    while !contains(&received, &check.receive) {
        if received.len() > HEALTH_CHECK_BODY_BYTES {
            let why = "what was to come is not in what came";
            return Ok(Verdict::Network(why.to_owned()));
        }
        if connection.read_buf(&mut received).await? == 0 {
            let why = "the endpoint closed the connection";
            return Ok(Verdict::Network(why.to_owned()));
        }
    }
    Ok(Verdict::Healthy)
}

/// Whether all blocks are there, in this order.
fn contains(mut received: &[u8], blocks: &[Vec<u8>]) -> bool {
    blocks.iter().all(|block| {
        let found = memmem::find(received, block);
        received = found.map_or(received, |at| &received[at + block.len()..]);
        found.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_in_order_with_anything_in_between() {
        let blocks = [b"one".to_vec(), b"two".to_vec()];
        assert!(contains(b"+one..two+", &blocks));
        assert!(!contains(b"two one", &blocks));
        assert!(!contains(b"one tw", &blocks));
        assert!(contains(b"", &[]));
    }
}
