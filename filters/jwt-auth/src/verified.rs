//! [`Verified`]: tokens whose signature was right, so that it need not be computed for
//! each request that brings one.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use crate::token::Token;

/// SHA-256 of a token.
type Digest = [u8; 32];

/// What is kept belongs to a key set and goes with it. It is in two halves: what has not
/// been seen while the newer one was filled is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    newer: BTreeSet<Digest>,
    older: BTreeSet<Digest>,
}

pub(crate) fn digest(token: &Token<'_>) -> Digest {
    let mut hash = Sha256::new();
    hash.update(token.signed);
    // What is signed has one dot.
    hash.update(b".");
    hash.update(&token.signature);
    hash.finalize().into()
}

impl Verified {
    /// Whether a token is among the `max` or fewer that are kept.
    pub(crate) fn contains(&mut self, digest: &Digest, max: usize) -> bool {
        if self.newer.contains(digest) {
            return true;
        }
        let found = self.older.contains(digest);
        if found {
            self.insert(*digest, max);
        }
        found
    }

    /// Keeps one token more.
    pub(crate) fn insert(&mut self, digest: Digest, max: usize) {
        if max == 0 {
            return;
        }
        if self.newer.len() >= (max / 2).max(1) {
            let full = std::mem::take(&mut self.newer);
            if max > 1 {
                self.older = full;
            }
        }
        self.newer.insert(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u8) -> Digest {
        [number; 32]
    }

    #[test]
    fn what_is_in_use_stays_and_the_number_is_bounded() {
        let mut verified = Verified::default();
        for number in 0..100 {
            verified.insert(name(number), 10);
            assert!(verified.contains(&name(0), 10), "{number}");
            assert!(verified.newer.len() + verified.older.len() <= 10);
        }
        assert!(verified.contains(&name(99), 10));
        assert!(!verified.contains(&name(50), 10));
    }

    #[test]
    fn nothing_is_kept_where_nothing_may() {
        let mut verified = Verified::default();
        verified.insert(name(1), 0);
        assert!(!verified.contains(&name(1), 0));
    }
}
