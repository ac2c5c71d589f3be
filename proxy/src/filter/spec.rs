//! [`FilterVmSpec`]: what a VM and its plugins are made from.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sha2::{Digest, Sha256};
use weir_abi::{
    ContextId, LoadError, Module, PluginConfig, PluginError, Reason, SharedLimits, Vm, VmConfig,
};
use weir_config::{FailurePolicies, FailurePolicy};

use super::host::FilterHost;
use crate::callout::{Callouts, ClusterNames, Place};
use crate::limits::RECYCLE_GROWTH_PART;
use crate::rollout::Version;
use crate::telemetry::VmMetrics;
use crate::worker::Latest;

/// What a VM and its plugins are made from; shared by all workers.
pub(crate) struct FilterVmSpec {
    pub(crate) module: Module,
    /// Who this proxy is, for root contexts to read.
    pub(crate) node: std::sync::Arc<weir_config::Node>,
    pub(crate) config: VmConfig,
    pub(crate) plugins: Vec<PluginSpec>,
    /// For what the VM shares by its `vm_id`.
    pub(crate) shared_limits: SharedLimits,
    /// Lines that it may log in a second.
    pub(crate) log_lines: u32,
    /// Whom its guests can call, when it is only tried out.
    pub(crate) clusters: Arc<ClusterNames>,
    pub(crate) version: Version,
    /// Whose other version it is: listener and filter. Empty for a filter's own.
    pub(crate) owner: String,
    /// How often one of its VMs has failed or not started again.
    pub(crate) failures: Arc<AtomicU64>,
}

/// One plugin of a VM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PluginSpec {
    pub(crate) plugin: PluginConfig,
    pub(crate) policy: Option<FailurePolicy>,
    /// What counts in its place after certain causes.
    pub(crate) policies: FailurePolicies,
    /// Least time between two starts under `FAIL_RELOAD`, and first interval of a
    /// crash loop.
    pub(crate) reload_interval: Duration,
    /// Longest interval of a crash loop.
    pub(crate) reload_interval_max: Duration,
    /// Whether each stream has a VM to itself.
    pub(crate) isolated: bool,
    /// Whether another VM stands by.
    pub(crate) spare: bool,
    /// Bytes of guest memory above which the VM is replaced.
    pub(crate) recycle_above: Option<usize>,
    /// Streams after which it is.
    pub(crate) recycle_after: Option<u64>,
}

/// Why a VM is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Trap,
    Deadline,
    Memory,
    /// It did not start.
    Configure,
}

impl From<Reason> for Cause {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Deadline => Self::Deadline,
            Reason::Memory => Self::Memory,
            Reason::Trap | Reason::Stack | Reason::Exit(_) | Reason::Host => Self::Trap,
        }
    }
}

impl PluginSpec {
    /// Whether it stands for the same filter, however that is configured.
    fn is_for(&self, other: &Self) -> bool {
        self.plugin.name == other.plugin.name && self.plugin.root_id == other.plugin.root_id
    }

    /// What streams get after this.
    pub(super) fn policy_after(&self, cause: Cause) -> Option<FailurePolicy> {
        let of_cause = match cause {
            Cause::Trap => self.policies.on_trap,
            Cause::Deadline => self.policies.on_deadline,
            Cause::Memory => self.policies.on_memory,
            Cause::Configure => self.policies.on_configure,
        };
        of_cause.or(self.policy)
    }
}

impl FilterVmSpec {
    /// Plugins whose key is equal share a VM. Beyond Envoy's key (`vm_id`, VM
    /// configuration, code, capabilities) it holds the environment, and how callbacks
    /// that take too long are found out.
    /// Versions of a filter never share one.
    pub(crate) fn key(
        module: &Module,
        config: &VmConfig,
        (version, owner): (Version, &str),
    ) -> [u8; 32] {
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        part(version.label().as_bytes());
        part(owner.as_bytes());
        part(config.vm_id.as_bytes());
        part(&config.configuration);
        part(module.digest());
        part(&[module.deadline() as u8]);
        part(&config.environment.len().to_le_bytes());
        for (name, value) in &config.environment {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        for name in config.capabilities.names() {
            part(name.as_bytes());
        }
        digest.finalize().into()
    }

    /// Names of its plugins, with commas.
    pub(crate) fn plugin_names(&self) -> String {
        let names: Vec<&str> = self.plugins.iter().map(|p| &*p.plugin.name).collect();
        names.join(",")
    }

    /// Whether a VM of the one serves as well as one of the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.differences(other).is_empty()
    }

    /// Whether there is a plugin of one name in both.
    pub(crate) fn shares_plugins(&self, other: &Self) -> bool {
        self.plugins
            .iter()
            .any(|plugin| other.plugins.iter().any(|o| o.is_for(plugin)))
    }

    /// What a VM of the other has that one of this has not.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let (a, b) = (&self.config, &other.config);
        let names = |config: &VmConfig| config.capabilities.names().collect::<Vec<_>>().join(",");
        let of_vm = [
            (
                "version",
                (self.version, &self.owner) != (other.version, &other.owner),
            ),
            ("vm_id", a.vm_id != b.vm_id),
            ("code", self.module.digest() != other.module.digest()),
            (
                "limits.deadline",
                self.module.deadline() != other.module.deadline(),
            ),
            (
                "configuration of the VM",
                a.configuration != b.configuration,
            ),
            ("environment_variables", a.environment != b.environment),
            ("capability_restriction_config", names(a) != names(b)),
            (
                "limits",
                a.limits != b.limits
                    || self.shared_limits != other.shared_limits
                    || self.log_lines != other.log_lines,
            ),
            ("node", self.node != other.node),
        ];
        let of_vm = of_vm.iter().filter(|(_, different)| *different);
        let mut differences: Vec<_> = of_vm.map(|(what, _)| (*what).to_owned()).collect();
        for plugin in &self.plugins {
            if !other.plugins.iter().any(|o| o.is_for(plugin)) {
                differences.push(format!("without {}", plugin.plugin.name));
            }
        }
        let is_new = |plugin: &&PluginSpec| !self.plugins.contains(plugin);
        for plugin in other.plugins.iter().filter(is_new) {
            let name = &plugin.plugin.name;
            match self.plugins.iter().find(|p| p.is_for(plugin)) {
                None => differences.push(format!("with {name}")),
                Some(before) if before.plugin.configuration != plugin.plugin.configuration => {
                    differences.push(format!("configuration of {name}"));
                }
                Some(_) => differences.push(format!("settings of {name}")),
            }
        }
        let same_key = Self::key(&self.module, a, (self.version, &self.owner))
            == Self::key(&other.module, b, (other.version, &other.owner));
        if differences.is_empty() && !(same_key && self.plugins == other.plugins) {
            differences.push("order of plugins, or settings".to_owned());
        }
        differences
    }

    /// Whether each stream has a VM to itself: one of the plugins says so.
    pub(super) fn is_isolated(&self) -> bool {
        self.plugins.iter().any(|plugin| plugin.isolated)
    }

    /// Starts the VM and all its plugins, which stand by until they are told that
    /// it is theirs; on no worker, it is only tried out.
    pub(super) fn start(
        &self,
        metrics: &Rc<VmMetrics>,
        worker: Option<Rc<Latest>>,
    ) -> Result<Live, StartError> {
        let place = match worker {
            None => Place::Trial(Arc::clone(&self.clusters)),
            Some(latest) => Place::Worker(latest),
        };
        let callouts = Callouts::new(place, metrics);
        let host = FilterHost::new(Rc::clone(metrics), callouts, self);
        let host_of_vm: Rc<dyn weir_abi::Host> = Rc::<FilterHost>::clone(&host);
        let vm =
            Vm::new(&self.module, self.config.clone(), host_of_vm).map_err(StartError::Load)?;
        let vm = Rc::new(vm);
        host.attach(&vm);
        let start = |(index, spec): (usize, &PluginSpec)| {
            vm.start_plugin(spec.plugin.clone())
                .map_err(|error| StartError::Plugin {
                    index,
                    error,
                    failure: vm.failure().map(ToString::to_string),
                })
        };
        let roots = self
            .plugins
            .iter()
            .enumerate()
            .map(start)
            .collect::<Result<Vec<_>, _>>()?;
        host.started();
        let initial_memory = vm.memory_size();
        Ok(Live {
            vm,
            is_kept: Cell::default(),
            roots,
            host,
            initial_memory,
        })
    }

    /// Starts and drops a VM: whether it would start on a worker, or need not.
    pub(crate) fn canary(&self) -> Result<(), StartError> {
        let started = self.start(&Rc::new(VmMetrics::detached()), None);
        started.map(drop).or_else(|error| self.go_on_without(error))
    }

    /// A VM that does not start is no error if its plugin has a policy for that.
    pub(super) fn go_on_without(&self, error: StartError) -> Result<(), StartError> {
        let index = match &error {
            StartError::Load(_) => return Err(error),
            StartError::Plugin { index, .. } => *index,
        };
        let plugin = &self.plugins[index];
        let Some(policy) = plugin.policies.on_configure else {
            return Err(error);
        };
        tracing::error!(
            plugin = plugin.plugin.name,
            root_id = plugin.plugin.root_id,
            vm_id = self.config.vm_id,
            "the filter does not start, which its policy allows ({policy:?}): {error}"
        );
        Ok(())
    }
}

/// Why a VM does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("{0}")]
    Load(LoadError),
    #[error("{error}{}", .failure.as_ref().map_or_else(String::new, |f| format!(": {f}")))]
    Plugin {
        /// Which of the VM's plugins.
        index: usize,
        error: PluginError,
        failure: Option<String>,
    },
}

/// Why a VM is replaced though it has not failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worn {
    /// Its memory has grown too large.
    Memory,
    /// It has had enough streams.
    Streams,
}

/// A VM with its plugins started.
pub(super) struct Live {
    pub(super) vm: Rc<Vm>,
    /// The root contexts, in the order of the plugins.
    pub(super) roots: Vec<ContextId>,
    host: Rc<FilterHost>,
    /// Bytes of guest memory when it had started.
    initial_memory: usize,
    /// It can be made what it was when it had started.
    is_kept: Cell<bool>,
}

impl Live {
    /// Streams come from now on: what waited for that begins.
    pub(super) fn promote(&self) {
        self.host.promote();
        self.vm.consume_queues();
    }

    /// Sees to that it can be made what it is now, where that is possible. Only
    /// once: before it has seen a stream.
    pub(super) fn keep(&self) {
        if !self.is_kept.replace(true) {
            self.vm.keep();
        }
    }

    /// Why another VM is to take its place, if one is.
    pub(super) fn worn(&self, plugins: &[PluginSpec]) -> Option<Worn> {
        let above = plugins.iter().filter_map(|p| p.recycle_above).min();
        let after = plugins.iter().filter_map(|p| p.recycle_after).min();
        let memory = self.vm.memory_size();
        // Another VM would have as much at once.
        let grown = memory > self.initial_memory + self.initial_memory / RECYCLE_GROWTH_PART;
        if above.is_some_and(|limit| memory > limit) && grown {
            return Some(Worn::Memory);
        }
        let streams = self.vm.completed_streams();
        let many = after.is_some_and(|limit| streams >= limit);
        many.then_some(Worn::Streams)
    }

    /// Whether nothing is under way in it.
    pub(super) fn is_idle(&self) -> bool {
        self.vm.active_streams() == 0 && self.vm.active_callouts() == 0
    }

    /// Ends the root contexts, and the VM.
    pub(super) fn stop(&self) {
        for root in &self.roots {
            // A VM that fails at its end has reported it.
            let _ = self.vm.stop_plugin(*root);
        }
        self.vm.discard();
    }
}
