//! A counter of one window of time, as it is kept in shared data.

/// Window and count, little endian.
const BYTES: usize = 12;

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Decision {
    /// It passes once this is stored.
    Pass([u8; BYTES]),
    /// The window has had its requests.
    Refuse,
}

/// Decides about a request in `window`, by what is `stored`. Clocks of workers
/// may differ a little: a window that has begun for one has begun for all.
pub(crate) fn decide(stored: Option<&[u8]>, window: u64, limit: u32) -> Decision {
    let (window, count) = match stored.and_then(parse) {
        Some((stored, count)) if stored >= window => (stored, count),
        _ => (window, 0),
    };
    if count >= limit {
        return Decision::Refuse;
    }
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&window.to_le_bytes());
    bytes[8..].copy_from_slice(&(count + 1).to_le_bytes());
    Decision::Pass(bytes)
}

/// `None` for what this filter has not written.
fn parse(bytes: &[u8]) -> Option<(u64, u32)> {
    let (window, count) = bytes.split_first_chunk()?;
    let count = count.try_into().ok()?;
    Some((u64::from_le_bytes(*window), u32::from_le_bytes(count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of ten requests pass.
    fn passing(stored: Option<&[u8]>, window: u64, limit: u32) -> usize {
        let mut stored = stored.map(<[u8]>::to_vec);
        let mut passed = 0;
        while let Decision::Pass(bytes) = decide(stored.as_deref(), window, limit) {
            stored = Some(bytes.to_vec());
            passed += 1;
            if passed == 10 {
                break;
            }
        }
        passed
    }

    fn full(window: u64) -> Vec<u8> {
        let mut stored = Vec::new();
        while let Decision::Pass(bytes) = decide(Some(&stored), window, 3) {
            stored = bytes.to_vec();
        }
        stored
    }

    #[test]
    fn as_many_pass_as_the_limit_says() {
        assert_eq!(passing(None, 7, 3), 3);
        assert_eq!(passing(Some(&full(7)), 7, 3), 0);
    }

    #[test]
    fn a_new_window_begins_anew_and_an_old_one_is_over() {
        assert_eq!(passing(Some(&full(7)), 8, 3), 3);
        assert_eq!(passing(Some(&full(7)), 6, 3), 0);
    }

    #[test]
    fn a_limit_that_was_raised_lets_the_rest_pass() {
        assert_eq!(passing(Some(&full(7)), 7, 5), 2);
    }

    #[test]
    fn what_is_not_a_counter_counts_as_none() {
        assert_eq!(passing(Some(b""), 7, 3), 3);
        assert_eq!(passing(Some(b"thirteen long"), 7, 3), 3);
    }
}
