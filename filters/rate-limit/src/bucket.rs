//! A token bucket, kept as the time at which it will be full again: each request
//! puts that off by the time in which one token flows in, and one that would put it
//! off by more than the bucket holds is refused.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::Limit;
use crate::decision::{Decision, Rest};

/// Decides about a request at `now`, since 1970; nanoseconds are kept, little endian.
pub(crate) fn decide(
    limit: &Limit,
    burst: NonZeroU32,
    kept: Option<&[u8]>,
    now: Duration,
) -> Decision {
    let now = nanoseconds(now);
    let window = limit.window_ms.get().saturating_mul(1_000_000);
    let token = (window / u64::from(limit.requests.get())).max(1);
    let bucket = token.saturating_mul(u64::from(burst.get()));
    let kept = kept.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
    // a time further off than a whole bucket was kept by another limit
    let full = kept.unwrap_or(0).clamp(now, now.saturating_add(bucket));
    let next = full.saturating_add(token);
    let wait = next.saturating_sub(now.saturating_add(bucket));
    let left = bucket.saturating_sub(next - now) / token;
    let rest = Rest {
        requests: u32::try_from(left).unwrap_or(u32::MAX),
        reset: Duration::from_nanos(if wait > 0 { wait } else { next - now }),
    };
    match wait {
        0 => Decision::Pass(next.to_le_bytes().to_vec(), rest),
        _ => Decision::Refuse(rest),
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU64;

    const NOW: Duration = Duration::from_secs(1_000_000);

    /// Ten requests in a second, five at once.
    fn limit() -> Limit {
        Limit {
            requests: NonZeroU32::new(10).unwrap(),
            window_ms: NonZeroU64::new(1000).unwrap(),
            burst: NonZeroU32::new(5),
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// What is left after each of some requests at one time, and until when the
    /// last of them has to wait.
    fn burst(kept: &mut Option<Vec<u8>>, now: Duration) -> (Vec<u32>, Duration) {
        let mut left = Vec::new();
        loop {
            match limit().decide(kept.as_deref(), now) {
                Decision::Pass(bytes, rest) => {
                    *kept = Some(bytes);
                    left.push(rest.requests);
                }
                Decision::Refuse(rest) => {
                    assert_eq!(rest.requests, 0);
                    return (left, rest.reset);
                }
            }
        }
    }

    #[test]
    fn a_bucket_is_emptied_and_fills_again_evenly() {
        let mut kept = None;
        assert_eq!(burst(&mut kept, NOW), (vec![4, 3, 2, 1, 0], ms(100)));
        assert_eq!(burst(&mut kept, NOW + ms(40)), (vec![], ms(60)));
        assert_eq!(burst(&mut kept, NOW + ms(100)), (vec![0], ms(100)));
        assert_eq!(burst(&mut kept, NOW + ms(350)), (vec![1, 0], ms(50)));
        let full = burst(&mut kept, NOW + ms(60_000));
        assert_eq!(full, (vec![4, 3, 2, 1, 0], ms(100)));
    }

    #[test]
    fn what_is_no_time_or_one_far_off_is_not_believed() {
        for bytes in [b"".to_vec(), b"nine long".to_vec()] {
            assert_eq!(burst(&mut Some(bytes), NOW).0.len(), 5);
        }
        let far = u64::MAX.to_le_bytes().to_vec();
        assert_eq!(burst(&mut Some(far), NOW), (vec![], ms(100)));
    }
}
