//! [`FilterVm`]: the VM of one or more plugins on one worker, started again
//! after a failure as the plugin's policy says.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use weir_abi::{ContextId, LoadError, Module, PluginConfig, PluginError, Vm, VmConfig};
use weir_config::FailurePolicy;

use super::Admission;
use super::host::FilterHost;
use crate::callout::{Callouts, ClusterNames};
use crate::telemetry::VmMetrics;
use crate::worker::WorkerShared;

/// What a VM and its plugins are made from; shared by all workers.
pub(crate) struct FilterVmSpec {
    pub(crate) module: Module,
    pub(crate) config: VmConfig,
    pub(crate) plugins: Vec<PluginSpec>,
    /// Whom its guests can call.
    pub(crate) clusters: Arc<ClusterNames>,
}

/// One plugin of a VM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PluginSpec {
    pub(crate) plugin: PluginConfig,
    pub(crate) policy: Option<FailurePolicy>,
    /// Least time between two starts under `FAIL_RELOAD`.
    pub(crate) reload_interval: Duration,
}

impl FilterVmSpec {
    /// Plugins whose key is equal share a VM. Beyond Envoy's key (`vm_id`, VM
    /// configuration, code) it holds the environment.
    pub(crate) fn key(module: &Module, config: &VmConfig) -> [u8; 32] {
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        part(config.vm_id.as_bytes());
        part(&config.configuration);
        part(module.digest());
        for (name, value) in &config.environment {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        digest.finalize().into()
    }

    /// Starts the VM and all its plugins; on no worker, it is only tried out.
    fn start(
        &self,
        metrics: &Rc<VmMetrics>,
        worker: Option<Rc<WorkerShared>>,
    ) -> Result<Live, StartError> {
        let callouts = Callouts::new(Arc::clone(&self.clusters), worker, metrics);
        let host = FilterHost::new(Rc::clone(metrics), callouts);
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
        metrics.started();
        Ok(Live { vm, roots })
    }

    /// Starts and drops a VM: whether it would start on a worker.
    pub(crate) fn canary(&self) -> Result<(), StartError> {
        self.start(&Rc::new(VmMetrics::detached()), None).map(drop)
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

struct Live {
    vm: Rc<Vm>,
    roots: Vec<ContextId>,
}

/// The VM of one or more plugins on one worker.
pub(crate) struct FilterVm {
    spec: Arc<FilterVmSpec>,
    worker: Option<Rc<WorkerShared>>,
    live: RefCell<Option<Live>>,
    started: Cell<Instant>,
    metrics: Rc<VmMetrics>,
}

impl FilterVm {
    /// Starts a VM on this worker.
    pub(crate) fn start(
        spec: Arc<FilterVmSpec>,
        metrics: Rc<VmMetrics>,
        worker: Option<Rc<WorkerShared>>,
    ) -> Result<Self, StartError> {
        let live = spec.start(&metrics, worker.clone())?;
        Ok(Self {
            spec,
            worker,
            live: RefCell::new(Some(live)),
            started: Cell::new(Instant::now()),
            metrics,
        })
    }

    pub(super) fn admit(&self, plugin: usize) -> Admission {
        if let Some((vm, root)) = self.running(plugin) {
            return Admission::Run(vm, root);
        }
        let spec = &self.spec.plugins[plugin];
        let restart = match spec.policy {
            Some(FailurePolicy::Open) => return Admission::PassBy,
            Some(FailurePolicy::Closed) => false,
            Some(FailurePolicy::Reload) => {
                let due = self.started.get().elapsed() >= spec.reload_interval;
                if !due {
                    self.metrics.backed_off();
                }
                due
            }
            // Weir's own way: the failed request bears it, the next one does not.
            None => true,
        };
        if restart {
            self.restart();
        }
        self.running(plugin)
            .map_or(Admission::Refuse, |(vm, root)| Admission::Run(vm, root))
    }

    /// Publishes the size of the guest's memory.
    pub(crate) fn publish_memory(&self) {
        let live = self.live.borrow();
        let size = live.as_ref().map_or(0, |l| l.vm.memory_size());
        self.metrics.memory(size);
    }

    pub(super) fn running(&self, plugin: usize) -> Option<(Rc<Vm>, ContextId)> {
        let live = self.live.borrow();
        let live = live.as_ref().filter(|l| l.vm.failure().is_none())?;
        Some((Rc::clone(&live.vm), live.roots[plugin]))
    }

    fn restart(&self) {
        self.live.take();
        self.started.set(Instant::now());
        match self.spec.start(&self.metrics, self.worker.clone()) {
            Ok(live) => {
                self.metrics.restarted(true);
                self.live.replace(Some(live));
            }
            Err(error) => {
                self.metrics.restarted(false);
                tracing::error!(
                    vm_id = self.spec.config.vm_id,
                    "filter VM does not start again: {error}"
                );
            }
        }
    }

    /// Ends the root contexts.
    pub(crate) fn stop(&self) {
        if let Some(live) = self.live.take() {
            for root in live.roots {
                // A VM that fails at its end has reported it.
                let _ = live.vm.stop_plugin(root);
            }
            live.vm.discard();
            self.metrics.stopped();
        }
    }
}
