//! Keys that are fetched from a server, and when they are fetched again.

/// Milliseconds that decide about a fetch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ages {
    /// Age at which keys are fetched anew, while those there are go on to be used.
    pub(crate) refresh: u64,
    /// Age at which keys are used no more.
    pub(crate) expiry: u64,
    /// Between two fetches at the least.
    pub(crate) pause: u64,
}

/// Keys, and the fetch of the next ones. A fetch is wanted by a request, is under
/// way when it was begun, and over when it has brought keys or failed.
#[derive(Debug)]
pub(crate) struct Cache<K> {
    keys: Option<(K, u64)>,
    last: Option<u64>,
    fetch: Fetch,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fetch {
    Idle,
    Wanted,
    UnderWay,
}

/// What a request does.
#[derive(Debug, PartialEq)]
pub(crate) enum Step<'k, K> {
    /// It is judged by these keys.
    Use(&'k K),
    /// It waits for a fetch.
    Wait,
    /// There are no keys, and no fetch that could bring some.
    Fail,
}

impl<K> Cache<K> {
    pub(crate) fn new() -> Self {
        Self {
            keys: None,
            last: None,
            fetch: Fetch::Idle,
        }
    }

    /// What a request does at `now`, in milliseconds. `suffice` says whether keys
    /// have the one that it asks for.
    pub(crate) fn step(
        &mut self,
        now: u64,
        ages: Ages,
        suffice: impl FnOnce(&K) -> bool,
    ) -> Step<'_, K> {
        // a time that is yet to come was told by another clock
        let rested = |last: u64| now < last || now - last >= ages.pause;
        let rested = self.last.is_none_or(rested);
        let mut fetch = || {
            if self.fetch == Fetch::Idle && rested {
                self.fetch = Fetch::Wanted;
            }
            self.fetch != Fetch::Idle
        };
        let age = |since: u64| now.saturating_sub(since);
        match &self.keys {
            Some((keys, since)) if age(*since) < ages.expiry => {
                if !suffice(keys) && fetch() {
                    return Step::Wait;
                }
                if age(*since) >= ages.refresh {
                    fetch();
                }
                Step::Use(keys)
            }
            _ if fetch() => Step::Wait,
            _ => Step::Fail,
        }
    }

    /// Asks for a fetch before there is a request.
    pub(crate) fn want(&mut self) {
        self.fetch = Fetch::Wanted;
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.fetch == Fetch::Wanted
    }

    pub(crate) fn begin(&mut self) {
        self.fetch = Fetch::UnderWay;
    }

    /// The fetch is over. If it has failed, the keys that there are stay.
    pub(crate) fn end(&mut self, now: u64, keys: Option<K>) {
        self.fetch = Fetch::Idle;
        self.last = Some(now);
        if let Some(keys) = keys {
            self.keys = Some((keys, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGES: Ages = Ages {
        refresh: 1000,
        expiry: 5000,
        pause: 100,
    };

    /// What a request does that asks for the key `id`.
    fn step(cache: &mut Cache<&'static str>, now: u64, id: &str) -> String {
        match cache.step(now, AGES, |keys| keys.contains(id)) {
            Step::Use(keys) => (*keys).to_owned(),
            Step::Wait => "wait".to_owned(),
            Step::Fail => "fail".to_owned(),
        }
    }

    fn filled() -> Cache<&'static str> {
        let mut cache = Cache::new();
        cache.want();
        cache.begin();
        cache.end(0, Some("ab"));
        cache
    }

    #[test]
    fn the_first_request_waits_and_all_others_with_it() {
        let mut cache = Cache::new();
        assert_eq!(step(&mut cache, 0, "a"), "wait");
        assert!(cache.is_wanted());
        cache.begin();
        assert_eq!(step(&mut cache, 9999, "a"), "wait");
        assert!(!cache.is_wanted());
        cache.end(10_000, Some("ab"));
        assert_eq!(step(&mut cache, 10_000, "a"), "ab");
        assert!(!cache.is_wanted());
    }

    #[test]
    fn old_keys_are_used_while_new_ones_are_fetched() {
        let mut cache = filled();
        assert_eq!(step(&mut cache, 999, "a"), "ab");
        assert!(!cache.is_wanted());
        assert_eq!(step(&mut cache, 1000, "a"), "ab");
        assert!(cache.is_wanted());
        cache.begin();
        assert_eq!(step(&mut cache, 4999, "a"), "ab");
        assert_eq!(step(&mut cache, 5000, "a"), "wait");
    }

    #[test]
    fn an_unknown_key_is_fetched_once_in_a_while() {
        let mut cache = filled();
        assert_eq!(step(&mut cache, 99, "c"), "ab");
        assert!(!cache.is_wanted());
        assert_eq!(step(&mut cache, 100, "c"), "wait");
        cache.begin();
        assert_eq!(step(&mut cache, 101, "a"), "ab");
        cache.end(150, Some("bc"));
        assert_eq!(step(&mut cache, 150, "c"), "bc");
        assert_eq!(step(&mut cache, 249, "d"), "bc");
        assert!(!cache.is_wanted());
    }

    #[test]
    fn a_fetch_that_fails_is_repeated_once_in_a_while() {
        let mut cache = Cache::<&str>::new();
        assert_eq!(step(&mut cache, 0, "a"), "wait");
        cache.begin();
        cache.end(10, None);
        assert_eq!(step(&mut cache, 109, "a"), "fail");
        assert_eq!(step(&mut cache, 110, "a"), "wait");
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_from_keys() {
        let mut cache = Cache::<&str>::new();
        cache.want();
        cache.begin();
        cache.end(10_000, None);
        assert_eq!(step(&mut cache, 10_001, "a"), "fail");
        assert_eq!(step(&mut cache, 9_000, "a"), "wait");
    }

    #[test]
    fn a_fetch_that_fails_leaves_the_keys() {
        let mut cache = filled();
        assert_eq!(step(&mut cache, 1000, "a"), "ab");
        cache.begin();
        cache.end(1001, None);
        assert_eq!(step(&mut cache, 1002, "a"), "ab");
        assert!(!cache.is_wanted());
        assert_eq!(step(&mut cache, 5000, "a"), "wait");
    }
}
