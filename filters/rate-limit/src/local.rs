//! Counters in a worker's own memory.

use std::collections::BTreeMap;
use std::mem;

/// Counters that are kept at the least, if there are more clients than that.
const KEPT_MIN: usize = 10_000;

/// Counters by whose they are. Those that were not needed while [`KEPT_MIN`] others
/// came are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    young: BTreeMap<String, Vec<u8>>,
    old: BTreeMap<String, Vec<u8>>,
}

impl Counters {
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        let found = self.young.get(key).or_else(|| self.old.get(key));
        found.map(Vec::as_slice)
    }

    pub(crate) fn set(&mut self, key: String, counter: Vec<u8>) {
        if self.young.len() >= KEPT_MIN && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, counter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_kept_and_the_rest_is_bounded() {
        let mut counters = Counters::default();
        for round in 0..5 * KEPT_MIN {
            counters.set(round.to_string(), vec![1]);
            counters.set("client".to_owned(), vec![2]);
            assert!(counters.young.len() + counters.old.len() <= 2 * KEPT_MIN);
        }
        assert_eq!(counters.get("client"), Some(&[2][..]));
        assert_eq!(
            counters.get(&(5 * KEPT_MIN - 1).to_string()),
            Some(&[1][..])
        );
        assert_eq!(counters.get("0"), None);
    }
}
