//! [`Members`]: the endpoints of a cluster, whether they are healthy, and what
//! follows for load balancing. One snapshot of it after the other goes to all
//! workers, who read it without a lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use weir_config::{Address, Cluster, Discovery, LbPolicy, OutlierDetection};

use super::hash_table::{HashTable, Item};
use super::member::{Description, Flag, Member};
use super::outlier::Suspicion;
use super::priorities::{self, Level};
use crate::telemetry::{ClusterCounters, MembershipLevels};

/// The endpoints of a cluster; shared by all workers.
#[derive(Debug)]
pub(crate) struct Members {
    config: Cluster,
    list: Mutex<Vec<Arc<Member>>>,
    /// Those of the cluster before, in whose places its first ones are.
    before: Mutex<Vec<Arc<Member>>>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    pub(crate) counters: Arc<ClusterCounters>,
    /// To who judges endpoints that fail.
    pub(super) suspicions: mpsc::UnboundedSender<Suspicion>,
    /// For the judge, until there is one.
    pub(super) suspected: Mutex<Option<mpsc::UnboundedReceiver<Suspicion>>>,
}

/// The endpoints as they are at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Whether all names have been looked up.
    pub(super) is_known: bool,
    pub(crate) members: Vec<Arc<Member>>,
    pub(super) levels: Vec<Priority>,
    /// Of 100 requests, how many each priority gets.
    pub(super) loads: Vec<u32>,
}

/// The endpoints of one priority that requests may go to.
#[derive(Debug)]
pub(super) struct Priority {
    /// Their places among all.
    pub(super) usable: Vec<usize>,
    /// Whether they are used although too few are healthy.
    pub(super) is_panic: bool,
    /// For policies that go by a hash: places among those that are usable.
    pub(super) table: Option<HashTable>,
}

impl Members {
    /// `before`: what the same endpoints were like until now.
    pub(super) fn new(
        config: &Cluster,
        counters: Arc<ClusterCounters>,
        before: Vec<Arc<Member>>,
    ) -> Self {
        let (suspicions, suspected) = mpsc::unbounded_channel();
        Self {
            config: config.clone(),
            list: Mutex::default(),
            before: Mutex::new(before),
            snapshot: watch::Sender::default(),
            counters,
            suspicions,
            suspected: Mutex::new(Some(suspected)),
        }
    }

    /// The name of the cluster.
    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    pub(super) fn outlier_detection(&self) -> Option<&OutlierDetection> {
        self.config.outlier_detection.as_ref()
    }

    /// The latest snapshot, now and later.
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.subscribe()
    }

    /// The latest snapshot.
    pub(crate) fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// These are the endpoints from now on, and, unless it `is_known`, there may be
    /// more. Those that were there already are the same ones. A logical one is as
    /// healthy as it was, wherever it is now.
    pub(super) fn replace(&self, found: impl IntoIterator<Item = Description>, is_known: bool) {
        let is_checked = !self.config.health_checks.is_empty();
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is named twice is two.
        let mut left = by_address(list.iter().cloned());
        let before = self.before.lock();
        let before = std::mem::take(&mut *before.unwrap_or_else(PoisonError::into_inner));
        let before = by_address(before);
        let is_logical = self.config.discovery == Discovery::LogicalDns;
        let member = |about: Description| {
            let same = left.get_mut(&about.address);
            if let Some(same) = same
                && let Some(place) = same.iter().position(|member| member.about == about)
            {
                return same.swap_remove(place);
            }
            let takes_place = |member: &&Arc<Member>| {
                let mut other = member.about.clone();
                if is_logical {
                    other.address = about.address.clone();
                }
                other == about
            };
            let other = if is_logical {
                // There is one, wherever it was.
                let mut all = left.values().chain(before.values()).flatten();
                all.find(takes_place)
            } else {
                let mut all = before.get(&about.address).into_iter().flatten();
                all.find(takes_place)
            };
            match other {
                Some(other) => Member::in_place_of(other, about),
                None => Member::new(about, is_checked),
            }
        };
        let new: Vec<_> = found.into_iter().map(member).collect();
        let is_same =
            new.len() == list.len() && new.iter().zip(list.iter()).all(|(a, b)| Arc::ptr_eq(a, b));
        if is_same {
            if self.snapshot.borrow().is_known != is_known {
                self.publish_list(&list, is_known);
            }
            return;
        }
        *list = new;
        self.counters.membership_changes.add(1);
        tracing::debug!(
            cluster = self.config.name.as_str(),
            "endpoints: {:?}",
            list.iter().map(|m| &m.about.address).collect::<Vec<_>>()
        );
        self.publish_list(&list, is_known);
    }

    /// Tells the workers what has become of the endpoints.
    pub(super) fn publish(&self) {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = self.snapshot.borrow().is_known;
        self.publish_list(&list, is_known);
    }

    fn publish_list(&self, list: &[Arc<Member>], is_known: bool) {
        let snapshot = Snapshot::of(&self.config, list.to_vec(), is_known);
        self.snapshot.send_replace(Arc::new(snapshot));
    }

    /// What the endpoints are like at the moment.
    pub(crate) fn levels(&self) -> MembershipLevels {
        let snapshot = self.snapshot.borrow();
        let count = |is: &dyn Fn(&Member) -> bool| {
            let members = snapshot.members.iter();
            members.filter(|member| is(member)).count()
        };
        MembershipLevels {
            total: snapshot.members.len(),
            healthy: count(&Member::is_healthy),
            passing: count(&|m| !m.has(Flag::FAILED_ACTIVE_HC)),
            ejected: count(&|m| m.has(Flag::FAILED_OUTLIER_CHECK)),
            has_health_checks: !self.config.health_checks.is_empty(),
            has_outlier_detection: self.config.outlier_detection.is_some(),
            has_names: self.config.discovery != Discovery::Static,
        }
    }
}

impl Snapshot {
    fn of(config: &Cluster, members: Vec<Arc<Member>>, is_known: bool) -> Self {
        let highest = members.iter().map(|m| m.about.priority).max();
        let priorities = 0..highest.map_or(0, |highest| highest + 1);
        let places = |priority: u32| {
            let places = (0..members.len()).filter(|p| members[*p].about.priority == priority);
            places.collect::<Vec<_>>()
        };
        let all: Vec<Vec<usize>> = priorities.map(places).collect();
        let healthy: Vec<Vec<usize>> = all
            .iter()
            .map(|all| {
                let healthy = all.iter().copied().filter(|p| members[*p].is_healthy());
                healthy.collect()
            })
            .collect();
        let levels: Vec<_> = all.iter().zip(&healthy).collect();
        let levels: Vec<_> = levels
            .into_iter()
            .map(|(all, healthy)| Level {
                all: all.len(),
                healthy: healthy.len(),
            })
            .collect();
        let division = priorities::divide(
            &levels,
            config.overprovisioning_factor,
            config.healthy_panic_threshold,
        );
        let levels = all.into_iter().zip(healthy).zip(&division.panics);
        let levels = levels.map(|((all, healthy), is_panic)| {
            let usable = match (is_panic, config.fail_traffic_on_panic) {
                (false, _) => healthy,
                (true, false) => all,
                (true, true) => Vec::new(),
            };
            Priority {
                table: table(config, &members, &usable),
                usable,
                is_panic: *is_panic,
            }
        });
        Self {
            is_known,
            levels: levels.collect(),
            loads: division.loads,
            members,
        }
    }

    /// Whether all names have been looked up, and all endpoints been checked once.
    pub(super) fn is_settled(&self) -> bool {
        let is_pending = |member: &Arc<Member>| member.has(Flag::PENDING_ACTIVE_HC);
        self.is_known && !self.members.iter().any(is_pending)
    }
}

/// Members by where they are: there may be thousands.
fn by_address(
    members: impl IntoIterator<Item = Arc<Member>>,
) -> HashMap<Address, Vec<Arc<Member>>> {
    let mut all: HashMap<_, Vec<_>> = HashMap::new();
    for member in members {
        let address = member.about.address.clone();
        all.entry(address).or_default().push(member);
    }
    all
}

fn table(config: &Cluster, members: &[Arc<Member>], usable: &[usize]) -> Option<HashTable> {
    let item = |place: &usize| Item {
        key: members[*place].about.address.to_string(),
        weight: members[*place].about.weight,
    };
    let items = || usable.iter().map(item).collect::<Vec<_>>();
    match config.lb_policy {
        LbPolicy::RingHash => Some(HashTable::ring(&items(), config.ring_hash)),
        LbPolicy::Maglev => Some(HashTable::maglev(&items(), config.maglev)),
        LbPolicy::RoundRobin | LbPolicy::LeastRequest | LbPolicy::Random => None,
    }
}
