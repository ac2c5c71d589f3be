//! Random numbers, from the system's in batches: a call a number would cost more than
//! what they are for.

use std::cell::RefCell;

/// Bytes that one call of the system's random numbers is good for.
const BATCH: usize = 4096;

thread_local! {
    /// Random bytes, and how many of them are left.
    static POOL: RefCell<(Box<[u8; BATCH]>, usize)> = RefCell::new((Box::new([0; BATCH]), 0));
}

/// Random bytes, at most so many as a batch has; `None` when the system has none.
pub(crate) fn bytes<const COUNT: usize>() -> Option<[u8; COUNT]> {
    POOL.with_borrow_mut(|(pool, left)| {
        if *left < COUNT {
            getrandom::fill(&mut pool[..]).ok()?;
            *left = pool.len();
        }
        *left -= COUNT;
        pool[*left..].first_chunk().copied()
    })
}

/// A random number below `bound`; 0 if that is 0, or the system has no random numbers.
pub(crate) fn below(bound: u64) -> u64 {
    let random = bytes::<8>().map_or(0, u64::from_ne_bytes);
    // The high half of the product is spread evenly over what is below.
    let scaled = (u128::from(random) * u128::from(bound)) >> 64;
    u64::try_from(scaled).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_over_what_is_below_the_bound() {
        assert_eq!(below(0), 0);
        let mut seen = [0_u32; 4];
        for _ in 0..4000 {
            seen[usize::try_from(below(4)).unwrap_or(4)] += 1;
        }
        assert!(
            seen.iter().all(|count| (800..1200).contains(count)),
            "{seen:?}"
        );
    }
}
