//! [`Member`]: an endpoint of a cluster, as the whole process knows it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use weir_config::{Address, ClusterEndpoint, Metadata};

use super::outlier::{Blame, Monitor};
use crate::telemetry::{Counter, EndpointCells};

/// Why an endpoint is not healthy; the tasks that look after clusters write it, and
/// workers read what follows of it in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flag(u8);

impl Flag {
    /// It fails active health checks, or has not been checked.
    pub(crate) const FAILED_ACTIVE_HC: Self = Self(1);
    /// It has been ejected.
    pub(crate) const FAILED_OUTLIER_CHECK: Self = Self(2);
    /// It has not been checked.
    pub(crate) const PENDING_ACTIVE_HC: Self = Self(4);

    /// Each with Envoy's name for it.
    const NAMES: [(Self, &str); 3] = [
        (Self::FAILED_ACTIVE_HC, "/failed_active_hc"),
        (Self::FAILED_OUTLIER_CHECK, "/failed_outlier_check"),
        (Self::PENDING_ACTIVE_HC, "/pending_active_hc"),
    ];
}

/// What is configured of an endpoint, and found of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) address: Address,
    /// The name that the address was found under.
    pub(crate) host: Option<Arc<str>>,
    pub(crate) weight: u32,
    pub(crate) priority: u32,
    pub(crate) health_check_port: Option<u16>,
    /// `None` if there is none.
    pub(crate) metadata: Option<Arc<Metadata>>,
}

impl Description {
    /// An endpoint of which nothing is known but where it is.
    pub(super) fn at(address: SocketAddr) -> Self {
        Self {
            address: address.into(),
            host: None,
            weight: 1,
            priority: 0,
            health_check_port: None,
            metadata: None,
        }
    }

    /// What `endpoint` is at this address.
    pub(crate) fn of(endpoint: &ClusterEndpoint, address: Address, host: Option<Arc<str>>) -> Self {
        Self {
            address,
            host,
            weight: endpoint.weight,
            priority: endpoint.priority,
            health_check_port: endpoint.health_check_port,
            metadata: Some(&endpoint.metadata)
                .filter(|metadata| !metadata.is_empty())
                .map(|metadata| Arc::new(metadata.clone())),
        }
    }
}

/// An endpoint, shared by all workers.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) about: Description,
    flags: AtomicU8,
    /// Since when it is healthy, or there. Read once a snapshot.
    since: Mutex<Instant>,
    /// What each worker counts of it. Locked when a worker gets to know it, and to
    /// read.
    cells: Mutex<Vec<Arc<EndpointCells>>>,
    pub(super) blame: Blame,
    /// For who judges it.
    pub(super) monitor: Mutex<Monitor>,
}

impl Member {
    pub(super) fn new(about: Description, is_checked: bool) -> Arc<Self> {
        let flags = if is_checked {
            Flag::FAILED_ACTIVE_HC.0 | Flag::PENDING_ACTIVE_HC.0
        } else {
            0
        };
        Arc::new(Self {
            about,
            flags: AtomicU8::new(flags),
            since: Mutex::new(Instant::now()),
            cells: Mutex::default(),
            blame: Blame::default(),
            monitor: Mutex::default(),
        })
    }

    /// What takes the place of `before`: as healthy, and ejected for as long.
    pub(super) fn in_place_of(before: &Self, about: Description) -> Arc<Self> {
        let monitor = before.monitor.lock();
        let monitor = monitor.unwrap_or_else(PoisonError::into_inner);
        Arc::new(Self {
            about,
            flags: AtomicU8::new(before.flags.load(Ordering::Relaxed)),
            since: Mutex::new(before.since()),
            cells: Mutex::default(),
            blame: Blame::default(),
            monitor: Mutex::new(monitor.handed_on()),
        })
    }

    /// Cells for one more worker.
    pub(super) fn cells(&self) -> Arc<EndpointCells> {
        let cells = Arc::<EndpointCells>::default();
        let mut all = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::clone(&cells));
        cells
    }

    /// What all workers have counted of it together.
    pub(crate) fn sum(&self, of: impl Fn(&EndpointCells) -> &Counter) -> u64 {
        let all = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|cells| of(cells).get()).sum()
    }

    pub(crate) fn has(&self, flag: Flag) -> bool {
        self.flags.load(Ordering::Relaxed) & flag.0 != 0
    }

    /// Sets or clears a flag; gives whether it was otherwise.
    pub(super) fn set(&self, flag: Flag, value: bool) -> bool {
        let was_healthy = self.is_healthy();
        let before = if value {
            self.flags.fetch_or(flag.0, Ordering::Relaxed)
        } else {
            self.flags.fetch_and(!flag.0, Ordering::Relaxed)
        };
        // Ejection does not count: what comes back from it starts at full speed.
        if !was_healthy && self.is_healthy() && flag == Flag::FAILED_ACTIVE_HC {
            *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        (before & flag.0 != 0) != value
    }

    /// Whether requests go to it.
    pub(crate) fn is_healthy(&self) -> bool {
        let flags = Flag::FAILED_ACTIVE_HC.0 | Flag::FAILED_OUTLIER_CHECK.0;
        self.flags.load(Ordering::Relaxed) & flags == 0
    }

    /// Since when it is healthy, or there.
    pub(super) fn since(&self) -> Instant {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its flags, as Envoy shows them.
    pub(crate) fn flags(&self) -> String {
        let names = Flag::NAMES.iter().filter(|(flag, _)| self.has(*flag));
        let text: String = names.map(|(_, name)| *name).collect();
        if text.is_empty() {
            "healthy".to_owned()
        } else {
            text
        }
    }
}
