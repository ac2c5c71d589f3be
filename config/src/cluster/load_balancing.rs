//! Which endpoint a request goes to.

use std::time::Duration;

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, Decimal, FromYaml, words};
use crate::yaml::Node;

pub(crate) static LEAST_REQUEST_BLOCK: Block = Block {
    name: "`least_request`",
    keys: &[("choice_count", "2"), ("active_request_bias", "1.0")],
    not_yet: &[],
    hints: &[],
};

pub(crate) static RING_HASH_BLOCK: Block = Block {
    name: "`ring_hash`",
    keys: &[
        ("minimum_ring_size", "1024"),
        ("maximum_ring_size", "8388608"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static MAGLEV_BLOCK: Block = Block {
    name: "`maglev`",
    keys: &[("table_size", "65537")],
    not_yet: &[],
    hints: &[],
};

pub(crate) static SLOW_START_BLOCK: Block = Block {
    name: "`slow_start`",
    keys: &[
        ("window", "30s"),
        ("aggression", "1.0"),
        ("min_weight_percent", "10"),
    ],
    not_yet: &[],
    hints: &[(
        "slow_start_window",
        "window",
        "it is `window` here: `slow_start: { window: 30s }`",
    )],
};

/// The largest ring, as in Envoy.
pub(crate) const RING_SIZE_MAX: u32 = 8 << 20;

/// The largest table of Maglev, as in Envoy.
pub(crate) const TABLE_SIZE_MAX: u32 = 5_000_011;

/// `lb_policy`: how endpoints take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LbPolicy {
    /// `round_robin`: one after the other, by their weights.
    RoundRobin,
    /// `least_request`: of some that are chosen at random, the one with the fewest
    /// requests; by their weights, divided by their requests, if these differ.
    LeastRequest,
    /// `random`: any, whatever its weight.
    Random,
    /// `ring_hash`: the one next to the request's hash on a ring.
    RingHash,
    /// `maglev`: the one at the request's hash in a table.
    Maglev,
}

words!(LbPolicy, "a policy of load balancing",
    "round_robin" => Self::RoundRobin,
    "least_request" => Self::LeastRequest,
    "random" => Self::Random,
    "ring_hash" => Self::RingHash,
    "maglev" => Self::Maglev);

/// `least_request`: Envoy's `LeastRequestLbConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeastRequest {
    /// `choice_count`: endpoints that are compared; at least 2. Default: 2.
    pub choice_count: u32,
    /// `active_request_bias`: where weights differ, they are divided by the number
    /// of requests, plus 1, to this power. Default: 1.0.
    pub active_request_bias: Decimal,
}

impl Default for LeastRequest {
    fn default() -> Self {
        Self {
            choice_count: 2,
            active_request_bias: Decimal::ONE,
        }
    }
}

impl FromYaml for LeastRequest {
    const EXPECTED: &'static str = LEAST_REQUEST_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = LEAST_REQUEST_BLOCK.open(node, problems);
        Self {
            choice_count: fields.number_from("choice_count", 2, 2),
            active_request_bias: fields
                .optional("active_request_bias")
                .unwrap_or(Decimal::ONE),
        }
    }
}

/// `ring_hash`: Envoy's `RingHashLbConfig`, with xxHash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingHash {
    /// `minimum_ring_size`: places on the ring, at least; the more, the closer the
    /// endpoints come to their weights. Default: 1024.
    pub minimum_ring_size: u32,
    /// `maximum_ring_size`: places on the ring, at most. Default: 8388608, which
    /// is the most there can be.
    pub maximum_ring_size: u32,
}

impl Default for RingHash {
    fn default() -> Self {
        Self {
            minimum_ring_size: 1024,
            maximum_ring_size: RING_SIZE_MAX,
        }
    }
}

impl FromYaml for RingHash {
    const EXPECTED: &'static str = RING_HASH_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = RING_HASH_BLOCK.open(node, problems);
        let default = Self::default();
        let ring = Self {
            minimum_ring_size: fields.number_from(
                "minimum_ring_size",
                1,
                default.minimum_ring_size,
            ),
            maximum_ring_size: fields.number_from(
                "maximum_ring_size",
                1,
                default.maximum_ring_size,
            ),
        };
        let at = fields.at();
        ring.check(at, fields.problems);
        ring
    }
}

impl RingHash {
    /// Notes sizes that no ring can have.
    pub(crate) fn check(&self, at: crate::Span, problems: &mut Problems) {
        if self.maximum_ring_size > RING_SIZE_MAX {
            let message = format!("a ring has at most {RING_SIZE_MAX} places");
            problems.push(Problem::new(at, message));
        } else if self.minimum_ring_size > self.maximum_ring_size {
            let message = "`minimum_ring_size` is more than `maximum_ring_size`";
            problems.push(Problem::new(at, message));
        }
    }
}

/// `maglev`: Envoy's `MaglevLbConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maglev {
    /// `table_size`: places in the table, a prime number up to 5000011. Default:
    /// 65537.
    pub table_size: u32,
}

impl Default for Maglev {
    fn default() -> Self {
        Self { table_size: 65_537 }
    }
}

impl FromYaml for Maglev {
    const EXPECTED: &'static str = MAGLEV_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = MAGLEV_BLOCK.open(node, problems);
        let table_size = fields.valid::<u32>("table_size");
        let maglev = Self {
            table_size: table_size.map_or(65_537, |size| size.value),
        };
        if let Some(size) = table_size {
            maglev.check(size.span, fields.problems);
        }
        maglev
    }
}

impl Maglev {
    /// Notes a size that no table can have.
    pub(crate) fn check(self, at: crate::Span, problems: &mut Problems) {
        let size = self.table_size;
        if size > TABLE_SIZE_MAX || !is_prime(size) {
            let message = format!("`{size}` is not a prime number up to {TABLE_SIZE_MAX}");
            let help = "each endpoint walks through all of the table in steps of its own";
            problems.push(Problem::new(at, message).help(help));
        }
    }
}

fn is_prime(n: u32) -> bool {
    let mut divisors = (2_u32..).take_while(|d| d.saturating_mul(*d) <= n);
    n > 1 && !divisors.any(|d| n.is_multiple_of(d))
}

/// `slow_start`: Envoy's `SlowStartConfig`, for `round_robin` and `least_request`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowStart {
    /// `window`: how long an endpoint that is new, or healthy again, gets less than
    /// its part; more than 0. Required.
    pub window: Duration,
    /// `aggression`: how its part grows: evenly by 1.0, faster at first by more.
    /// More than 0. Default: 1.0.
    pub aggression: Decimal,
    /// `min_weight_percent`: the part of its weight that it has at least, from 0 to
    /// 100. Default: 10.
    pub min_weight_percent: u32,
}

impl FromYaml for SlowStart {
    const EXPECTED: &'static str = SLOW_START_BLOCK.name;

    fn placeholder() -> Self {
        Self {
            window: Duration::from_secs(1),
            aggression: Decimal::ONE,
            min_weight_percent: 10,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = SLOW_START_BLOCK.open(node, problems);
        let window = fields.required_positive("window");
        let aggression = fields.valid::<Decimal>("aggression");
        if let Some(aggression) = aggression.filter(|aggression| aggression.value() <= 0.0) {
            let problem = Problem::new(aggression.span, "`aggression` must be more than 0");
            fields.problems.push(problem);
        }
        Self {
            window,
            aggression: aggression.map_or(Decimal::ONE, |aggression| aggression.value),
            min_weight_percent: fields.percent("min_weight_percent", 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_known() {
        for prime in [2, 3, 5, 65_537, TABLE_SIZE_MAX] {
            assert!(is_prime(prime), "{prime}");
        }
        for other in [0, 1, 4, 9, 65_536, 65_539 * 3] {
            assert!(!is_prime(other), "{other}");
        }
    }
}
