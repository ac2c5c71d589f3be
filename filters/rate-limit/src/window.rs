//! A counter of one window of time, and how it is kept: the window's beginning in
//! milliseconds since 1970, and the count, little endian.

use std::time::Duration;

use crate::config::Limit;
use crate::decision::{Decision, Rest};

/// Decides about a request at `now`, since 1970. Clocks of workers may differ a
/// little: a window that has begun for one has begun for all. One that is further off
/// was kept by another limit.
pub(crate) fn decide(limit: &Limit, kept: Option<&[u8]>, now: Duration) -> Decision {
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let length = limit.window_ms.get();
    let begun = now - now % length;
    let near = begun..=begun.saturating_add(length);
    let (window, count) = match kept.and_then(parse) {
        Some((kept, count)) if near.contains(&kept) => (kept, count),
        _ => (begun, 0),
    };
    let rest = |requests| Rest {
        requests,
        reset: Duration::from_millis(length - now % length),
    };
    let Some(left) = limit.requests.get().checked_sub(count + 1) else {
        return Decision::Refuse(rest(0));
    };
    let bytes = [&window.to_le_bytes()[..], &(count + 1).to_le_bytes()].concat();
    Decision::Pass(bytes, rest(left))
}

/// `None` for what this filter has not written.
fn parse(bytes: &[u8]) -> Option<(u64, u32)> {
    let (window, count) = bytes.split_first_chunk()?;
    let count = u32::from_le_bytes(count.try_into().ok()?);
    (count < u32::MAX).then_some((u64::from_le_bytes(*window), count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::{NonZeroU32, NonZeroU64};

    fn limit(requests: u32) -> Limit {
        Limit {
            requests: NonZeroU32::new(requests).unwrap(),
            window_ms: NonZeroU64::new(1000).unwrap(),
            burst: None,
        }
    }

    /// What is left after each request that passes in the window of a second.
    fn passing(kept: &mut Option<Vec<u8>>, second: u64, requests: u32) -> Vec<u32> {
        let now = Duration::from_millis(second * 1000 + 300);
        let mut left = Vec::new();
        loop {
            match limit(requests).decide(kept.as_deref(), now) {
                Decision::Pass(bytes, rest) => {
                    *kept = Some(bytes);
                    left.push(rest.requests);
                    assert_eq!(rest.reset, Duration::from_millis(700));
                }
                Decision::Refuse(rest) => {
                    assert_eq!((rest.requests, rest.seconds()), (0, 1));
                    return left;
                }
            }
        }
    }

    #[test]
    fn as_many_pass_as_the_limit_says() {
        let mut kept = None;
        assert_eq!(passing(&mut kept, 7, 3), [2, 1, 0]);
        assert!(passing(&mut kept, 7, 3).is_empty());
    }

    #[test]
    fn a_new_window_begins_anew_and_an_old_one_is_over() {
        let mut kept = None;
        passing(&mut kept, 7, 3);
        assert!(passing(&mut kept, 6, 3).is_empty());
        assert_eq!(passing(&mut kept, 8, 3), [2, 1, 0]);
    }

    #[test]
    fn a_longer_window_begins_anew() {
        let mut kept = None;
        passing(&mut kept, 7_000_000, 3);
        let longer = Limit {
            window_ms: NonZeroU64::new(3_600_000).unwrap(),
            ..limit(3)
        };
        let next = Duration::from_secs(7_000_000 + 3600);
        let decision = longer.decide(kept.as_deref(), next);
        assert!(matches!(decision, Decision::Pass(_, rest) if rest.requests == 2));
    }

    #[test]
    fn a_limit_that_was_raised_lets_the_rest_pass() {
        let mut kept = None;
        passing(&mut kept, 7, 3);
        assert_eq!(passing(&mut kept, 7, 5), [1, 0]);
    }

    #[test]
    fn what_is_not_a_counter_counts_as_none() {
        for bytes in [&b""[..], b"thirteen long", &[0xff; 12]] {
            assert_eq!(passing(&mut Some(bytes.to_vec()), 7, 3).len(), 3);
        }
    }
}
