//! Which version of a filter a stream gets.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use twox_hash::XxHash64;
use weir_abi::HeaderMap;
use weir_config::{Canary, Percent, StickyBy};

use super::RolloutState;
use crate::filter::Plugin;
use crate::route::find_cookie;
use crate::telemetry::{Reports, RolloutCells};

/// One filter of a chain on one worker.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) plugin: Rc<Plugin>,
    /// Its other version, if there is one.
    pub(crate) versions: Option<Rc<Versions>>,
}

/// The other version of a filter on one worker.
pub(crate) struct Versions {
    pub(crate) canary: Option<Rc<Plugin>>,
    pub(crate) shadow: Option<Rc<Plugin>>,
    pub(crate) state: Arc<RolloutState>,
    pub(crate) cells: Arc<RolloutCells>,
    /// What is logged of how a shadow diverges.
    pub(crate) reports: Reports,
}

/// What runs for one stream at a filter's place.
pub(crate) enum Chosen {
    /// The filter alone.
    Stable,
    /// The other version in its place.
    Canary(Rc<Plugin>),
    /// The filter, and the other version on a copy.
    Shadowed(Rc<Plugin>),
}

impl Versions {
    /// Chooses for a stream with these request headers, of this client, if it has an
    /// address.
    pub(crate) fn choose(&self, headers: &HeaderMap, client: Option<IpAddr>) -> Chosen {
        if self.state.verdict().is_some() {
            self.cells.stable_began();
            return Chosen::Stable;
        }
        let canary = self.canary.as_ref().zip(self.state.config.canary.as_ref());
        if let Some((plugin, canary)) = canary
            && takes(canary, &self.state.filter, headers, client)
        {
            return Chosen::Canary(Rc::clone(plugin));
        }
        self.cells.stable_began();
        match &self.shadow {
            Some(plugin) => Chosen::Shadowed(Rc::clone(plugin)),
            None => Chosen::Stable,
        }
    }

    /// The response to a stream of the canary began after this time.
    pub(crate) fn canary_responded(&self, took: Duration) {
        let on = self.state.config.rollback_on.as_ref();
        if on.and_then(|on| on.latency).is_some_and(|most| took > most) {
            self.cells.canary_was_slow();
        }
    }
}

/// Whether the canary takes a stream.
fn takes(canary: &Canary, filter: &str, headers: &HeaderMap, client: Option<IpAddr>) -> bool {
    let seed = XxHash64::oneshot(0, filter.as_bytes());
    let hash = |value: &[u8]| XxHash64::oneshot(seed, value);
    let known = match &canary.sticky_by {
        Some(StickyBy::Header(name)) => headers
            .get(name.to_ascii_lowercase().as_bytes())
            .map(|value| hash(value)),
        Some(StickyBy::Cookie(name)) => find_cookie(headers, name).map(hash),
        Some(StickyBy::Source) => client.map(|client| match client.to_canonical() {
            IpAddr::V4(address) => hash(&address.octets()),
            IpAddr::V6(address) => hash(&address.octets()),
        }),
        None => None,
    };
    let number = known.unwrap_or_else(|| fastrand::u64(..));
    number % u64::from(Percent::WHOLE) < u64::from(canary.weight.millionths())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const CLIENT: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

    fn canary(weight: &str, sticky_by: &str) -> Canary {
        let text = format!(
            "listeners: [{{ name: e, address: '127.0.0.1:0', http_filters: [{{ name: f, \
             wasm: {{ vm_config: {{ code: {{ local: {{ filename: a }} }} }} }}, rollout: {{ \
             wasm: {{ vm_config: {{ code: {{ local: {{ filename: b }} }} }} }}, \
             canary: {{ weight: {weight}, sticky_by: {sticky_by} }} }} }}] }}]"
        );
        let config = weir_config::parse("weir.yaml", &text).unwrap_or_else(|e| panic!("{e}"));
        let rollout = config.listeners[0].filter_chains[0].http_filters[0]
            .rollout
            .clone();
        rollout.unwrap().value.canary.unwrap()
    }

    fn headers(pairs: &[(&'static str, String)]) -> HeaderMap {
        pairs.iter().cloned().collect()
    }

    #[test]
    fn shares_are_kept() {
        for (weight, least, most) in [("0%", 0, 0), ("100%", 1000, 1000), ("25%", 190, 310)] {
            for sticky_by in ["null", "{ header: X-User }", "{ cookie: user }"] {
                let canary = canary(weight, sticky_by);
                let taken = (0..1000).filter(|n| {
                    let user = [
                        ("x-user", format!("user-{n}")),
                        ("cookie", format!("a=1; user=u{n}; user2=x")),
                    ];
                    takes(&canary, "f", &headers(&user), CLIENT)
                });
                let taken = taken.count();
                assert!(
                    (least..=most).contains(&taken),
                    "{weight} {sticky_by}: {taken}"
                );
            }
        }
    }

    #[test]
    fn what_it_goes_by_decides() {
        let canary = canary("50%", "{ header: x-user }");
        let with = |value: &str, filter| {
            let user = headers(&[("x-user", value.to_owned())]);
            takes(&canary, filter, &user, CLIENT)
        };
        let users: Vec<_> = (0..100).map(|n| format!("user-{n}")).collect();
        for user in &users {
            assert!((0..10).all(|_| with(user, "f") == with(user, "f")));
        }
        // Another filter's canary gets others.
        assert!(users.iter().any(|user| with(user, "f") != with(user, "g")));
        let by_chance = (0..100).filter(|_| takes(&canary, "f", &headers(&[]), CLIENT));
        assert!((1..100).contains(&by_chance.count()));
    }
}
