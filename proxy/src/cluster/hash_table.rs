//! Tables in which a request's hash finds its endpoint: Ketama's ring and Maglev's
//! table, filled as Envoy fills them, so that both choose alike.

use twox_hash::XxHash64;
use weir_config::{Maglev, RingHash};

/// The hash of bytes, as Envoy has it.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    hash_from(0, bytes)
}

/// The same, going on from another hash.
pub(crate) fn hash_from(seed: u64, bytes: &[u8]) -> u64 {
    XxHash64::oneshot(seed, bytes)
}

/// What goes into a table: the name that it is hashed by, and its weight.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) key: String,
    pub(super) weight: u32,
}

/// A table of places among endpoints.
#[derive(Debug)]
pub(super) enum HashTable {
    /// Points on a ring, ascending.
    Ring(Vec<(u64, u32)>),
    Maglev(Vec<u32>),
}

impl HashTable {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )] // Sizes are up to 8M.
    pub(super) fn ring(items: &[Item], options: RingHash) -> Self {
        let weights = normalized(items);
        let least = weights.iter().copied().fold(1.0, f64::min);
        // So many points that the lightest has a whole number of them.
        let scale = (least * f64::from(options.minimum_ring_size)).ceil() / least;
        let scale = scale.min(f64::from(options.maximum_ring_size));
        let mut ring = Vec::with_capacity(scale.ceil() as usize);
        let mut wanted = 0.0;
        for ((place, item), weight) in (0_u32..).zip(items).zip(weights) {
            wanted += scale * weight;
            let mut number = 0;
            while (ring.len() as f64) < wanted {
                let key = format!("{}_{number}", item.key);
                ring.push((hash(key.as_bytes()), place));
                number += 1;
            }
        }
        ring.sort_unstable();
        Self::Ring(ring)
    }

    #[allow(clippy::cast_possible_truncation)] // Sizes are up to 5M.
    pub(super) fn maglev(items: &[Item], options: Maglev) -> Self {
        let size = u64::from(options.table_size);
        let weights = normalized(items);
        let heaviest = weights.iter().copied().fold(0.0, f64::max);
        let mut walkers: Vec<_> = items
            .iter()
            .zip(weights)
            .map(|(item, weight)| Walker {
                at: hash(item.key.as_bytes()) % size,
                step: hash_from(1, item.key.as_bytes()) % (size - 1) + 1,
                weight,
                target: 0.0,
            })
            .collect();
        let mut table = vec![u32::MAX; size as usize];
        let mut empty = if items.is_empty() { 0 } else { table.len() };
        let mut round = 1.0;
        while empty > 0 {
            for (place, walker) in (0_u32..).zip(&mut walkers) {
                // One with a third of the heaviest's weight takes its turn every third
                // round.
                if round * walker.weight < walker.target {
                    continue;
                }
                walker.target += heaviest;
                while table[walker.at as usize] != u32::MAX {
                    walker.at = (walker.at + walker.step) % size;
                }
                table[walker.at as usize] = place;
                empty -= 1;
                if empty == 0 {
                    break;
                }
            }
            round += 1.0;
        }
        if items.is_empty() {
            table.clear();
        }
        Self::Maglev(table)
    }

    /// The place of the endpoint that a hash finds, or another one with each further
    /// attempt, mostly.
    pub(super) fn find(&self, hash: u64, attempt: usize) -> Option<usize> {
        let place = match self {
            Self::Ring(ring) => {
                let at = ring.partition_point(|(point, _)| *point < hash);
                ring.get((at + attempt).checked_rem(ring.len())?)?.1
            }
            Self::Maglev(table) => {
                let hash = match attempt as u64 {
                    0 => hash,
                    attempt => hash ^ (u64::MAX - (attempt - 1)),
                };
                let at = hash.checked_rem(table.len() as u64)?;
                *table.get(usize::try_from(at).ok()?)?
            }
        };
        Some(place as usize)
    }
}

/// An endpoint on its way through Maglev's table.
struct Walker {
    at: u64,
    step: u64,
    weight: f64,
    target: f64,
}

/// Weights that sum up to 1.
fn normalized(items: &[Item]) -> Vec<f64> {
    let sum: f64 = items.iter().map(|item| f64::from(item.weight)).sum();
    items
        .iter()
        .map(|item| f64::from(item.weight) / sum)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(count: u16, weight: impl Fn(u16) -> u32) -> Vec<Item> {
        let item = |n: u16| Item {
            key: format!("127.0.0.1:{}", 9000 + n),
            weight: weight(n),
        };
        (0..count).map(item).collect()
    }

    fn tables(items: &[Item]) -> [HashTable; 2] {
        [
            HashTable::ring(items, RingHash::default()),
            HashTable::maglev(items, Maglev::default()),
        ]
    }

    fn counts(table: &HashTable, places: usize) -> Vec<usize> {
        let mut counts = vec![0; places];
        for n in 0..20_000_u32 {
            counts[table.find(hash(&n.to_be_bytes()), 0).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn requests_are_divided_by_weight() {
        for table in tables(&items(3, |n| if n == 0 { 2 } else { 1 })) {
            let counts = counts(&table, 3);
            assert!((8_500..11_500).contains(&counts[0]), "{counts:?}");
            assert!((4_000..6_000).contains(&counts[1]), "{counts:?}");
        }
    }

    #[test]
    fn few_requests_move_when_an_endpoint_goes() {
        let all = items(10, |_| 1);
        for (before, after) in tables(&all).iter().zip(tables(&all[..9])) {
            let moved = (0..20_000_u32).filter(|n| {
                let hash = hash(&n.to_be_bytes());
                let was = before.find(hash, 0).unwrap();
                was != 9 && after.find(hash, 0).unwrap() != was
            });
            // The ring keeps its size, so that others get the points of who has gone,
            // and as many more; a hash by division would move nine of ten.
            let moved = moved.count();
            assert!(moved < 2_500, "{moved}");
        }
    }

    #[test]
    fn another_attempt_finds_another_endpoint_mostly() {
        for table in tables(&items(5, |_| 1)) {
            let other = (0..1_000_u32).filter(|n| {
                let hash = hash(&n.to_be_bytes());
                table.find(hash, 0) != table.find(hash, 1)
            });
            assert!(other.count() > 600);
        }
    }

    #[test]
    fn without_endpoints_nothing_is_found() {
        for table in tables(&[]) {
            assert_eq!(table.find(7, 0), None);
        }
    }

    #[test]
    fn the_ring_has_the_points_that_envoy_gives_it() {
        // Its first three (Envoy, `ring_hash_lb_test.cc`).
        assert_eq!(hash(b"127.0.0.1:94_1"), 833_437_586_790_550_860);
        assert_eq!(hash(b"127.0.0.1:92_0"), 928_266_305_478_181_108);
        assert_eq!(hash(b"127.0.0.1:90_1"), 1_033_482_794_131_418_490);
    }
}
