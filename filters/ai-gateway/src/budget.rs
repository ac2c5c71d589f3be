//! What a client has spent, as it is kept in shared data: the beginning of the window in
//! seconds since 1970 and the tokens, little endian.

use std::time::Duration;

use sha2::Sha256;
use sha2::digest::Digest;

use crate::config::Budget;

/// What a client has spent in the window at hand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spent {
    window: u64,
    pub(crate) tokens: u64,
}

impl Spent {
    /// What is kept, at `now`, since 1970.
    pub(crate) fn read(kept: Option<&[u8]>, budget: &Budget, now: Duration) -> Self {
        let length = budget.window_s.get();
        let window = now.as_secs() - now.as_secs() % length;
        // Clocks of workers may differ a little; what is further off is not believed.
        let near = window..=window.saturating_add(length);
        match kept.and_then(parse) {
            Some((window, tokens)) if near.contains(&window) => Self { window, tokens },
            _ => Self { window, tokens: 0 },
        }
    }

    /// With further tokens, as it is kept.
    pub(crate) fn and(self, tokens: u64) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.window.to_le_bytes());
        bytes[8..].copy_from_slice(&self.tokens.saturating_add(tokens).to_le_bytes());
        bytes
    }
}

/// `None` for what this filter has not written.
fn parse(bytes: &[u8]) -> Option<(u64, u64)> {
    let (window, tokens) = bytes.split_first_chunk()?;
    let tokens = u64::from_le_bytes(tokens.try_into().ok()?);
    Some((u64::from_le_bytes(*window), tokens))
}

/// Where it is kept: budgets of other windows stand elsewhere. The client may be named
/// by a secret.
pub(crate) fn key(budget: &Budget, client: &str) -> String {
    let hash = Sha256::digest(client.as_bytes());
    let mut key = format!("ai-gateway/{}/", budget.window_s);
    for byte in hash {
        key += &format!("{byte:02x}");
    }
    key
}

/// Seconds until a new window begins.
pub(crate) fn rest(budget: &Budget, now: Duration) -> u64 {
    budget.window_s.get() - now.as_secs() % budget.window_s
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU64;

    fn budget() -> Budget {
        Budget {
            tokens: NonZeroU64::new(100).unwrap(),
            window_s: NonZeroU64::new(60).unwrap(),
            by: Vec::new(),
        }
    }

    fn spent(kept: Option<&[u8]>, seconds: u64) -> Spent {
        Spent::read(kept, &budget(), Duration::from_secs(seconds))
    }

    #[test]
    fn tokens_add_up_within_a_window() {
        let kept = spent(None, 600).and(7);
        let kept = spent(Some(&kept), 659).and(3);
        assert_eq!(spent(Some(&kept), 659).tokens, 10);
        assert_eq!(spent(Some(&kept), 599).tokens, 10);
        assert_eq!(spent(Some(&kept), 539).tokens, 0);
        assert_eq!(spent(Some(&kept), 660).tokens, 0);
    }

    #[test]
    fn what_is_not_a_count_counts_as_none() {
        for bytes in [&b""[..], b"seventeen long..."] {
            assert_eq!(spent(Some(bytes), 1).tokens, 0);
        }
    }

    #[test]
    fn the_rest_of_a_window_is_told() {
        assert_eq!(rest(&budget(), Duration::from_millis(601_500)), 59);
        assert_eq!(rest(&budget(), Duration::from_secs(600)), 60);
    }

    #[test]
    fn keys_do_not_tell_the_client() {
        assert!(key(&budget(), "abc").starts_with("ai-gateway/60/ba7816bf8f01cfea"));
    }
}
