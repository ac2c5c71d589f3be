//! Filters on a worker: the VMs that run them, and how a stream gets hold of
//! one.

mod host;
mod pool;
mod queue;
mod recovery;
mod spec;
mod vm;

use std::rc::Rc;

use weir_abi::{ContextId, Stream, Vm};

pub(crate) use self::spec::{FilterVmSpec, PluginSpec, StartError, Worn};
pub(crate) use self::vm::FilterVm;

/// One configured filter on one worker.
pub(crate) struct Plugin {
    vm: Rc<FilterVm>,
    /// Place among the plugins of its VM.
    index: usize,
}

/// What a new stream gets of a filter.
pub(crate) enum Admission {
    /// A VM to run it in, and its root context there.
    Run(Rc<Vm>, ContextId),
    /// The filter has failed, and its policy lets streams pass without it.
    PassBy,
    /// The filter has failed, and its policy refuses streams.
    Refuse,
}

impl Plugin {
    pub(crate) fn new(vm: Rc<FilterVm>, index: usize) -> Self {
        Self { vm, index }
    }

    /// What a new stream gets of this filter now; a VM that has failed is started
    /// again if its time has come.
    pub(crate) fn admit(&self) -> Admission {
        self.vm.admit(self.index)
    }

    /// Logs a complete stream, of which this plugin knows nothing else.
    pub(crate) fn log(&self, stream: Rc<dyn Stream>) {
        if let Admission::Run(vm, root) = self.admit() {
            // Failures are reported by the VM's host; the stream is over.
            let _ = vm.log_stream(root, stream);
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.vm.plugin_name(self.index)
    }

    /// The VM as it runs, and the filter's root context in it.
    pub(crate) fn running(&self) -> Option<(Rc<Vm>, ContextId)> {
        self.vm.running(self.index)
    }
}
