//! [`Lane`]: a worker's connections to an endpoint that may serve the same requests.
//!
//! An endpoint has one, unless its connections begin with a header that tells who the
//! client is, or are made from the client's address: then each client has one of its
//! own, as in Envoy.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use pingora_core::upstreams::peer::{HttpPeer, Peer};
use tokio::sync::Notify;

use super::Account;
use super::spec::next_id;
use crate::http::H2Endpoint;
use crate::limits::LANES_KEPT;
use crate::telemetry::Counter;

/// A worker's connections to an endpoint that may serve the same requests.
pub(super) struct Lane {
    /// On whose account they are made.
    pub(super) account: Account,
    pooled: HttpPeer,
    /// What they have in common in the pool, and with no others.
    pub(super) key: u64,
    /// Connections that the worker is about to make.
    pub(super) opening: Cell<usize>,
    pub(super) http2: H2Endpoint,
    pub(super) traffic: Arc<Traffic>,
}

/// What a lane's connections tell it, whoever has them.
#[derive(Default)]
pub(super) struct Traffic {
    /// How many there are.
    pub(super) open: Counter,
    /// Wakes who waits for a connection, when one may have become free.
    pub(super) freed: Notify,
}

impl Lane {
    pub(super) fn new(account: Account, pooled: HttpPeer) -> Rc<Self> {
        Rc::new(Self {
            account,
            key: pooled.reuse_hash(),
            pooled,
            opening: Cell::default(),
            http2: H2Endpoint::default(),
            traffic: Arc::default(),
        })
    }

    /// Another one to the same endpoint.
    fn apart(&self, account: Account) -> Rc<Self> {
        let mut pooled = self.pooled.clone();
        pooled.group_key = next_id();
        Self::new(account, pooled)
    }

    /// Whether there is no connection, and none on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.traffic.open.get() == 0 && self.opening.get() == 0
    }
}

/// The lanes to an endpoint that are for one client each.
#[derive(Default)]
pub(super) struct Lanes {
    all: HashMap<Account, Rc<Lane>>,
    /// How many there may be before those that are empty go.
    max: usize,
}

impl Lanes {
    /// The lane for `account`; a new one is like `model`.
    pub(super) fn get(&mut self, account: Account, model: &Lane) -> Rc<Lane> {
        if let Some(lane) = self.all.get(&account) {
            return Rc::clone(lane);
        }
        if self.all.len() >= self.max.max(LANES_KEPT) {
            let is_used = |lane: &Rc<Lane>| !lane.is_empty() || Rc::strong_count(lane) > 1;
            self.all.retain(|_, lane| is_used(lane));
            // As often as there are twice as many: each pays for few others.
            self.max = 2 * self.all.len();
        }
        let lane = model.apart(account);
        self.all.insert(account, Rc::clone(&lane));
        lane
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::proxy_protocol::{Ends, Originator};

    fn client(port: u16) -> Account {
        Account {
            originator: Originator::Client(Ends {
                client: SocketAddr::from(([127, 0, 0, 1], port)),
                destination: SocketAddr::from(([127, 0, 0, 1], 80)),
            }),
            source: None,
        }
    }

    #[test]
    fn each_client_has_a_lane_and_those_without_connections_go() {
        let pooled = HttpPeer::new("127.0.0.1:1", false, String::new());
        let own = Lane::new(Account::OWN, pooled);
        let mut lanes = Lanes::default();
        let first = lanes.get(client(1), &own);
        assert!(Rc::ptr_eq(&first, &lanes.get(client(1), &own)));
        let busy = lanes.get(client(2), &own);
        assert_ne!(first.pooled.group_key, busy.pooled.group_key);
        busy.traffic.open.add(1);
        drop((first, busy));
        for port in 3..=u16::try_from(LANES_KEPT).unwrap() + 1 {
            lanes.get(client(port), &own);
        }
        assert_eq!(lanes.all.len(), 2);
        assert!(lanes.all.contains_key(&client(2)));
    }
}
