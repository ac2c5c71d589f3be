//! [`Rig`]: a guest that runs, and a stream for it to work on.

use std::error::Error;
use std::rc::Rc;

use weir_abi::{ContextId, HeadersStatus, Module, PluginConfig, Vm, VmConfig, VmFailed};

use crate::memory::{MemoryHost, MemoryStream};

/// A VM with one plugin.
#[derive(Debug)]
pub struct Rig {
    /// The VM.
    pub vm: Vm,
    /// The plugin's root context.
    pub root: ContextId,
    /// What every stream context works on.
    pub stream: Rc<MemoryStream>,
}

impl Rig {
    /// Starts a VM.
    ///
    /// # Errors
    /// When the module's start functions fail.
    pub fn instantiate(module: &Module) -> Result<Vm, Box<dyn Error>> {
        Ok(Vm::new(module, VmConfig::default(), Rc::new(MemoryHost))?)
    }

    /// Starts the plugin of a VM.
    ///
    /// # Errors
    /// When it refuses its configuration.
    pub fn configure(vm: &Vm, configuration: &'static str) -> Result<ContextId, Box<dyn Error>> {
        Ok(vm.start_plugin(PluginConfig {
            name: "bench".to_owned(),
            configuration: configuration.into(),
            ..PluginConfig::default()
        })?)
    }

    /// Starts a VM and its plugin.
    ///
    /// # Errors
    /// When either fails.
    pub fn start(module: &Module, configuration: &'static str) -> Result<Self, Box<dyn Error>> {
        let vm = Self::instantiate(module)?;
        Ok(Self {
            root: Self::configure(&vm, configuration)?,
            vm,
            stream: Rc::default(),
        })
    }

    /// Puts the filter on the stream.
    ///
    /// # Errors
    /// When the guest fails.
    pub fn create_stream(&self) -> Result<ContextId, VmFailed> {
        let stream = Rc::clone(&self.stream);
        self.vm.create_stream(self.root, stream, 0)
    }

    /// Has a stream pass the filter, from its context's creation to the end, as the proxy
    /// does where it is alone in a chain.
    ///
    /// # Errors
    /// When the guest fails, or holds the headers.
    pub fn serve(&self) -> Result<(), Box<dyn Error>> {
        let vm = &self.vm;
        let (stream, request) =
            vm.begin_stream(self.root, Rc::clone(&self.stream) as _, 0, true)?;
        let request = match request {
            Some(status) => status,
            None => vm.on_request_headers(stream, true)?,
        };
        let response = vm.on_response_headers(stream, false)?;
        if [request, response] != [HeadersStatus::Continue; 2] {
            return Err("the filter holds headers".into());
        }
        vm.log_and_delete_stream(stream)?;
        Ok(())
    }
}
