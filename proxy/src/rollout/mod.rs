//! Rollouts: another version of a filter beside the one that serves. It gets a part
//! of the streams, as a canary, or a copy of what the filter sees, as a shadow, until
//! the configuration says otherwise or it proves worse.

mod choice;
mod judge;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;

pub(crate) use self::choice::{Chosen, Link, Versions};
pub(crate) use self::judge::watch;
use crate::filter::FilterVmSpec;
use crate::telemetry::RolloutCells;

/// Which version of a filter a VM is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Version {
    /// The filter's own.
    #[default]
    Stable,
    /// The other one, for some streams.
    Canary,
    /// The other one, for copies.
    Shadow,
}

impl Version {
    /// As metrics and log lines have it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Stable => "",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
        }
    }
}

/// Place of a VM in its generation, and of the plugin in it.
pub(crate) type Place = (usize, usize);

/// The rollout of one filter in one generation.
pub(crate) struct RolloutSpec {
    /// Where the canary is.
    pub(crate) canary: Option<Place>,
    /// Where the shadow is.
    pub(crate) shadow: Option<Place>,
    pub(crate) state: Arc<RolloutState>,
}

/// What a rollout has come to. It stays as long as the versions and what is asked of
/// them stay, whatever else changes from one generation to the next.
pub(crate) struct RolloutState {
    pub(crate) listener: String,
    pub(crate) filter: String,
    config: weir_config::Rollout,
    /// VMs of the other version.
    vms: Vec<Arc<FilterVmSpec>>,
    /// Why the other version gets nothing more.
    ended: OnceLock<Verdict>,
    /// By number of the worker. Locked to make a generation ready and to read.
    cells: Mutex<Vec<Arc<RolloutCells>>>,
}

/// Why a rollout was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// So many of its VMs have failed in the time of so many streams.
    Traps { failed: u64, streams: u64 },
    /// So many of so many streams took longer than they may.
    Latency { slow: u64, streams: u64 },
}

impl Verdict {
    /// As metrics have it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Traps { .. } => "trap_rate",
            Self::Latency { .. } => "latency",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Traps { failed, streams } => {
                write!(f, "{failed} of its VMs have failed in {streams} streams")
            }
            Self::Latency { slow, streams } => {
                write!(f, "{slow} of {streams} streams took longer than they may")
            }
        }
    }
}

impl RolloutState {
    /// Of the filter of that name, whose other version runs in `vms`.
    pub(crate) fn new(
        listener: &str,
        filter: &str,
        config: &weir_config::Rollout,
        vms: Vec<Arc<FilterVmSpec>>,
    ) -> Self {
        Self {
            listener: listener.to_owned(),
            filter: filter.to_owned(),
            config: config.clone(),
            vms,
            ended: OnceLock::new(),
            cells: Mutex::default(),
        }
    }

    /// Whether it is the same rollout: what it has come to counts for the other, too.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same_vms = self.vms.len() == other.vms.len()
            && self
                .vms
                .iter()
                .zip(&other.vms)
                .all(|(a, b)| Arc::ptr_eq(a, b));
        same_vms
            && self.listener == other.listener
            && self.filter == other.filter
            && self.config == other.config
    }

    /// Why the other version gets nothing more, if that is so.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.ended.get().copied()
    }

    /// The numbers of worker number `worker`.
    pub(crate) fn cells(&self, worker: usize) -> Arc<RolloutCells> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        while cells.len() <= worker {
            cells.push(Arc::default());
        }
        Arc::clone(&cells[worker])
    }

    /// Adds up a number of all workers.
    pub(crate) fn sum(&self, of: impl Fn(&RolloutCells) -> u64) -> u64 {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.iter().map(|cells| of(cells)).sum()
    }

    /// Failures of VMs of the other version, on all workers.
    fn failures(&self) -> u64 {
        let failures = |vm: &Arc<FilterVmSpec>| vm.failures.load(Ordering::Relaxed);
        self.vms.iter().map(failures).sum()
    }

    /// What the other version gets, in a few words.
    fn state(&self) -> String {
        if let Some(verdict) = self.verdict() {
            return format!("rolled back: {verdict}");
        }
        let canary = self.config.canary.as_ref();
        let canary = canary.map(|canary| format!("canary {}", canary.weight));
        let shadow = self.config.shadow.then(|| "shadow".to_owned());
        let both: Vec<_> = canary.into_iter().chain(shadow).collect();
        both.join(", ")
    }
}

/// The rollouts that are under way, for those who look.
#[derive(Clone, Default)]
pub(crate) struct Rollouts(Arc<ArcSwap<Vec<Arc<RolloutState>>>>);

impl fmt::Debug for Rollouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rollouts")
            .field(&self.0.load().len())
            .finish()
    }
}

impl Rollouts {
    /// These are under way now.
    pub(crate) fn set(&self, rollouts: Vec<Arc<RolloutState>>) {
        self.0.store(Arc::new(rollouts));
    }

    pub(crate) fn all(&self) -> Arc<Vec<Arc<RolloutState>>> {
        self.0.load_full()
    }

    /// A line each: listener, filter, streams by version, copies and what came of
    /// them, failures of VMs, and how it stands.
    pub(crate) fn table(&self) -> String {
        use fmt::Write as _;
        let mut table =
            "listener  filter  stable  canary  shadow  diverged  failures  state\n".to_owned();
        for rollout in self.all().iter() {
            // Writing to a string does not fail.
            let _ = writeln!(
                table,
                "{}  {}  {}  {}  {}  {}  {}  {}",
                rollout.listener,
                rollout.filter,
                rollout.sum(RolloutCells::stable),
                rollout.sum(RolloutCells::canary),
                rollout.sum(RolloutCells::shadowed),
                rollout.sum(RolloutCells::diverged),
                rollout.failures(),
                rollout.state(),
            );
        }
        table
    }
}
