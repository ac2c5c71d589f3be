//! The side that takes the records of all senders.

use log::info;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{Bytes, MetricType};

/// Where the number of the last record is kept, for whichever worker receives.
const NUMBER: &str = "audit/number";

pub(crate) struct Receiver {
    /// None if the host has no queues: the SDK ends the VM before that.
    queue: Option<u32>,
    records: Option<u32>,
}

impl Receiver {
    pub(crate) fn new(queue: &str) -> Self {
        let records = hostcalls::define_metric(MetricType::Counter, "audit_records");
        Self {
            queue: hostcalls::register_shared_queue(queue).ok(),
            records: records.ok(),
        }
    }

    /// Takes all that is there: what came for a receiver that has failed is
    /// announced to nobody else.
    pub(crate) fn receive(&self) {
        let Some(queue) = self.queue else {
            return;
        };
        while let Ok(Some(record)) = hostcalls::dequeue_shared_queue(queue) {
            let number = next_number();
            info!("audit {number} {}", String::from_utf8_lossy(&record));
            if let Some(records) = self.records {
                // It was defined, and counters can be added to.
                let _ = hostcalls::increment_metric(records, 1);
            }
        }
    }
}

/// Counts up, starting with 1.
fn next_number() -> u64 {
    let (stored, cas) = hostcalls::get_shared_data(NUMBER).unwrap_or_default();
    let number = last(stored) + 1;
    // Only one receives at a time; after a change of receivers, whoever comes
    // second repeats a number rather than wait.
    let _ = hostcalls::set_shared_data(NUMBER, Some(&number.to_le_bytes()), cas);
    number
}

fn last(stored: Option<Bytes>) -> u64 {
    let bytes = stored.and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_from_what_is_stored() {
        assert_eq!(last(None), 0);
        assert_eq!(last(Some(7_u64.to_le_bytes().to_vec())), 7);
        assert_eq!(last(Some(b"junk".to_vec())), 0);
    }
}
