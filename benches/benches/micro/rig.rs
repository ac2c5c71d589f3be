//! [`Rig`]: a guest that runs, and a stream for it to work on.

use std::rc::Rc;

use weir_abi::{ContextId, Module, PluginConfig, Vm, VmConfig};
use weir_benches::memory::{MemoryHost, MemoryStream};

/// A VM with one plugin.
pub(crate) struct Rig {
    pub(crate) vm: Vm,
    root: ContextId,
    pub(crate) stream: Rc<MemoryStream>,
}

impl Rig {
    /// Starts a VM and its plugin.
    pub(crate) fn start(module: &Module, configuration: &'static str) -> Self {
        let vm = Vm::new(module, VmConfig::default(), Rc::new(MemoryHost)).unwrap();
        let root = vm.start_plugin(PluginConfig {
            name: "bench".to_owned(),
            configuration: configuration.into(),
            ..PluginConfig::default()
        });
        Self {
            root: root.unwrap(),
            vm,
            stream: Rc::default(),
        }
    }

    /// Puts the filter on the stream.
    pub(crate) fn create_stream(&self) -> ContextId {
        let stream = Rc::clone(&self.stream);
        self.vm.create_stream(self.root, stream, 0).unwrap()
    }
}
